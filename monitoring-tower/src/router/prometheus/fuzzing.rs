//! The way in for the fuzz target of remote write.
//!
//! It is there where `cargo fuzz` sets `--cfg fuzzing` and in this crate's own tests: no feature, so
//! that no host can switch it on.

use axum::body::Body;
use futures_util::FutureExt as _;
use monitoring_core::services::SentSeries;

use super::snappy::EXPANSION_MAX;
use super::write::Version;

/// Bytes of a body. What a body may become is bounded by a multiple of it.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// What a body says in the message of either version; `None` where it says nothing in it.
///
/// # Panics
///
/// The bounds let more through than they say.
#[must_use]
pub fn received(body: &[u8]) -> [Option<Vec<SentSeries>>; 2] {
    [Version::One, Version::Two].map(|version| {
        let read = version.read(Body::from(body.to_vec()), BODY_BYTES_MAX).now_or_never();
        let sent = read.expect("a body in memory is there at once").ok()?;
        let labels = sent.series.iter().flat_map(|series| &series.labels);
        let bytes: usize = labels.map(|(name, value)| name.len() + value.len()).sum();
        assert!(bytes <= BODY_BYTES_MAX * EXPANSION_MAX, "{bytes} bytes of labels got past the bounds");
        Some(sent.series)
    })
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::router::prometheus::wire::{Request, Sample, SymbolSeries};

    #[test]
    fn seeds_say_something() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/seeds/remote_write");
        for entry in std::fs::read_dir(folder).expect("the folder of seeds can be read") {
            let path = entry.expect("an entry").path();
            let [first, second] = received(&std::fs::read(&path).expect("a seed can be read"));
            let said = first.into_iter().chain(second).any(|series| !series.is_empty());
            assert!(said, "{} says nothing", path.display());
        }
    }

    /// One text, named so many times.
    fn repeating(times: usize) -> Vec<u8> {
        let request = Request {
            symbols: vec!["x".repeat(1_000)],
            timeseries: vec![SymbolSeries {
                labels_refs: vec![0; times],
                samples: vec![Sample::default()],
                ..SymbolSeries::default()
            }],
        };
        snap::raw::Encoder::new().compress_vec(&request.encode_to_vec()).unwrap()
    }

    #[test]
    fn a_small_body_cannot_name_a_text_without_end() {
        assert!(received(&repeating(400))[1].is_some());
        assert!(received(&repeating(600))[1].is_none(), "more than eight times the greatest body");
    }
}
