//! Makes alerts of what the query of a rule yields, and asks what their texts ask. However many there are and
//! whatever their texts do, others have a turn meanwhile, and it ends in time.

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::rule::{Asked, NO_TIME_LEFT, in_time};
use crate::alerting::template::{ANSWER_BYTES_MAX, TemplateSample};
use crate::alerting::{Candidate, Candidates, Terms, TextSources, Unsettled};
use crate::promql::{Columns, LabelSet};

/// Queries the texts of one rule may ask in one evaluation.
const TEXT_QUERIES_MAX: usize = 50;
/// Steps of texts after which others have a turn: some milliseconds. One alert may take more.
const STEPS_AT_ONCE: usize = 10_000;

/// The alerts that results call for. Asks what the texts of the rule ask, as of `now`.
///
/// # Errors
///
/// Two of them would have the same labels, or they take too much, or too long.
pub(super) async fn candidates(
    asked: &impl Asked,
    terms: &Terms,
    results: impl Iterator<Item = (&LabelSet, f64)> + Send,
    sources: &mut TextSources,
    now: DateTime<Utc>,
    end: Instant,
) -> Result<Vec<Candidate>, String> {
    let (mut made, mut rested) = (Candidates::default(), sources.budget.steps_left());
    for result in results {
        loop {
            if Instant::now() >= end {
                return Err(NO_TIME_LEFT.to_owned());
            }
            let added = made.add(terms, result, sources);
            if rested - sources.budget.steps_left() > STEPS_AT_ONCE {
                rested = sources.budget.steps_left();
                tokio::task::yield_now().await;
            }
            match added {
                Ok(()) => break,
                Err(Unsettled::Unanswered { query }) => ask(asked, query, sources, now, end).await?,
                Err(error) => return Err(error.to_string()),
            }
        }
    }
    Ok(made.into_vec())
}

/// Asks a query, unless too many were asked.
async fn ask(
    asked: &impl Asked,
    query: String,
    sources: &mut TextSources,
    now: DateTime<Utc>,
    end: Instant,
) -> Result<(), String> {
    if sources.answers.len() >= TEXT_QUERIES_MAX {
        sources.answers.refuse_others(format!("the texts of a rule may ask {TEXT_QUERIES_MAX} queries"));
        return Ok(());
    }
    let answer = in_time(asked.columns_at(&query, now), end).await.and_then(|columns| samples(&columns));
    let bytes = answer.as_ref().map_or_else(String::len, |samples| size(samples));
    sources.budget.take_bytes(query.len() + bytes).map_err(|error| error.to_string())?;
    sources.answers.insert(query, answer);
    Ok(())
}

/// What a text sees of a result.
fn samples(columns: &Columns) -> Result<Vec<TemplateSample>, String> {
    let (mut samples, mut bytes) = (Vec::new(), 0);
    for (labels, value) in columns.at(0) {
        let labels = labels.iter().map(|label| (&*label.name, &*label.value)).collect();
        let sample = TemplateSample { labels, value };
        bytes += sample.bytes();
        if bytes > ANSWER_BYTES_MAX {
            return Err(format!("what it yields has more than {ANSWER_BYTES_MAX} bytes"));
        }
        samples.push(sample);
    }
    Ok(samples)
}

fn size(samples: &[TemplateSample]) -> usize {
    samples.iter().map(TemplateSample::bytes).sum()
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    use super::*;
    use crate::alerting::TextBudget;
    use crate::evaluation::rule::Unanswerable;
    use crate::model::{AlertRule, RuleLabels};

    fn terms(annotation: &str) -> Terms {
        let rule: AlertRule = crate::alerting::new_rule(
            serde_json::from_str(r#"{"name": "Down", "query": "up == 0"}"#).unwrap(),
            None,
            DateTime::UNIX_EPOCH,
        );
        let annotations = [("summary", annotation)].into_iter().collect();
        Terms::new(AlertRule { annotations, ..rule }, &RuleLabels::new())
    }

    fn results(count: usize) -> Vec<LabelSet> {
        (0..count).map(|n| LabelSet::from_iter([("pod", n.to_string().as_str())])).collect()
    }

    async fn made(
        annotation: &str,
        results: &[LabelSet],
        budget: TextBudget,
        end: Instant,
    ) -> Result<Vec<Candidate>, String> {
        let asked = Unanswerable { why: "nobody is here".to_owned(), sources: TextSources::default() };
        let results = results.iter().map(|labels| (labels, 1.0));
        let mut sources = TextSources { budget, ..TextSources::default() };
        candidates(&asked, &terms(annotation), results, &mut sources, DateTime::UNIX_EPOCH, end).await
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(600)
    }

    #[tokio::test]
    async fn time_is_looked_at_between_results() {
        let made = made("down", &results(2), TextBudget::default(), Instant::now()).await;
        assert_eq!(made, Err(NO_TIME_LEFT.to_owned()));
    }

    #[tokio::test]
    async fn others_have_a_turn_between_results() {
        let results = results(5_000);
        let made = made("{{ $labels.pod }} is down", &results, TextBudget::default(), later());
        let mut made = pin!(made);
        let (mut turns, mut context) = (0, Context::from_waker(Waker::noop()));
        loop {
            match made.as_mut().poll(&mut context) {
                Poll::Pending => turns += 1,
                Poll::Ready(made) => break assert_eq!(made.unwrap().len(), 5_000),
            }
        }
        assert!((1..50).contains(&turns), "{turns}");
    }

    #[tokio::test]
    async fn texts_of_all_results_together_are_bounded() {
        let (results, text) = (results(100), "{{ $labels.pod }} is down, and a fixed text");
        for (budget, error) in [
            (TextBudget::of(100, 1_000_000), Unsettled::TooManySteps),
            (TextBudget::of(1_000_000, 1_000), Unsettled::TooManyBytes),
        ] {
            assert_eq!(made(text, &results, budget, later()).await, Err(error.to_string()));
        }
        assert_eq!(made(text, &results, TextBudget::default(), later()).await.unwrap().len(), 100);
    }

    #[tokio::test]
    async fn texts_ask_so_many_queries() {
        let text = "{{ query (print `up{pod=` $labels.pod `}`) | len }}";
        let made = made(text, &results(60), TextBudget::default(), later()).await.unwrap();
        let told = |n: usize| made[n].annotations.value("summary").unwrap_or_default();
        assert!(told(49).ends_with("nobody is here>"), "{}", told(49));
        assert!(told(50).ends_with("may ask 50 queries>"), "{}", told(50));
    }
}
