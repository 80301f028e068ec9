//! Fills in the texts of a rule, which may take so much for each alert, and so much for all of them.

use chrono::{DateTime, Utc};

use super::template::{self, Answers, Steps, TemplateData, TemplateError};
use crate::model::{Labels, clean};

/// Steps of all texts in one evaluation of a rule: some seconds. Two hundred thousand alerts with two hundred
/// and fifty steps each.
const RULE_STEPS_MAX: usize = 50_000_000;
/// Bytes of all texts in one evaluation of a rule, and of what their queries yield.
const RULE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Steps of the texts of one alert, which are taken in one go: some tens of milliseconds, a second or so
/// at the very worst.
const ALERT_STEPS_MAX: usize = 300_000;
/// Bytes of the texts of one alert.
const ALERT_BYTES_MAX: usize = 1024 * 1024;

/// What the texts of a rule may speak of in one evaluation, besides the result at hand, and what they may take.
#[derive(Clone, Debug, Default)]
pub(crate) struct TextSources {
    /// Labels of this system, for `$externalLabels`.
    pub external_labels: Labels,
    /// Where people reach it, for `$externalURL`.
    pub external_url: String,
    /// When the rule is evaluated, for `now`.
    pub now: DateTime<Utc>,
    /// What the queries in texts yield, as far as it is known.
    pub answers: Answers,
    pub budget: TextBudget,
}

/// Why a result is not an alert.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unsettled {
    /// A text asks a query, and what that yields is not known yet.
    #[error("the query {query:?} has not been answered")]
    Unanswered { query: String },
    /// Two results are one alert once the labels of the rule are on them. Said in Prometheus's words.
    #[error("vector contains metrics with the same labelset after applying alert labels")]
    SameLabels,
    #[error("the labels and annotations of all its alerts take too many steps to fill in")]
    TooManySteps,
    #[error(
        "the labels and annotations of all its alerts, and the results of their queries, \
         have more than {RULE_BYTES_MAX} bytes"
    )]
    TooManyBytes,
}

/// Whether a text is the same for every result.
pub(crate) fn is_fixed(text: &str) -> bool {
    !text.contains("{{")
}

impl TextSources {
    /// These, where nothing is asked.
    #[must_use]
    pub(crate) fn without_queries(mut self) -> Self {
        self.answers.refuse_others("no queries are asked here");
        self
    }

    /// The text filled in; if that cannot be done, one that says why, as Prometheus has it: an alert
    /// with a bad text is better than none.
    pub(super) fn expand(&mut self, text: &str, labels: &Labels, value: f64) -> Result<String, Unsettled> {
        let Self { external_labels, external_url, now, answers, budget } = self;
        let data = TemplateData { labels, external_labels, external_url, value, now: *now };
        let mut steps = budget.steps();
        let before = steps.left();
        let expanded = template::expand(text, data, answers, &mut steps);
        budget.take_steps(1 + before - steps.left())?;
        match expanded {
            Ok(mut text) => {
                // A template can make what no database takes.
                clean(&mut text);
                budget.within_bytes(text)
            }
            Err(TemplateError::Unanswered { query }) => Err(Unsettled::Unanswered { query }),
            Err(error) => budget.within_bytes(without_text(error)),
        }
    }
}

fn without_text(why: impl std::fmt::Display) -> String {
    format!("<error expanding template: {why}>")
}

/// What is left of what the texts of a rule may take in one evaluation.
#[derive(Clone, Debug)]
pub(crate) struct TextBudget {
    all: Left,
    /// Of that, for the alert at hand.
    alert: Left,
}

#[derive(Clone, Debug)]
struct Left {
    steps: usize,
    bytes: usize,
}

const OF_AN_ALERT: Left = Left { steps: ALERT_STEPS_MAX, bytes: ALERT_BYTES_MAX };

impl Default for TextBudget {
    fn default() -> Self {
        Self { all: Left { steps: RULE_STEPS_MAX, bytes: RULE_BYTES_MAX }, alert: OF_AN_ALERT }
    }
}

impl TextBudget {
    /// The texts of another alert come next.
    pub(super) fn begin_alert(&mut self) {
        self.alert = OF_AN_ALERT;
    }

    /// How many steps are left for all texts.
    pub(crate) fn steps_left(&self) -> usize {
        self.all.steps
    }

