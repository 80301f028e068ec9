//! How large JSON is, without making it.

use std::io;

use serde::Serialize;
use serde_json::{Map, Value};

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

    proptest! {
        #[test]
        fn json_is_as_large_as_counted_and_no_larger_than_guessed(map in maps(values())) {
            let bytes = serde_json::to_vec(&map).unwrap().len();
            prop_assert_eq!(json_bytes(&map), bytes);
            prop_assert!(bytes <= json_bytes_max(&map));
        }
    }
}
