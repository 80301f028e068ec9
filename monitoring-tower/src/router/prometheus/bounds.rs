//! What a message of remote write becomes in memory, found before it is decoded.
//!
//! Two bytes are enough for a series without anything in it, or for a label or sample; decoded they
//! are dozens. And in version 2.0 one byte names a text of any length, any number of times. So a body
//! within all other bounds could still ask for terabytes.
//!
//! What is counted must be what is decoded. Where a message is none throughout, decoding may read it in
//! another way before it fails, such as a field beyond the end of its message; and what no sender of
//! these messages uses, groups, would have to be skipped as decoding skips it. Both are refused.

use crate::router::error::{Answer, Code, Problem};

/// Series, labels, samples and whatever else a series has. A sender that is left as it comes sends
/// 2,000 samples at once.
const PARTS_MAX: usize = 1_000_000;

/// Refuses a message of version 1.0 that would be too large.
pub(super) fn check_one(content: &[u8]) -> Answer<()> {
    const SERIES: u64 = 1;
    const EXEMPLAR: u64 = 3;
    let parts = |series: &[u8]| -> Answer<usize> {
        let of_exemplars = messages(series, EXEMPLAR)?.map(count).sum::<Answer<usize>>()?;
        Ok(count(series)? + of_exemplars)
    };
    check_parts(messages(content, SERIES)?.map(parts))
}

/// Refuses a message of version 2.0 that would be too large, or in which all the labels together,
/// written out as in version 1.0, would take more than so many bytes.
pub(super) fn check_two(content: &[u8], bytes_max: usize) -> Answer<()> {
    const SYMBOL: u64 = 4;
    const SERIES: u64 = 5;
    const LABELS: u64 = 1;
    const EXEMPLAR: u64 = 4;
    check_parts(messages(content, SYMBOL)?.map(|_| Ok(0)))?;
    let symbols: Vec<_> = messages(content, SYMBOL)?.map(<[u8]>::len).collect();
    let named = |message: &[u8]| -> Answer<usize> { Ok(numbers(message, LABELS)?.count()) };
    let parts = |series: &[u8]| -> Answer<usize> {
        let of_exemplars = messages(series, EXEMPLAR)?.map(named).sum::<Answer<usize>>()?;
        Ok(count(series)? + named(series)? + of_exemplars)
    };
    check_parts(messages(content, SERIES)?.map(parts))?;
    let named_bytes = |message: &[u8]| -> Answer<usize> {
        let length = |number: u32| symbols.get(number as usize);
        Ok(numbers(message, LABELS)?.filter_map(length).sum::<usize>())
    };
    let mut bytes = 0_usize;
    for series in messages(content, SERIES)? {
        let of_exemplars = messages(series, EXEMPLAR)?.map(named_bytes).sum::<Answer<usize>>()?;
        bytes = bytes.saturating_add(named_bytes(series)?).saturating_add(of_exemplars);
        if bytes > bytes_max {
            let detail = format!("the labels must have at most {bytes_max} bytes when they are written out");
            return Err(Problem::new(Code::PayloadTooLarge, detail));
        }
    }
    Ok(())
}

/// Takes the number of parts of each message; it is one itself.
fn check_parts(messages: impl Iterator<Item = Answer<usize>>) -> Answer<()> {
    let mut parts = 0;
    for of_message in messages {
        parts += 1 + of_message?;
        if parts > PARTS_MAX {
            let detail = format!("the body must have at most {PARTS_MAX} series, labels and samples");
            return Err(Problem::new(Code::PayloadTooLarge, detail));
        }
    }
    Ok(())
}

/// The messages and texts under a tag.
fn messages(content: &[u8], tag: u64) -> Answer<impl Iterator<Item = &[u8]>> {
    Ok(fields(content)?.filter_map(move |field| match field {
        (found, Value::Bytes(bytes)) if found == tag => Some(bytes),
        _ => None,
    }))
}

