//! Who may see what: the shop's sessions and roles, in the monitoring's terms.

use axum::Router;
use axum::http::request::Parts;
use monitoring_core::{Monitoring, Principal};
use monitoring_tower::{Authentication, Authenticator, RouterBuilder};
use tokio_util::sync::CancellationToken;

use crate::auth::authenticate;
use crate::database::Database;
use crate::users::{Role, User};

/// The monitoring's HTTP interface. Its event streams end at `stopping`: the server waits for
/// its connections, and a stream would keep it waiting.
pub(crate) fn router(monitoring: &Monitoring, database: &Database, stopping: &CancellationToken) -> Router {
    let sessions = Sessions { database: database.clone() };
    RouterBuilder::new(monitoring, sessions).shutdown_on(stopping.clone().cancelled_owned()).build()
}

/// Knows callers by the token the shop gave them at login.
struct Sessions {
    database: Database,
}

impl Authenticator for Sessions {
    async fn authenticate(&self, request: &Parts) -> Authentication {
        let user = authenticate(&self.database, &request.headers).await?;
        Ok(user.map(|user| principal(&user)))
    }
}

fn principal(user: &User) -> Principal {
    let role = match user.role {
        Role::User => monitoring_core::Role::User,
        Role::Moderator => monitoring_core::Role::Moderator,
        Role::Admin => monitoring_core::Role::Admin,
    };
    Principal::new(user.id, role)
}
