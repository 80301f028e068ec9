//! How the demonstration looks on a terminal: 80 columns, colours only where they are seen.

use std::io::{IsTerminal, Write};

use super::DemoError;

pub(super) const WIDTH: usize = 80;
const INDENT: &str = "  ";

/// What a piece of text is, for its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Strong,
    Faint,
    Good,
    Warning,
    Bad,
}

impl Tone {
    /// The tone of an event's level.
    pub(super) fn of_level(level: &str) -> Self {
        match level {
            "error" | "critical" => Self::Bad,
            "warn" => Self::Warning,
            "trace" | "debug" => Self::Faint,
            _ => Self::Plain,
        }
    }

    fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Strong => Some("1"),
            Self::Faint => Some("2"),
            Self::Good => Some("32"),
            Self::Warning => Some("33"),
            Self::Bad => Some("31"),
        }
    }
}

/// Where the demonstration is printed.
pub(super) struct Screen {
    out: Box<dyn Write + Send>,
    colours: bool,
    chapters: usize,
}

impl Screen {
    pub(super) fn stdout() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self::new(std::io::stdout(), wanted && std::io::stdout().is_terminal())
    }

    fn new(out: impl Write + Send + 'static, colours: bool) -> Self {
        Self { out: Box::new(out), colours, chapters: 0 }
    }

    /// The first line.
    pub(super) fn title(&mut self, title: &str) -> Result<(), DemoError> {
        self.write(&[("\n", Tone::Plain), (title, Tone::Strong), ("\n\n", Tone::Plain)])
    }

    /// A numbered heading across the screen.
    pub(super) fn chapter(&mut self, title: &str) -> Result<(), DemoError> {
        self.chapters += 1;
        let heading = format!("{}. {title}", self.chapters);
        self.heading(&heading)
    }

    /// A heading across the screen.
    pub(super) fn heading(&mut self, title: &str) -> Result<(), DemoError> {
        let rule = "─".repeat(WIDTH.saturating_sub(title.chars().count() + 4));
        let after = format!(" {rule}\n\n");
        self.write(&[("\n── ", Tone::Faint), (title, Tone::Strong), (&after, Tone::Faint)])
    }

    /// A line of prose.
    pub(super) fn say(&mut self, text: &str) -> Result<(), DemoError> {
        self.line(&[(text, Tone::Plain)])
    }

    /// Something to be typed, or sent.
    pub(super) fn command(&mut self, text: &str) -> Result<(), DemoError> {
        self.line(&[(INDENT, Tone::Plain), (text, Tone::Good)])
    }

    /// An empty line.
    pub(super) fn gap(&mut self) -> Result<(), DemoError> {
        self.write(&[("\n", Tone::Plain)])
    }

    /// One line made of pieces.
    pub(super) fn line(&mut self, pieces: &[(&str, Tone)]) -> Result<(), DemoError> {
        self.write(&[(INDENT, Tone::Plain)])?;
        self.write(pieces)?;
        self.gap()
    }

    fn write(&mut self, pieces: &[(&str, Tone)]) -> Result<(), DemoError> {
        for (text, tone) in pieces {
            let written = match tone.code().filter(|_| self.colours) {
                Some(code) => write!(self.out, "\x1b[{code}m{text}\x1b[0m"),
                None => write!(self.out, "{text}"),
            };
            written.map_err(DemoError::io("the terminal is gone"))?;
        }
        self.out.flush().map_err(DemoError::io("the terminal is gone"))
    }
}

/// Breaks a text into lines of so many characters, after a space or a comma where there is one.
pub(super) fn wrap(text: &str, chars_max: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_inclusive([' ', ',']) {
        let mut line = lines.pop().unwrap_or_default();
        if !line.is_empty() && line.chars().count() + word.trim_end().chars().count() > chars_max {
            lines.push(line.trim_end().to_owned());
            line = String::new();
        }
        line.push_str(word);
        lines.push(line);
    }
    // A word longer than a line is cut: nothing may stand out.
    lines.iter().map(|line| cut(line.trim_end(), chars_max)).collect()
}

/// Cuts a text to so many characters, with a mark.
pub(super) fn cut(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    let kept: String = text.chars().take(chars_max.saturating_sub(1)).collect();
    format!("{kept}…")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn printed(colours: bool) -> String {
        let paper = Paper::default();
        let mut screen = Screen::new(paper.clone(), colours);
        screen.chapter("A good morning").unwrap();
        screen.line(&[("error", Tone::Bad)]).unwrap();
        String::from_utf8(paper.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn without_colours_there_are_no_escapes_and_headings_fill_the_line() {
        let text = printed(false);
        assert!(!text.contains('\x1b'), "{text}");
        let heading = text.lines().find(|line| line.contains("1. A good morning")).unwrap();
        assert_eq!(heading.chars().count(), WIDTH);
    }

    #[test]
    fn colours_end_where_they_began() {
        assert!(printed(true).contains("\x1b[31merror\x1b[0m\n"));
    }

    #[test]
    fn text_is_wrapped_between_words_and_after_commas() {
        assert_eq!(wrap("", 10), [""]);
        assert_eq!(wrap("status changed from open", 14), ["status changed", "from open"]);
        assert_eq!(wrap("count{a=1,b=22,c=3} 7", 14), ["count{a=1,", "b=22,c=3} 7"]);
        assert_eq!(wrap("a 0123456789abc", 10), ["a", "012345678…"]);
    }

    #[test]
    fn a_long_text_is_cut_with_a_mark() {
        assert_eq!(cut("gateway", 7), "gateway");
        assert_eq!(cut("gateways", 7), "gatewa…");
    }
}
