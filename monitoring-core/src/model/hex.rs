//! Ids as hexadecimal digits. Every record is told with two or three of them, and the standard
//! library's formatting, which goes digit by digit, would be a good part of its cost.

use std::fmt;

/// Lowercase hexadecimal digits of a number, the leading zeros too.
///
/// ```
/// use monitoring_core::HexDigits;
///
/// assert_eq!(HexDigits::of_u64(0x2a).as_str(), "000000000000002a");
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HexDigits<const N: usize>([u8; N]);

impl HexDigits<16> {
    /// Of a span id, say.
    #[must_use]
    pub fn of_u64(number: u64) -> Self {
        Self::of_bytes(&number.to_be_bytes())
    }
}

impl HexDigits<32> {
    /// Of a trace id, say.
    #[must_use]
    pub fn of_u128(number: u128) -> Self {
        Self::of_bytes(&number.to_be_bytes())
    }
}

impl<const N: usize> HexDigits<N> {
    fn of_bytes(bytes: &[u8]) -> Self {
        let mut digits = [b'0'; N];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
            pair.copy_from_slice(&PAIRS[usize::from(*byte)]);
        }
        Self(digits)
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The digits, as ASCII.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; N] {
        &self.0
    }
}

impl<const N: usize> fmt::Display for HexDigits<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl<const N: usize> fmt::Debug for HexDigits<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The two digits of each byte.
static PAIRS: [[u8; 2]; 256] = pairs();

const fn pairs() -> [[u8; 2]; 256] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < pairs.len() {
        pairs[byte] = [DIGITS[byte >> 4], DIGITS[byte & 15]];
        byte += 1;
    }
    pairs
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn digits_are_those_of_the_standard_library(number: u128) {
            prop_assert_eq!(HexDigits::of_u128(number).to_string(), format!("{number:032x}"));
            let number = number as u64;
            prop_assert_eq!(HexDigits::of_u64(number).to_string(), format!("{number:016x}"));
        }
    }
}
