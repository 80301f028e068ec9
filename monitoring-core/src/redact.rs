//! Removes secrets before anything is queued or stored.
//!
//! Two rules: the value under a telling key is replaced whole, and what looks like a secret inside
//! a text is replaced where it stands.

use std::borrow::Cow;

use regex::Regex;
use serde_json::{Map, Value};

use crate::config::Redaction;
use crate::model::{Event, Invalid};

/// What stands where a secret stood.
pub(crate) const REDACTED: &str = "[redacted]";

/// The compiled form of [`Redaction`].
#[derive(Debug)]
pub(crate) struct Redactor {
    keys: Vec<String>,
    patterns: Vec<Regex>,
}

impl Redactor {
    /// Compiles the rules.
    pub(crate) fn new(rules: &Redaction) -> Result<Self, Invalid> {
        let mut invalid = Invalid::default();
        let mut patterns = Vec::new();
        for pattern in &rules.patterns {
            match Regex::new(pattern) {
                Ok(regex) => patterns.push(regex),
                Err(error) => invalid.push("redaction.patterns", error.to_string()),
            }
        }
        let keys = rules.keys.iter().map(|key| fold(key)).collect();
        invalid.or(Self { keys, patterns })
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
        let mut text = Cow::Borrowed(text);
        for pattern in &self.patterns {
            if let Cow::Owned(redacted) = pattern.replace_all(&text, REDACTED) {
                text = Cow::Owned(redacted);
            }
        }
        text
    }

    fn text_in_place(&self, text: &mut String) {
        if let Cow::Owned(redacted) = self.text(text) {
            *text = redacted;
        }
    }

    fn map(&self, map: &mut Map<String, Value>) {
        for (key, value) in map {
            if self.is_secret_key(key) {
                *value = Value::String(REDACTED.to_owned());
            } else {
                self.value(value);
            }
        }
    }

    fn value(&self, value: &mut Value) {
        match value {
            Value::String(text) => self.text_in_place(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.value(item)),
            Value::Object(map) => self.map(map),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn is_secret_key(&self, key: &str) -> bool {
        let key = fold(key);
        self.keys.iter().any(|secret| key.contains(secret.as_str()))
    }
}

/// Lower case, letters and digits only.
fn fold(key: &str) -> String {
    key.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}
