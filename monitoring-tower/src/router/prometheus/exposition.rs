//! The scrape, streamed: memory stays bounded however many series there are.

use std::convert::Infallible;
use std::str::FromStr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::{self, StreamExt as _};
use http::header::{ACCEPT, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderValue};
use monitoring_core::services::{Exposition, ProcessExposition};
use monitoring_core::{Error, ExpositionFormat, Invalid};

use crate::router::edge::own_work;
use crate::router::error::Answer;
use crate::router::params::Params;
use crate::router::state::RouterState;

/// Everything measured, in the text format of Prometheus or in OpenMetrics, as `accept` prefers: the
/// totals of the cluster, or with `scope=process` what this replica has counted itself.
#[cfg_attr(feature = "openapi", utoipa::path(get, path = "/metrics/prometheus", tag = "metrics",
    params(crate::router::openapi_params::ScopeQuery),
    responses((status = 200, description = "The exposition", body = String, content_type = "text/plain"))))]
pub(in crate::router) async fn expose(
    State(state): State<RouterState>,
    headers: HeaderMap,
    mut params: Params,
) -> Answer<Response> {
    let format = preferred(&headers);
    let scope = params.parsed("scope").unwrap_or_default();
    params.finish()?;
    state.flush().await;
    let body = match scope {
        Scope::Cluster => of_cluster(state, format).await?,
        Scope::Process => of_process(&state, format),
    };
    let content_type = HeaderValue::from_static(format.content_type());
    let headers = [(CONTENT_TYPE, content_type), (VARY, HeaderValue::from_static("accept"))];
    Ok((headers, body).into_response())
}

/// Whose counts are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Scope {
    #[default]
    Cluster,
    Process,
}

impl FromStr for Scope {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "cluster" => Ok(Self::Cluster),
            "process" => Ok(Self::Process),
            _ => Err(Invalid::field("scope", "must be cluster or process")),
        }
    }
}

fn of_process(state: &RouterState, format: ExpositionFormat) -> Body {
    let chunks = ProcessExposition::new(state.monitoring().recorder(), format);
    Body::from_stream(stream::iter(chunks.map(Ok::<_, Infallible>)).fuse())
}

async fn of_cluster(state: RouterState, format: ExpositionFormat) -> Answer<Body> {
    let mut scrape = Scrape { state, exposition: Exposition::new(format) };
    // What is wrong from the start can still be answered with a status; later on, the connection
    // breaks off, which Prometheus takes for the failed scrape it is.
    let first = scrape.next_chunk().await?;
    let rest = stream::unfold(Some(scrape), |scrape| async move {
        let mut scrape = scrape?;
        match own_work(scrape.next_chunk()).await {
            Ok(chunk) => chunk.map(|chunk| (Ok(chunk), Some(scrape))),
            Err(error) => {
                tracing::error!(target: "monitoring_tower", error = &error as &dyn std::error::Error,
                    "a scrape broke off");
                Some((Err(Arc::new(error)), None))
            }
        }
    });
    // Fused: what compresses a body asks once more after its end.
    Ok(Body::from_stream(stream::iter(first.map(Ok)).chain(rest).fuse()))
}

struct Scrape {
    state: RouterState,
    exposition: Exposition,
}

impl Scrape {
    /// Takes a connection for each portion, so that a scraper that reads slowly holds none.
    async fn next_chunk(&mut self) -> Result<Option<String>, Error> {
        let mut connection = self.state.lend().await?;
        self.exposition.next_chunk(&mut connection).await
    }
}

/// The format that `accept` gives the greater weight; the classic one if it has no preference
/// (RFC 9110 §12.5.1).
fn preferred(headers: &HeaderMap) -> ExpositionFormat {
    let accept = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ranges: Vec<_> = accept.flat_map(|value| value.split(',')).filter_map(MediaRange::parse).collect();
    let open_metrics = weight(&ranges, "application", "openmetrics-text");
    if open_metrics > weight(&ranges, "text", "plain") {
        ExpositionFormat::OpenMetrics
    } else {
        ExpositionFormat::Prometheus
    }
}

