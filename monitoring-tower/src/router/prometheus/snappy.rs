//! Bodies in snappy's block format, as remote write and remote read send them.

use axum::body::Body;

use crate::router::error::{Answer, Code, Problem};

/// How much larger than the greatest body its content may be.
pub(super) const EXPANSION_MAX: usize = 8;

/// What a body of at most so many bytes holds.
pub(super) async fn content(body: Body, bytes_max: usize) -> Answer<Vec<u8>> {
    let body = axum::body::to_bytes(body, bytes_max).await.map_err(|_| {
        Problem::new(Code::PayloadTooLarge, format!("the body must have at most {bytes_max} bytes"))
    })?;
    let malformed =
        |error: snap::Error| Problem::field("body", format!("is not compressed with snappy: {error}"));
    let bytes_max = bytes_max * EXPANSION_MAX;
    if snap::raw::decompress_len(&body).map_err(malformed)? > bytes_max {
        let detail = format!("the content of the body must have at most {bytes_max} bytes");
        return Err(Problem::new(Code::PayloadTooLarge, detail));
    }
    snap::raw::Decoder::new().decompress_vec(&body).map_err(malformed)
}

/// A body that holds this.
///
/// # Panics
///
/// If it is longer than 4 GiB, which no answer is.
pub(super) fn body(content: &[u8]) -> Body {
    let compressed = snap::raw::Encoder::new().compress_vec(content);
    compressed.expect("an answer is shorter than 4 GiB").into()
}
