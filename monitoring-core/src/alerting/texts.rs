//! Fills in the texts of a rule: what stands between `{{` and `}}`.

use crate::model::Labels;
use crate::promql::format_value;

/// Whether a text is the same for every result.
pub(crate) fn is_fixed(text: &str) -> bool {
    !text.contains("{{")
}

/// The text with `{{ $value }}` and `{{ $labels.x }}` filled in; whatever else stands in braces is left
/// as it is.
pub(crate) fn expand(text: &str, labels: &Labels, value: f64) -> String {
    if is_fixed(text) {
        return text.to_owned();
    }
    let (mut expanded, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((inside, after)) = after.split_once("}}") else { break };
        expanded.push_str(before);
        match filled(inside.trim(), labels, value) {
            Some(text) => expanded.push_str(&text),
            None => {
                expanded.push_str("{{");
                expanded.push_str(inside);
                expanded.push_str("}}");
            }
        }
        rest = after;
    }
    expanded + rest
}

fn filled(inside: &str, labels: &Labels, value: f64) -> Option<String> {
    match inside {
        "$value" | ".Value" => Some(format_value(value)),
        _ => {
            let name = inside.strip_prefix("$labels.").or_else(|| inside.strip_prefix(".Labels."))?;
            let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            is_name.then(|| labels.value(name).unwrap_or_default().to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_and_labels_are_filled_in() {
        let labels = Labels::from_iter([("route", "/orders")]);
        let text = "{{ $labels.route }} is at {{$value}} {{ .Labels.none }}{{ odd }} {{";
        assert_eq!(expand(text, &labels, 1.5), "/orders is at 1.5 {{ odd }} {{");
    }
}
