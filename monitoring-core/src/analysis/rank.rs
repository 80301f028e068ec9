//! One list of findings, the most telling first.
//!
//! Several analyses often see the same thing from different sides: a tag, a span and a message of one
//! faulty dependency. What is about the same requests, or names the same thing, is one story and one
//! finding. A deployment or a shift of traffic explains trouble; without any it is no finding.

use std::collections::BTreeSet;

use super::candidate::Candidate;
use crate::model::{Finding, FindingKind};

/// Findings shown.
const FINDINGS_MAX: usize = 10;
/// What scores less does not stand out.
const SCORE_MIN: f64 = 0.3;
/// Pieces of evidence of one finding.
const EVIDENCE_MAX: usize = 12;
/// Things named in one sentence beside the first.
const NAMED_MAX: usize = 3;
/// What of the requests of two stories is common if they are one.
const OVERLAP_MIN: f64 = 0.5;

/// A story and those that tell it.
struct Story {
    lead: Candidate,
    others: Vec<Candidate>,
}

impl Story {
    /// What has no requests to be known by may belong to whatever tells the story.
    fn tells_of(&self, candidate: &Candidate) -> bool {
        let is_wide = matches!(candidate.kind, FindingKind::Series | FindingKind::Change);
        is_same(&self.lead, candidate)
            || (is_wide && self.others.iter().any(|other| is_same(other, candidate)))
    }
}

/// Ranks what was found.
pub(super) fn ranked(mut candidates: Vec<Candidate>) -> (Vec<Finding>, Vec<String>) {
    candidates.retain(|candidate| candidate.score >= SCORE_MIN);
    if !candidates.iter().any(|candidate| candidate.is_trouble) {
        return (Vec::new(), Vec::new());
    }
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.summary.cmp(&b.summary)));
    let mut stories: Vec<Story> = Vec::new();
    for candidate in candidates {
        match stories.iter_mut().find(|story| story.tells_of(&candidate)) {
            Some(story) => story.others.push(candidate),
            None => stories.push(Story { lead: candidate, others: Vec::new() }),
        }
    }
    stories.truncate(FINDINGS_MAX);
    let signature = stories.iter().take(3).flat_map(signature).collect::<BTreeSet<_>>();
    let mut findings: Vec<Finding> = stories.into_iter().map(finding).collect();
    findings.sort_by(|a, b| b.score.total_cmp(&a.score));
    (findings, signature.into_iter().collect())
}

/// Whether two candidates tell the same story.
fn is_same(one: &Candidate, other: &Candidate) -> bool {
    let related = |kind| matches!(kind, FindingKind::Past | FindingKind::Related);
    if related(one.kind) || related(other.kind) {
        return false;
    }
    if !one.requests.is_empty() && !other.requests.is_empty() {
        let common = one.requests.intersection(&other.requests).count() as f64;
        let (fewer, more) = {
            let (a, b) = (one.requests.len() as f64, other.requests.len() as f64);
            (a.min(b), a.max(b))
        };
        if common >= OVERLAP_MIN * more || (common >= 0.8 * fewer && fewer >= 0.2 * more) {
            return true;
        }
    }
    // Places and words join what has no requests to be known by.
    let is_wide = |kind| matches!(kind, FindingKind::Series | FindingKind::Change);
    let joins = |about: &String| {
        let is_vague = about.starts_with("place ") || about.starts_with("word ");
        !is_vague || is_wide(one.kind) || is_wide(other.kind)
    };
    one.about.intersection(&other.about).any(joins)
}

fn signature(story: &Story) -> Vec<String> {
    let all = std::iter::once(&story.lead).chain(story.others.iter().take(NAMED_MAX));
    all.filter(|one| one.is_trouble)
        .flat_map(|one| {
            one.evidence.first().map(|evidence| format!("{}:{}", evidence.kind, evidence.subject))
        })
        .collect()
}

