//! Which events tell of a deployment.

use serde_json::Value;

use crate::model::Tags;

/// Tags that name a deployment.
const NAMING: [&str; 3] = ["deploy", "deployment", "deployment_id"];
/// Tags that say what kind of thing happened.
pub(crate) const SAYING: [&str; 2] = ["event", "kind"];

/// Whether an event with these tags marks a deployment: it has a tag `deploy`, `deployment` or
/// `deployment_id` that is neither empty nor `false`, or a tag `event` or `kind` that is `deploy`
/// or `deployment`, in any case.
pub(super) fn is_deploy(tags: &Tags) -> bool {
    deployments_named(tags).next().is_some() || says_deployment(tags)
}

/// The tags that name a deployment, and what they name.
pub(crate) fn deployments_named(tags: &Tags) -> impl Iterator<Item = (&'static str, &Value)> {
    let named = NAMING.iter().filter_map(|key| Some((*key, tags.get(*key)?)));
    named.filter(|(_, value)| names_something(value))
}

/// Whether a tag says that it tells of a deployment.
pub(crate) fn says_deployment(tags: &Tags) -> bool {
    let says = |value: &Value| {
        value.as_str().is_some_and(|text| {
            text.eq_ignore_ascii_case("deploy") || text.eq_ignore_ascii_case("deployment")
        })
    };
    SAYING.iter().filter_map(|key| tags.get(*key)).any(says)
}

fn names_something(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty() && text != "false",
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn marks(tags: Value) -> bool {
        is_deploy(tags.as_object().unwrap())
    }

    #[test]
    fn a_deployment_is_known_by_its_tags() {
        assert!(marks(json!({"deployment_id": 7})));
        assert!(marks(json!({"deploy": true})));
        assert!(marks(json!({"deployment": "v1.2.3"})));
        assert!(marks(json!({"kind": "Deploy"})));
        assert!(marks(json!({"event": "deployment"})));
    }

    #[test]
    fn other_tags_tell_of_none() {
        assert!(!marks(json!({})));
        assert!(!marks(json!({"deploy": false, "deployment": "", "deployment_id": "false"})));
        assert!(!marks(json!({"kind": "deployed-elsewhere", "version": "1.2.3"})));
    }
}
