//! Matchers, ready to be asked.

use crate::model::{AlertMatcher, AlertMatchers, Invalid, Labels, MatchOperator, is_within};
use crate::promql::{Condition, Matcher, anchored, anchored_within};

/// Matchers in one place.
const MATCHERS_MAX: usize = 50;
/// Bytes of a silence's regular expression, compiled.
const SILENCE_REGEX_BYTES_MAX: usize = 128 * 1024;
/// Characters of a matcher's value, and of its name.
const VALUE_CHARS_MAX: usize = 2_000;

/// Conditions on the labels of an alert that must all hold: matchers, ready to be asked.
///
/// ```
/// use monitoring_core::{AlertConditions, Labels};
///
/// let conditions = AlertConditions::new(&"severity=~\"critical|high\"".parse().unwrap()).unwrap();
/// let labels: Labels = [("severity", "high")].into_iter().collect();
/// assert!(conditions.accept(&labels));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Conditions(Vec<Matcher>);

impl Conditions {
    /// The conditions that these matchers are.
    ///
    /// # Errors
    ///
    /// An expression that cannot be read, or more than there may be.
    pub fn new(matchers: &AlertMatchers) -> Result<Self, Invalid> {
        Self::compile(matchers, "matchers")
    }

    /// # Errors
    ///
    /// What is wrong, the fields below `field`.
    pub(crate) fn compile(matchers: &AlertMatchers, field: &str) -> Result<Self, Invalid> {
        let (mut compiled, mut invalid) = (Vec::with_capacity(matchers.0.len()), Invalid::default());
        if matchers.0.len() > MATCHERS_MAX {
            return Err(Invalid::field(field, format!("must be at most {MATCHERS_MAX} matchers")));
        }
        for (index, matcher) in matchers.iter().enumerate() {
            match condition(matcher) {
                Ok(condition) => compiled.push(Matcher { name: matcher.name.clone(), condition }),
                Err(message) => invalid.push(format!("{field}[{index}]"), message),
            }
        }
        invalid.or(Self(compiled))
    }

    /// Whether these labels fulfil all of them.
    #[must_use]
    pub fn accept(&self, labels: &Labels) -> bool {
        self.0.iter().all(|matcher| matcher.accepts(labels.value(&matcher.name).unwrap_or_default()))
    }

    pub(super) fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }
}

fn condition(matcher: &AlertMatcher) -> Result<Condition, String> {
    let AlertMatcher { name, operator, value } = matcher;
    check_name(name)?;
    if !is_within(value, VALUE_CHARS_MAX) {
        return Err(format!("the value must have at most {VALUE_CHARS_MAX} characters"));
    }
    let regex = || anchored(value).map_err(|error| format!("{value:?}: {error}"));
    Ok(match operator {
        MatchOperator::Equal => Condition::Equal(value.clone()),
        MatchOperator::NotEqual => Condition::NotEqual(value.clone()),
        MatchOperator::Matches => Condition::Matches(regex()?),
        MatchOperator::MatchesNot => Condition::MatchesNot(regex()?),
    })
}

/// Checks the name of a label that is asked for: any text, as in Alertmanager, though alerts have plain ones.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    match name.is_empty() || name.contains('\0') || !is_within(name, VALUE_CHARS_MAX) {
        true => Err(format!("a label's name must have 1 to {VALUE_CHARS_MAX} characters, and no NUL")),
        false => Ok(()),
    }
}

/// Checks the matchers of a silence: one that asks for nothing would hide everything. As in Alertmanager,
/// one that asks for a value not to be there asks for something.
pub(crate) fn check_silence_matchers(matchers: &AlertMatchers, invalid: &mut Invalid) {
    match Conditions::compile(matchers, "matchers") {
        Ok(conditions) if conditions.0.iter().all(asks_for_nothing) => {
            let message = "must have one that an empty label does not fulfil, such as severity=\"warning\"; \
                           these would silence everything";
            invalid.push("matchers", message);
        }
        Ok(_) => check_regexes(matchers, invalid),
        Err(wrong) => invalid.extend(wrong),
    }
}

fn asks_for_nothing(matcher: &Matcher) -> bool {
    match &matcher.condition {
        Condition::NotEqual(_) | Condition::MatchesNot(_) => false,
        Condition::Equal(_) | Condition::Matches(_) => matcher.accepts(""),
    }
}

/// Silences are compiled again and again, so what they match must stay small.
fn check_regexes(matchers: &AlertMatchers, invalid: &mut Invalid) {
    for (index, matcher) in matchers.iter().enumerate().filter(|(_, matcher)| matcher.operator.is_regex()) {
        if anchored_within(&matcher.value, SILENCE_REGEX_BYTES_MAX).is_err() {
            let message = "the expression is too large for a silence; take a shorter one";
            invalid.push(format!("matchers[{index}]"), message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(matchers: &str, labels: &[(&str, &str)]) -> bool {
        let conditions = Conditions::compile(&matchers.parse().unwrap(), "matchers").unwrap();
        conditions.accept(&labels.iter().copied().collect())
    }

    #[test]
    fn a_regex_matches_the_whole_value_and_an_absent_label_is_empty() {
        assert!(accept("a=~\"b|c.\"", &[("a", "cd")]));
        assert!(!accept("a=~\"b\"", &[("a", "abc")]));
        assert!(
            !accept("\"service.name\"=x", &[("service_name", "x")]) && accept("\"a\"=\"b\"", &[("a", "b")])
        );
        assert!(accept("\"service.name\"!=x", &[("a", "b")]));
        assert!(accept("a!=b", &[]) && accept("a=\"\"", &[]) && accept("a!~\".+\"", &[]));
        assert!(!accept("a=b,c=d", &[("a", "b")]));
    }

    #[test]
    fn what_cannot_be_compiled_is_named() {
        let error = Conditions::compile(&"a=b,c=~\"(\"".parse().unwrap(), "routes[0].matchers").unwrap_err();
        assert_eq!(error.errors()[0].field, "routes[0].matchers[1]");
    }

    #[test]
    fn a_silence_must_ask_for_something() {
        for (matchers, is_right) in [
            ("", false),
            ("a=\"\"", false),
            ("a!=b", true),
            ("a!~b", true),
            ("a=~\".*\"", false),
            ("a=~\"(a{1,200}){1,200}\"", false),
            ("a=~\".*\",b=c", true),
            ("a!=\"\"", true),
        ] {
            let mut invalid = Invalid::default();
            check_silence_matchers(&matchers.parse().unwrap(), &mut invalid);
            assert_eq!(invalid.errors().is_empty(), is_right, "{matchers}");
        }
    }
}
