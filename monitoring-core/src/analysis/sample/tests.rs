use serde_json::json;

use super::*;
use crate::analysis::made::{seen, start};

fn hour() -> Period {
    Period { start: start(), end: start() + TimeDelta::minutes(61) }
}

#[test]
fn slices_cover_all_and_do_not_overlap() {
    let slices: Vec<_> = slices(hour(), 60).collect();
    assert_eq!(slices.len(), 60);
    assert_eq!((slices[0].start, slices[59].end), (hour().start, hour().end));
    assert!(slices.windows(2).all(|pair| pair[0].end == pair[1].start));
}

#[test]
fn windows_lie_in_their_slice_and_not_always_at_its_beginning() {
    let mut offsets = std::collections::BTreeSet::new();
    for (number, slice) in slices(hour(), 60).enumerate() {
        for (window, part) in windows(&slice, number).zip(slices_of(&slice)) {
            assert!(part.start <= window.start && window.start < window.end && window.end == part.end);
            offsets.insert((window.start - part.start).num_seconds());
        }
    }
    assert!(offsets.len() >= 7, "{offsets:?}");
}

fn slices_of(slice: &Period) -> impl Iterator<Item = Period> {
    slices(*slice, WINDOWS)
}

fn stratum(worst: Option<Level>, count: usize, is_near: bool) -> Stratum {
    let ids = (0..count).map(|n| (Tie::Trace, format!("{count}-{n:05}"))).collect();
    Stratum { worst, windows: vec![hour()], weight: 1.0, ids, is_near, chosen: BTreeSet::new() }
}

#[test]
fn of_each_part_of_time_about_as_many_requests_are_chosen_and_more_near_the_opening() {
    let strata = [
        stratum(None, 900, false),
        stratum(None, 3, false),
        stratum(None, 901, true),
        stratum(Some(Level::Warn), 7, true),
    ];
    let chosen = chosen(&strata, false, 203);
    let of = |n: usize| chosen.intersection(&strata[n].ids).count();
    assert_eq!([of(0), of(1), of(2), of(3)], [50, 3, 150, 0]);
    assert!(chosen.len() <= 203);
    let all = super::chosen(&strata, true, 203);
    assert_eq!(all.len(), 7);
}

#[test]
fn large_events_are_read_in_smaller_numbers() {
    let bounds = Bounds { bytes: 1 << 20, ..Bounds::default() };
    let mut sample = Sample::of(hour(), hour().end, bounds);
    assert_eq!(sample.limit(0), 500);
    for n in 0..600_u64 {
        let text = "x".repeat(3_000);
        let Seen { mut event, .. } = seen(1, json!({"tags": {"body": text}}));
        event.id = EventId::from(uuid::Uuid::from_u128(u128::from(n)));
        sample.take(event, 1.0);
    }
    assert_eq!(sample.limit(30), 40, "the rest of the slices is read as well");
}

#[cfg(feature = "sqlite")]
mod stored {
    use super::*;
    use crate::analysis::explain::{Explanation, explain};
    use crate::analysis::input::Input;
    use crate::analysis::planted::{CASES, Size, plant};
    use crate::analysis::tests::input;
    use crate::model::FindingKind;
    use crate::store::events::EventStore as _;
    use crate::store::{AsConnection as _, Context};

    /// So little that a calm shop is a busy service.
    fn little() -> Bounds {
        Bounds {
            events_per_slice: 60,
            problems_per_slice: 12,
            bad_requests: 200,
            good_requests: 300,
            request_events: 4_000,
            ..Bounds::default()
        }
    }

    async fn sampled(input: &Input) -> (Vec<Seen>, AnalysisCost) {
        let pool = Pool::open("sqlite::memory:", Context::shared_default().clone()).unwrap();
        pool.migrate().await.unwrap();
        {
            let mut connection = pool.acquire(Access::Write).await.unwrap();
            let mut connection = connection.as_connection();
            let mut transaction = connection.begin().await.unwrap();
            let events: Vec<Event> = input.events.iter().map(|seen| seen.event.clone()).collect();
            transaction.store().insert_events(&events).await.unwrap();
            transaction.commit().await.unwrap();
        }
        let mut cost = AnalysisCost::default();
        let events = events(&pool, input.span, &little(), &mut cost).await.unwrap();
        pool.close().await;
        (events, cost)
    }

