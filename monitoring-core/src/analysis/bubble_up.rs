//! What do the bad requests have in common that the others have not?
//!
//! Each tag, and each pair of the most telling tags, is compared twice: its share among bad requests
//! with its share among the rest, and how often requests with it are bad with how often they were
//! before. Both must differ by more than chance, corrected for all comparisons that were made. The
//! tag that tells most is taken, the requests it explains are set aside, and what is left is asked
//! again; so a tag that merely goes along with another is not found twice.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::requests::{Request, Requests};
use super::statistics::{Table, corrected, ratio};
use super::weighted::Count;

/// Bad requests a tag must be seen on.
const BAD_MIN: f64 = 5.0;
/// The least difference between the shares among bad requests and others.
const EFFECT_MIN: f64 = 0.12;
/// The part of a tag's bad requests that a pair must hold to stand for it.
const PAIR_COVERS_MIN: f64 = 0.75;
/// How many times as often a pair must be bad as its tags without each other.
const PAIR_RATIO_MIN: f64 = 4.0;
/// The false discovery rate.
const RATE: f64 = 0.01;
/// Singles of which pairs are made.
const PAIRED_MAX: usize = 16;
/// Stories told at most.
const ROUNDS_MAX: usize = 3;
/// Tags with more values than this part of the requests that have them are ids.
const UNIQUE_MAX: f64 = 0.3;
/// Sources whose failures outside of requests are compared.
const SOURCES_MAX: usize = 5;

/// Tags that bad requests have.
#[derive(Clone, Debug)]
pub(super) struct Common {
    /// One tag or two.
    pub items: Vec<u32>,
    /// Tags that go along with them on practically all requests.
    pub aliases: Vec<u32>,
    /// The share among bad requests, and among the rest.
    pub share_bad: f64,
    pub share_rest: f64,
    /// How often requests with the tags are bad, and were before.
    pub rate: f64,
    pub rate_before: f64,
    /// Which part of all bad requests beyond the usual it accounts for.
    pub coverage: f64,
    pub p_value: f64,
    /// The bad requests that have them.
    pub bad: BTreeSet<usize>,
}

impl Common {
    /// The difference of shares.
    pub(super) fn effect(&self) -> f64 {
        self.share_bad - self.share_rest
    }
}

/// What was found, and how many comparisons it took.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    pub common: Vec<Common>,
    pub comparisons: u64,
}

/// One side of time, counted.
#[derive(Clone, Copy, Debug, Default)]
struct Side {
    bad: Count,
    all: Count,
}

impl Side {
    fn good(self) -> Count {
        self.all.without(self.bad)
    }

    /// How often requests are bad here and there.
    fn against(self, other: Self) -> Table {
        Table::of_rates((self.bad, self.all), (other.bad, other.all))
    }
}

/// Counts of all requests of both times.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    now: Side,
    before: Side,
}

impl Tally {
    fn add(&mut self, request: &Request, is_bad: bool, is_now: bool) {
        let side = if is_now { &mut self.now } else { &mut self.before };
        side.all.add(request.weight);
        if is_bad {
            side.bad.add(request.weight);
        }
    }
}

/// Finds what bad requests from `first_bucket` on have in common. Requests that are known by an id are
/// compared with each other; what belongs to none, such as a job, with what else its source does.
pub(super) fn common_to_bad(
    requests: &Requests,
    first_bucket: usize,
    is_bad: impl Fn(&Request) -> bool,
) -> Found {
    let mut found = Found::default();
    for alike in alike(requests, first_bucket, &is_bad) {
        let one = common_among(requests, alike, first_bucket, &is_bad);
        found.common.extend(one.common);
        found.comparisons += one.comparisons;
    }
    found
}

