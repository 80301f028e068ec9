//! Federation: the newest sample of chosen series, for another Prometheus to scrape.
//!
//! Source: <https://prometheus.io/docs/prometheus/latest/federation/>. As there, every family is
//! untyped, and a series without the label `instance` has an empty one, so that the scraper, told to
//! honour labels, does not add its own.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::vec;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::{self, StreamExt as _};
use http::header::CONTENT_TYPE;
use monitoring_core::{SeriesValues, format_value};

use super::answer::PromError;
use super::form::Form;
use super::portions::{Share, share};
use crate::router::state::RouterState;

/// A portion of the text is full at this size.
const PORTION_BYTES: usize = 256 * 1024;
/// What a series that waits to be written takes, its labels being shared.
const BYTES_PER_SERIES: usize = 128;

pub(super) async fn federate(State(state): State<RouterState>, form: Form) -> Result<Response, PromError> {
    state.flush().await;
    let found = state.monitoring().promql().newest(&form.all("match[]")).await?;
    let share = share(found.len() * BYTES_PER_SERIES)?;
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    Ok(([(CONTENT_TYPE, content_type)], exposition(found, share)).into_response())
}

fn exposition(mut found: Vec<SeriesValues>, share: Share) -> Body {
    found.sort_by(|a, b| a.labels.value("__name__").cmp(b.labels.value("__name__")));
    let portions = Portions { left: found.into_iter(), family: String::new(), _share: share };
    Body::from_stream(stream::iter(portions.map(Ok::<_, Infallible>)).fuse())
}

/// The text a portion at a time: what series share in memory, such as labels, each has a copy of in the text.
struct Portions {
    left: vec::IntoIter<SeriesValues>,
    family: String,
    _share: Share,
}

impl Portions {
    fn write(&mut self, series: &SeriesValues, text: &mut String) {
        let name = series.labels.value("__name__");
        if name != self.family {
            // Writing to a string does not fail.
            let _ = writeln!(text, "# TYPE {name} untyped");
            name.clone_into(&mut self.family);
        }
        for (time, value) in &series.samples {
            let _ = writeln!(text, "{name}{{{}}} {} {time}", labels(series), format_value(*value));
        }
    }
}

impl Iterator for Portions {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let mut text = String::new();
        while text.len() < PORTION_BYTES {
            let Some(series) = self.left.next() else { break };
            self.write(&series, &mut text);
        }
        Some(text).filter(|text| !text.is_empty())
    }
}

fn labels(series: &SeriesValues) -> String {
    let mut text = String::new();
    let labels = series.labels.iter().filter(|label| &*label.name != "__name__");
    for (n, label) in labels.enumerate() {
        let separator = if n == 0 { "" } else { "," };
        let _ = write!(text, "{separator}{}=\"{}\"", label.name, escaped(&label.value));
    }
    if series.labels.value("instance").is_empty() {
        text.push_str(if text.is_empty() { "instance=\"\"" } else { ",instance=\"\"" });
    }
    text
}

fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('\n', r"\n").replace('"', r#"\""#)
}
