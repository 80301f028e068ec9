//! Whose it is that a call takes longer than the work of whom it calls.
//!
//! A slow way to somebody is felt by all who call him; somebody who is slow by himself is slow at calling as
//! well, whomever he calls.

use std::collections::{BTreeMap, BTreeSet};

use super::weighted::weighted_quantile;

/// A span, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait<'e> {
    pub caller: &'e str,
    /// Whom it calls, if anybody.
    pub callee: Option<&'e str>,
    pub own: f64,
    pub weight: f64,
    pub is_late: bool,
}

/// Calls, by caller and callee, that are slow because of who calls.
pub(super) fn blamed_on_caller<'e>(waits: impl Iterator<Item = Wait<'e>>) -> BTreeSet<(&'e str, &'e str)> {
    let lost = lost(waits);
    let own = |source: &str| lost.get(&(source, None)).copied().unwrap_or(0.0);
    let sum = |is_of: &dyn Fn(&str, &str) -> bool| {
        let calls = lost.iter().filter_map(|((caller, callee), lost)| Some((*caller, (*callee)?, *lost)));
        calls.filter(|(caller, callee, _)| is_of(caller, callee)).map(|call| call.2).sum::<f64>()
    };
    let is_callers = |caller: &str, callee: &str, lost: f64| {
        let of_caller = own(caller) + sum(&|from, _| from == caller) - lost;
        let of_callee = own(callee) + sum(&|_, to| to == callee) - lost;
        own(caller) >= lost && of_caller > of_callee
    };
    let calls = lost.iter().filter_map(|((caller, callee), lost)| Some((*caller, (*callee)?, *lost)));
    calls
        .filter(|(caller, callee, lost)| is_callers(caller, callee, *lost))
        .map(|call| (call.0, call.1))
        .collect()
}

/// Time beyond the usual since the incident began, less what is beyond it anyway: by source, and by caller and
/// callee.
fn lost<'e>(waits: impl Iterator<Item = Wait<'e>>) -> BTreeMap<(&'e str, Option<&'e str>), f64> {
    let mut times: BTreeMap<_, [Vec<(f64, f64)>; 2]> = BTreeMap::new();
    for wait in waits {
        let of = times.entry((wait.caller, wait.callee)).or_default();
        of[usize::from(wait.is_late)].push((wait.own, wait.weight));
    }
    let lost = |[early, late]: [Vec<(f64, f64)>; 2]| {
        let usual = weighted_quantile(&early, 0.5);
        let beyond = |times: &[(f64, f64)]| {
            let weights: f64 = times.iter().map(|one| one.1).sum();
            let beyond: f64 = times.iter().map(|(own, weight)| weight * (own - usual).max(0.0)).sum();
            (beyond, weights)
        };
        let ((before, of), (since, times)) = (beyond(&early), beyond(&late));
        if of > 0.0 { (since - before / of * times).max(0.0) } else { 0.0 }
    };
    times.into_iter().map(|(key, times)| (key, lost(times))).collect()
}
