//! One look at a text that says which detectors need to look closer. Most texts need none.

/// A card number has no fewer digits.
const DIGITS_MIN: usize = 13;

/// How secrets with a form of their own go on after their first byte. Compared without case, so
/// that one list covers `Bearer` and `bearer`; the patterns know better.
const fn beginnings(first: u8) -> &'static [&'static [u8]] {
    match first.to_ascii_lowercase() {
        b'a' => &[b"kia", b"sia", b"bia", b"cca", b"iza"],
        b'b' => &[b"earer", b"asic"],
        b'e' => &[b"yj"],
        b'g' => &[b"hp_", b"ho_", b"hu_", b"hs_", b"hr_", b"ithub_pat_", b"lpat-"],
        b'n' => &[b"pm_"],
        b'p' => &[b"ypi-"],
        b'r' => &[b"k_"],
        b's' => &[b"k_", b"k-"],
        b'w' => &[b"hsec_"],
        b'x' => &[b"ox"],
        b'-' => &[b"----begin"],
        _ => &[],
    }
}

/// What a byte may be part of, as bits.
mod class {
    pub(super) const SIGN: u8 = 1;
    pub(super) const DIGIT: u8 = 2;
    pub(super) const WORD: u8 = 4;
    pub(super) const BEGINNING: u8 = 8;
}

static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut byte = 0_u8;
    loop {
        let class = &mut classes[byte as usize];
        if matches!(byte, b'=' | b':') {
            *class |= class::SIGN;
        }
        if byte.is_ascii_digit() {
            *class |= class::DIGIT;
        }
        if byte.is_ascii_alphanumeric() || byte == b'_' {
            *class |= class::WORD;
        }
        if !beginnings(byte).is_empty() {
            *class |= class::BEGINNING;
        }
        if byte == u8::MAX {
            return classes;
        }
        byte += 1;
    }
}

/// What a text may hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Hints {
    /// An assignment or a URL.
    pub sign: bool,
    /// A card number.
    pub digits: bool,
    /// A secret with a form of its own.
    pub form: bool,
}

impl Hints {
    pub(super) fn of(text: &str) -> Self {
        let bytes = text.as_bytes();
        let (mut seen, mut before, mut digits, mut form) = (0, 0, 0_usize, false);
        for (at, byte) in bytes.iter().enumerate() {
            let class = CLASSES[usize::from(*byte)];
            seen |= class;
            digits += usize::from(class & class::DIGIT != 0);
            if class & class::BEGINNING != 0 && before & class::WORD == 0 {
                form |= begins_form(*byte, &bytes[at + 1..]);
            }
            before = class;
        }
        Self { sign: seen & class::SIGN != 0, digits: digits >= DIGITS_MIN, form }
    }
}

fn begins_form(first: u8, rest: &[u8]) -> bool {
    let goes_on = |with: &&[u8]| rest.get(..with.len()).is_some_and(|head| head.eq_ignore_ascii_case(with));
    beginnings(first).iter().any(goes_on)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_text_gives_no_hint() {
        let hints = Hints::of("the gateway answered slowly, see order 42; askia ebearer mask-");
        assert_eq!(hints, Hints::default());
    }

    #[test]
    fn each_kind_of_secret_gives_its_hint() {
        assert!(Hints::of("a=b").sign && Hints::of("a: b").sign);
        assert!(Hints::of("4111 1111 1111 1").digits);
        for text in ["BEARER x", "(Basic y", "eyJx", "-----BEGIN RSA", " AKIAX", "xoxb-1", "x sk-1"] {
            assert!(Hints::of(text).form, "{text}");
        }
    }
}
