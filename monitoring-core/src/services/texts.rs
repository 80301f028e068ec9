//! What people write: checked, freed of secrets and of what cannot be stored.

use uuid::Uuid;

use crate::model::{Invalid, Limits, check_chars, clean};
use crate::redact::Redactor;
use crate::store::Context;

/// Takes texts one by one and remembers what was wrong with them.
pub(super) struct Texts<'c> {
    redactor: &'c Redactor,
    limits: &'c Limits,
    invalid: Invalid,
}

impl<'c> Texts<'c> {
    pub(super) fn new(context: &'c Context) -> Self {
        Self { redactor: &context.redactor, limits: &context.settings.limits, invalid: Invalid::default() }
    }

    /// One line that must say something.
    pub(super) fn title(&mut self, field: &str, text: &str) -> String {
        self.filled(field, text, self.limits.title_chars_max)
    }

    /// Whose something is: as they call themselves, or the caller's id.
    pub(super) fn author(&mut self, author: Option<String>, actor: Option<Uuid>) -> String {
        let author = author.filter(|author| !author.trim().is_empty());
        let author = author.or_else(|| actor.map(|actor| actor.to_string())).unwrap_or_default();
        self.title("author", &author)
    }

    /// As much as a message may hold, and it must say something.
    pub(super) fn body(&mut self, field: &str, text: &str) -> String {
        self.filled(field, text, self.limits.message_chars_max)
    }

    /// As much as a message may hold, or nothing.
    pub(super) fn optional(&mut self, field: &str, text: Option<String>) -> Option<String> {
        let text = text?;
        check_chars(field, &text, self.limits.message_chars_max, &mut self.invalid);
        Some(tidy(self.redactor, &text))
    }

    fn filled(&mut self, field: &str, text: &str, chars_max: usize) -> String {
        let text = text.trim();
        if text.is_empty() {
            self.invalid.push(field, "must not be empty");
        }
        check_chars(field, text, chars_max, &mut self.invalid);
        tidy(self.redactor, text)
    }

    /// `Ok` if nothing was wrong.
    pub(super) fn finish(self) -> Result<(), Invalid> {
        self.invalid.or(())
    }
}

/// The text without secrets and NUL.
pub(super) fn tidy(redactor: &Redactor, text: &str) -> String {
    let mut text = redactor.text(text).into_owned();
    clean(&mut text);
    text
}