/// Requests that can be compared with each other.
fn alike(requests: &Requests, first_bucket: usize, is_bad: &impl Fn(&Request) -> bool) -> Vec<Vec<usize>> {
    if !requests.has_known() {
        return vec![(0..requests.all.len()).collect()];
    }
    let (known, others): (Vec<usize>, Vec<usize>) =
        (0..requests.all.len()).partition(|place| requests.all[*place].is_known);
    let mut of_source: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for place in others {
        let items = requests.all[place].items.iter();
        let source = items.copied().find(|item| requests.items[*item as usize].key == "source");
        if let Some(source) = source {
            of_source.entry(source).or_default().push(place);
        }
    }
    let bad_now = |places: &[usize]| {
        let requests = places.iter().map(|place| &requests.all[*place]);
        requests.filter(|request| request.bucket >= first_bucket && is_bad(request)).count()
    };
    let mut sources: Vec<(usize, Vec<usize>)> =
        of_source.into_values().map(|places| (bad_now(&places), places)).collect();
    sources.retain(|(bad, _)| *bad as f64 >= BAD_MIN);
    sources.sort_by_key(|(bad, _)| std::cmp::Reverse(*bad));
    let sources = sources.into_iter().take(SOURCES_MAX).map(|(_, places)| places);
    std::iter::once(known).chain(sources).collect()
}

fn common_among(
    requests: &Requests,
    mut left: Vec<usize>,
    first_bucket: usize,
    is_bad: &impl Fn(&Request) -> bool,
) -> Found {
    let mut found = Found::default();
    let all = tally(requests, &left, first_bucket, is_bad);
    if all.now.bad.seen() < BAD_MIN {
        return found;
    }
    let usable = usable_among(requests, &left, is_bad);
    for _ in 0..ROUNDS_MAX {
        let round = Round { requests, usable: &usable, left: &left, first_bucket, whole: all };
        let (best, comparisons) = round.best(is_bad);
        found.comparisons += comparisons;
        let Some(best) = best else { break };
        let has = |place: &usize| has_all(&requests.all[*place], &best.items);
        left.retain(|place| !has(place));
        found.common.push(best);
    }
    found
}

/// Of the items that can be compared those whose keys others than bad requests have as well. What only
/// they have says how they went, not what they were.
fn usable_among(requests: &Requests, places: &[usize], is_bad: &impl Fn(&Request) -> bool) -> Vec<bool> {
    let mut carriers: HashMap<&str, (usize, usize)> = HashMap::new();
    for request in places.iter().map(|place| &requests.all[*place]) {
        let keys = request.items.iter().map(|item| requests.items[*item as usize].key.as_str());
        for key in keys.collect::<BTreeSet<_>>() {
            let (bad, good) = carriers.entry(key).or_default();
            *(if is_bad(request) { bad } else { good }) += 1;
        }
    }
    let is_told_of_all = |key: &str| carriers.get(key).is_some_and(|(bad, good)| good * 20 >= *bad);
    let usable = usable_items(requests);
    let items = requests.items.iter().zip(usable);
    items.map(|(item, usable)| usable && is_told_of_all(&item.key)).collect()
}

struct Round<'r> {
    requests: &'r Requests,
    usable: &'r [bool],
    left: &'r [usize],
    first_bucket: usize,
    /// All requests, also those set aside.
    whole: Tally,
}

