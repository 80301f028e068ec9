//! Templates in the texts of rules: `{{ $labels.instance }} is down for {{ humanizeDuration $value }}`.
//!
//! The language is Go's `text/template` (<https://pkg.go.dev/text/template>) with the functions and
//! variables Prometheus adds
//! (<https://prometheus.io/docs/prometheus/latest/configuration/template_reference/>), so that rules
//! written for it read here as they do there. Left out is what needs Go itself: methods of values,
//! and HTML mode, which is where Prometheus has `tmpl`: in consoles, not in rules.
//!
//! Expanding is a function over values. A template that asks a query is told what it yields through
//! [`Answers`]; if that is not known yet, [`TemplateError::Unanswered`] says what to ask first. What it takes
//! is counted in [`Steps`].

mod answers;
mod expression;
mod functions;
mod humanize;
mod lexer;
mod numbers;
mod parser;
mod printf;
mod run;
mod steps;
mod syntax;
mod value;

use chrono::{DateTime, Utc};

use crate::model::Labels;
pub(crate) use answers::{ANSWER_BYTES_MAX, Answers, TemplateSample};
use parser::Parser;
use run::Run;
pub(crate) use steps::Steps;

/// Bytes one text may expand to.
const OUTPUT_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a text that are read in about the time of a step.
const READ_BYTES_PER_STEP: usize = 64;

/// What a template can refer to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TemplateData<'a> {
    /// `$labels`.
    pub labels: &'a Labels,
    /// `$externalLabels`.
    pub external_labels: &'a Labels,
    /// `$externalURL`, also `{{ externalURL }}`.
    pub external_url: &'a str,
    /// `$value`.
    pub value: f64,
    /// `{{ now }}`, the time of the evaluation.
    pub now: DateTime<Utc>,
}

/// Why a template did not become a text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum TemplateError {
    /// The text is no template.
    #[error("line {line}: {message}")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// It cannot be expanded with these data.
    #[error("{0}")]
    Execution(String),
    /// What this query yields must be known first.
    #[error("the query {query:?} has not been answered")]
    Unanswered {
        /// The query.
        query: String,
    },
}

impl TemplateError {
    fn execution(message: impl Into<String>) -> Self {
        Self::Execution(message.into())
    }
}

/// Whether `text` is a template that can be expanded.
///
/// # Errors
///
/// [`TemplateError::Syntax`].
pub(crate) fn check(text: &str) -> Result<(), TemplateError> {
    Parser::new(text)?.parse().map(drop)
}

/// The text a template stands for.
///
/// # Errors
///
/// [`TemplateError`]; [`TemplateError::Unanswered`] calls for an answer and another attempt.
pub(crate) fn expand(
    text: &str,
    data: TemplateData<'_>,
    answers: &Answers,
    steps: &mut Steps,
) -> Result<String, TemplateError> {
    if !text.contains("{{") {
        return Ok(text.to_owned());
    }
    steps.take(text.len() / READ_BYTES_PER_STEP)?;
    let template = Parser::new(text)?.parse()?;
    Run::new(&template, data, answers, steps).text()
}

#[cfg(test)]
mod tests;
