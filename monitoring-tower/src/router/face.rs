//! In whose manner a path answers. Clients of Prometheus and Alertmanager read errors as these write them,
//! also those that arise before a handler is reached: Grafana takes a problem for broken JSON, because its
//! `status` is a number.

use http::HeaderValue;
use serde_json::json;

use super::error::{Code, Problem};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Face {
    Own,
    Prometheus,
    Alertmanager,
}

impl Face {
    /// That of a path below the mount.
    pub(super) fn of(path: &str) -> Self {
        if path.starts_with("/prometheus/api/") {
            Self::Prometheus
        } else if path.starts_with("/alertmanager/api/") {
            Self::Alertmanager
        } else {
            Self::Own
        }
    }

    /// A problem as clients of this face read it; its media type, unless that is the problem's own.
    pub(super) fn write(
        self,
        problem: Problem,
        instance: &str,
        request_id: &str,
    ) -> (Option<HeaderValue>, Vec<u8>) {
        let body = match self {
            Self::Own => return (None, problem.render(instance, request_id)),
            Self::Prometheus => {
                let kind = error_type(problem.code());
                json!({"status": "error", "errorType": kind, "error": problem.detail()})
            }
            Self::Alertmanager => json!(problem.detail()),
        };
        (Some(JSON), body.to_string().into_bytes())
    }
}

/// Prometheus's own names where it has one.
fn error_type(code: Code) -> &'static str {
    match code {
        Code::Unauthorized => "unauthorized",
        Code::Forbidden => "forbidden",
        Code::NotFound | Code::MethodNotAllowed => "not_found",
        Code::TimedOut => "timeout",
        Code::Overloaded | Code::Unavailable | Code::Unconfirmed => "unavailable",
        Code::Internal => "internal",
        _ => "bad_data",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(path: &str) -> serde_json::Value {
        let problem = Problem::new(Code::Forbidden, "this needs the role moderator");
        let (_, body) = Face::of(path).write(problem, path, "req-1");
        serde_json::from_slice(&body).unwrap()
    }

    #[test]
    fn each_face_has_errors_its_clients_can_read() {
        let detail = "this needs the role moderator";
        let prometheus = json!({"status": "error", "errorType": "forbidden", "error": detail});
        assert_eq!(written("/prometheus/api/v1/rules"), prometheus);
        assert_eq!(written("/alertmanager/api/v2/silences"), json!(detail));
        let own = written("/events");
        assert_eq!((&own["status"], &own["detail"]), (&json!(403), &json!(detail)));
        assert_eq!(written("/prometheus/federate")["status"], json!(403), "that speaks no JSON");
    }
}