impl Round<'_> {
    fn best(&self, is_bad: &impl Fn(&Request) -> bool) -> (Option<Common>, u64) {
        let total = tally(self.requests, self.left, self.first_bucket, is_bad);
        if total.now.bad.seen() < BAD_MIN {
            return (None, 0);
        }
        let singles = self.singles(is_bad);
        let mut judged: Vec<Judged> =
            singles.iter().map(|(item, tally)| self.judged(vec![*item], *tally, total)).collect();
        judged.sort_by(|a, b| b.effect.total_cmp(&a.effect).then_with(|| a.items.cmp(&b.items)));
        let telling: Vec<u32> =
            judged.iter().filter(|one| one.is_telling()).take(PAIRED_MAX).map(|one| one.items[0]).collect();
        let bad_of: HashMap<u32, f64> =
            singles.iter().map(|(item, tally)| (*item, tally.now.bad.sum)).collect();
        let pairs: Vec<Judged> = self
            .pairs(&telling, is_bad)
            .into_iter()
            .filter(|((a, b), tally)| {
                let most =
                    [a, b].into_iter().filter_map(|item| bad_of.get(item)).fold(0.0, |a: f64, b| a.max(*b));
                tally.now.bad.sum >= PAIR_COVERS_MIN * most
            })
            .map(|((a, b), tally)| self.judged(vec![a, b], tally, total))
            .filter(|pair| self.needs_both(pair, is_bad))
            .collect();
        let singles_counted = judged.len();
        judged.extend(pairs);
        let comparisons = singles_counted + telling.len() * telling.len().saturating_sub(1) / 2;
        let p_values: Vec<f64> = judged.iter().map(|one| one.p_value).collect();
        let p_values = corrected(&p_values, comparisons);
        let best =
            judged.iter().zip(&p_values).filter(|(one, p)| **p <= RATE && one.is_telling()).max_by(
                |(a, _), (b, _)| a.weight().total_cmp(&b.weight()).then_with(|| b.items.cmp(&a.items)),
            );
        let best = best.map(|(one, p)| self.told(one, *p, &judged, is_bad));
        (best, comparisons as u64)
    }

    fn singles(&self, is_bad: &impl Fn(&Request) -> bool) -> BTreeMap<u32, Tally> {
        let mut tallies: BTreeMap<u32, Tally> = BTreeMap::new();
        for request in self.left.iter().map(|place| &self.requests.all[*place]) {
            let (bad, now) = (is_bad(request), request.bucket >= self.first_bucket);
            for item in request.items.iter().filter(|item| self.usable[**item as usize]) {
                tallies.entry(*item).or_default().add(request, bad, now);
            }
        }
        tallies.retain(|_, tally| tally.now.bad.seen() >= BAD_MIN);
        tallies
    }

    fn pairs(&self, telling: &[u32], is_bad: &impl Fn(&Request) -> bool) -> BTreeMap<(u32, u32), Tally> {
        let mut tallies: BTreeMap<(u32, u32), Tally> = BTreeMap::new();
        for request in self.left.iter().map(|place| &self.requests.all[*place]) {
            let mut here: Vec<u32> =
                telling.iter().copied().filter(|item| request.items.binary_search(item).is_ok()).collect();
            here.sort_unstable();
            let (bad, now) = (is_bad(request), request.bucket >= self.first_bucket);
            for (n, a) in here.iter().enumerate() {
                for b in &here[n + 1..] {
                    if self.requests.items[*a as usize].key != self.requests.items[*b as usize].key {
                        tallies.entry((*a, *b)).or_default().add(request, bad, now);
                    }
                }
            }
        }
        tallies.retain(|_, tally| tally.now.bad.seen() >= BAD_MIN);
        tallies
    }

    fn judged(&self, items: Vec<u32>, tally: Tally, total: Tally) -> Judged {
        let over = Table::of_groups((tally.now.bad, total.now.bad), (tally.now.good(), total.now.good()));
        // What was hardly there before is compared with all there was.
        let before = if tally.before.all.seen() >= 20.0 { tally.before } else { total.before };
        let change = tally.now.against(before);
        let p_change = if before.all.sum > 0.0 { change.p_larger() } else { over.p_larger() };
        let (bad, all) = (total.now.bad.sum - tally.now.bad.sum, total.now.all.sum - tally.now.all.sum);
        Judged {
            items,
            tally,
            effect: over.share() - over.other_share(),
            p_value: over.p_larger().max(p_change),
            over,
            change,
            others: ratio(bad, all),
        }
    }

    /// Whether neither tag of a pair explains it alone: among the requests that have one, those that
    /// have the other too are worse by far.
    fn needs_both(&self, pair: &Judged, is_bad: &impl Fn(&Request) -> bool) -> bool {
        let [a, b] = pair.items[..] else { return false };
        [(a, b), (b, a)].into_iter().all(|(one, other)| {
            let (mut with, mut without) = (Tally::default(), Tally::default());
            for request in self.left.iter().map(|place| &self.requests.all[*place]) {
                if request.items.binary_search(&one).is_ok() {
                    let has_other = request.items.binary_search(&other).is_ok();
                    let side = if has_other { &mut with } else { &mut without };
                    side.add(request, is_bad(request), request.bucket >= self.first_bucket);
                }
            }
            let table = with.now.against(without.now);
            table.p_larger() < RATE / 10.0 && table.share() > PAIR_RATIO_MIN * table.other_share()
        })
    }

    fn told(
        &self,
        best: &Judged,
        p_value: f64,
        judged: &[Judged],
        is_bad: &impl Fn(&Request) -> bool,
    ) -> Common {
        let with = |items: &[u32]| -> BTreeSet<usize> {
            let now = self
                .left
                .iter()
                .copied()
                .filter(|place| self.requests.all[*place].bucket >= self.first_bucket);
            now.filter(|place| has_all(&self.requests.all[*place], items)).collect()
        };
        let all = with(&best.items);
        let is_alias = |one: &&Judged| {
            one.items.len() == 1
                && !best.items.contains(&one.items[0])
                && (one.effect - best.effect).abs() < 0.1
                && overlap(&with(&one.items), &all) >= 0.9
        };
        let aliases = judged.iter().filter(is_alias).map(|one| one.items[0]).take(4).collect();
        let bad: BTreeSet<usize> =
            all.iter().copied().filter(|place| is_bad(&self.requests.all[*place])).collect();
        let usual = ratio(self.whole.before.bad.sum, self.whole.before.all.sum);
        let excess = (self.whole.now.bad.sum - usual * self.whole.now.all.sum).max(1e-9);
        let own = best.tally.now.bad.sum - best.change.other_share() * best.tally.now.all.sum;
        Common {
            items: best.items.clone(),
            aliases,
            share_bad: best.over.share(),
            share_rest: best.over.other_share(),
            rate: best.change.share(),
            rate_before: best.change.other_share(),
            coverage: (own / excess).clamp(0.0, 1.0),
            p_value,
            bad,
        }
    }
}

