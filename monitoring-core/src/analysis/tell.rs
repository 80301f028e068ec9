//! What each analysis found, as candidates: with a score and a sentence.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::bubble_up::Common;
use super::candidate::{Candidate, EXAMPLES_MAX, clock_time, number, percent};
use super::changes::{ChangeKind, NearChange};
use super::input::{Axis, Input, Seen};
use super::losses::tells_of_requests;
use super::lost::Lost;
use super::requests::Requests;
use super::series_shift::MetricShift;
use super::spans::{ChangedSpan, Complaint};
use super::templates_changed::{Changed, Fate};
use super::traffic_shift::Shifted;
use crate::model::{EventId, Evidence, FindingKind, Level};
use crate::promql::LabelSet;

/// What the candidates are told against.
pub(super) struct Scene<'s> {
    pub input: &'s Input,
    pub axis: &'s Axis,
    pub requests: &'s Requests,
    /// The first bucket of the incident.
    pub first: usize,
    /// The same by when it was opened.
    pub assumed: usize,
    pub onset: DateTime<Utc>,
    /// Whether failing or slow requests have an onset.
    pub is_found: bool,
    /// Failing and slow requests since.
    pub bad: BTreeSet<usize>,
    /// For each bad request, the event that first tells of a problem.
    pub first_problems: BTreeMap<usize, usize>,
    /// Which part of the bad requests each source works on.
    pub visited: BTreeMap<&'s str, f64>,
}

/// Words of names that say nothing about what they name.
const COMMON_WORDS: [&str; 24] = [
    "total", "seconds", "bytes", "count", "request", "requests", "error", "errors", "http", "server",
    "client", "duration", "failed", "failure", "with", "from", "after", "text", "time", "timeout", "service",
    "value", "current", "usage",
];
/// Labels and tags that say where something is.
pub(super) const PLACES: [&str; 7] = ["service", "source", "app", "component", "job", "service_name", "host"];
/// Metrics that tell again how requests went.
const SYMPTOMS: [&str; 5] =
    ["http_server_request", "http_requests", "http_request", "monitoring_", "http_client_request"];