fn finding(story: Story) -> Finding {
    let Story { lead, others } = story;
    let mut named: Vec<&Candidate> = Vec::new();
    // One of each kind first: they say different things.
    for other in &others {
        if other.kind != lead.kind && named.iter().all(|one| one.kind != other.kind) {
            named.push(other);
        }
    }
    for other in &others {
        if named.len() < NAMED_MAX && !named.iter().any(|one| std::ptr::eq(*one, other)) {
            named.push(other);
        }
    }
    named.truncate(NAMED_MAX);
    let with: Vec<&str> = named.iter().map(|one| one.short.as_str()).collect();
    let summary = match with.as_slice() {
        [] => format!("{}.", lead.summary),
        with => format!("{}; with it: {}.", lead.summary, with.join("; ")),
    };
    let onset = std::iter::once(&lead).chain(&others).filter_map(|one| one.onset).min();
    // Several who see the same are more certain than one.
    let kinds: BTreeSet<FindingKind> =
        others.iter().map(|one| one.kind).filter(|kind| *kind != lead.kind).collect();
    let score = lead.score + (1.0 - lead.score) * 0.15 * kinds.len().min(3) as f64;
    let mut evidence = lead.evidence;
    evidence.extend(others.into_iter().flat_map(|one| one.evidence));
    evidence.truncate(EVIDENCE_MAX);
    let rounded = |value: f64| (value * 1e4).round() / 1e4;
    Finding {
        kind: lead.kind,
        score: rounded(score.min(1.0)),
        p_value: lead.p_value,
        effect: lead.effect.map(rounded),
        onset,
        summary,
        evidence,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(kind: FindingKind, score: f64, name: &str, requests: std::ops::Range<usize>) -> Candidate {
        Candidate {
            kind,
            score,
            p_value: None,
            effect: None,
            onset: None,
            summary: format!("{name} changed"),
            short: name.to_owned(),
            evidence: Vec::new(),
            requests: requests.collect(),
            about: BTreeSet::new(),
            is_trouble: !matches!(kind, FindingKind::Change | FindingKind::Traffic),
        }
    }

    fn summaries(candidates: Vec<Candidate>) -> Vec<String> {
        ranked(candidates).0.into_iter().map(|finding| finding.summary).collect()
    }

    #[test]
    fn what_is_about_the_same_requests_is_one_story() {
        let told = summaries(vec![
            candidate(FindingKind::Template, 0.6, "timeout", 0..90),
            candidate(FindingKind::Tags, 0.8, "region=eu", 5..95),
            candidate(FindingKind::Span, 0.7, "charge", 500..600),
        ]);
        assert_eq!(told, ["region=eu changed; with it: timeout.", "charge changed."]);
    }

    #[test]
    fn several_who_see_the_same_count_for_more() {
        let told = summaries(vec![
            candidate(FindingKind::Tags, 0.7, "a", 0..90),
            candidate(FindingKind::Template, 0.5, "b", 0..90),
            candidate(FindingKind::Tags, 0.72, "c", 200..300),
        ]);
        assert_eq!(told, ["a changed; with it: b.", "c changed."]);
    }

    #[test]
    fn without_trouble_there_is_no_finding() {
        let change = || candidate(FindingKind::Change, 0.9, "deployed", 0..0);
        assert!(summaries(vec![change(), candidate(FindingKind::Traffic, 0.8, "t1", 0..9)]).is_empty());
        assert!(summaries(vec![candidate(FindingKind::Tags, 0.2, "weak", 0..9)]).is_empty());
        assert_eq!(summaries(vec![change(), candidate(FindingKind::Tags, 0.5, "a", 0..9)]).len(), 2);
    }

    #[test]
    fn a_series_joins_a_story_by_its_place_and_other_things_do_not() {
        let at_search = |mut candidate: Candidate| {
            candidate.about.insert("place search".to_owned());
            candidate
        };
        let span = || at_search(candidate(FindingKind::Span, 0.8, "select", 0..9));
        let series = at_search(candidate(FindingKind::Series, 0.5, "cpu", 0..0));
        assert_eq!(summaries(vec![span(), series]), ["select changed; with it: cpu."]);
        let template = at_search(candidate(FindingKind::Template, 0.5, "other", 50..60));
        assert_eq!(summaries(vec![span(), template]).len(), 2);
    }
}