    #[tokio::test]
    async fn what_empty_slices_leave_over_is_for_later_ones() {
        let at = |second: i64| seen(second, json!({"trace_id": format!("t{second}"), "message": "done"}));
        let mut planted = input(plant(CASES[0].fault, Size::Small, 1));
        planted.span = hour();
        planted.events = (3_300..3_600).flat_map(|second| vec![at(second); 8]).collect();
        for (n, one) in planted.events.iter_mut().enumerate() {
            one.event.id = EventId::from(uuid::Uuid::from_u128(n as u128 + 1));
        }
        let (read, cost) = sampled(&planted).await;
        assert_eq!(
            (read.len(), cost.events_estimated),
            (2_400, 2_400),
            "480 a minute, and 60 for each of an hour"
        );
        assert!(read.iter().all(|seen| seen.weight == 1.0 && seen.request_weight == 1.0));
        assert_eq!(cost.notes, [""; 0]);
    }

    async fn explained(name: &str, seed: u64) -> (Explanation, Input) {
        let case = CASES.iter().find(|case| case.name == name).unwrap();
        let mut input = input(plant(case.fault, Size::Medium, seed));
        let (events, cost) = sampled(&input).await;
        assert!(events.len() * 2 < input.events.len(), "{} of {}", events.len(), input.events.len());
        assert!(cost.notes.iter().any(|note| note.contains("sampled")), "{cost:?}");
        input.events = events;
        (explain(&input), input)
    }

    #[tokio::test]
    async fn a_sample_stands_for_what_there_was() {
        let case = CASES.iter().find(|case| case.name == "one bad region").unwrap();
        let all = input(plant(case.fault, Size::Medium, 31));
        let (seen, cost) = sampled(&all).await;
        let axis = crate::analysis::input::Axis::of(all.span);
        let of = |events: &[Seen]| {
            let requests = crate::analysis::requests::Requests::outlined(events, &axis, axis.count / 2);
            let sum = |is: fn(&crate::analysis::requests::Request) -> bool| -> f64 {
                requests.all.iter().filter(|one| one.is_known && is(one)).map(|one| one.weight).sum()
            };
            [sum(|_| true), sum(|one| one.is_failing), sum(|one| !one.is_failing && one.events.len() > 3)]
        };
        for (sampled, there) in of(&seen).iter().zip(of(&all.events)) {
            assert!((0.75..1.3).contains(&(sampled / there)), "{sampled} for {there}");
        }
        let there = all.events.len() as f64;
        assert!((0.75..1.3).contains(&(cost.events_estimated as f64 / there)), "{cost:?} of {there}");
        // Of each request that counts, all was read.
        let mut left: std::collections::HashMap<&str, i64> = std::collections::HashMap::new();
        for event in all.events.iter().map(|seen| &seen.event) {
            *left.entry(event.trace_id.as_deref().unwrap_or_default()).or_default() += 1;
        }
        for seen in seen.iter().filter(|seen| seen.request_weight > 1.0) {
            if let Some(trace) = &seen.event.trace_id {
                *left.get_mut(&**trace).unwrap() -= 1;
            }
        }
        let whole = seen
            .iter()
            .filter(|seen| seen.request_weight > 1.0)
            .filter_map(|seen| seen.event.trace_id.as_deref());
        assert!(whole.clone().count() > 500);
        assert!(whole.clone().all(|trace| left[trace] == 0), "a request is known in part");
    }

    #[tokio::test]
    async fn noise_that_is_sampled_is_noise() {
        for seed in 40..43 {
            let (explanation, _) = explained("noise", seed).await;
            assert!(explanation.findings.is_empty(), "{seed}: {:#?}", explanation.findings);
        }
    }

    #[tokio::test]
    async fn causes_are_named_from_a_sample() {
        for (name, seed) in [
            ("one bad region", 51),
            ("slow dependency", 52),
            ("missing heartbeat", 53),
            ("bad deployment", 54),
        ] {
            let case = CASES.iter().find(|case| case.name == name).unwrap();
            let (explanation, _) = explained(name, seed).await;
            let first = explanation.findings.first().map_or("-", |first| &first.summary);
            assert!(case.is_named_in(first), "{name}: {first}");
        }
    }

    #[tokio::test]
    async fn what_fails_evenly_is_put_on_no_tag() {
        for seed in 60..62 {
            let (explanation, _) = explained("everything fails now and then", seed).await;
            let on_tags = explanation.findings.iter().find(|finding| finding.kind == FindingKind::Tags);
            assert!(on_tags.is_none(), "{seed}: {on_tags:#?}");
            assert!(explanation.onset.is_some(), "{seed}: it has an onset");
        }
    }
}
