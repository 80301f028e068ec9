//! What of a secret may stand in what a server says.
//!
//! Servers repeat what they were asked: the path of a request, decoded or not, a part of it, a value of its
//! query, what a header held. Whoever reads what went wrong must not read the address of a webhook in it.

use std::collections::BTreeSet;

use serde_json::Value;
use url::Url;

use crate::model::ReachableReceiver;

/// Characters of a part that is looked for by itself. Shorter ones are words that stand everywhere.
const PART_CHARS_MIN: usize = 6;

/// What must not stand in any text about a receiver, the longest first.
pub(super) fn secrets_of(receiver: &ReachableReceiver) -> Vec<String> {
    let config = receiver.secrets.restored(&receiver.receiver.config);
    let text = |field: &str| config.get(field).and_then(Value::as_str);
    let credentials = text("username").zip(text("password"));
    let header = credentials.map(|(user, password)| base64(format!("{user}:{password}").as_bytes()));
    let mut secrets = receiver.secrets.texts();
    secrets.extend(header.as_deref());
    secret_parts(&secrets)
}

/// The texts to keep out, the longest first.
pub(super) fn secret_parts(secrets: &[&str]) -> Vec<String> {
    let mut parts: BTreeSet<String> = BTreeSet::new();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        parts.insert((*secret).to_owned());
        if let Ok(url) = Url::parse(secret) {
            parts.extend(parts_of(&url));
        }
    }
    let mut parts: Vec<_> = parts.into_iter().collect();
    parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
    parts
}

fn parts_of(url: &Url) -> Vec<String> {
    let path = url.path();
    let mut parts = vec![url.as_str().to_owned()];
    let target = url.query().map(|query| format!("{path}?{query}"));
    parts.extend(target);
    parts.push(path.to_owned());
    parts.extend(path.split('/').map(ToOwned::to_owned));
    for (_, value) in url.query().into_iter().flat_map(|query| query.split('&')).map(pair) {
        parts.push(value.to_owned());
    }
    parts.extend(url.fragment().map(ToOwned::to_owned));
    let decoded: Vec<_> = parts.iter().map(|part| decoded(part)).collect();
    parts.extend(decoded);
    parts.retain(|part| part.chars().count() >= PART_CHARS_MIN);
    parts
}

fn pair(text: &str) -> (&str, &str) {
    text.split_once('=').unwrap_or(("", text))
}

/// As credentials stand in a header.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut three = [0; 3];
        three[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for place in 0..=chunk.len() {
            text.push(char::from(DIGITS[(bits >> (18 - 6 * place) & 63) as usize]));
        }
    }
    // The padding is no secret.
    text
}

/// The text with its `%41` resolved.
fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let code = digits.filter(|_| *first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_repeat_an_address_is_known() {
        let parts =
            secret_parts(&["https://hooks.example/services/T0%2FPSECRET/gr\u{fc}n-hook?key=K3YSECRET&x=1"]);
        for part in [
            "/services/T0%2FPSECRET/gr%C3%BCn-hook?key=K3YSECRET&x=1",
            "/services/T0%2FPSECRET/gr%C3%BCn-hook",
            "T0%2FPSECRET",
            "T0/PSECRET",
            "gr\u{fc}n-hook",
            "K3YSECRET",
        ] {
            assert!(parts.iter().any(|known| known == part), "{part} in {parts:?}");
        }
        assert!(parts.iter().all(|part| part.len() >= PART_CHARS_MIN));
        assert!(
            parts.is_sorted_by_key(|part| std::cmp::Reverse(part.len())),
            "a whole goes before its parts"
        );
    }

    #[test]
    fn credentials_are_known_as_a_header_has_them() {
        assert_eq!(base64(b"Aladdin:open sesame"), "QWxhZGRpbjpvcGVuIHNlc2FtZQ");
        assert_eq!((base64(b"a:bc"), base64(b"")), ("YTpiYw".to_owned(), String::new()));
    }

    #[test]
    fn what_is_no_address_is_kept_out_whole() {
        assert_eq!(secret_parts(&["hush", ""]), ["hush"]);
    }
}
