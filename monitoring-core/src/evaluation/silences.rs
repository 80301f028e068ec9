//! Has the timelines of new incidents say that nobody is told of what opened them, where that is so.
//!
//! With an incident is written what opened it, and no more: so nobody is told later because there are many silences.
//! Who is the next to look, here or on another replica, finds it and tells.

use std::collections::{BTreeMap, HashMap};

use crate::alerting::routing::Silenced;
use crate::incidents::silenced;
use crate::model::{Page, Silence, SilenceFilter};
use crate::store::silences::SilenceStore as _;
use crate::store::timeline::{Opening, TimelineStore as _};
use crate::store::{Access, Pool, StoreError};

/// Silences that are looked at: the newest.
const SILENCES_MAX: u32 = 20_000;
/// Incidents seen to in one transaction.
const OPENINGS_MAX: u32 = 1_000;

/// Has timelines tell of the silences that held when their incidents were opened. Safe to call again, and from
/// several replicas at once: each is told once.
pub(super) async fn tell_of_silences(pool: &Pool) -> Result<(), StoreError> {
    while tell_of_some(pool).await? == OPENINGS_MAX as usize {}
    Ok(())
}

/// How many incidents were seen to.
async fn tell_of_some(pool: &Pool) -> Result<usize, StoreError> {
    let (openings, silences) = read(pool).await?;
    if openings.is_empty() {
        return Ok(0);
    }
    let hidden = hidden(&silences, &openings);
    let mut work = pool.begin_work(Access::Write).await?;
    let mut connection = work.connection();
    let mut transaction = connection.begin().await?;
    let incidents = openings.iter().map(|opening| opening.incident_id).collect();
    let taken = transaction.store().take_openings(&incidents).await?;
    for (silence, openings) in hidden {
        let ours = openings.iter().filter(|opening| taken.contains(&opening.incident_id));
        let firings: Vec<_> = ours.map(|opening| opening.firing).collect();
        if let Some((_, fired_at)) = firings.first() {
            let step = silenced(silence, silence.created_by, *fired_at);
            transaction.store().insert_step(&firings, &step).await?;
        }
    }
    transaction.commit().await?;
    work.done();
    Ok(taken.len())
}

/// What nothing was told of yet, and the silences that may have hidden it.
async fn read(pool: &Pool) -> Result<(Vec<Opening>, Vec<Silence>), StoreError> {
    let mut work = pool.begin_work(Access::Read).await?;
    let mut connection = work.connection();
    let openings = connection.store().openings(OPENINGS_MAX).await?;
    let mut silences = Vec::new();
    if let Some(first) = openings.iter().map(|opening| opening.firing.1).min() {
        let unexpired = SilenceFilter { unexpired_at: Some(first) };
        silences = connection.store().silences(&unexpired, &Page::first(SILENCES_MAX)).await?.items;
    }
    work.done();
    Ok((openings, silences))
}

/// The silences that held when these began to fire, each with those it hid that did at the same time.
fn hidden<'a>(silences: &'a [Silence], openings: &'a [Opening]) -> Vec<(&'a Silence, Vec<&'a Opening>)> {
    let mut by_time = BTreeMap::<_, Vec<_>>::new();
    for opening in openings {
        by_time.entry(opening.firing.1).or_default().push(opening);
    }
    let hidden = by_time.into_iter().flat_map(|(fired_at, openings)| {
        let holding = Silenced::at(silences, fired_at);
        let mut hidden = HashMap::<_, Vec<_>>::new();
        for opening in openings {
            for silence in holding.by(&opening.labels) {
                hidden.entry(silence).or_default().push(opening);
            }
        }
        silences.iter().filter_map(move |silence| Some((silence, hidden.remove(&silence.id)?)))
    });
    hidden.collect()
}
