//! One column of a chunk: a constant as it is, anything else compressed.

use pco::standalone::{simple_compress_into, simple_decompress_into};
use pco::{ChunkConfig, data_types::Number};

use super::Damaged;

const CONSTANT: u8 = 0;
const COMPRESSED: u8 = 1;

/// More numbers than any column has. What a damaged chunk claims must not fill the memory.
const LENGTH_MAX: usize = 1 << 24;

/// A number in a column.
pub(super) trait Cell: Number {
    fn bits(self) -> u64;
    fn of_bits(bits: u64) -> Self;
}

impl Cell for i64 {
    fn bits(self) -> u64 {
        self as u64
    }

    fn of_bits(bits: u64) -> Self {
        bits as i64
    }
}

impl Cell for f64 {
    fn bits(self) -> u64 {
        self.to_bits()
    }

    fn of_bits(bits: u64) -> Self {
        Self::from_bits(bits)
    }
}

/// Appends a column.
pub(super) fn write<T: Cell>(data: &mut Vec<u8>, column: &[T]) {
    let first = column.first().map_or(0, |cell| cell.bits());
    if column.iter().all(|cell| cell.bits() == first) {
        data.push(CONSTANT);
        data.extend(first.to_le_bytes());
        return;
    }
    data.push(COMPRESSED);
    let start = data.len();
    data.extend([0; 4]);
    // Writing to memory does not fail, and the settings are pco's own.
    let compressed = simple_compress_into(column, &ChunkConfig::default(), &mut *data);
    debug_assert!(compressed.is_ok(), "{compressed:?}");
    let length = u32::try_from(data.len() - start - 4).unwrap_or(u32::MAX);
    data[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

/// Reads columns one after the other.
pub(super) struct Reader<'c> {
    rest: &'c [u8],
}

impl<'c> Reader<'c> {
    pub(super) fn new(rest: &'c [u8]) -> Self {
        Self { rest }
    }

    /// The next column, which has so many numbers.
    pub(super) fn column<T: Cell>(&mut self, length: usize) -> Result<Vec<T>, Damaged> {
        if length > LENGTH_MAX {
            return Err(Damaged("more samples than a chunk has"));
        }
        let [kind] = self.take()?;
        if kind == CONSTANT {
            return Ok(vec![T::of_bits(u64::from_le_bytes(self.take()?)); length]);
        }
        let bytes = usize::try_from(u32::from_le_bytes(self.take()?)).unwrap_or(usize::MAX);
        let (compressed, rest) = self.rest.split_at_checked(bytes).ok_or(Damaged("it ends too soon"))?;
        self.rest = rest;
        let mut column = vec![T::of_bits(0); length];
        let progress =
            simple_decompress_into(compressed, &mut column).map_err(|_| Damaged("not compressed numbers"))?;
        if progress.n_processed < length {
            return Err(Damaged("fewer numbers than samples"));
        }
        Ok(column)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Damaged("it ends too soon"))?;
        self.rest = rest;
        Ok(*taken)
    }
}