/// The numbers under a tag, packed or one by one; of too large ones the lower half, as decoding has it.
pub(super) fn numbers(content: &[u8], tag: u64) -> Answer<impl Iterator<Item = u32>> {
    let under_tag = fields(content)?.filter(move |(found, _)| *found == tag);
    let numbers = under_tag.flat_map(|(_, value)| {
        let (one, mut packed) = match value {
            Value::Number(number) => (Some(number), &[][..]),
            Value::Bytes(bytes) => (None, bytes),
            Value::Fixed => (None, &[][..]),
        };
        one.into_iter().chain(std::iter::from_fn(move || varint(&mut packed)))
    });
    #[allow(clippy::cast_possible_truncation)]
    Ok(numbers.map(|number| number as u32))
}

fn count(content: &[u8]) -> Answer<usize> {
    Ok(fields(content)?.count())
}

/// The fields of a message, if it is one throughout.
fn fields(content: &[u8]) -> Answer<Fields<'_>> {
    let mut rest = Fields(content);
    rest.by_ref().for_each(drop);
    match rest.0 {
        [] => Ok(Fields(content)),
        _ => Err(Problem::field("body", "is no such message: a field is cut off or of an unknown kind")),
    }
}

/// The fields of a message up to where it is none; the rest of it stays.
struct Fields<'c>(&'c [u8]);

enum Value<'c> {
    Number(u64),
    Bytes(&'c [u8]),
    Fixed,
}

impl<'c> Iterator for Fields<'c> {
    type Item = (u64, Value<'c>);

    fn next(&mut self) -> Option<Self::Item> {
        let mut rest = self.0;
        let key = varint(&mut rest)?;
        let value = match key & 7 {
            0 => Value::Number(varint(&mut rest)?),
            1 => take(&mut rest, 8).map(|_| Value::Fixed)?,
            2 => {
                let length = varint(&mut rest)?;
                Value::Bytes(take(&mut rest, usize::try_from(length).ok()?)?)
            }
            5 => take(&mut rest, 4).map(|_| Value::Fixed)?,
            _ => return None,
        };
        self.0 = rest;
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
    fn what_is_no_message_throughout_is_refused() {
        for content in [&[0xff; 20][..], &[0x0a, 0x05, 1], &[0x0b], &[0x0e], &[0x08, 0x80]] {
            assert!(check_one(content).is_err() && check_two(content, 0).is_err());
        }
        assert!(check_one(&[]).is_ok() && check_two(&[], 0).is_ok());
    }

    #[test]
    fn nothing_hides_behind_a_group() {
        let behind = |content: &[u8]| [&[0x7b, 0x7c][..], content].concat();
        let series = message(1, &message(3, &[]));
        assert!(check_one(&series).is_ok());
        assert!(check_one(&behind(&series)).is_err());
        assert!(check_one(&message(1, &behind(&[]))).is_err(), "in a series");
        assert!(check_one(&message(1, &message(3, &behind(&[])))).is_err(), "in an exemplar");
        assert!(check_two(&repeating(1), MIB).is_ok());
        assert!(check_two(&behind(&repeating(1)), MIB).is_err());
        assert!(check_two(&message(5, &behind(&[])), MIB).is_err(), "in a series");
        assert!(check_two(&message(5, &message(4, &behind(&[]))), MIB).is_err(), "in an exemplar");
    }

    #[test]
    fn nothing_hides_in_a_field_that_is_longer_than_its_message() {
        // An exemplar of more bytes than its series has: decoding reads on behind the series.
        let series = [&[3 << 3 | 2, 100][..], &[0x0a, 0].repeat(10)].concat();
        assert!(check_one(&message(1, &series)).is_err());
    }

    #[test]
    fn a_reference_past_32_bits_counts_as_what_decoding_makes_of_it() {
        // 2^32, of which decoding leaves nothing: the first symbol.
        let references = message(1, &[0x80, 0x80, 0x80, 0x80, 0x10]);
        let content = [message(4, &[b'x'; 1_000]), message(5, &references)].concat();
        assert!(check_two(&content, 1_000).is_ok());
        assert!(check_two(&content, 999).is_err());
    }
}