impl Scene<'_> {
    fn events(&self) -> &[Seen] {
        &self.input.events
    }

    pub(super) fn ids(&self, places: impl Iterator<Item = usize>) -> Vec<EventId> {
        places.take(EXAMPLES_MAX).map(|place| self.events()[place].event.id).collect()
    }

    pub(super) fn time(&self, bucket: usize) -> Option<DateTime<Utc>> {
        Some(self.axis.time(bucket))
    }

    /// Which part of the bad requests these are.
    pub(super) fn part_of_bad(&self, requests: &BTreeSet<usize>) -> f64 {
        if self.bad.is_empty() {
            return 0.0;
        }
        requests.intersection(&self.bad).count() as f64 / self.bad.len() as f64
    }

    fn item(&self, item: u32) -> (&str, &str) {
        let item = &self.requests.items[item as usize];
        (&item.key, &item.value)
    }

    fn tags(&self, items: &[u32]) -> String {
        let all: Vec<_> =
            items.iter().map(|item| self.item(*item)).map(|(k, v)| format!("{k}={v}")).collect();
        all.join(" and ")
    }

    pub(super) fn common(&self, common: &Common, complaint: &str) -> Candidate {
        let subject = self.tags(&common.items);
        let aliases = match common.aliases.as_slice() {
            [] => String::new(),
            aliases => format!(" (the same as {})", self.tags(aliases)),
        };
        let summary = format!(
            "{} of {complaint} requests have {subject}{aliases}, against {} of the others: of those with it {} are {complaint}, before {}",
            percent(common.share_bad),
            percent(common.share_rest),
            percent(common.rate),
            percent(common.rate_before),
        );
        let items: Vec<u32> = common.items.iter().chain(&common.aliases).copied().collect();
        let about = items.iter().map(|item| self.item(*item)).map(|(k, v)| format!("{k}={v}")).collect();
        let mut score = 0.3 + 0.62 * common.effect() * common.coverage.sqrt().max(0.5);
        // Through whom requests pass is less than what they ask for.
        if common.items.iter().all(|item| self.item(*item).0 == "source") {
            score -= 0.12;
        }
        let bad_events = common.bad.iter().filter_map(|request| self.example(*request));
        Candidate {
            kind: FindingKind::Tags,
            score,
            p_value: Some(common.p_value),
            effect: Some(common.effect()),
            onset: self.onset_of(&common.bad),
            short: format!("{subject}{aliases} on {} of {complaint} requests", percent(common.share_bad)),
            evidence: vec![Evidence {
                kind: FindingKind::Tags,
                subject: subject.clone(),
                before: Some(common.rate_before),
                after: Some(common.rate),
                unit: format!("share of {complaint} requests"),
                p_value: Some(common.p_value),
                onset: self.onset_of(&common.bad),
                // Of aliases with the same key the first is told.
                tags: items
                    .iter()
                    .rev()
                    .map(|item| self.item(*item))
                    .map(|(k, v)| (k.into(), v.into()))
                    .collect(),
                events: self.ids(bad_events),
                incident_id: None,
            }],
            summary,
            requests: common.bad.clone(),
            about,
            is_trouble: true,
        }
    }

    /// The event that tells of the problem, or the first of all.
    fn example(&self, request: usize) -> Option<usize> {
        let first = || self.requests.all.get(request)?.events.first().copied();
        self.first_problems.get(&request).copied().or_else(first)
    }

    fn onset_of(&self, requests: &BTreeSet<usize>) -> Option<DateTime<Utc>> {
        let bucket = requests.iter().map(|request| self.requests.all[*request].bucket).min()?;
        self.time(bucket)
    }

    pub(super) fn template(&self, changed: &Changed) -> Candidate {
        let Changed { template, before, after, p_value, .. } = changed;
        let source = &match &changed.instance {
            Some(instance) => format!("{} ({instance})", changed.source),
            None => changed.source.clone(),
        };
        let first = self.first_problems.values().copied().collect::<BTreeSet<_>>();
        let leads = changed.events.iter().filter(|place| first.contains(place)).count() as f64;
        let leads = leads / self.bad.len().max(1) as f64;
        let is_problem = changed.level >= Some(Level::Warn);
        let score = match changed.fate {
            Fate::Stopped => 0.78,
            Fate::Missing => 0.42,
            Fate::New | Fate::Surging => {
                let base = if is_problem { 0.42 } else { 0.32 };
                let news = if changed.fate == Fate::New { 0.05 } else { 0.0 };
                base + news + 0.4 * leads.min(1.0) + 0.06 * self.part_of_bad(&changed.requests)
            }
        };
        let unit = if changed.is_by_clock { "a minute" } else { "for each 1,000 requests" };
        let scale = if changed.is_by_clock { 60.0 / self.axis.seconds() } else { 1_000.0 };
        let (before, after) = (before * scale, after * scale);
        let summary = match changed.fate {
            Fate::New => format!("\"{template}\" of {source} is new: {} {unit}, never before", number(after)),
            Fate::Surging => {
                format!(
                    "\"{template}\" of {source} surges: {} {unit}, before {}",
                    number(after),
                    number(before)
                )
            }
            Fate::Missing | Fate::Stopped => {
                let last = changed.events.last().map(|place| self.events()[*place].event.timestamp);
                let last =
                    last.map_or_else(String::new, |last| format!(", last seen at {}", clock_time(last)));
                format!(
                    "\"{template}\" of {source} is missing: {} {unit}, before {}{last}",
                    number(after),
                    number(before)
                )
            }
        };
        let onset = match changed.fate {
            Fate::New | Fate::Surging => self.first_of(&changed.events),
            Fate::Missing | Fate::Stopped => self.time(changed.bucket),
        };
        let mut about = words(template);
        about.insert(format!("place {}", changed.source));
        if !is_problem {
            about.insert(format!("messages of {}", changed.source));
        }
        let mut tags: BTreeMap<String, String> = [("source".to_owned(), changed.source.clone())].into();
        tags.extend(changed.instance.iter().filter_map(|instance| {
            let (key, value) = instance.split_once('=')?;
            Some((key.to_owned(), value.to_owned()))
        }));
        let examples = match changed.fate {
            Fate::New | Fate::Surging => self.ids(changed.events.iter().copied()),
            Fate::Missing | Fate::Stopped => self.ids(changed.events.iter().rev().copied()),
        };
        Candidate {
            kind: FindingKind::Template,
            score,
            p_value: *p_value,
            effect: None,
            onset,
            summary,
            short: match changed.fate {
                Fate::New => format!("\"{template}\" of {source} is new"),
                Fate::Surging => format!("\"{template}\" of {source} surges"),
                Fate::Missing | Fate::Stopped => format!("\"{template}\" of {source} is missing"),
            },
            evidence: vec![Evidence {
                kind: FindingKind::Template,
                subject: format!("{source}: {template}"),
                before: Some(before),
                after: Some(after),
                unit: format!("messages {unit}"),
                p_value: *p_value,
                onset,
                tags,
                events: examples,
                incident_id: None,
            }],
            requests: changed.requests.intersection(&self.bad).copied().collect(),
            about,
            is_trouble: is_problem || matches!(changed.fate, Fate::Stopped | Fate::Missing),
        }
    }

    pub(super) fn first_of(&self, places: &[usize]) -> Option<DateTime<Utc>> {
        places.iter().map(|place| self.events()[*place].event.timestamp).min()
    }

    pub(super) fn span(&self, span: &ChangedSpan) -> Candidate {
        let ChangedSpan { source, name, before, after, share, p_value, .. } = span;
        let (summary, short, unit) = match span.complaint {
            Complaint::Slow => (
                format!(
                    "the span {name} of {source} takes {} ms by itself, before {} ms: {} of the time lost",
                    number(*after),
                    number(*before),
                    percent(share.clamp(0.0, 1.0)),
                ),
                format!("the span {name} of {source} is slow"),
                "milliseconds of its own",
            ),
            Complaint::Awaited => (
                format!(
                    "calls of {name} of {source} wait {} ms longer than it works, before {} ms: {} of the time lost",
                    number(*after),
                    number(*before),
                    percent(share.clamp(0.0, 1.0)),
                ),
                format!("calls of {name} of {source} wait"),
                "milliseconds of waiting",
            ),
            Complaint::Failing => (
                format!(
                    "the span {name} of {source} fails in {} of all cases, before {}: {} of the failures begin there",
                    percent(*after),
                    percent(*before),
                    percent(*share),
                ),
                format!("the span {name} of {source} fails first"),
                "share that fails",
            ),
        };
        let mut about = words(name);
        about.insert(format!("place {source}"));
        let events = span.events.iter().copied();
        let onset = self.first_of(&span.events);
        Candidate {
            kind: FindingKind::Span,
            score: 0.3 + 0.55 * share.clamp(0.0, 1.0),
            p_value: Some(*p_value),
            effect: Some(after / before.max(1e-3)),
            onset,
            summary,
            short,
            evidence: vec![Evidence {
                kind: FindingKind::Span,
                subject: format!("{source}: {name}"),
                before: Some(*before),
                after: Some(*after),
                unit: unit.to_owned(),
                p_value: Some(*p_value),
                onset,
                tags: [("source".to_owned(), source.clone())].into(),
                events: self.ids(events),
                incident_id: None,
            }],
            requests: span.requests.intersection(&self.bad).copied().collect(),
            about,
            is_trouble: true,
        }
    }

    pub(super) fn series(&self, metric: &MetricShift) -> Candidate {
        let first = &metric.shifts[0];
        let labels: Vec<_> = metric.common.iter().map(|(k, v)| format!("{k}={v:?}")).collect();
        let subject = match labels.as_slice() {
            [] => metric.name.clone(),
            labels => format!("{}{{{}}}", metric.name, labels.join(", ")),
        };
        let (before, after, direction) =
            (first.before, first.after, if first.rises() { "rose" } else { "fell" });
        let bucket = metric.shifts.iter().take(3).map(|shift| shift.bucket).min().unwrap_or(self.first);
        let is_symptom = SYMPTOMS.iter().any(|name| metric.name.starts_with(name))
            || (self.requests.has_known() && tells_of_requests(&metric.name));
        let distance = (first.score / 4.0).ln().clamp(0.0, 3.0) / 3.0;
        let is_early = bucket <= self.first + 1;
        let leads = if self.is_found && is_early && bucket + 20 >= self.first { 0.1 } else { 0.0 };
        let relative = ((after - before).abs() / before.abs().max(1e-9)).min(1.0) * 0.08;
        let mut score = 0.36 + 0.2 * distance + leads + relative;
        if is_symptom {
            score -= 0.2;
        }
        score -= 0.25 * (1.0 - self.linked(metric));
        if !metric.common.is_empty() && metric.of > metric.shifts.len() {
            score += 0.06;
        }
        let mut about = if is_symptom { BTreeSet::new() } else { words(&metric.name) };
        about.extend(metric.common.iter().map(|(k, v)| format!("{k}={v}")));
        let places = metric.common.iter().filter(|(label, _)| PLACES.contains(&label.as_str()));
        about.extend(places.map(|(_, place)| format!("place {place}")));
        let evidence = metric.shifts.iter().take(5).map(|shift| Evidence {
            kind: FindingKind::Series,
            subject: shift.labels.to_string(),
            before: Some(shift.before),
            after: Some(shift.after),
            unit: "median".to_owned(),
            p_value: None,
            onset: self.time(shift.bucket),
            tags: shift
                .labels
                .iter()
                .map(|label| (label.name.to_string(), label.value.to_string()))
                .collect(),
            events: Vec::new(),
            incident_id: None,
        });
        Candidate {
            kind: FindingKind::Series,
            score,
            p_value: None,
            effect: Some(first.score),
            onset: self.time(bucket),
            summary: format!(
                "{subject} {direction} from {} to {} at {}, {} times what it varies by itself",
                number(before),
                number(after),
                clock_time(self.axis.time(bucket)),
                number(first.score),
            ),
            short: format!("{subject} {direction} from {} to {}", number(before), number(after)),
            evidence: evidence.collect(),
            requests: BTreeSet::new(),
            about,
            // Where no request suffers, a series alone must be surer.
            is_trouble: !is_symptom && (self.is_found || metric.stands_alone()),
        }
    }

    /// Which part of the bad requests pass where a metric shifted, if it is about those who work on requests.
    fn linked(&self, metric: &MetricShift) -> f64 {
        let of_metric = |labels: &LabelSet| labels.value("__name__") == metric.name;
        let tells_of_sources = |label: &&str| {
            let mut all = self.input.series.iter().filter(|series| of_metric(&series.labels));
            all.any(|series| self.visited.contains_key(series.labels.value(label)))
        };
        let Some(label) = PLACES.iter().find(|label| tells_of_sources(label)) else { return 1.0 };
        let places = metric.shifts.iter().map(|shift| shift.labels.value(label));
        places.map(|place| self.visited.get(place).copied().unwrap_or(0.0)).fold(0.0, f64::max)
    }

    /// Traffic that was lost.
    pub(super) fn lost(&self, lost: &Lost) -> Candidate {
        let minute = 60.0 / self.axis.seconds();
        let (before, after) = (lost.before * minute, lost.after * minute);
        let (what, subject) = match (&lost.source, lost.is_of_requests) {
            (None, true) => ("hardly any requests come".to_owned(), "all requests".to_owned()),
            (None, false) => ("hardly anything is reported".to_owned(), "all events".to_owned()),
            (Some(source), true) => {
                (format!("hardly any requests reach {source}"), format!("requests of {source}"))
            }
            (Some(source), false) => {
                (format!("{source} hardly reports anything"), format!("events of {source}"))
            }
        };
        let onset = self.time(lost.bucket);
        let at = clock_time(self.axis.time(lost.bucket));
        let source = lost.source.iter();
        Candidate {
            kind: FindingKind::Traffic,
            score: if lost.source.is_none() { 0.8 } else { 0.62 },
            p_value: Some(lost.p_value),
            effect: Some((after - before) / before.max(1e-9)),
            onset,
            summary: format!(
                "{what} any more since {at}: {} a minute, before {}",
                number(after),
                number(before)
            ),
            short: format!("{what} any more"),
            evidence: vec![Evidence {
                kind: FindingKind::Traffic,
                subject,
                before: Some(before),
                after: Some(after),
                unit: "a minute".to_owned(),
                p_value: Some(lost.p_value),
                onset,
                tags: source.clone().map(|source| ("source".to_owned(), source.clone())).collect(),
                events: self.ids(lost.events.iter().rev().copied()),
                incident_id: None,
            }],
            requests: BTreeSet::new(),
            about: source
                .flat_map(|source| [format!("place {source}"), format!("messages of {source}")])
                .collect(),
            is_trouble: true,
        }
    }

    pub(super) fn traffic(&self, shifted: &Shifted) -> Candidate {
        let subject = self.tags(&shifted.items[..1]);
        let aliases = match &shifted.items[1..] {
            [] => String::new(),
            others => format!(" (with {})", self.tags(others)),
        };
        let gap = shifted.bucket.abs_diff(self.first) as f64 * self.axis.seconds() / 600.0;
        let is_near = (-gap).exp();
        let share = shifted.share_after - shifted.share_before;
        let score = if shifted.is_new {
            0.3 + 0.4 * is_near * share.max(self.part_of_bad(&shifted.requests) * 0.8)
        } else {
            0.3 + 0.3 * share + 0.35 * shifted.growth
        };
        let onset = self.time(shifted.bucket);
        let time = clock_time(self.axis.time(shifted.bucket));
        let summary = match shifted.is_new {
            true => format!(
                "{subject}{aliases} is new since {time}, on {} of all requests",
                percent(shifted.share_after)
            ),
            false => format!(
                "{subject}{aliases} sends {} of all requests, before {}: {} times as many as before",
                percent(shifted.share_after),
                percent(shifted.share_before),
                number(shifted.rate_after / shifted.rate_before.max(1e-9)),
            ),
        };
        let about = shifted.items.iter().map(|item| self.item(*item)).map(|(k, v)| format!("{k}={v}"));
        let tags = shifted.items.iter().map(|item| self.item(*item)).map(|(k, v)| (k.into(), v.into()));
        let examples =
            shifted.requests.iter().filter_map(|request| self.requests.all[*request].events.first());
        Candidate {
            kind: FindingKind::Traffic,
            score,
            p_value: Some(shifted.p_value),
            effect: Some(share),
            onset,
            summary,
            short: match shifted.is_new {
                true => format!("{subject} is new"),
                false => format!("{subject} sends {} of all requests", percent(shifted.share_after)),
            },
            evidence: vec![Evidence {
                kind: FindingKind::Traffic,
                subject,
                before: Some(shifted.share_before),
                after: Some(shifted.share_after),
                unit: "share of all requests".to_owned(),
                p_value: Some(shifted.p_value),
                onset,
                tags: tags.collect(),
                events: self.ids(examples.copied()),
                incident_id: None,
            }],
            requests: shifted.requests.intersection(&self.bad).copied().collect(),
            about: about.collect(),
            is_trouble: false,
        }
    }

    pub(super) fn change(&self, change: &NearChange) -> Candidate {
        let event = &self.events()[change.place].event;
        let (what, verb) = match change.kind {
            ChangeKind::Deployment => ("a deployment", "deployed"),
            ChangeKind::Configuration => ("a change of configuration", "changed"),
        };
        let minutes = change.lead.num_seconds() as f64 / 60.0;
        let closeness = (-minutes.max(-0.5 * minutes) / 8.0).exp();
        let link = self.link(change);
        let score = 0.3 + 0.36 * closeness + 0.25 * link;
        let message = event.message.clone().unwrap_or_else(|| what.to_owned());
        let tags: BTreeMap<String, String> = change.about.iter().cloned().collect();
        let named: Vec<_> = change.about.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let when = match minutes {
            minutes if minutes < 0.0 => "just after it began".to_owned(),
            minutes => format!("{} minutes before it began", number(minutes.max(0.1))),
        };
        let summary = format!("{what} by {} {when}: \"{message}\" ({})", event.source, named.join(", "));
        let places = change.about.iter().filter(|(key, _)| PLACES.contains(&key.as_str()));
        let places = places.map(|(_, place)| format!("place {place}"));
        let about = named.iter().cloned().chain(places).filter(|_| link >= 0.5).collect();
        Candidate {
            kind: FindingKind::Change,
            score,
            p_value: None,
            effect: None,
            onset: Some(event.timestamp),
            summary,
            short: format!("{verb}: \"{message}\" at {} ({})", clock_time(event.timestamp), named.join(", ")),
            evidence: vec![Evidence {
                kind: FindingKind::Change,
                subject: message,
                before: None,
                after: Some(minutes),
                unit: "minutes before it began".to_owned(),
                p_value: None,
                onset: Some(event.timestamp),
                tags,
                events: vec![event.id],
                incident_id: None,
            }],
            requests: BTreeSet::new(),
            about,
            is_trouble: false,
        }
    }

    /// How far what was changed is where the problems are: which part of the bad requests name it, or
    /// begin to go wrong there.
    fn link(&self, change: &NearChange) -> f64 {
        if self.bad.is_empty() {
            return 0.0;
        }
        let values: BTreeSet<&str> = change.about.iter().map(|(_, value)| value.as_str()).collect();
        let begins_there = |request: &&usize| {
            let place = self.first_problems.get(*request);
            place.is_some_and(|place| values.contains(self.events()[*place].event.source.as_str()))
        };
        let names_it = |request: &&usize| {
            let items = self.requests.all[**request].items.iter();
            items.map(|item| self.item(*item)).any(|(key, value)| key != "source" && values.contains(value))
        };
        let all = self.bad.len() as f64;
        let begin = self.bad.iter().filter(begins_there).count() as f64 / all;
        let name = self.bad.iter().filter(names_it).count() as f64 / all;
        begin.max(0.7 * name)
    }
}

/// The words of a name or message that may name the same thing elsewhere.
pub(super) fn words(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_ascii_alphabetic())
        .map(str::to_ascii_lowercase)
        .filter(|word| word.len() >= 4 && !COMMON_WORDS.contains(&word.as_str()))
        .map(|word| format!("word {word}"))
        .collect()
}