    /// Those the next text may take.
    fn steps(&self) -> Steps {
        Steps::within(self.alert.steps.min(self.all.steps))
    }

    fn take_steps(&mut self, steps: usize) -> Result<(), Unsettled> {
        self.alert.steps = self.alert.steps.saturating_sub(steps);
        self.all.steps = self.all.steps.saturating_sub(steps);
        if self.all.steps == 0 { Err(Unsettled::TooManySteps) } else { Ok(()) }
    }

    /// Takes bytes of what all texts may have.
    ///
    /// # Errors
    ///
    /// There are not so many left.
    pub(crate) fn take_bytes(&mut self, bytes: usize) -> Result<(), Unsettled> {
        self.all.bytes = self.all.bytes.checked_sub(bytes).ok_or(Unsettled::TooManyBytes)?;
        Ok(())
    }

    /// The text, or one that says that the alert has too much of it.
    fn within_bytes(&mut self, mut text: String) -> Result<String, Unsettled> {
        match self.alert.bytes.checked_sub(text.len()) {
            Some(left) => self.alert.bytes = left,
            None => {
                text = without_text(format!("the texts of the alert have more than {ALERT_BYTES_MAX} bytes"))
            }
        }
        self.take_bytes(text.len())?;
        Ok(text)
    }

    /// One of so many steps and bytes for all texts.
    #[cfg(test)]
    pub(crate) fn of(steps: usize, bytes: usize) -> Self {
        Self { all: Left { steps, bytes }, alert: OF_AN_ALERT }
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
        assert_eq!(unanswered, Unsettled::Unanswered { query: "up".to_owned() });
        let sample = template::TemplateSample { labels: Labels::new(), value: 7.0 };
        sources.answers.insert("up".to_owned(), Ok(vec![sample]));
        assert_eq!(sources.expand(text, &Labels::new(), 1.0).as_deref(), Ok("7"));
    }
    /// Fills in one text for one alert after another; how many there are before it is too much.
    fn alerts_within(budget: TextBudget, text: &str) -> (usize, Unsettled) {
        let mut sources = TextSources { budget, ..TextSources::default() };
        let mut count = 0;
        loop {
            sources.budget.begin_alert();
            match sources.expand(text, &Labels::new(), 1.0) {
                Ok(_) => count += 1,
                Err(error) => return (count, error),
            }
        }
    }

    #[test]
    fn what_all_texts_take_together_is_bounded() {
        let filled_in = "{{ $value }}".repeat(10);
        let (alerts, error) = alerts_within(TextBudget::of(1_000, 1_000), &filled_in);
        assert!((10..100).contains(&alerts), "{alerts}");
        assert_eq!(error, Unsettled::TooManySteps);
        for text in ["as it is, ", &filled_in] {
            assert_eq!(alerts_within(TextBudget::of(10_000, 99), text), (9, Unsettled::TooManyBytes));
        }
    }

    #[test]
    fn an_alert_has_so_much_text() {
        let mut sources = TextSources::default();
        let long = "x".repeat(60_000);
        let mut texts = Vec::new();
        for _ in 0..20 {
            texts.push(sources.expand(&long, &Labels::new(), 1.0).unwrap());
        }
        assert_eq!(texts.iter().filter(|text| **text == long).count(), ALERT_BYTES_MAX / long.len());
        assert!(texts[19].ends_with("have more than 1048576 bytes>"), "{}", texts[19]);
    }

    #[test]
    fn an_alert_takes_so_many_steps() {
        let mut sources = TextSources::default();
        let loops = "{{ range $a }}".repeat(6) + &"{{ end }}".repeat(6);
        let endless = format!("{{{{ $a := args {} }}}}{loops}", "1 ".repeat(10));
        let steps_before = sources.budget.steps_left();
        for _ in 0..10 {
            let text = sources.expand(&endless, &Labels::new(), 1.0).unwrap();
            assert!(text.contains("too many steps") || text.contains("too much memory"), "{text}");
        }
        assert!(steps_before - sources.budget.steps_left() <= ALERT_STEPS_MAX + 10);
        assert_eq!(sources.expand("as it is", &Labels::new(), 1.0).as_deref(), Ok("as it is"));
    }
}
