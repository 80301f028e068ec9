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
    const SERIES: u64 = 1;
    const EXEMPLAR: u64 = 3;
    let parts = |series| {
        let of_exemplars: usize = messages(series, EXEMPLAR).map(|exemplar| Fields(exemplar).count()).sum();
        Fields(series).count() + of_exemplars
    };
    check_parts(messages(content, SERIES).map(parts))
}

/// Refuses a message of version 2.0 that would be too large, or in which all the labels together,
/// written out as in version 1.0, would take more than so many bytes.
pub(super) fn check_two(content: &[u8], bytes_max: usize) -> Answer<()> {
    const SYMBOL: u64 = 4;
    const SERIES: u64 = 5;
    const LABELS: u64 = 1;
    const EXEMPLAR: u64 = 4;
    check_parts(messages(content, SYMBOL).map(|_| 0))?;
    let symbols: Vec<_> = messages(content, SYMBOL).map(<[u8]>::len).collect();
    let named = |message| numbers(message, LABELS).count();
    let parts = |series| {
        Fields(series).count() + named(series) + messages(series, EXEMPLAR).map(named).sum::<usize>()
    };
    check_parts(messages(content, SERIES).map(parts))?;
    let named_bytes = |message| {
        let length = |number: u64| usize::try_from(number).ok().and_then(|number| symbols.get(number));
        numbers(message, LABELS).filter_map(length).sum::<usize>()
    };
    let mut bytes = 0_usize;
    for series in messages(content, SERIES) {
        let of_exemplars: usize = messages(series, EXEMPLAR).map(named_bytes).sum();
        bytes = bytes.saturating_add(named_bytes(series)).saturating_add(of_exemplars);
        if bytes > bytes_max {
            let detail = format!("the labels must have at most {bytes_max} bytes when they are written out");
            return Err(Problem::new(Code::PayloadTooLarge, detail));
        }
    }
    Ok(())
}

/// Takes the number of parts of each message; it is one itself.
fn check_parts(messages: impl Iterator<Item = usize>) -> Answer<()> {
    let mut parts = 0;
    for of_message in messages {
        parts += 1 + of_message;
        if parts > PARTS_MAX {
            let detail = format!("the body must have at most {PARTS_MAX} series, labels and samples");
            return Err(Problem::new(Code::PayloadTooLarge, detail));
        }
    }
    Ok(())
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
        assert!(check_one(&message(1, &empty_labels)).is_err());
        assert!(check_one(&message(1, &message(3, &empty_labels))).is_err(), "of an exemplar");
        let references = message(1, &vec![0; PARTS_MAX]);
        assert!(check_two(&message(5, &references), MIB).is_err(), "of names without a text");
        assert!(check_two(&message(5, &message(4, &references)), MIB).is_err(), "of an exemplar's");
    }

    /// A field of this tag that holds these bytes.
    fn message(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut field = vec![tag << 3 | 2];
        prost::encode_length_delimiter(content.len(), &mut field).unwrap();
        [&field[..], content].concat()
    }

    /// A text of a thousand bytes, and a series that names it so many times, itself and in an
    /// exemplar.
    fn repeating(times: u8) -> Vec<u8> {
        let references = message(1, &vec![0; usize::from(times)]);
        let series = [&references[..], &message(4, &references)].concat();
        [message(4, &[b'x'; 1_000]), message(5, &series)].concat()
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
