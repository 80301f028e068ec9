//! What was found at a place, as candidates: what is lost there, left out or has ended.

use std::collections::BTreeSet;

use super::candidate::{Candidate, EXAMPLES_MAX, clock_time, number, percent};
use super::left_out::LeftOut;
use super::losses::{Loss, Part};
use super::series_ended::Ended;
use super::series_shift::alone_min;
use super::tell::{PLACES, Scene, words};
use crate::model::{Evidence, FindingKind};

impl Scene<'_> {
    pub(super) fn loss(&self, loss: &Loss) -> Candidate {
        let Loss { place: (label, place), share, parts, .. } = loss;
        let subject = |part: &Part| format!("{}{{{label}={place:?}}}", part.labels.value("__name__"));
        let moved = |part: &Part| {
            let verb = if part.after > part.before { "rose" } else { "fell" };
            format!("{} {verb} from {} to {}", subject(part), number(part.before), number(part.after))
        };
        let [first, others @ ..] = parts.as_slice() else { unreachable!("a loss has a part") };
        let also = others.iter().map(|part| format!(", {}", moved(part))).collect::<String>();
        let rank = match *share {
            share if share >= 1.0 => "what is lost there is the most".to_owned(),
            share => format!("what is lost there is {} of the most", percent(share)),
        };
        let summary = format!(
            "{} at {}, {} times what it varies by itself{also}: with {} requests at a time, {rank}",
            moved(first),
            clock_time(self.axis.time(loss.bucket)),
            number(first.distance),
            number(first.requests),
        );
        let mut about: BTreeSet<String> =
            parts.iter().flat_map(|part| words(part.labels.value("__name__"))).collect();
        about.extend([format!("{label}={place}"), format!("place {place}")]);
        let evidence = parts.iter().take(EXAMPLES_MAX).map(|part| Evidence {
            kind: FindingKind::Series,
            subject: part.labels.to_string(),
            before: Some(part.before),
            after: Some(part.after),
            unit: "median".to_owned(),
            p_value: None,
            onset: self.time(loss.bucket),
            tags: part.labels.iter().map(|label| (label.name.to_string(), label.value.to_string())).collect(),
            events: Vec::new(),
            incident_id: None,
        });
        Candidate {
            kind: FindingKind::Series,
            // Where requests are known they tell better where they lose what.
            score: if self.requests.has_known() { 0.25 } else { 0.55 } + 0.3 * share,
            p_value: None,
            effect: Some(first.distance),
            onset: self.time(loss.bucket),
            summary,
            short: moved(first),
            evidence: evidence.collect(),
            requests: BTreeSet::new(),
            about,
            is_trouble: self.is_found || first.distance >= alone_min(loss.among),
        }
    }

    pub(super) fn left_out(&self, left_out: &LeftOut) -> Candidate {
        let LeftOut { source, template, operation, before, after, p_value, .. } = left_out;
        let onset = self.first_of(&left_out.events);
        let score = 0.5 + 0.35 * (after - before);
        Candidate {
            kind: FindingKind::Template,
            score: if left_out.is_explained { score - 0.2 } else { score },
            p_value: Some(*p_value),
            effect: Some(after - before),
            onset,
            summary: format!(
                "{source} leaves out \"{template}\" in {} of the requests with {operation}, before {}",
                percent(*after),
                percent(*before),
            ),
            short: format!("{source} leaves out \"{template}\""),
            evidence: vec![Evidence {
                kind: FindingKind::Template,
                subject: format!("{source}: {template}"),
                before: Some(*before),
                after: Some(*after),
                unit: format!("share of requests with {operation} that lack it"),
                p_value: Some(*p_value),
                onset,
                tags: [("source".to_owned(), source.clone())].into(),
                events: self.ids(left_out.events.iter().copied()),
                incident_id: None,
            }],
            requests: left_out.requests.clone(),
            about: [format!("place {source}"), format!("messages of {source}")].into(),
            is_trouble: true,
        }
    }

    /// Series that ended.
    pub(super) fn ended(&self, ended: &Ended) -> Candidate {
        let (label, value) = &ended.who;
        let time = self.time(ended.bucket);
        let at = clock_time(self.axis.time(ended.bucket));
        let first = ended.series[0].value("__name__");
        let (subject, summary) = match (label.as_str(), ended.series.len()) {
            ("__name__", _) => (value.clone(), format!("the metric {value} ends at {at}")),
            (_, 1) => {
                let subject = format!("{first}{{{label}={value:?}}}");
                let summary = format!("{subject} ends at {at}, and nothing else comes from there");
                (subject, summary)
            }
            (_, count) => (
                format!("{{{label}={value:?}}}"),
                format!("all {count} metrics with {label}={value:?} end at {at}, such as {first}"),
            ),
        };
        let evidence = ended.series.iter().take(EXAMPLES_MAX).map(|labels| Evidence {
            kind: FindingKind::Series,
            subject: labels.to_string(),
            before: None,
            after: None,
            unit: "samples".to_owned(),
            p_value: None,
            onset: time,
            tags: labels.iter().map(|label| (label.name.to_string(), label.value.to_string())).collect(),
            events: Vec::new(),
            incident_id: None,
        });
        let mut about: BTreeSet<String> = [format!("{label}={value}")].into();
        if PLACES.contains(&label.as_str()) {
            about.insert(format!("place {value}"));
        }
        Candidate {
            kind: FindingKind::Series,
            score: 0.5 + 0.03 * ended.series.len().min(5) as f64,
            p_value: None,
            effect: None,
            onset: time,
            short: format!("{subject} ends"),
            summary,
            evidence: evidence.collect(),
            requests: BTreeSet::new(),
            about,
            is_trouble: true,
        }
    }
}
