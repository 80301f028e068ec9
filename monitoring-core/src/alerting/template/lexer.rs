//! Cuts a template into text and the tokens of its actions.

use super::TemplateError;

/// A token, and the line it stands in.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Spotted {
    pub token: Token,
    pub line: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// Outside of actions.
    Text(String),
    Open,
    Close,
    Word(String),
    /// `$name`; empty for `$`.
    Variable(String),
    /// `.name`, and whether it follows a space, so that it begins an operand of its own.
    Field {
        name: String,
        is_apart: bool,
    },
    Dot,
    Quoted(String),
    Integer(i64),
    Float(f64),
    Pipe,
    LeftParen,
    RightParen,
    Comma,
    /// `:=`
    Declare,
    /// `=`
    Assign,
}

pub(super) fn tokens(text: &str) -> Result<Vec<Spotted>, TemplateError> {
    let mut lexer = Lexer { text, at: 0, line: 1, counted: 0, tokens: Vec::new() };
    while lexer.at < text.len() {
        lexer.text_then_action()?;
    }
    Ok(lexer.tokens)
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
    /// The line of the place up to which lines are counted.
    line: usize,
    counted: usize,
    tokens: Vec<Spotted>,
}

impl<'t> Lexer<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn push(&mut self, token: Token) {
        self.line += self.lines();
        self.counted = self.at;
        self.tokens.push(Spotted { token, line: self.line });
    }

    /// Lines that are not counted yet.
    fn lines(&self) -> usize {
        self.text[self.counted..self.at].matches('\n').count()
    }

    fn error(&self, message: impl Into<String>) -> TemplateError {
        TemplateError::Syntax { line: self.line + self.lines(), message: message.into() }
    }

    fn text_then_action(&mut self) -> Result<(), TemplateError> {
        let rest = self.rest();
        let length = rest.find("{{").unwrap_or(rest.len());
        let mut before = &rest[..length];
        let is_trimmed = is_trim(&rest[length..]);
        if is_trimmed {
            before = before.trim_end();
        }
        if !before.is_empty() {
            self.push(Token::Text(before.to_owned()));
        }
        self.at += length;
        if self.at == self.text.len() {
            return Ok(());
        }
        let open = if is_trimmed { 3 } else { 2 };
        if self.comment(open)? {
            return Ok(());
        }
        self.push(Token::Open);
        self.at += open;
        while !self.close() {
            self.token()?;
        }
        Ok(())
    }

    /// Skips `{{/* … */}}`, if that is what comes.
    fn comment(&mut self, open: usize) -> Result<bool, TemplateError> {
        let inside = self.rest()[open..].trim_start();
        let Some(comment) = inside.strip_prefix("/*") else { return Ok(false) };
        let end = comment.find("*/").ok_or_else(|| self.error("a comment is not closed"))?;
        self.at = self.text.len() - comment.len() + end + 2;
        if self.close() {
            self.tokens.pop(); // It stands for nothing.
            return Ok(true);
        }
        Err(self.error("a comment must fill its action"))
    }

    /// Takes `}}` or ` -}}`, if that is what comes.
    fn close(&mut self) -> bool {
        let rest = self.rest();
        let bare = rest.trim_start();
        let trims = bare.len() < rest.len() && bare.starts_with("-}}");
        if !trims && !bare.starts_with("}}") {
            return false;
        }
        self.push(Token::Close);
        self.at = self.text.len() - bare.len() + if trims { 3 } else { 2 };
        if trims {
            self.at = self.text.len() - self.rest().trim_start().len();
        }
        true
    }

    fn token(&mut self) -> Result<(), TemplateError> {
        let rest = self.rest();
        let bare = rest.trim_start();
        let is_apart = bare.len() < rest.len() || self.tokens.last().is_some_and(|last| opens(&last.token));
        self.at = self.text.len() - bare.len();
        let Some(first) = bare.chars().next() else { return Err(self.error("an action is not closed")) };
        match first {
            '"' | '`' | '\'' => self.quoted(first),
            '$' => self.named(1, Token::Variable),
            '.' if bare[1..].starts_with(is_word) && !bare[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                self.named(1, |name| Token::Field { name, is_apart })
            }
            '0'..='9' | '-' | '+' => self.number(),
            '.' if bare[1..].starts_with(|c: char| c.is_ascii_digit()) => self.number(),
            first if is_word(first) => self.named(0, Token::Word),
            _ => self.symbol(bare),
        }
    }

    fn named(&mut self, skip: usize, token: impl FnOnce(String) -> Token) -> Result<(), TemplateError> {
        let rest = &self.rest()[skip..];
        let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        self.push(token(rest[..length].to_owned()));
        self.at += skip + length;
        Ok(())
    }

    fn symbol(&mut self, rest: &str) -> Result<(), TemplateError> {
        let (token, length) = match rest.as_bytes() {
            [b':', b'=', ..] => (Token::Declare, 2),
            [b'=', ..] => (Token::Assign, 1),
            [b'|', ..] => (Token::Pipe, 1),
            [b'(', ..] => (Token::LeftParen, 1),
            [b')', ..] => (Token::RightParen, 1),
            [b',', ..] => (Token::Comma, 1),
            [b'.', ..] => (Token::Dot, 1),
            _ => {
                let found = rest.chars().next().unwrap_or_default();
                return Err(self.error(format!("unexpected {found:?} in an action")));
            }
        };
        self.push(token);
        self.at += length;
        Ok(())
    }

    fn number(&mut self) -> Result<(), TemplateError> {
        let rest = self.rest();
        let is_part = |(at, c): (usize, char)| {
            let after_exponent = at > 0 && matches!(rest.as_bytes()[at - 1], b'e' | b'E');
            c.is_ascii_alphanumeric()
                || matches!(c, '.' | '_')
                || (matches!(c, '+' | '-') && (at == 0 || after_exponent))
        };
        let length = rest.char_indices().find(|&c| !is_part(c)).map_or(rest.len(), |(at, _)| at);
        let digits = rest[..length].replace('_', "");
        let integer = match digits.strip_prefix("0x") {
            Some(hexadecimal) => i64::from_str_radix(hexadecimal, 16).ok(),
            None => digits.parse().ok(),
        };
        let token = integer.map(Token::Integer).or_else(|| digits.parse().ok().map(Token::Float));
        let token = token.ok_or_else(|| self.error(format!("bad number {digits:?}")))?;
        self.push(token);
        self.at += length;
        Ok(())
    }

    fn quoted(&mut self, quote: char) -> Result<(), TemplateError> {
        let rest = &self.rest()[1..];
        let mut text = String::new();
        let mut chars = rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                c if c == quote => {
                    let token = match (quote, text.chars().next()) {
                        ('\'', Some(one)) if text.chars().count() == 1 => {
                            Token::Integer(i64::from(u32::from(one)))
                        }
                        ('\'', _) => return Err(self.error("a character constant is one character")),
                        _ => Token::Quoted(text),
                    };
                    self.push(token);
                    self.at += 1 + at + quote.len_utf8();
                    return Ok(());
                }
                '\\' if quote != '`' => {
                    let escaped = chars.next().and_then(|(_, c)| unescaped(c, &mut chars));
                    text.push(escaped.ok_or_else(|| self.error("unknown escape sequence in a string"))?);
                }
                '\n' if quote != '`' => break,
                c => text.push(c),
            }
        }
        Err(self.error("a string is not closed"))
    }
}

/// The character an escape sequence of Go stands for, after its backslash.
fn unescaped(first: char, rest: &mut std::str::CharIndices<'_>) -> Option<char> {
    let mut hexadecimal = |digits: usize| {
        let digits: String = rest.by_ref().take(digits).map(|(_, c)| c).collect();
        char::from_u32(u32::from_str_radix(&digits, 16).ok()?)
    };
    Some(match first {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'v' => '\x0b',
        'x' => hexadecimal(2)?,
        'u' => hexadecimal(4)?,
        'U' => hexadecimal(8)?,
        '\\' | '"' | '\'' => first,
        _ => return None,
    })
}

/// Whether `{{- ` begins here.
fn is_trim(action: &str) -> bool {
    action.strip_prefix("{{-").is_some_and(|rest| rest.starts_with(char::is_whitespace))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether what follows this token begins something, space or not.
fn opens(token: &Token) -> bool {
    matches!(
        token,
        Token::Open | Token::Pipe | Token::LeftParen | Token::Comma | Token::Declare | Token::Assign
    )
}
