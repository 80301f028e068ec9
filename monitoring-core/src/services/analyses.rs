//! Analyses of incidents.

use uuid::Uuid;

use super::incidents::{Actor, find, lock};
use super::record_audit;
use crate::analysis::{Made, analyzed, keep};
use crate::auth::Principal;
use crate::error::{Error, Result};
use crate::model::{Analysis, AnalysisId, IncidentId, Page, Slice};
use crate::query::PromQuery;
use crate::store::analyses::AnalysisStore as _;
use crate::store::{Access, AsConnection, Connection};

/// Finds out what changed when an incident began, and where: what happened around it is compared with
/// the hour before. The result is kept and stands on the incident's timeline if it says something new. One
/// analysis is made at a time; who had to wait while somebody else asked for the same has the same answer.
///
/// ```no_run
/// # async fn example(monitoring: &monitoring_core::Monitoring, incident: uuid::Uuid) -> monitoring_core::Result<()> {
/// let analysis = monitoring_core::services::analyze_incident(monitoring.promql(), incident, None).await?;
/// for finding in &analysis.findings {
///     println!("{:.2} {}", finding.score, finding.summary);
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`Error::NotFound`] if there is no such incident. Storage failed, and nothing was stored; only
/// [`Error::Unconfirmed`] leaves that open, and analyzing again does no harm.
pub async fn analyze_incident(
    promql: &PromQuery,
    id: impl Into<IncidentId>,
    actor: Option<Uuid>,
) -> Result<Analysis> {
    analyze(promql, id.into(), Actor::Trusted(actor)).await
}

/// Like [`analyze_incident`], on behalf of a caller. For those who may not see the incident there is
/// none.
///
/// # Errors
///
/// As [`analyze_incident`].
pub async fn analyze_incident_as(
    promql: &PromQuery,
    id: impl Into<IncidentId>,
    caller: &Principal,
) -> Result<Analysis> {
    analyze(promql, id.into(), Actor::Caller(caller)).await
}

async fn analyze(promql: &PromQuery, id: IncidentId, actor: Actor<'_>) -> Result<Analysis> {
    let pool = promql.pool();
    let incident = {
        let mut connection = pool.acquire(Access::Read).await?;
        find(&mut connection.as_connection().store(), id).await?
    };
    if !actor.may_see(&incident) {
        return Err(Error::not_found("incident", id));
    }
    let Made { mut analysis, is_kept } = analyzed(promql, &incident, actor.id()).await?;
    if is_kept {
        // Meanwhile it may have become somebody else's.
        let mut connection = pool.acquire(Access::Read).await?;
        let incident = find(&mut connection.as_connection().store(), id).await?;
        return if actor.may_see(&incident) { Ok(analysis) } else { Err(Error::not_found("incident", id)) };
    }
    let mut connection = pool.acquire(Access::Write).await?;
    store(&mut connection.as_connection(), &mut analysis, actor).await?;
    Ok(analysis)
}

async fn store(connection: &mut Connection<'_>, analysis: &mut Analysis, actor: Actor<'_>) -> Result<()> {
    let mut transaction = connection.begin().await?;
    // Meanwhile it may have become somebody else's.
    lock(&mut transaction, analysis.incident_id, actor).await?;
    keep(&mut transaction.store(), analysis).await?;
    let states = (None::<AnalysisId>, analysis.id);
    let (actor, id) = (actor.id(), analysis.incident_id);
    record_audit(&mut transaction.connection(), actor, "incident.analyze", id, states).await?;
    Ok(transaction.commit().await?)
}

/// Analyses of an incident, newest first.
///
/// # Errors
///
/// [`Error::NotFound`] if there is no such incident. Storage failed.
pub async fn incident_analyses(
    conn: &mut impl AsConnection,
    id: impl Into<IncidentId>,
    page: &Page,
) -> Result<Slice<Analysis>> {
    let id = id.into();
    let mut connection = conn.as_connection();
    let mut store = connection.store();
    find(&mut store, id).await?;
    Ok(store.analyses(id, page).await?)
}
