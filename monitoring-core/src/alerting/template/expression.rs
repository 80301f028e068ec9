//! Regular expressions in templates, and what it takes to look for them.

use regex::{Error, Regex, RegexBuilder};

use super::{OUTPUT_BYTES_MAX, Steps, TemplateError};

/// Bytes a compiled expression may take. The least that is enough tells about how large it is.
const SIZES: [usize; 4] = [4 * 1024, 16 * 1024, 64 * 1024, 256 * 1024];
/// What an attempt to compile one counts for.
const COMPILE_STEPS: usize = 500;
/// What a step is good for: bytes of the text times bytes of the expression, each of whose states may be
/// tried at each place.
const SEARCHED_PER_STEP: usize = 8 * 1024;
/// A search may look at all that is left of a text to find a match at its beginning. Few do; so much of it counts.
const PART_LOOKED_AT: usize = 16;

type Result<T> = std::result::Result<T, TemplateError>;

/// A compiled expression.
pub(super) struct Expression {
    regex: Regex,
    /// It has no more.
    bytes: usize,
}

impl Expression {
    pub(super) fn new(pattern: &str, steps: &mut Steps) -> Result<Self> {
        let mut too_large = None;
        for bytes in SIZES {
            steps.take(COMPILE_STEPS)?;
            match RegexBuilder::new(pattern).size_limit(bytes).build() {
                Ok(regex) => return Ok(Self { regex, bytes }),
                Err(error @ Error::CompiledTooBig(_)) => too_large = Some(error),
                Err(error) => return Err(TemplateError::execution(error.to_string())),
            }
        }
        let message = too_large.map(|error| error.to_string()).unwrap_or_default();
        Err(TemplateError::execution(message))
    }

    pub(super) fn is_match(&self, text: &str, steps: &mut Steps) -> Result<bool> {
        steps.take(self.steps(text.len()))?;
        Ok(self.regex.is_match(text))
    }

    /// As `Regex::replace_all`, but ends when the text gets too long, or takes too much.
    pub(super) fn replaced(&self, replacement: &str, text: &str, steps: &mut Steps) -> Result<String> {
        steps.take(self.steps(text.len()))?;
        let (mut replaced, mut end) = (String::new(), 0);
        for captures in self.regex.captures_iter(text) {
            let whole = captures.get_match();
            steps.take(self.steps(text.len() - whole.start()) / PART_LOOKED_AT)?;
            replaced.push_str(&text[end..whole.start()]);
            captures.expand(replacement, &mut replaced);
            if replaced.len() > OUTPUT_BYTES_MAX {
                return Err(too_long());
            }
            end = whole.end();
        }
        replaced.push_str(&text[end..]);
        Ok(replaced)
    }

    /// What a search through so many bytes takes at most.
    fn steps(&self, bytes: usize) -> usize {
        bytes.saturating_mul(self.bytes) / SEARCHED_PER_STEP + 1
    }
}

pub(super) fn too_long() -> TemplateError {
    TemplateError::execution(format!("the text has more than {OUTPUT_BYTES_MAX} bytes"))
}
