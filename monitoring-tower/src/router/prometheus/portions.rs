//! Texts that may be large, in portions: others have the thread between two of them, and all that wait
//! to be read are bounded together.
//!
//! A text that is written lies in memory until its reader has taken it, and nobody can make a reader
//! hurry. So each portion keeps its share of what may lie there until it has left.

use std::convert::Infallible;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::answer::PromError;

/// A portion is full at this size.
const FULL_BYTES: usize = 192 * 1024;
/// Room in a portion, so that it need not grow for what is written at once.
const PORTION_BYTES: usize = 256 * 1024;
/// Kilobytes of one text.
const TEXT_KIB_MAX: usize = 256 * 1024;
/// Kilobytes that may wait to be read, of all texts together: they lie in the memory of the service.
const WAITING_KIB_MAX: usize = 512 * 1024;
/// What is left of these.
static WAITING: Semaphore = Semaphore::const_new(WAITING_KIB_MAX);

/// A share of what may wait to be read.
pub(super) type Share = SemaphorePermit<'static>;

/// Takes a share for so many bytes.
pub(super) fn share(bytes: usize) -> Result<Share, PromError> {
    let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
    WAITING.try_acquire_many(kib).map_err(|_| {
        PromError::unavailable("answers that nobody has read yet take too much memory, try again later")
    })
}

/// A text that is being written.
#[derive(Debug, Default)]
pub(super) struct Portions {
    full: Vec<(Bytes, Share)>,
    /// The portion that is not full yet.
    pub text: String,
}

impl Portions {
    /// Begins with this.
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { full: Vec::new(), text: text.into() }
    }

    /// To be called often. Where a portion is full, others have the thread.
    ///
    /// # Errors
    ///
    /// The text becomes too large, or too much waits to be read.
    pub(super) async fn breathe(&mut self) -> Result<(), PromError> {
        if self.text.len() < FULL_BYTES {
            return Ok(());
        }
        if self.full.len() >= TEXT_KIB_MAX * 1024 / PORTION_BYTES {
            return Err(PromError::too_large(TEXT_KIB_MAX / 1024));
        }
        let share = share(self.text.capacity())?;
        let text = std::mem::replace(&mut self.text, String::with_capacity(PORTION_BYTES));
        self.full.push((text.into(), share));
        tokio::task::yield_now().await;
        Ok(())
    }

    pub(super) fn into_body(self) -> Body {
        if self.full.is_empty() {
            return Body::from(self.text);
        }
        // A portion gives its share back when it goes.
        let full = self.full.into_iter().map(|(portion, _)| portion);
        Body::from_stream(stream::iter(full.chain([self.text.into()]).map(Ok::<_, Infallible>)))
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    async fn written(portions: usize) -> Result<Portions, PromError> {
        let mut text = Portions::new("");
        for _ in 0..portions {
            text.text.push_str(&"x".repeat(FULL_BYTES));
            text.breathe().await?;
        }
        text.text.push('y');
        Ok(text)
    }

    #[tokio::test]
    async fn what_waits_to_be_read_is_bounded_until_it_is_read() {
        let left = WAITING.available_permits();
        let others = WAITING.try_acquire_many(u32::try_from(left).unwrap() - 600).unwrap();
        let text = written(2).await.unwrap();
        let refused = written(1).await.unwrap_err();
        assert!(format!("{refused:?}").contains("nobody has read yet"), "{refused:?}");
        let read = text.into_body().collect().await.unwrap().to_bytes();
        assert_eq!((read.len(), read.last()), (2 * FULL_BYTES + 1, Some(&b'y')));
        drop(written(1).await.unwrap().into_body());
        drop(others);
        assert_eq!(WAITING.available_permits(), left);
    }
}