/// A tag or a pair, compared.
struct Judged {
    items: Vec<u32>,
    tally: Tally,
    effect: f64,
    p_value: f64,
    over: Table,
    change: Table,
    others: f64,
}

impl Judged {
    /// How well it tells bad requests from others (the phi coefficient): what nearly all bad requests
    /// have and few others is better than what all have that went the same way.
    fn weight(&self) -> f64 {
        let Table { with, of, other_with, other_of } = self.over;
        let (without, other_without) = (of - with, other_of - other_with);
        let margins = of * other_of * (with + other_with) * (without + other_without);
        if margins > 0.0 { (with * other_without - without * other_with) / margins.sqrt() } else { 0.0 }
    }

    /// Whether the difference is large enough to matter, and one of now.
    fn is_telling(&self) -> bool {
        self.effect >= EFFECT_MIN
            && self.change.share() >= 2.0 * self.change.other_share()
            && self.change.share() >= 1.5 * self.others
    }
}

fn tally(
    requests: &Requests,
    left: &[usize],
    first_bucket: usize,
    is_bad: &impl Fn(&Request) -> bool,
) -> Tally {
    let mut tally = Tally::default();
    for request in left.iter().map(|place| &requests.all[*place]) {
        tally.add(request, is_bad(request), request.bucket >= first_bucket);
    }
    tally
}

fn has_all(request: &Request, items: &[u32]) -> bool {
    items.iter().all(|item| request.items.binary_search(item).is_ok())
}

fn overlap(a: &BTreeSet<usize>, b: &BTreeSet<usize>) -> f64 {
    let common = a.intersection(b).count();
    ratio(common as f64, (a.len() + b.len() - common) as f64)
}

