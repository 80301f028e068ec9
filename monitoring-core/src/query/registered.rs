//! Finding series in the database itself: for whoever changes them, and has a connection already.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use chrono::DateTime;

use super::index::Index;
use super::lookup::look_up;
use super::selector::Selector;
use crate::model::Series;
use crate::store::series::SeriesStore as _;
use crate::store::{Connection, StoreError};

/// Series looked at at once; each takes about a kilobyte meanwhile.
const SERIES_PER_PAGE: u32 = 10_000;

/// The stored series that any of the selectors finds, in the order of their ids. A distribution is
/// found by any of the series it is shown as.
///
/// What queries remember is not asked: it is kept up to date on connections of its own, and whoever
/// waits for one while holding another may wait for itself.
pub(crate) async fn registered_series(
    connection: &mut Connection<'_>,
    selectors: &[Selector],
) -> Result<Vec<Arc<Series>>, StoreError> {
    let (mut series, mut after) = (BTreeMap::new(), None);
    loop {
        let page =
            connection.store().registrations(DateTime::UNIX_EPOCH, after.as_ref(), SERIES_PER_PAGE).await?;
        let is_last = page.len() < SERIES_PER_PAGE as usize;
        after = page.last().copied();
        let ids: Vec<_> = page.into_iter().map(|(_, id)| id).collect();
        let mut index = Index::default();
        connection
            .store()
            .present_series(&ids)
            .await?
            .into_iter()
            .for_each(|registered| index.add(registered));
        let index = RwLock::new(index);
        for selector in selectors {
            let found = look_up(&index, selector.matchers(), usize::MAX).await;
            found
                .each(|found| {
                    series.entry(found.key.series.id).or_insert(found.key.series);
                    true
                })
                .await;
        }
        if is_last {
            return Ok(series.into_values().collect());
        }
    }
}
