//! Who may see what: the shop's accounts and roles, in the monitoring's terms.

use axum::Router;
use axum::http::request::Parts;
use monitoring_core::Principal;
use monitoring_tower::{Authentication, Authenticator, RouterBuilder};
use tokio_util::sync::CancellationToken;

use crate::auth::{BasicCredentials, authenticate, authenticate_basic};
use crate::http::ClientAddress;
use crate::state::AppState;
use crate::users::{Role, User};

/// The monitoring's HTTP interface. Its event streams end at `stopping`: the server waits for
/// its connections, and a stream would keep it waiting.
pub(crate) fn router(state: &AppState, stopping: &CancellationToken) -> Router {
    let accounts = Accounts { state: state.clone() };
    RouterBuilder::new(state.monitoring(), accounts).shutdown_on(stopping.clone().cancelled_owned()).build()
}

/// Knows people by the token the shop gave them at login, and programs that cannot log in, such as
/// Prometheus and Grafana, by name and password.
struct Accounts {
    state: AppState,
}

impl Authenticator for Accounts {
    async fn authenticate(&self, request: &Parts) -> Authentication {
        let user = match BasicCredentials::of(&request.headers) {
            Some(sent) => authenticate_basic(&self.state, &sent, ClientAddress::of(request)).await?,
            None => authenticate(self.state.database(), &request.headers).await?,
        };
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