/// One alternative of an `accept` header.
struct MediaRange<'h> {
    kind: &'h str,
    subtype: &'h str,
    /// In thousandths.
    weight: u16,
}

impl<'h> MediaRange<'h> {
    /// A range with a version of OpenMetrics we do not write counts as none.
    fn parse(text: &'h str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let mut weight = 1_000;
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            let value = value.trim().trim_matches('"');
            match name.trim() {
                name if name.eq_ignore_ascii_case("q") => weight = parse_weight(value)?,
                "version" if subtype == "openmetrics-text" && value != "1.0.0" => return None,
                _ => {}
            }
        }
        Some(Self { kind, subtype, weight })
    }

    /// How precisely the range names the type; `None` if it does not.
    fn precision(&self, kind: &str, subtype: &str) -> Option<u8> {
        let is = |range: &str, wanted: &str| range.eq_ignore_ascii_case(wanted);
        match (self.kind, self.subtype) {
            (k, s) if is(k, kind) && is(s, subtype) => Some(2),
            (k, "*") if is(k, kind) => Some(1),
            ("*", "*") => Some(0),
            _ => None,
        }
    }
}

fn parse_weight(text: &str) -> Option<u16> {
    let weight: f32 = text.parse().ok()?;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // it was just checked
    (0.0..=1.0).contains(&weight).then_some((weight * 1_000.0).round() as u16)
}

/// The weight of the most precise range that names the type; of several, the greatest.
fn weight(ranges: &[MediaRange<'_>], kind: &str, subtype: &str) -> u16 {
    let named = ranges.iter().filter_map(|range| Some((range.precision(kind, subtype)?, range.weight)));
    named.max().map_or(0, |(_, weight)| weight)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn format(accept: &str) -> ExpositionFormat {
        preferred(&HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())]))
    }

    #[test]
    fn prometheus_gets_what_it_prefers() {
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
            application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,\
            text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        assert_eq!(format(prometheus_3), ExpositionFormat::OpenMetrics);
    }

    #[test]
    fn weights_decide() {
        assert_eq!(format("application/openmetrics-text;q=0.2, text/plain"), ExpositionFormat::Prometheus);
        assert_eq!(format("text/plain;q=0.2, application/openmetrics-text"), ExpositionFormat::OpenMetrics);
        assert_eq!(format("application/openmetrics-text; q=0"), ExpositionFormat::Prometheus);
    }

    #[test]
    fn without_a_preference_it_is_the_classic_format() {
        assert_eq!(preferred(&HeaderMap::new()), ExpositionFormat::Prometheus);
        assert_eq!(format("*/*"), ExpositionFormat::Prometheus);
        assert_eq!(format("text/html, */*;q=0.8"), ExpositionFormat::Prometheus);
    }

    proptest! {
        #[test]
        fn no_accept_is_too_strange(accept in "[ -~]{0,80}") {
            format(&accept);
        }

        #[test]
        fn the_greater_weight_wins(classic in 0..=1_000_u32, open in 0..=1_000_u32) {
            let weight = |thousandths: u32| f64::from(thousandths) / 1_000.0;
            let (classic_q, open_q) = (weight(classic), weight(open));
            let accept = format!("text/plain;q={classic_q}, application/openmetrics-text;q={open_q}");
            prop_assert_eq!(format(&accept) == ExpositionFormat::OpenMetrics, open > classic);
        }
    }

    #[test]
    fn an_openmetrics_of_another_version_is_not_pretended() {
        assert_eq!(format("application/openmetrics-text; version=2.0.0"), ExpositionFormat::Prometheus);
        assert_eq!(format("application/openmetrics-text; version=0.0.1"), ExpositionFormat::Prometheus);
    }
}
