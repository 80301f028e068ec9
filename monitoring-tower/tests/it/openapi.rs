//! The OpenAPI document against the routes and against what the handlers really read.

use std::collections::BTreeSet;

use http::StatusCode;
use monitoring_tower::{Access, endpoints};
use serde_json::{Value, json};

use crate::support::{ADMIN, MOUNT, Service};

async fn document() -> Value {
    let answer = Service::sqlite().await.get("/openapi.json", ADMIN).await;
    assert_eq!(answer.status, StatusCode::OK);
    answer.json()
}

fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, item)| {
        let item = item.as_object().unwrap().iter();
        item.map(|(method, operation)| (method.to_uppercase(), path.clone(), operation))
    });
    operations.collect()
}

#[tokio::test]
async fn document_and_routes_are_the_same_set() {
    let document = document().await;
    let documented: BTreeSet<_> =
        operations(&document).into_iter().map(|(method, path, _)| (method, path)).collect();
    let routes: BTreeSet<_> = endpoints()
        .into_iter()
        .filter(|endpoint| !endpoint.path.starts_with("/docs")) // a page, not an interface
        .filter(|endpoint| !endpoint.path.starts_with("/prometheus/")) // Prometheus documents its own
        .filter(|endpoint| !endpoint.path.starts_with("/alertmanager/")) // and so does Alertmanager
        .map(|endpoint| (endpoint.method.to_string(), endpoint.path.to_owned()))
        .collect();
    assert_eq!(documented, routes);
}

#[tokio::test]
async fn document_names_the_path_the_router_is_nested_at() {
    assert_eq!(document().await["servers"], json!([{"url": MOUNT}]));
}

#[tokio::test]
async fn document_says_what_needs_credentials() {
    let document = document().await;
    let operations = operations(&document);
    for endpoint in endpoints() {
        let found = operations
            .iter()
            .find(|(method, path, _)| method == endpoint.method.as_str() && path == endpoint.path);
        let Some((_, _, operation)) = found else { continue };
        let secured = operation["security"][0].get("bearer").is_some();
        assert_eq!(secured, endpoint.access != Access::Open, "{} {}", endpoint.method, endpoint.path);
        assert!(operation["responses"]["default"].is_object());
    }
}

#[tokio::test]
async fn every_response_has_a_description_as_the_specification_demands() {
    let document = document().await;
    for (method, path, operation) in operations(&document) {
        for (status, response) in operation["responses"].as_object().unwrap() {
            let description = response["description"].as_str();
            assert!(description.is_some_and(|text| !text.is_empty()), "{method} {path} {status}");
        }
    }
}

#[tokio::test]
async fn every_reference_leads_somewhere() {
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(map) => {
                found.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }
    let document = document().await;
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        assert!(document.pointer(&reference[1..]).is_some(), "{reference} leads nowhere");
    }
}

/// Asks with a parameter nobody knows; the refusal lists the ones the handler knows.
#[tokio::test]
async fn documented_parameters_are_those_the_handlers_read() {
    let service = Service::sqlite().await;
    let document = document().await;
    let mut checked = 0;
    for (method, path, operation) in operations(&document) {
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let documented: BTreeSet<String> = parameters
            .iter()
            .filter(|parameter| parameter["in"] == "query")
            .map(|parameter| parameter["name"].as_str().unwrap().to_owned())
            .collect();
        if method != "GET" || documented.is_empty() {
            continue;
        }
        let id = "00000000-0000-7000-8000-000000000001";
        let url = format!("{}?no_such_parameter=1", path.replace("{id}", id));
        let problem = service.get(&url, ADMIN).await.problem(StatusCode::BAD_REQUEST, "validation_failed");
        let message = problem["errors"][0]["message"].as_str().unwrap();
        let known = message.strip_prefix("unknown parameter; the known ones are ").unwrap();
        let known: BTreeSet<String> = known.split(", ").map(str::to_owned).collect();
        assert_eq!(documented, known, "{path}");
        checked += 1;
    }
    assert!(checked >= 8, "only {checked} lists were checked");
}

/// Checks an answer against a schema: enough of JSON Schema for what the document uses.
fn check(document: &Value, schema: &Value, value: &Value, path: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        return check(document, document.pointer(&reference[1..]).unwrap(), value, path);
    }
    if let Some(alternatives) = schema["oneOf"].as_array() {
        let fits = |schema: &&Value| schema["type"] != "null" || value.is_null();
        if value.is_null() {
            assert!(alternatives.iter().any(|schema| schema["type"] == "null"), "{path} is null");
            return;
        }
        let alternative = alternatives.iter().filter(fits).find(|schema| schema["type"] != "null");
        return check(document, alternative.unwrap(), value, path);
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let kinds: Vec<_> = match &schema["type"] {
        Value::String(kind) => vec![kind.as_str()],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(), // anything
    };
    let fits = |allowed: &&str| *allowed == kind || (*allowed == "number" && kind == "integer");
    assert!(kinds.is_empty() || kinds.iter().any(fits), "{path} is {kind}, not {kinds:?}: {value}");
    if let Some(names) = schema["enum"].as_array() {
        assert!(names.contains(value), "{path}: {value} is none of {names:?}");
    }
    if let Value::Array(items) = value {
        items.iter().for_each(|item| check(document, &schema["items"], item, &format!("{path}[]")));
    }
    let (Value::Object(fields), Some(properties)) = (value, schema["properties"].as_object()) else { return };
    for (name, value) in fields {
        let property = properties.get(name).unwrap_or_else(|| panic!("{path}.{name} is not documented"));
        check(document, property, value, &format!("{path}.{name}"));
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        assert!(fields.contains_key(name.as_str().unwrap()), "{path} lacks {name}");
    }
}

