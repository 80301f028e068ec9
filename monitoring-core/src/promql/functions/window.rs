//! What a function over a range sees at one step.

/// The samples of one series within a window, staleness markers left out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window<'s> {
    /// Milliseconds since 1970, rising.
    pub times: &'s [i64],
    pub values: &'s [f64],
    /// Of a delta series: what each sample added. Its values are running totals.
    pub increments: Option<&'s [f64]>,
    /// Whether a delta series had samples before the window.
    pub goes_on: bool,
    /// Where the window begins; not included.
    pub start: i64,
    /// Where it ends; included.
    pub end: i64,
    /// The step it belongs to, which lies elsewhere if there is an offset.
    pub step: i64,
}

impl Window<'_> {
    /// The window's length in seconds.
    pub(super) fn seconds(&self) -> f64 {
        super::seconds(self.end - self.start)
    }

    /// Time and value of the last two samples, the older one first.
    pub(super) fn last_two(&self) -> Option<[(i64, f64); 2]> {
        let [.., before, last] = *self.times else { return None };
        let [.., value_before, value] = *self.values else { return None };
        Some([(before, value_before), (last, value)])
    }
}

#[cfg(test)]
pub(super) fn window<'s>(times: &'s [i64], values: &'s [f64], start: i64, end: i64) -> Window<'s> {
    Window { times, values, increments: None, goes_on: false, start, end, step: end }
}
