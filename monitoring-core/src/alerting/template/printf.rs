//! `printf` of Go's `fmt`, for the verbs a text for people needs.

use super::numbers::{fixed, scientific, shortest, significant};
use super::value::Value;

/// A width or a precision; more would only fill memory.
const WIDTH_MAX: usize = 1_000;

/// One verb with its flags.
#[derive(Debug, Default)]
struct Verb {
    is_left: bool,
    is_signed: bool,
    is_zero_padded: bool,
    has_space: bool,
    width: usize,
    precision: Option<usize>,
}

/// The text `format` makes of the values. What does not fit is marked in the text, as Go does it.
pub(super) fn printf(format: &str, values: &[Value]) -> String {
    let mut text = String::new();
    let mut values = values.iter();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        let verb = Verb::read(&mut chars);
        match chars.next() {
            None => text.push_str("%!(NOVERB)"),
            Some('%') => text.push('%'),
            Some(letter) => match values.next() {
                Some(value) => text.push_str(&verb.show(letter, value)),
                None => text.push_str(&format!("%!{letter}(MISSING)")),
            },
        }
    }
    let extra: Vec<_> = values.map(|value| format!("{}={value}", value.kind())).collect();
    if !extra.is_empty() {
        text.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    text
}

impl Verb {
    fn read(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Self {
        let mut verb = Self::default();
        while let Some(flag) = chars.next_if(|c| "-+0 #".contains(*c)) {
            match flag {
                '-' => verb.is_left = true,
                '+' => verb.is_signed = true,
                '0' => verb.is_zero_padded = true,
                ' ' => verb.has_space = true,
                _ => {} // `#` asks for a Go syntax that nobody reads.
            }
        }
        verb.width = number(chars).unwrap_or(0);
        if chars.next_if_eq(&'.').is_some() {
            verb.precision = Some(number(chars).unwrap_or(0));
        }
        verb
    }

    fn show(&self, letter: char, value: &Value) -> String {
        let shown = match (letter, value) {
            ('v', Value::Float(number)) => {
                let text =
                    self.precision.map_or_else(|| shortest(*number), |digits| significant(*number, digits));
                self.signed(text)
            }
            ('v' | 'd', Value::Integer(number)) => self.signed(number.to_string()),
            ('v' | 's', value @ (Value::Text(_) | Value::List(_) | Value::Labels(_) | Value::Map(_)))
            | ('v', value) => self.cut(value.to_string()),
            ('t', Value::Bool(is_true)) => is_true.to_string(),
            ('q', Value::Text(text)) => format!("{:?}", self.cut(text.clone())),
            ('x', Value::Integer(number)) => format!("{number:x}"),
            ('X', Value::Integer(number)) => format!("{number:X}"),
            ('o', Value::Integer(number)) => format!("{number:o}"),
            ('b', Value::Integer(number)) => format!("{number:b}"),
            ('c', Value::Integer(number)) => {
                u32::try_from(*number).ok().and_then(char::from_u32).unwrap_or('\u{fffd}').to_string()
            }
            ('f' | 'F', Value::Float(number)) => self.signed(fixed(*number, self.precision.unwrap_or(6))),
            ('e', Value::Float(number)) => self.signed(scientific(*number, self.precision.unwrap_or(6))),
            ('g', Value::Float(number)) => {
                let text =
                    self.precision.map_or_else(|| shortest(*number), |digits| significant(*number, digits));
                self.signed(text)
            }
            ('T', value) => value.kind().to_owned(),
            (letter, value) => return format!("%!{letter}({}={value})", value.kind()),
        };
        self.padded(shown)
    }

    fn signed(&self, text: String) -> String {
        match text.starts_with(['-', '+']) {
            false if self.is_signed => format!("+{text}"),
            false if self.has_space => format!(" {text}"),
            _ => text,
        }
    }

    /// A precision cuts a text.
    fn cut(&self, text: String) -> String {
        self.precision.map_or(text.clone(), |chars| text.chars().take(chars).collect())
    }

    fn padded(&self, text: String) -> String {
        let missing = self.width.saturating_sub(text.chars().count());
        if self.is_left {
            return text + &" ".repeat(missing);
        }
        if !self.is_zero_padded || text.ends_with("Inf") || text == "NaN" {
            return " ".repeat(missing) + &text;
        }
        let sign = text.len() - text.trim_start_matches(['-', '+', ' ']).len();
        format!("{}{}{}", &text[..sign], "0".repeat(missing), &text[sign..])
    }
}

fn number(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<usize> {
    let mut digits = String::new();
    while let Some(digit) = chars.next_if(char::is_ascii_digit) {
        digits.push(digit);
    }
    digits.parse().ok().map(|number: usize| number.min(WIDTH_MAX))
}
