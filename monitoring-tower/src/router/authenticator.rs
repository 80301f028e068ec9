//! The one question the host answers: who is calling?

use std::fmt;
use std::future::Future;

use http::request::Parts;
use monitoring_core::Principal;

/// What an [`Authenticator`] answers: the caller, nobody, or that it cannot tell at the moment.
///
/// An error is for "the session store is down", never for "the token is wrong": the caller gets a
/// 503 and the log the cause.
pub type Authentication = Result<Option<Principal>, Box<dyn std::error::Error + Send + Sync>>;

/// Tells who sends a request.
///
/// Anything with an `async fn` may implement it. So does every function and closure from
/// `&Parts` to a future; a closure takes what it needs from the request first:
///
/// ```
/// use http::request::Parts;
/// use monitoring_core::{Principal, Role};
/// use monitoring_tower::{Authentication, Authenticator};
/// # use uuid::Uuid;
///
/// fn is_authenticator(_: impl Authenticator) {}
///
/// is_authenticator(|request: &Parts| {
///     let token = request.headers.get("authorization").cloned();
///     async move {
///         // … ask the session store whose token it is …
///         Ok(token.map(|_| Principal::new(Uuid::nil(), Role::User)))
///     }
/// });
///
/// async fn from_session(request: &Parts) -> Authentication {
///     Ok(request.extensions.get::<Principal>().cloned())
/// }
/// is_authenticator(from_session);
/// ```
pub trait Authenticator: Send + Sync + 'static {
    /// Who sends this request; `Ok(None)` if nobody known does.
    fn authenticate(&self, request: &Parts) -> impl Future<Output = Authentication> + Send;
}

/// A function of a request's head, for one lifetime of the head. Stands between [`Authenticator`]
/// and `Fn`, because the future may borrow from the head and no bound on `Fn` can say so.
pub trait AuthenticateFn<'r>: Send + Sync {
    /// What the function returns.
    type Future: Future<Output = Authentication> + Send + 'r;

    /// Calls the function.
    fn call(&self, request: &'r Parts) -> Self::Future;
}

impl<'r, F, Fut> AuthenticateFn<'r> for F
where
    F: Fn(&'r Parts) -> Fut + Send + Sync,
    Fut: Future<Output = Authentication> + Send + 'r,
{
    type Future = Fut;

    fn call(&self, request: &'r Parts) -> Fut {
        self(request)
    }
}

impl<F> Authenticator for F
where
    F: for<'r> AuthenticateFn<'r> + 'static,
{
    fn authenticate(&self, request: &Parts) -> impl Future<Output = Authentication> + Send {
        self.call(request)
    }
}

/// Trusts the [`Principal`] that the host's own middleware left in the request's extensions.
#[derive(Clone, Copy, Debug, Default)]
pub struct FromExtensions;

impl Authenticator for FromExtensions {
    async fn authenticate(&self, request: &Parts) -> Authentication {
        Ok(request.extensions.get::<Principal>().cloned())
    }
}

/// An [`Authenticator`] of any type.
pub(crate) struct AnyAuthenticator(Box<dyn ErasedAuthenticator>);

impl AnyAuthenticator {
    pub(crate) fn new(authenticator: impl Authenticator) -> Self {
        Self(Box::new(authenticator))
    }

    pub(crate) async fn authenticate(&self, request: &Parts) -> Authentication {
        self.0.authenticate_boxed(request).await
    }
}

impl fmt::Debug for AnyAuthenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyAuthenticator") // it may hold keys
    }
}

trait ErasedAuthenticator: Send + Sync {
    fn authenticate_boxed<'r>(&'r self, request: &'r Parts) -> BoxFuture<'r, Authentication>;
}

impl<A: Authenticator> ErasedAuthenticator for A {
    fn authenticate_boxed<'r>(&'r self, request: &'r Parts) -> BoxFuture<'r, Authentication> {
        Box::pin(self.authenticate(request))
    }
}

type BoxFuture<'r, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'r>>;
