//! Conditions on an alert's labels, as Alertmanager writes them.
//!
//! Reference: <https://prometheus.io/docs/alerting/latest/configuration/#matcher>.

use std::fmt;
use std::str::FromStr;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How a label's value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MatchOperator {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`: the whole value must match.
    Matches,
    /// `!~`
    MatchesNot,
}

impl MatchOperator {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Matches => "=~",
            Self::MatchesNot => "!~",
        }
    }

    /// By what Alertmanager's API says of it.
    #[must_use]
    pub const fn new(is_regex: bool, is_equal: bool) -> Self {
        match (is_regex, is_equal) {
            (false, true) => Self::Equal,
            (false, false) => Self::NotEqual,
            (true, true) => Self::Matches,
            (true, false) => Self::MatchesNot,
        }
    }

    /// Whether the value is a regular expression.
    #[must_use]
    pub const fn is_regex(self) -> bool {
        matches!(self, Self::Matches | Self::MatchesNot)
    }

    /// Whether it demands a value, instead of refusing one.
    #[must_use]
    pub const fn is_equal(self) -> bool {
        matches!(self, Self::Equal | Self::Matches)
    }
}

/// A condition on one label of an alert. A label that is absent counts as empty.
///
/// As JSON it is written `severity="critical"`; the form of Alertmanager's API, with `name`, `value`,
/// `isRegex` and `isEqual`, is understood as well.
///
/// ```
/// use monitoring_core::AlertMatcher;
///
/// let matcher: AlertMatcher = "severity =~ warning|critical".parse().unwrap();
/// assert_eq!(matcher.to_string(), r#"severity=~"warning|critical""#);
/// let matcher: AlertMatcher = r#""service.name"="shop""#.parse().unwrap();
/// assert_eq!(matcher.name, "service.name");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlertMatcher {
    /// The label's name.
    pub name: String,
    /// How its value is compared.
    pub operator: MatchOperator,
    /// With what.
    pub value: String,
}

impl AlertMatcher {
    /// A condition.
    pub fn new(name: impl Into<String>, operator: MatchOperator, value: impl Into<String>) -> Self {
        Self { name: name.into(), operator, value: value.into() }
    }
}

impl fmt::Display for AlertMatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.contains(is_reserved) || self.name.is_empty() {
            true => quote(f, &self.name)?,
            false => f.write_str(&self.name)?,
        }
        f.write_str(self.operator.as_str())?;
        quote(f, &self.value)
    }
}

/// What a name without quotes has none of, as Alertmanager has it.
fn is_reserved(c: char) -> bool {
    c.is_whitespace() || "{}!=~,\\\"'`".contains(c)
}

fn quote(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            c => write!(f, "{c}")?,
        }
    }
    f.write_str("\"")
}

impl FromStr for AlertMatcher {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no matcher; write it as name=\"value\", with =, !=, =~ or !~");
        let (name, rest) = name_and_rest(text.trim()).ok_or_else(wrong)?;
        let rest = rest.trim_start();
        // The longer ones first.
        let operators = [
            MatchOperator::Matches,
            MatchOperator::MatchesNot,
            MatchOperator::NotEqual,
            MatchOperator::Equal,
        ];
        let found = operators.into_iter().find(|operator| rest.starts_with(operator.as_str()));
        let operator = found.ok_or_else(wrong)?;
        let value = unquoted(rest[operator.as_str().len()..].trim_start()).ok_or_else(wrong)?;
        Ok(Self { name, operator, value })
    }
}

/// The name at the beginning, in quotes or as it stands, and what follows; `None` if there is none.
fn name_and_rest(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(is_reserved).filter(|end| *end > 0)?;
        return Some((text[..end].to_owned(), &text[end..]));
    };
    let mut is_escaped = false;
    let is_end = |(_, c): &(usize, char)| {
        let is_end = *c == '"' && !is_escaped;
        is_escaped = *c == '\\' && !is_escaped;
        is_end
    };
    let (end, _) = quoted.char_indices().find(is_end)?;
    let name = unescaped(&quoted[..end]).filter(|name| !name.is_empty())?;
    Some((name, &quoted[end + 1..]))
}

