//! Fills in the texts of a rule.

use super::template::{self, Answers, TemplateData, TemplateError};
use crate::model::{Labels, clean};

/// What the texts of rules may speak of, besides the result at hand.
#[derive(Clone, Debug, Default)]
pub(crate) struct TextSources {
    /// Labels of this system, for `$externalLabels`.
    pub external_labels: Labels,
    /// Where people reach it, for `$externalURL`.
    pub external_url: String,
    /// What the queries in texts yield, as far as it is known.
    pub answers: Answers,
}

/// A text asks a query, and what that yields is not known yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unanswered {
    pub query: String,
}

/// Whether a text is the same for every result.
pub(crate) fn is_fixed(text: &str) -> bool {
    !text.contains("{{")
}

impl TextSources {
    /// Has a query fail, because nothing is asked here.
    pub(crate) fn refuse(&mut self, query: String) {
        self.refuse_because(query, "no queries are asked here".to_owned());
    }

    pub(crate) fn refuse_because(&mut self, query: String, why: String) {
        self.answers.insert(query, Err(why));
    }

    /// The text filled in; if that cannot be done, one that says why, as Prometheus has it: an alert
    /// with a bad text is better than none.
    pub(super) fn expand(&self, text: &str, labels: &Labels, value: f64) -> Result<String, Unanswered> {
        let Self { external_labels, external_url, answers } = self;
        let data = TemplateData { labels, external_labels, external_url, value };
        match template::expand(text, data, answers) {
            Ok(mut text) => {
                // A template can make what no database takes.
                clean(&mut text);
                Ok(text)
            }
            Err(TemplateError::Unanswered { query }) => Err(Unanswered { query }),
            Err(error) => Ok(format!("<error expanding template: {error}>")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_filled_in_says_why() {
        let text = TextSources::default().expand("{{ $labels.x | humanize }}", &Labels::new(), 1.0);
        let text = text.expect("nothing is asked");
        assert!(text.starts_with("<error expanding template: "), "{text}");
    }

    #[test]
    fn nul_is_replaced() {
        let text = TextSources::default().expand(r#"a{{ "\x00" }}b{{ printf "%c" 0 }}"#, &Labels::new(), 1.0);
        assert_eq!(text.as_deref(), Ok("a\u{fffd}b\u{fffd}"));
    }

    #[test]
    fn a_query_that_is_not_answered_is_asked_first() {
        let mut sources = TextSources::default();
        let text = "{{ query `up` | first | value }}";
        let unanswered = sources.expand(text, &Labels::new(), 1.0).expect_err("it is not known");
        assert_eq!(unanswered.query, "up");
        let sample = template::TemplateSample { labels: Labels::new(), value: 7.0 };
        sources.answers.insert(unanswered.query, Ok(vec![sample]));
        assert_eq!(sources.expand(text, &Labels::new(), 1.0).as_deref(), Ok("7"));
    }
}
