//! Removes secrets before anything is queued or stored.
//!
//! Two rules. The value under a telling key is replaced whole: [`keys`] says which keys tell. And
//! inside a text, what looks like a secret is replaced where it stands: `key=value` and
//! `"key": "value"` under a telling key ([`assignments`]), the password of a URL ([`urls`]), card
//! numbers ([`cards`]), and what gives itself away by its form ([`patterns`]).
//!
//! Every event passes here, so a text without secrets must cost next to nothing: one look says
//! which detectors need to look closer ([`hints`]), each of them takes time linear in the text,
//! and nothing is copied unless something was found. Whatever was redacted once stays as it is the
//! second time.
//!
//! Labels of metrics follow the same two rules. What a label was tells one series from another, so
//! series that differed only in secrets are one series afterwards.

mod assignments;
mod cards;
mod hints;
mod keys;
mod patterns;
mod urls;

use std::borrow::Cow;
use std::ops::Range;

use serde_json::{Map, Value};

use crate::config::Redaction;
use crate::model::{Event, Invalid, Labels, Series};
use hints::Hints;
use keys::SecretKeys;
use patterns::Patterns;

/// What stands where a secret stood.
pub(crate) const REDACTED: &str = "[redacted]";

/// The compiled form of [`Redaction`].
#[derive(Debug)]
pub(crate) struct Redactor {
    keys: SecretKeys,
    patterns: Patterns,
}

impl Redactor {
    /// Compiles the rules.
    ///
    /// # Errors
    ///
    /// A pattern is no regular expression, or matches even the empty text.
    pub(crate) fn new(rules: &Redaction) -> Result<Self, Invalid> {
        Ok(Self { keys: SecretKeys::new(&rules.keys), patterns: Patterns::new(rules)? })
    }

    /// Whether the value under this key is secret.
    pub(crate) fn is_secret_key(&self, key: &str) -> bool {
        self.keys.contains(key)
    }

    /// Removes secrets from everything an event says.
    pub(crate) fn event(&self, event: &mut Event) {
        self.text_in_place(&mut event.source);
        if let Some(message) = &mut event.message {
            self.text_in_place(message);
        }
        let ids = [&mut event.request_id, &mut event.trace_id, &mut event.span_id];
        ids.into_iter().flatten().for_each(|id| self.id(id));
        self.map(&mut event.tags);
        self.map(&mut event.payload);
    }

    /// The series without the secrets in its labels, which makes it another series; `None` if there
    /// are none.
    pub(crate) fn series(&self, series: &Series) -> Option<Series> {
        Some(series.with_labels(self.labels(&series.labels, |_| false)?))
    }

    /// The labels of an exemplar without secrets. Ids are treated as those of events.
    pub(crate) fn exemplar(&self, labels: Labels) -> Labels {
        let is_id = |name: &str| matches!(name, "trace_id" | "span_id" | "request_id");
        self.labels(&labels, is_id).unwrap_or(labels)
    }

    /// The labels without secrets; `None` if there are none.
    fn labels(&self, labels: &Labels, is_id: impl Fn(&str) -> bool) -> Option<Labels> {
        let names_secret =
            ["name", "key"].iter().filter_map(|key| labels.value(key)).any(|named| self.is_secret_key(named));
        let hidden = |(name, value)| {
            let is_secret = self.is_secret_key(name) || (names_secret && name == "value");
            let is_open = is_id(name) && !is_secret && is_plain_id(value);
            if is_open { None } else { Some((name, self.label(is_secret, value)?)) }
        };
        let mut hidden = labels.iter().filter_map(hidden).peekable();
        hidden.peek()?;
        let mut without = labels.clone();
        hidden.for_each(|(name, value)| without.set(name, value));
        Some(without)
    }

    /// What stands in place of a label's value, if it must not stay.
    fn label(&self, is_secret: bool, value: &str) -> Option<String> {
        if !is_secret {
            return match self.text(value) {
                Cow::Owned(redacted) => Some(redacted),
                Cow::Borrowed(_) => None,
            };
        }
        let gives_nothing_away = matches!(value, "true" | "false" | REDACTED);
        (!gives_nothing_away).then(|| REDACTED.to_owned())
    }

    /// Removes secrets from a text.
    pub(crate) fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut spans = Vec::new();
        let hints = Hints::of(text);
        if hints.sign {
            assignments::find(text, &self.keys, &mut spans);
            urls::find(text, &mut spans);
        }
        if hints.digits {
            cards::find(text, &mut spans);
        }
        if hints.form {
            self.patterns.find_forms(text, &mut spans);
        }
        self.patterns.find_chosen(text, &mut spans);
        spans.retain(|span| !span.is_empty() && &text[span.clone()] != REDACTED);
        if spans.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(without(text, spans)) }
    }

    /// Removes secrets from an id. One made of hexadecimal digits and dashes is left alone, however
    /// much it looks like a card's number: people find things by it.
    fn id(&self, id: &mut String) {
        if !is_plain_id(id) {
            self.text_in_place(id);
        }
    }

    fn text_in_place(&self, text: &mut String) {
        if let Cow::Owned(redacted) = self.text(text) {
            *text = redacted;
        }
    }

    fn map(&self, map: &mut Map<String, Value>) {
        let names_secret = self.names_secret(map);
        for (key, value) in map {
            if self.is_secret_key(key) || (names_secret && key == "value") {
                hide(value);
            } else {
                self.value(value);
            }
        }
    }

    /// Whether it is a pair such as `{"name": "password", "value": "…"}`.
    fn names_secret(&self, map: &Map<String, Value>) -> bool {
        map.contains_key("value")
            && ["name", "key"]
                .iter()
                .filter_map(|key| map.get(*key)?.as_str())
                .any(|key| self.is_secret_key(key))
    }

    fn value(&self, value: &mut Value) {
        match value {
            Value::String(text) => self.text_in_place(text),
            Value::Number(number) => {
                if cards::is_card(number) {
                    hide(value);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.value(item)),
            Value::Object(map) => self.map(map),
            Value::Null | Value::Bool(_) => {}
        }
    }
}

/// Whether it is made of hexadecimal digits and dashes.
fn is_plain_id(id: &str) -> bool {
    id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

/// Null, true and false give nothing away: `has_password: true` may stay.
fn hide(value: &mut Value) {
    if !matches!(value, Value::Null | Value::Bool(_)) {
        *value = Value::String(REDACTED.to_owned());
    }
}

/// The text with each span, and what overlaps or touches it, replaced once.
fn without(text: &str, mut spans: Vec<Range<usize>>) -> String {
    spans.sort_unstable_by_key(|span| span.start);
    let mut redacted = String::with_capacity(text.len() + REDACTED.len());
    let mut kept = 0;
    let mut spans = spans.into_iter().peekable();
    while let Some(mut span) = spans.next() {
        while let Some(next) = spans.next_if(|next| next.start <= span.end) {
            span.end = span.end.max(next.end);
        }
        redacted.push_str(&text[kept..span.start]);
        redacted.push_str(REDACTED);
        kept = span.end;
    }
    redacted.push_str(&text[kept..]);
    redacted
}

#[cfg(test)]
mod tests;