fn schema<'d>(document: &'d Value, method: &str, path: &str, status: &str, media: &str) -> &'d Value {
    let content = &document["paths"][path][method]["responses"][status]["content"][media];
    assert!(content.is_object(), "{method} {path} {status} has no {media}");
    &content["schema"]
}

/// What handlers answer, good and bad, is what the document says they do; so is what they take.
#[tokio::test]
async fn answers_are_as_documented() {
    let service = Service::sqlite().await;
    let document = service.get("/openapi.json", ADMIN).await.json();
    let sent = [
        (
            "/events",
            json!({"event_type": "log", "source": "a", "message": "m", "level": "warn",
                           "tags": {"request_id": "r", "n": 1}, "payload": {"x": [1]}}),
        ),
        ("/metrics", json!({"name": "m_total", "metric_type": "counter", "value": 1, "labels": {"a": "b"}})),
        (
            "/alerts",
            json!({"name": "n", "query": "m_total > 1", "threshold_value": 1.5, "labels": {"a": "b"},
                           "annotations": {"summary": "s"}, "description": "d", "for": 60}),
        ),
        (
            "/receivers",
            json!({"name": "team", "type": "webhook", "config": {"url": "https://h.example/x"},
                           "send_resolved": true}),
        ),
        ("/silences", json!({"matchers": ["a=b"], "duration": "1h", "comment": "c", "author": "ann"})),
        ("/recording-rules", json!({"record": "m:sum", "query": "sum(m_total)", "labels": {"a": "b"}})),
        (
            "/incidents",
            json!({"title": "t", "severity": "high", "assigned_to": ADMIN.id, "description": "d"}),
        ),
    ];
    let mut ids = std::collections::HashMap::new();
    for (path, body) in sent {
        let request =
            &document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"];
        check(&document, request, &body, path);
        let answer = service.post(path, ADMIN, body).await;
        check(&document, schema(&document, "post", path, "201", "application/json"), &answer.json(), path);
        ids.insert(path, answer.data()["id"].as_str().unwrap_or_default().to_owned());
    }
    let incident = format!("/incidents/{}", ids["/incidents"]);
    for (below, template, body) in [
        ("/comments", "/incidents/{id}/comments", json!({"body": "looking"})),
        ("/events", "/incidents/{id}/events", json!({"event_id": ids["/events"]})),
    ] {
        let answer = service.post(&format!("{incident}{below}"), ADMIN, body).await;
        check(
            &document,
            schema(&document, "post", template, "201", "application/json"),
            &answer.json(),
            template,
        );
    }
    let change = service.put(&incident, ADMIN, json!({"status": "resolved"})).await;
    let of_change = schema(&document, "put", "/incidents/{id}", "200", "application/json");
    check(&document, of_change, &change.json(), "PUT /incidents/{id}");

    let mut checked = 0;
    for (method, template, operation) in operations(&document) {
        let documented = &operation["responses"]["200"]["content"]["application/json"]["schema"];
        // Nobody was told of anything yet.
        let left_out = ["/openapi.json", "/notifications/{id}"];
        if method != "GET" || !documented.is_object() || left_out.contains(&template.as_str()) {
            continue;
        }
        let folder = template.split("/{id}").next().unwrap();
        let path = template.replace("{id}", ids.get(folder).map_or("", String::as_str));
        let path = path.replace("{name}", "default");
        let answer = service.get(&path, ADMIN).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        check(&document, documented, &answer.json(), &template);
        checked += 1;
    }
    assert!(checked >= 14, "only {checked} answers were checked");

    let problem = service.get("/events?limit=0", ADMIN).await.json();
    let of_problem = schema(&document, "get", "/events", "default", "application/problem+json");
    check(&document, of_problem, &problem, "problem");
}

#[tokio::test]
async fn the_document_says_what_may_be_null() {
    let document = document().await;
    for (request, may, may_not) in [
        ("UpdateAlertRequest", ["threshold_value", "description", "labels"], ["name", "severity", "enabled"]),
        (
            "UpdateIncidentRequest",
            ["assigned_to", "description", "root_cause"],
            ["title", "severity", "status"],
        ),
    ] {
        let properties = &document["components"]["schemas"][request]["properties"];
        let is_nullable = |name: &str| properties[name].to_string().contains("\"null\"");
        assert!(may.into_iter().all(is_nullable), "{properties:#}");
        assert!(!may_not.into_iter().any(is_nullable), "{properties:#}");
    }
}
