//! Which keys tell that their value is secret.
//!
//! A key is read as words, split at punctuation, at a change of case and between letters and
//! digits: `x-api-key`, `apiKey2` and `API_KEY` all hold the words `api key`. A key is telling if
//! it holds the words of a secret name as whole words, written apart or as one, whatever stands
//! before or behind (`db_password`, `password2`, `newPasswordConfirmation`), unless the very next
//! word says that this is about the secret rather than the secret itself (`token_count`,
//! `password_changed_at`). So `pin` is not found in `pinned` or `shipping`, nor `token` in
//! `tokens_used`.

use std::ops::Range;

/// Words behind a secret name that make the value harmless.
const HARMLESS: [&str; 48] = [
    "age",
    "algorithm",
    "at",
    "attempt",
    "attempts",
    "bucket",
    "budget",
    "changed",
    "consent",
    "count",
    "counts",
    "domain",
    "enabled",
    "endpoint",
    "error",
    "errors",
    "exists",
    "expired",
    "expires",
    "expiration",
    "expiry",
    "failed",
    "failures",
    "index",
    "issuer",
    "kind",
    "len",
    "length",
    "limit",
    "max",
    "min",
    "missing",
    "path",
    "policy",
    "present",
    "remaining",
    "required",
    "reset",
    "rotated",
    "scope",
    "size",
    "status",
    "total",
    "ttl",
    "type",
    "usage",
    "used",
    "valid",
];

/// The secret names, lower case, letters and digits only, by their first byte.
#[derive(Debug)]
pub(super) struct SecretKeys {
    names: Vec<Vec<u8>>,
    /// Where in `names` those that begin with a byte are. Few words begin like a secret, and the
    /// others are passed over at once.
    by_first: Box<[Range<usize>; 256]>,
}

impl SecretKeys {
    pub(super) fn new(names: &[String]) -> Self {
        let fold = |name: &String| {
            name.bytes().filter(|b| is_letter(*b)).map(|b| b.to_ascii_lowercase()).collect::<Vec<_>>()
        };
        let mut names: Vec<_> = names.iter().map(fold).filter(|name| !name.is_empty()).collect();
        names.sort_unstable();
        let by_first = std::array::from_fn(|first| {
            let start = names.partition_point(|name| usize::from(name[0]) < first);
            start..names.partition_point(|name| usize::from(name[0]) <= first)
        });
        Self { names, by_first: Box::new(by_first) }
    }

    /// Whether this key tells.
    pub(super) fn contains(&self, key: &str) -> bool {
        let key = key.as_bytes();
        let mut before = b'_';
        for (start, &first) in key.iter().enumerate() {
            // Most letters stand inside a word, which takes no more than a look to see.
            let inside = before.is_ascii_lowercase() && first.is_ascii_lowercase();
            before = first;
            if !inside && self.tells_at(key, start) {
                return true;
            }
        }
        false
    }

    /// Whether a secret name begins at `start`.
    fn tells_at(&self, key: &[u8], start: usize) -> bool {
        let names = &self.by_first[usize::from(key[start].to_ascii_lowercase())];
        !names.is_empty()
            && is_border(key, start)
            && self.names[names.clone()]
                .iter()
                .any(|name| end_of(key, start, name).is_some_and(|end| !is_harmless(&key[end..])))
    }
}

/// Bytes of other alphabets count as letters, so that no border falls inside a character.
fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || !byte.is_ascii()
}

/// Whether a word may start or end before `key[at]`.
fn is_border(key: &[u8], at: usize) -> bool {
    if at == 0 || at == key.len() {
        return true;
    }
    let (before, after) = (key[at - 1], key[at]);
    let starts_capitalised = || key.get(at + 1).is_some_and(u8::is_ascii_lowercase);
    !is_letter(before)
        || !is_letter(after)
        || before.is_ascii_digit() != after.is_ascii_digit()
        || (after.is_ascii_uppercase() && (!before.is_ascii_uppercase() || starts_capitalised()))
}

/// Where `name` ends if it stands at `start` and ends with a word.
fn end_of(key: &[u8], start: usize, name: &[u8]) -> Option<usize> {
    let mut at = start;
    for expected in name {
        while at > start && at < key.len() && !is_letter(key[at]) {
            at += 1;
        }
        if !key.get(at)?.eq_ignore_ascii_case(expected) {
            return None;
        }
        at += 1;
    }
    is_border(key, at).then_some(at)
}

/// Whether the next word of what is left of a key is a harmless one.
fn is_harmless(rest: &[u8]) -> bool {
    let Some(start) = rest.iter().position(|byte| is_letter(*byte)) else { return false };
    let word = &rest[start..];
    let end = (1..word.len()).find(|at| is_border(word, *at)).unwrap_or(word.len());
    HARMLESS.iter().any(|harmless| word[..end].eq_ignore_ascii_case(harmless.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Redaction;

    fn tells(key: &str) -> bool {
        SecretKeys::new(&Redaction::default().keys).contains(key)
    }

    #[test]
    fn spelling_does_not_matter() {
        for key in [
            "api_key",
            "apiKey",
            "x-api-key",
            "APIKEY",
            "API_KEY",
            "X-Api-Key",
            "apikey",
            "API-Key",
            "ApiKey2",
            "my.api.key",
        ] {
            assert!(tells(key), "{key}");
        }
    }

    #[test]
    fn words_around_a_secret_name_do_not_hide_it() {
        for key in [
            "db_password",
            "newPasswordConfirmation",
            "password2",
            "PASSWORD_HASH",
            "client_secret",
            "secretKey",
            "aws_secret_access_key",
            "refreshToken",
            "csrf-token",
            "Set-Cookie",
            "Proxy-Authorization",
            "pin",
            "user.pin",
            "PINCode",
            "sessionId",
            "cardNumber",
            "oauth2token",
            "http.request.header.authorization",
            "credentials",
            "пароль_password",
        ] {
            assert!(tells(key), "{key}");
        }
    }

    #[test]
    fn a_part_of_a_word_tells_nothing() {
        for key in [
            "pinned",
            "shipping",
            "spinning",
            "tokens_used",
            "max_tokens",
            "tokenizer",
            "secretary",
            "cookiecutter",
            "keyboard",
            "mapping",
            "opinion",
            "user_id",
            "message",
            "",
            "_",
            "apis_keys_board",
            "é",
        ] {
            assert!(!tells(key), "{key}");
        }
    }

    #[test]
    fn what_is_about_a_secret_is_none() {
        for key in [
            "token_count",
            "tokenType",
            "token-expires-in",
            "password_changed_at",
            "password_length",
            "secret.rotated.at",
            "cookie_consent",
            "pin_attempts",
            "authorization_status",
        ] {
            assert!(!tells(key), "{key}");
        }
    }
}