/// The text between quotes, or as it stands; `None` if there are quotes in the middle.
fn unquoted(text: &str) -> Option<String> {
    let Some(quoted) = text.strip_prefix('"') else { return unescaped(text) };
    let inner = quoted.strip_suffix('"')?;
    // A quote that is escaped ends nothing.
    let backslashes = inner.len() - inner.trim_end_matches('\\').len();
    if backslashes % 2 == 1 { None } else { unescaped(inner) }
}

fn unescaped(text: &str) -> Option<String> {
    let mut value = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('"', _) => return None,
            ('\\', Some('n')) => value.push('\n'),
            ('\\', Some(escaped @ ('"' | '\\'))) => value.push(*escaped),
            _ => {
                value.push(c);
                continue;
            }
        }
        chars.next();
    }
    Some(value)
}

impl Serialize for AlertMatcher {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Either way of writing a matcher.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "a matcher is a text such as severity=\"critical\", or an object with name, value, isRegex and isEqual"
)]
enum Written {
    Text(String),
    #[serde(rename_all = "camelCase")]
    Object {
        name: String,
        value: String,
        #[serde(default)]
        is_regex: bool,
        #[serde(default = "yes")]
        is_equal: bool,
    },
}

fn yes() -> bool {
    true
}

impl Written {
    fn read(self) -> Result<Vec<AlertMatcher>, String> {
        match self {
            Self::Text(text) => parse_matchers(&text),
            Self::Object { name, value, is_regex, is_equal } => {
                Ok(vec![AlertMatcher::new(name, MatchOperator::new(is_regex, is_equal), value)])
            }
        }
    }
}

/// Conditions that must all hold. A text may hold several of them, parted by commas, with or without
/// braces around them.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = Vec<String>))]
#[serde(transparent)]
pub struct AlertMatchers(pub Vec<AlertMatcher>);

impl AlertMatchers {
    /// The conditions, one by one.
    pub fn iter(&self) -> std::slice::Iter<'_, AlertMatcher> {
        self.0.iter()
    }

    /// True without any condition.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<AlertMatcher> for AlertMatchers {
    fn from_iter<I: IntoIterator<Item = AlertMatcher>>(matchers: I) -> Self {
        Self(matchers.into_iter().collect())
    }
}

impl fmt::Display for AlertMatchers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let matchers: Vec<_> = self.iter().map(ToString::to_string).collect();
        write!(f, "{{{}}}", matchers.join(","))
    }
}

impl FromStr for AlertMatchers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse_matchers(text).map(Self)
    }
}

impl<'de> Deserialize<'de> for AlertMatchers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Matchers;

        impl<'de> Visitor<'de> for Matchers {
            type Value = AlertMatchers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of matchers such as [\"severity=\\\"critical\\\"\"]")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut matchers = Vec::new();
                while let Some(written) = items.next_element::<Written>()? {
                    matchers.extend(written.read().map_err(serde::de::Error::custom)?);
                }
                Ok(AlertMatchers(matchers))
            }
        }

        deserializer.deserialize_any(Matchers)
    }
}

