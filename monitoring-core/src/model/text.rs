//! Making text fit: no NUL, no more than so many characters.

/// Stands at the end of a text that was cut.
const MARK: char = '…';

/// Replaces NUL, which PostgreSQL stores neither in text nor in JSON, by U+FFFD.
pub(crate) fn clean(text: &mut String) {
    if text.contains('\0') {
        *text = text.replace('\0', "\u{fffd}");
    }
}

/// Whether `text` has no more than `max` characters.
pub(crate) fn is_within(text: &str, max: usize) -> bool {
    text.len() <= max || text.chars().count() <= max
}

/// Cuts `text` to `max` characters, the last being a mark that something is missing. True if it
/// had to cut.
pub(crate) fn cut_in_place(text: &mut String, max: usize) -> bool {
    if is_within(text, max) {
        return false;
    }
    let end = text.char_indices().nth(max.saturating_sub(1)).map_or(text.len(), |(at, _)| at);
    text.truncate(end);
    text.push(MARK);
    true
}

/// Like [`cut_in_place`], on a copy.
pub(crate) fn cut(text: &str, max: usize) -> String {
    let mut text = text.to_owned();
    cut_in_place(&mut text, max);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_text_stays() {
        assert_eq!(cut("äöü", 3), "äöü");
    }

    #[test]
    fn long_text_ends_with_the_mark() {
        assert_eq!(cut("äöüß", 3), "äö…");
    }

    #[test]
    fn nul_is_replaced() {
        let mut text = "a\0b".to_owned();
        clean(&mut text);
        assert_eq!(text, "a\u{fffd}b");
    }
}
