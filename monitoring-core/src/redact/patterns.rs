//! Secrets that give themselves away by their form, and the patterns of the host.

use std::ops::Range;

use regex::{Regex, RegexSet};

use crate::config::Redaction;
use crate::model::Invalid;

/// Forms of secrets. What each begins with also stands in [`hints`](super::hints).
///
/// All run in time linear in the text, as everything does in the `regex` crate.
const FORMS: [&str; 9] = [
    // JSON Web Token: base64 of `{"`, a dot, and the rest (RFC 7519).
    r"(?-u)\beyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*){1,4}",
    // Private keys in PEM, also cut off ones, also with `\n` spelled out (RFC 7468).
    r"-----BEGIN [A-Z ]*PRIVATE KEY( BLOCK)?-----(?s:.*?)(?:-----END [A-Z ]*PRIVATE KEY( BLOCK)?-----|\z)",
    // AWS access keys.
    r"(?-u)\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b",
    // GitHub and GitLab.
    r"(?-u)\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,})",
    // Slack.
    r"(?-u)\bxox[abeoprs]-[A-Za-z0-9-]{10,}",
    // Stripe.
    r"(?-u)\b(?:[rs]k_(?:live|test)_|whsec_)[A-Za-z0-9]{10,}",
    // Google.
    r"(?-u)\bAIza[A-Za-z0-9_-]{35}",
    // OpenAI, Anthropic.
    r"(?-u)\bsk-(?:proj-|ant-)?[A-Za-z0-9_-]{20,}",
    // npm, PyPI.
    r"(?-u)\b(?:npm_[A-Za-z0-9]{30,}|pypi-[A-Za-z0-9_-]{30,})",
];
/// `Bearer …` and `Basic …` without the header's name before it. The group is secret if it does
/// not look like a word.
const SCHEME: &str = r"(?i-u)\b(?:bearer|basic)[ \t]+([a-z0-9._~+/=-]{6,})";
const EMAIL: &str =
    r"(?i-u)\b[a-z0-9._%+-]+@[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)+";

/// Compiled once.
#[derive(Debug)]
pub(super) struct Patterns {
    forms: RegexSet,
    each_form: Vec<Regex>,
    scheme: Regex,
    /// What this host wants removed besides.
    chosen: Vec<Regex>,
}

impl Patterns {
    pub(super) fn new(rules: &Redaction) -> Result<Self, Invalid> {
        check(&rules.patterns)?;
        let wrong = |error: regex::Error| Invalid::field("redaction.patterns", error.to_string());
        let email = rules.emails.then_some(EMAIL);
        let chosen = email.into_iter().chain(rules.patterns.iter().map(String::as_str));
        Ok(Self {
            forms: RegexSet::new(FORMS).map_err(wrong)?,
            each_form: FORMS.into_iter().map(Regex::new).collect::<Result<_, _>>().map_err(wrong)?,
            scheme: Regex::new(SCHEME).map_err(wrong)?,
            chosen: chosen.map(Regex::new).collect::<Result<_, _>>().map_err(wrong)?,
        })
    }

    /// Adds where secrets with a form of their own are.
    pub(super) fn find_forms(&self, text: &str, spans: &mut Vec<Range<usize>>) {
        for index in self.forms.matches(text) {
            spans.extend(self.each_form[index].find_iter(text).map(|found| found.range()));
        }
        let groups = self.scheme.captures_iter(text).filter_map(|captures| captures.get(1));
        spans.extend(groups.filter(|group| !is_word(group.as_str())).map(|group| group.range()));
    }

    /// Adds where what this host wants removed is.
    pub(super) fn find_chosen(&self, text: &str, spans: &mut Vec<Range<usize>>) {
        for pattern in &self.chosen {
            spans.extend(pattern.find_iter(text).map(|found| found.range()));
        }
    }
}

/// A pattern that matches the empty text would put a mark between all letters.
fn check(patterns: &[String]) -> Result<(), Invalid> {
    let mut invalid = Invalid::default();
    for pattern in patterns {
        match Regex::new(pattern) {
            Ok(regex) if regex.is_match("") => {
                invalid.push("redaction.patterns", format!("{pattern:?} matches the empty text"));
            }
            Ok(_) => {}
            Err(error) => invalid.push("redaction.patterns", error.to_string()),
        }
    }
    invalid.or(())
}

/// `authentication` or `Auth-scheme`, but neither `dXNlcjpwdw==` nor `s3cr3t`.
fn is_word(text: &str) -> bool {
    let mut bytes = text.trim_end_matches('.').bytes();
    let starts = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic());
    starts && bytes.all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'-' | b'.'))
}
