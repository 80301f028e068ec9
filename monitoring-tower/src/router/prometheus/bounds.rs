//! What a message of remote write becomes in memory, found before it is decoded.
//!
//! Two bytes are enough for a series without anything in it, or for a label or sample; decoded they
//! are dozens. And in version 2.0 one byte names a text of any length, any number of times. So a body
//! within all other bounds could still ask for terabytes.

use crate::router::error::{Answer, Code, Problem};

/// Series, labels, samples and whatever else a series has. A sender that is left as it comes sends
/// 2,000 samples at once.
const PARTS_MAX: usize = 1_000_000;

/// Refuses a message of version 1.0 that would be too large.
pub(super) fn check_one(content: &[u8]) -> Answer<()> {
    check_parts(content, 1)
}

/// Refuses a message of version 2.0 that would be too large, or in which all the labels together,
/// written out as in version 1.0, would take more than so many bytes.
pub(super) fn check_two(content: &[u8], bytes_max: usize) -> Answer<()> {
    const SYMBOL: u64 = 4;
    const SERIES: u64 = 5;
    const LABELS: u64 = 1;
    const EXEMPLAR: u64 = 4;
    check_parts(content, SERIES)?;
    let symbols: Vec<_> = messages(content, SYMBOL).map(<[u8]>::len).collect();
    if symbols.len() > PARTS_MAX {
        return Err(too_many_parts());
    }
    let named = |message| {
        let length = |number: u64| usize::try_from(number).ok().and_then(|number| symbols.get(number));
        numbers(message, LABELS).filter_map(length).sum::<usize>()
    };
    let mut bytes = 0_usize;
    for series in messages(content, SERIES) {
        let of_exemplars: usize = messages(series, EXEMPLAR).map(named).sum();
        bytes = bytes.saturating_add(named(series)).saturating_add(of_exemplars);
        if bytes > bytes_max {
            let detail = format!("the labels must have at most {bytes_max} bytes when they are written out");
            return Err(Problem::new(Code::PayloadTooLarge, detail));
        }
    }
    Ok(())
}

fn check_parts(content: &[u8], series: u64) -> Answer<()> {
    let mut parts = 0;
    for series in messages(content, series) {
        parts += 1 + Fields(series).count();
        if parts > PARTS_MAX {
            return Err(too_many_parts());
        }
    }
    Ok(())
}

fn too_many_parts() -> Problem {
    let detail = format!("the body must have at most {PARTS_MAX} series, labels and samples");
    Problem::new(Code::PayloadTooLarge, detail)
}

/// The messages and texts under a tag.
fn messages(content: &[u8], tag: u64) -> impl Iterator<Item = &[u8]> {
    Fields(content).filter_map(move |field| match field {
        (found, Value::Bytes(bytes)) if found == tag => Some(bytes),
        _ => None,
    })
}

/// The numbers under a tag, packed or one by one.
fn numbers(content: &[u8], tag: u64) -> impl Iterator<Item = u64> {
    let under_tag = Fields(content).filter(move |(found, _)| *found == tag);
    under_tag.flat_map(|(_, value)| {
        let (one, mut packed) = match value {
            Value::Number(number) => (Some(number), &[][..]),
            Value::Bytes(bytes) => (None, bytes),
            Value::Fixed => (None, &[][..]),
        };
        one.into_iter().chain(std::iter::from_fn(move || varint(&mut packed)))
    })
}

/// The fields of a message up to where it is none, which decoding will tell.
struct Fields<'c>(&'c [u8]);

enum Value<'c> {
    Number(u64),
    Bytes(&'c [u8]),
    Fixed,
}

impl<'c> Iterator for Fields<'c> {
    type Item = (u64, Value<'c>);

    fn next(&mut self) -> Option<Self::Item> {
        let key = varint(&mut self.0)?;
        let value = match key & 7 {
            0 => Value::Number(varint(&mut self.0)?),
            1 => take(&mut self.0, 8).map(|_| Value::Fixed)?,
            2 => {
                let length = varint(&mut self.0)?;
                Value::Bytes(take(&mut self.0, usize::try_from(length).ok()?)?)
            }
            5 => take(&mut self.0, 4).map(|_| Value::Fixed)?,
            _ => return None,
        };
        Some((key >> 3, value))
    }
}

fn take<'c>(content: &mut &'c [u8], length: usize) -> Option<&'c [u8]> {
    let (taken, rest) = content.split_at_checked(length)?;
    *content = rest;
    Some(taken)
}

fn varint(content: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = content.split_first()?;
        *content = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    #[test]
    fn a_message_of_nothing_but_parts_is_refused() {
        let empty_series = |tag: u8, count: usize| [tag << 3 | 2, 0].repeat(count);
        assert!(check_one(&empty_series(1, PARTS_MAX)).is_ok());
        assert!(check_one(&empty_series(1, PARTS_MAX + 1)).is_err());
        assert!(check_two(&empty_series(5, PARTS_MAX + 1), MIB).is_err());
        assert!(check_two(&empty_series(4, PARTS_MAX + 1), MIB).is_err(), "of nothing but symbols");
        let empty_labels = [0x0a, 0].repeat(PARTS_MAX);
        let series = [&[0x0a, 0x80, 0x89, 0x7a][..], &empty_labels].concat();
        assert_eq!(Fields(&series).count(), 1);
        assert!(check_one(&series).is_err());
    }

    /// A text of a thousand bytes, and a series that names it so many times, itself and in an
    /// exemplar.
    fn repeating(times: u8) -> Vec<u8> {
        let symbol = [&[0x22, 0xe8, 0x07][..], &[b'x'; 1_000]].concat();
        let references = [&[0x0a, times][..], &vec![0; usize::from(times)]].concat();
        let exemplar = [&[0x22, references.len() as u8][..], &references].concat();
        let length = (references.len() + exemplar.len()) as u8;
        [&symbol[..], &[0x2a, length], &references, &exemplar].concat()
    }

    #[test]
    fn a_text_that_is_named_again_and_again_counts_each_time() {
        assert!(check_two(&repeating(20), 40_000).is_ok());
        assert!(check_two(&repeating(20), 39_999).is_err());
    }

    #[test]
    fn what_is_no_message_is_left_to_the_decoder() {
        for content in [&[0xff; 20][..], &[0x0a, 0x05, 1], &[0x0b], &[]] {
            assert!(check_one(content).is_ok() && check_two(content, 0).is_ok());
        }
    }
}
