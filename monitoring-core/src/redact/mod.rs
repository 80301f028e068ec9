//! Removes secrets before anything is queued or stored.
//!
//! Two rules. The value under a telling key is replaced whole: [`keys`] says which keys tell. And
//! inside a text, what looks like a secret is replaced where it stands: `key=value` and
//! `"key": "value"` under a telling key ([`assignments`]), the password of a URL ([`urls`]), card
//! numbers ([`cards`]), and what gives itself away by its form ([`patterns`]).
//!
//! Every event passes here, so a text without secrets must cost next to nothing: one look says
//! which detectors need to look closer ([`hints`]), each of them takes time linear in the text,
//! and nothing is copied unless something was found. Whatever was redacted once stays as it is the second time.

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
use crate::model::{Event, Invalid};
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
        if let Some(message) = &mut event.message {
            self.text_in_place(message);
        }
        self.map(&mut event.tags);
        self.map(&mut event.payload);
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