/// Matchers parted by commas outside of quotes.
fn parse_matchers(text: &str) -> Result<Vec<AlertMatcher>, String> {
    let text = text.trim();
    let text = text.strip_prefix('{').unwrap_or(text);
    let text = text.strip_suffix('}').unwrap_or(text);
    let (mut is_quoted, mut is_escaped, mut begin) = (false, false, 0);
    let mut parts = Vec::new();
    for (at, c) in text.char_indices() {
        match c {
            ',' if !is_quoted => {
                parts.push(&text[begin..at]);
                begin = at + 1;
            }
            '"' if !is_escaped => is_quoted = !is_quoted,
            _ => {}
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    // A comma at the end is forgiven.
    parts.extend(Some(&text[begin..]).filter(|rest| !rest.trim().is_empty()));
    parts.into_iter().map(str::parse).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn one(text: &str) -> AlertMatcher {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn a_matcher_is_read_as_alertmanager_reads_it() {
        use MatchOperator::{Equal, Matches, MatchesNot, NotEqual};
        for (text, name, operator, value) in [
            ("a=b", "a", Equal, "b"),
            (" a = \"b\" ", "a", Equal, "b"),
            ("a!=\"\"", "a", NotEqual, ""),
            ("a=", "a", Equal, ""),
            ("a=~\"5..\"", "a", Matches, "5.."),
            ("job:x !~ x|y", "job:x", MatchesNot, "x|y"),
            (r#"a="say \"hi\", \\ \n \d""#, "a", Equal, "say \"hi\", \\ \n \\d"),
            (r#""a"="b""#, "a", Equal, "b"),
            (r#" "service.name" =~ x"#, "service.name", Matches, "x"),
            (r#""a\\ \"b\", {c}=d"!="""#, "a\\ \"b\", {c}=d", NotEqual, ""),
            ("service.name!~x", "service.name", MatchesNot, "x"),
            ("größe=\"1\"", "größe", Equal, "1"),
            ("1a=b", "1a", Equal, "b"),
        ] {
            assert_eq!(one(text), AlertMatcher::new(name, operator, value), "{text}");
        }
        for text in [
            "",
            "a",
            "=b",
            "\"\"=b",
            "\"a=b",
            "\"a\"",
            "\"a\"b=c",
            "a b=c",
            "a==\"b",
            "a=\"b",
            "a=b\"",
            "a=\"b\"c\"",
            "a=\"b\\\"",
            "a~b",
        ] {
            let error = text.parse::<AlertMatcher>().unwrap_err();
            assert!(error.contains("write it as"), "{text}: {error}");
        }
    }

    #[test]
    fn several_are_parted_by_commas_outside_of_quotes() {
        let all: AlertMatchers = r#"{a="x,y", b!=z, }"#.parse().unwrap();
        assert_eq!(all.to_string(), r#"{a="x,y",b!="z"}"#);
        let all: AlertMatchers = r#"{"a,b"="x,y", "service.name"=z, "c"=d}"#.parse().unwrap();
        assert_eq!(all.to_string(), r#"{"a,b"="x,y",service.name="z",c="d"}"#);
        assert!("{}".parse::<AlertMatchers>().unwrap().is_empty());
        assert!("a=b,,c=d".parse::<AlertMatchers>().is_err());
    }

    #[test]
    fn both_forms_of_json_are_understood() {
        let json = json!(["a=b, c=d", {"name": "e", "value": "f.*", "isRegex": true},
            {"name": "g", "value": "h", "isRegex": false, "isEqual": false}]);
        let matchers: AlertMatchers = serde_json::from_value(json).unwrap();
        assert_eq!(matchers.to_string(), r#"{a="b",c="d",e=~"f.*",g!="h"}"#);
        assert_eq!(serde_json::to_value(&matchers).unwrap()[2], json!("e=~\"f.*\""));
        assert!(serde_json::from_value::<AlertMatchers>(json!([{"name": "e"}])).is_err());
        assert!(serde_json::from_value::<AlertMatchers>(json!(["e"])).is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(name in ".+", value in any::<String>(), regex: bool, equal: bool) {
            let matcher = AlertMatcher::new(name, MatchOperator::new(regex, equal), value);
            prop_assert_eq!(matcher.to_string().parse::<AlertMatcher>(), Ok(matcher.clone()));
            let list: AlertMatchers = format!("{{{matcher},{matcher}}}").parse().unwrap();
            prop_assert_eq!(list.0, vec![matcher.clone(), matcher]);
        }
    }
}
