//! How large JSON is, without making it, and how deep.
//!
//! Values may come from code, where nothing bounds their depth. So what looks at one that was not
//! checked before never follows it further down than it has to: a stack is soon full.

use std::io;

use serde::Serialize;
use serde_json::{Map, Value};

use super::cut_in_place;

/// Containers within each other that a payload may have, itself counted. Whoever reads JSON stops
/// somewhere, `serde_json` at 127, so what is deeper could be stored but never be read back.
pub(super) const LEVELS_MAX: usize = 64;
/// How much of a container that does not fit is kept as text. Writing it goes no deeper than it is
/// long.
const TEXT_BYTES_MAX: usize = 512;

/// Bytes of a value as JSON.
pub(super) fn json_bytes(value: &impl Serialize) -> usize {
    let mut counted = Counted(0);
    serde_json::to_writer(&mut counted, value).map_or(usize::MAX, |()| counted.0)
}

/// More bytes than the map has as JSON, or just as many; much cheaper to know.
pub(super) fn json_bytes_max(map: &Map<String, Value>) -> usize {
    map.iter().fold(2, |bytes, (key, value)| bytes + 2 + text_bytes_max(key) + value_bytes_max(value))
}

fn value_bytes_max(value: &Value) -> usize {
    /// `-2.2250738585072014e-308` is the longest number.
    const NUMBER: usize = 24;

    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => NUMBER,
        Value::String(text) => text_bytes_max(text),
        Value::Array(items) => items.iter().fold(2, |bytes, item| bytes + 1 + value_bytes_max(item)),
        Value::Object(map) => json_bytes_max(map),
    }
}

/// A control character becomes six: `\u0001`.
fn text_bytes_max(text: &str) -> usize {
    2 + 6 * text.len()
}

/// Whether no more than so many levels of containers lie within each other.
pub(super) fn is_within_levels(value: &Value, max: usize) -> bool {
    match value {
        Value::Array(items) => max > 0 && items.iter().all(|item| is_within_levels(item, max - 1)),
        Value::Object(map) => max > 0 && map.values().all(|value| is_within_levels(value, max - 1)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

/// Replaces the containers below so many levels by texts. True if there were any.
pub(super) fn flatten(value: &mut Value, levels_max: usize) -> bool {
    let flatten_in = |was_cut, value: &mut Value| flatten(value, levels_max - 1) | was_cut;
    match value {
        Value::Array(_) | Value::Object(_) if levels_max == 0 => {
            let text = Value::String(json_text(value));
            dismantle(std::mem::replace(value, text));
            true
        }
        Value::Array(items) => items.iter_mut().fold(false, flatten_in),
        Value::Object(map) => map.values_mut().fold(false, flatten_in),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// A value as JSON, cut if it is long.
pub(super) fn json_text(value: &Value) -> String {
    let mut start = Start(Vec::new());
    let is_whole = serde_json::to_writer(&mut start, value).is_ok();
    let mut text = String::from_utf8_lossy(&start.0).into_owned();
    if !is_whole {
        let chars = text.chars().count();
        text.push('.'); // one character more than there may be
        cut_in_place(&mut text, chars);
    }
    text
}

/// Drops a value level by level, since dropping it as a whole is recursive.
pub(super) fn dismantle(value: Value) {
    let mut left = vec![value];
    while let Some(value) = left.pop() {
        match value {
            Value::Array(items) => left.extend(items),
            Value::Object(map) => left.extend(map.into_iter().map(|(_, value)| value)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

/// Takes as much as it has room for, then fails.
struct Start(Vec<u8>);

impl io::Write for Start {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = TEXT_BYTES_MAX - self.0.len();
        let taken = &bytes[..bytes.len().min(room)];
        self.0.extend_from_slice(taken);
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Counted(usize);

impl io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values() -> impl Strategy<Value = Value> {
        let number = prop_oneof![any::<i64>().prop_map(Value::from), any::<f64>().prop_map(Value::from)];
        let leaf = prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), number, texts()];
        leaf.prop_recursive(3, 20, 4, |inner| {
            let items = prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from);
            prop_oneof![items, maps(inner).prop_map(Value::Object)]
        })
    }

    fn texts() -> impl Strategy<Value = Value> {
        prop_oneof![any::<String>(), "[\\x00-\\x1f\"\\\\]{0,10}"].prop_map(Value::from)
    }

    fn maps(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
        prop::collection::btree_map(any::<String>(), value, 0..4).prop_map(|map| map.into_iter().collect())
    }

    /// One container within another, so many times.
    fn nested(levels: usize) -> Value {
        (0..levels).fold(Value::from("core"), |inner, level| match level % 2 {
            0 => Value::from(vec![inner]),
            _ => Value::Object([("k".to_owned(), inner)].into_iter().collect()),
        })
    }

    #[test]
    fn levels_are_counted_to_the_bound_and_no_further() {
        assert!(is_within_levels(&nested(0), 0));
        assert!(is_within_levels(&nested(5), 5));
        assert!(!is_within_levels(&nested(5), 4));
    }

    #[test]
    fn what_lies_too_deep_becomes_text() {
        let mut value = nested(5);
        assert!(!flatten(&mut value, 5));
        assert_eq!(value, nested(5));
        assert!(flatten(&mut value, 2));
        assert_eq!(value, serde_json::json!([{"k": r#"[{"k":["core"]}]"#}]));
        assert!(!flatten(&mut value, 2), "what fits is left alone");
    }

    #[test]
    fn no_depth_fills_the_stack() {
        let mut value = nested(200_001);
        assert!(!is_within_levels(&value, LEVELS_MAX));
        assert!(flatten(&mut value, 1));
        let text = value[0].as_str().unwrap();
        assert!(text.starts_with(r#"{"k":[{"k":["#) && text.ends_with('…') && text.len() < 520, "{text}");
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        let text = json_text(&Value::from("ä".repeat(400)));
        assert!(text.starts_with("\"ää") && text.ends_with("ä…"), "{text}");
    }

    proptest! {
        #[test]
        fn json_is_as_large_as_counted_and_no_larger_than_guessed(map in maps(values())) {
            let bytes = serde_json::to_vec(&map).unwrap().len();
            prop_assert_eq!(json_bytes(&map), bytes);
            prop_assert!(bytes <= json_bytes_max(&map));
        }
    }
}