/// Items that can be compared: not those of keys that are ids in disguise.
pub(super) fn usable_items(requests: &Requests) -> Vec<bool> {
    let is_usable = |key: &str| {
        let of = requests.keys.get(key).copied().unwrap_or_default();
        let (values, carriers) = (of.values as f64, of.requests as f64);
        key == "source" || values <= 3.0 || values <= UNIQUE_MAX * carriers
    };
    requests.items.iter().map(|item| is_usable(&item.key)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::analysis::input::Seen;
    use crate::analysis::made::{axis, first, mixed, one_in, requests, seen};
    use crate::analysis::requests::Item;

    fn tags(n: u64) -> Value {
        let region = ["eu", "us", "ap"][(mixed(n, 1) % 3) as usize];
        let payment = ["card", "sepa", "cash"][(mixed(n, 2) % 3) as usize];
        json!({"region": region, "zone": format!("{region}-1"), "payment": payment, "customer": format!("c{n}"),
            "host": format!("h{}", mixed(n, 3) % 6)})
    }

    fn told(requests: &Requests) -> Vec<Vec<String>> {
        let found = common_to_bad(requests, first(), |request| request.is_failing);
        let item = |item: &u32| {
            let Item { key, value } = &requests.items[*item as usize];
            format!("{key}={value}")
        };
        found.common.iter().map(|common| common.items.iter().map(item).collect()).collect()
    }

    fn has(n: u64, key: &str, value: &str) -> bool {
        tags(n)[key] == value
    }

    #[test]
    fn the_tag_of_failing_requests_is_found_with_what_goes_along_with_it() {
        let requests = requests(
            |n, _| tags(n),
            |n, late| one_in(n, 9, 5) || (late && has(n, "region", "us") && one_in(n, 8, 200)),
        );
        let found = common_to_bad(&requests, first(), |request| request.is_failing);
        assert_eq!(found.common.len(), 1, "{:?}", told(&requests));
        let common = &found.common[0];
        let named: BTreeSet<&str> = common
            .items
            .iter()
            .chain(&common.aliases)
            .map(|item| requests.items[*item as usize].key.as_str())
            .collect();
        assert_eq!(named, BTreeSet::from(["region", "zone"]));
        assert!(common.effect() > 0.5 && common.rate > 0.15 && common.rate_before < 0.02, "{common:?}");
        assert!(common.p_value < 1e-6 && found.comparisons > 10);
    }

    #[test]
    fn a_pair_is_told_as_a_pair_and_only_then() {
        let both = |n| has(n, "host", "h1") && has(n, "payment", "sepa");
        let requests =
            requests(|n, _| tags(n), |n, late| one_in(n, 9, 5) || (late && both(n) && one_in(n, 8, 800)));
        let mut told = told(&requests);
        assert_eq!(told.len(), 1, "{told:?}");
        told[0].sort();
        assert_eq!(told[0], ["host=h1", "payment=sepa"]);
    }

    #[test]
    fn two_faults_are_two_stories() {
        let fails = |n, late| {
            late && ((has(n, "region", "us") && one_in(n, 8, 300))
                || (has(n, "host", "h2") && one_in(n, 7, 300)))
        };
        let told = told(&requests(|n, _| tags(n), fails));
        let named: Vec<&str> = told.iter().map(|items| items[0].split('=').next().unwrap()).collect();
        assert!(
            named.contains(&"host") && (named.contains(&"region") || named.contains(&"zone")),
            "{told:?}"
        );
    }

    #[test]
    fn what_was_always_so_is_not_found() {
        let always = requests(|n, _| tags(n), |n, _| has(n, "region", "us") && one_in(n, 8, 200));
        assert!(told(&always).is_empty(), "{:?}", told(&always));
        let everywhere = requests(|n, _| tags(n), |n, late| late && one_in(n, 8, 200));
        assert!(told(&everywhere).is_empty(), "{:?}", told(&everywhere));
    }

    /// Requests with as many background lines that belong to none, and which fail evenly at last.
    fn failing_evenly(background: bool) -> Vec<Seen> {
        let request = |n: i64| {
            let fails = n >= 2_700 && one_in(n as u64, 8, 200);
            let level = if fails { "error" } else { "info" };
            seen(
                n,
                json!({"tags": {"version": "2.3.0", "region": "eu"}, "level": level, "trace_id": format!("t{n}")}),
            )
        };
        let line = |n: i64| seen(n, json!({"source": "worker", "message": "batch done"}));
        let lines = (0..3_600).filter(|_| background).map(line);
        (0..3_600).filter(|n| n % 3 == 0).map(request).chain(lines).collect()
    }

    #[test]
    fn what_all_requests_have_tells_nothing_whatever_goes_on_beside_them() {
        let events = failing_evenly(true);
        let with_background = Requests::of(&events, &axis(), first());
        assert!(told(&with_background).is_empty(), "{:?}", told(&with_background));
        assert!(told(&Requests::of(&failing_evenly(false), &axis(), first())).is_empty());
    }

    #[test]
    fn failures_outside_of_requests_are_compared_with_what_else_their_source_does() {
        let message = |n: i64| {
            let topic = ["orders", "mails", "stock"][(mixed(n as u64, 1) % 3) as usize];
            let fails = n >= 2_700 && topic == "mails";
            let level = if fails { "error" } else { "info" };
            seen(
                n,
                json!({"source": "consumer", "tags": {"topic": topic, "only_of_errors": fails.then_some("x")}, "level": level}),
            )
        };
        let request = |n: i64| seen(n, json!({"trace_id": format!("t{n}"), "tags": {"topic": "web"}}));
        let events: Vec<Seen> = (0..3_600).flat_map(|n| [message(n), request(n)]).collect();
        assert_eq!(told(&Requests::of(&events, &axis(), first())), [["topic=mails"]]);
    }

    #[test]
    fn what_a_sample_shows_by_chance_is_no_finding() {
        for seed in 0..50 {
            let mut events: Vec<Seen> = (0..720)
                .map(|n| {
                    let tags = json!({"tenant": format!("t{:02}", mixed(n, seed) % 20), "region": format!("r{}", mixed(n, seed + 99) % 4)});
                    let level = if one_in(n, seed + 7, 12) { "error" } else { "info" };
                    seen(5 * n as i64, json!({"tags": tags, "level": level, "trace_id": format!("t{n}")}))
                })
                .collect();
            events.iter_mut().for_each(|seen| (seen.weight, seen.request_weight) = (50.0, 50.0));
            let requests = Requests::of(&events, &axis(), first());
            assert!(told(&requests).is_empty(), "{seed}: {:?}", told(&requests));
        }
    }

    #[test]
    fn a_version_is_compared_however_many_ids_were_seen_before_it() {
        let tags = |n: u64, late: bool| {
            json!({"order": format!("o{n}"), "session": format!("s{n}"), "cart": format!("c{n}"), "basket": format!("b{n}"),
                "version": if late && one_in(n, 3, 300) { "2.3.1" } else { "2.3.0" }})
        };
        let fails = |n, late| late && tags(n, late)["version"] == "2.3.1" && one_in(n, 4, 400);
        let requests = requests(tags, fails);
        assert_eq!(told(&requests), [["version=2.3.1"]]);
        assert!(!requests.is_cut && requests.items.len() < 10, "{}", requests.items.len());
    }

    #[test]
    fn ids_are_no_tags() {
        let requests = requests(|n, _| tags(n), |_, _| false);
        let usable = usable_items(&requests);
        let is_usable =
            |key: &str| requests.items.iter().zip(&usable).any(|(item, usable)| item.key == key && *usable);
        assert!(is_usable("region") && is_usable("host") && !is_usable("customer"));
        assert_eq!(requests.keys["customer"].values, 7_200);
    }
}
