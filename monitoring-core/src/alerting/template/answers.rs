//! What the queries in templates yield.

use std::collections::HashMap;

use crate::model::Labels;

/// Bytes of one result. A template could not take more in.
pub(crate) const ANSWER_BYTES_MAX: usize = super::run::COPIED_BYTES_MAX;

/// One element of a query's result.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TemplateSample {
    /// Its labels, its name among them.
    pub labels: Labels,
    /// Its value.
    pub value: f64,
}

impl TemplateSample {
    /// About how many bytes of memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        let label = |(name, value): (&str, &str)| size_of::<(String, String)>() + name.len() + value.len();
        size_of::<Self>() + self.labels.iter().map(label).sum::<usize>()
    }
}

/// What queries yield, by their text, as far as it is known; or why they yield nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answers {
    known: HashMap<String, Result<Vec<TemplateSample>, String>>,
    /// Why nothing else is asked.
    refusal: Option<String>,
}

impl Answers {
    /// What a query yields; `None` if it is to be asked.
    pub(super) fn get(&self, query: &str) -> Option<Result<&[TemplateSample], &str>> {
        match (self.known.get(query), &self.refusal) {
            (Some(known), _) => Some(known.as_deref().map_err(String::as_str)),
            (None, refusal) => refusal.as_deref().map(Err),
        }
    }

    pub(crate) fn insert(&mut self, query: String, answer: Result<Vec<TemplateSample>, String>) {
        self.known.insert(query, answer);
    }

    /// Has every query fail that is not known yet.
    pub(crate) fn refuse_others(&mut self, why: impl Into<String>) {
        self.refusal = Some(why.into());
    }

    /// How many queries were answered.
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }
}
