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
