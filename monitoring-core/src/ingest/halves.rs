//! A batch of which the database may refuse a part: halved until what is wrong stands alone.

/// Suspects in a row, with nothing stored meanwhile, that put the database itself under suspicion.
const SUSPECTS_MAX: usize = 3;

/// What is still to be written, in order.
#[derive(Debug)]
pub(super) struct Halves<T> {
    /// The first part lies on top.
    parts: Vec<Vec<T>>,
    /// Stood alone and failed, for a reason that may lie elsewhere.
    suspects: Vec<T>,
    stored: bool,
}

impl<T> Halves<T> {
    pub(super) fn new(batch: Vec<T>) -> Self {
        Self { parts: vec![batch], suspects: Vec::new(), stored: false }
    }

    /// The part to write next.
    pub(super) fn next(&mut self) -> Option<Vec<T>> {
        self.parts.pop()
    }

    /// A part was stored: the database works.
    pub(super) fn stored(&mut self) {
        self.stored = true;
    }

    /// A part was refused. Whoever stands alone comes back, unless `suspicious` says that another
    /// may be to blame and nothing has shown yet that the database works.
    pub(super) fn refused(&mut self, mut part: Vec<T>, suspicious: bool) -> Option<T> {
        if part.len() > 1 {
            let second_half = part.split_off(part.len() / 2);
            self.parts.push(second_half);
            self.parts.push(part);
            return None;
        }
        let alone = part.pop()?;
        if suspicious && !self.stored {
            self.suspects.push(alone);
            return None;
        }
        Some(alone)
    }

    /// Whether the database is to blame rather than what it is given.
    pub(super) fn is_hopeless(&self) -> bool {
        let is_last = self.parts.is_empty() && !self.suspects.is_empty();
        !self.stored && (is_last || self.suspects.len() >= SUSPECTS_MAX)
    }

    /// Those who stood alone and are to blame after all, now that others were stored.
    pub(super) fn guilty(&mut self) -> Vec<T> {
        if self.stored { std::mem::take(&mut self.suspects) } else { Vec::new() }
    }

    /// Everything that was not written, in order, with `part` in front.
    pub(super) fn rest(self, part: Vec<T>) -> Vec<T> {
        let waiting = self.parts.into_iter().rev().flatten();
        self.suspects.into_iter().chain(part).chain(waiting).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes all but the bad ones; what is left if nothing could be written, and the guilty.
    fn write(batch: Vec<u32>, is_bad: impl Fn(u32) -> bool) -> (Vec<u32>, Vec<u32>) {
        let mut halves = Halves::new(batch);
        let mut guilty = Vec::new();
        while let Some(part) = halves.next() {
            if part.iter().any(|item| is_bad(*item)) {
                guilty.extend(halves.refused(part, true));
                if halves.is_hopeless() {
                    return (halves.rest(Vec::new()), guilty);
                }
            } else {
                halves.stored();
                guilty.extend(halves.guilty());
            }
        }
        (Vec::new(), guilty)
    }

    #[test]
    fn the_guilty_are_found_among_the_innocent() {
        assert_eq!(write((0..100).collect(), |item| item == 0 || item == 63), (vec![], vec![0, 63]));
    }

    #[test]
    fn nobody_is_guilty_where_nothing_works() {
        let batch: Vec<_> = (0..100).collect();
        assert_eq!(write(batch.clone(), |_| true), (batch, vec![]));
        assert_eq!(write(vec![1], |_| true), (vec![1], vec![]));
    }
}
