//! Messages of remote write, made of a few lines instead of a crate for them.

/// A series to be written: its labels, and its samples at milliseconds since 1970.
pub(crate) type Written<'s> = (&'s [(String, String)], &'s [(i64, f64)]);

/// A message with these series, as it is sent.
pub(crate) fn compressed(series: &[Written<'_>]) -> Vec<u8> {
    stored_snappy(&write_request(series))
}

/// The message of remote write: repeated series (1) of labels (1: name 1, value 2) and samples (2: value 1
/// as a double, time 2).
fn write_request(series: &[Written<'_>]) -> Vec<u8> {
    let mut message = Vec::new();
    for (labels, samples) in series {
        let mut of_series = Vec::new();
        for (name, value) in *labels {
            let mut label = Vec::new();
            put_bytes(&mut label, 1, name.as_bytes());
            put_bytes(&mut label, 2, value.as_bytes());
            put_bytes(&mut of_series, 1, &label);
        }
        for (time, value) in *samples {
            let mut sample = vec![1 << 3 | 1];
            sample.extend(value.to_le_bytes());
            sample.push(2 << 3);
            put_number(&mut sample, time.cast_unsigned());
            put_bytes(&mut of_series, 2, &sample);
        }
        put_bytes(&mut message, 1, &of_series);
    }
    message
}

fn put_bytes(message: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    message.push(field << 3 | 2);
    put_number(message, bytes.len() as u64);
    message.extend(bytes);
}

fn put_number(message: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        message.push(number as u8 | 0x80);
        number >>= 7;
    }
    message.push(number as u8);
}

/// A block of Snappy that holds the bytes as they are: their number, and one literal.
fn stored_snappy(bytes: &[u8]) -> Vec<u8> {
    let mut block = Vec::with_capacity(bytes.len() + 16);
    put_number(&mut block, bytes.len() as u64);
    block.push(63 << 2);
    block.extend((bytes.len() as u32).wrapping_sub(1).to_le_bytes());
    block.extend(bytes);
    block
}
