//! The calls of Grafana's Prometheus data source, as it makes them: POST for what Prometheus takes
//! by POST, GET for the rest and after a 405, times with odd milliseconds.

use axum::body::Body;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{ALICE, Answer, MODERATOR, Service, Somebody, exchange, on_both_databases, request};

on_both_databases! {
    the_health_check_passes
    the_build_has_no_features
    what_is_asked_by_post_is_answered_or_405_which_makes_grafana_get
    the_query_builder_finds_names_labels_and_types
    a_range_has_the_times_that_were_asked_for
    a_panel_shows_what_was_counted
    alert_rules_are_listed_for_those_who_may_see_them
}

const API: &str = "/prometheus/api/v1";
const FORM: &str = "application/x-www-form-urlencoded";

async fn get(service: &Service, path: &str) -> Answer {
    get_as(service, ALICE, path).await
}

async fn get_as(service: &Service, who: Somebody, path: &str) -> Answer {
    let request =
        request(Method::GET, &format!("{API}{path}"), Some(who)).header("accept-encoding", "gzip;q=0");
    exchange(&service.app, request.body(Body::empty()).unwrap()).await
}

async fn post(service: &Service, path: &str, form: &str) -> Answer {
    let request = request(Method::POST, &format!("{API}{path}"), Some(ALICE)).header("content-type", FORM);
    exchange(&service.app, request.body(Body::from(form.to_owned())).unwrap()).await
}

#[track_caller]
fn data(answer: &Answer) -> Value {
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let mut json = answer.json();
    assert_eq!(json["status"], "success");
    json["data"].take()
}

async fn record(service: &Service) {
    let batch = json!([
        {"name": "orders_total", "metric_type": "counter", "value": 3, "labels": {"shop": "a"}},
        {"name": "orders_total", "metric_type": "counter", "value": 4, "labels": {"shop": "b"}},
        {"name": "wait_seconds", "metric_type": "histogram", "value": 0.2},
    ]);
    service.post("/metrics", ALICE, batch).await.data();
}

/// Seconds since 1970, with Grafana's milliseconds: the last minutes, and a step of fifteen seconds
/// after whatever has been recorded.
fn window() -> (String, String) {
    let now = chrono::Utc::now().timestamp();
    (format!("{}.123", now - 300), format!("{}.987", now + 20))
}

async fn the_health_check_passes(service: &Service) {
    let answer = post(service, "/query", "query=1%2B1&time=4").await;
    assert_eq!(data(&answer), json!({"resultType": "scalar", "result": [4, "2"]}));
}

async fn the_build_has_no_features(service: &Service) {
    // It would take us for Mimir or Thanos by them.
    let build = data(&get(service, "/status/buildinfo").await);
    assert_eq!(build["version"], "3.0.0");
    assert!(build.get("features").is_none() && build.get("application").is_none(), "{build}");
}

async fn what_is_asked_by_post_is_answered_or_405_which_makes_grafana_get(service: &Service) {
    record(service).await;
    let (start, end) = window();
    let times = format!("start={start}&end={end}");
    let orders = "match%5B%5D=orders_total";
    let (by_post, by_get) = (
        post(service, "/labels", &format!("{times}&{orders}")).await,
        get(service, &format!("/labels?{times}&{orders}")).await,
    );
    assert_eq!(data(&by_post), json!(["__name__", "shop"]));
    assert_eq!(by_post.text(), by_get.text());
    let series =
        post(service, "/series", &format!("{times}&{orders}&match[]=%7Bshop%3D%22b%22%7D&limit=40000")).await;
    let shop = |name: &str| json!({"__name__": "orders_total", "shop": name});
    assert_eq!(data(&series), json!([shop("a"), shop("b")]));
    let exemplars = post(service, "/query_exemplars", &format!("query=orders_total&{times}")).await;
    assert_eq!(data(&exemplars), json!([]));
    for path in ["/label/__name__/values", "/metadata", "/rules", "/status/buildinfo"] {
        let answer = post(service, path, &times).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
    }
}

async fn the_query_builder_finds_names_labels_and_types(service: &Service) {
    record(service).await;
    let (start, end) = window();
    let names =
        data(&get(service, &format!("/label/__name__/values?start={start}&end={end}&limit=40000")).await);
    for name in ["orders_total", "wait_seconds_bucket", "wait_seconds_count", "wait_seconds_sum"] {
        assert!(names.as_array().unwrap().contains(&json!(name)), "{name} in {names}");
    }
    let shops =
        format!("/label/shop/values?start={start}&end={end}&match%5B%5D=%7B__name__%3D%22orders_total%22%7D");
    assert_eq!(data(&get(service, &shops).await), json!(["a", "b"]));
    let metadata = data(&get(service, "/metadata?limit=40000").await);
    assert_eq!(metadata["orders_total"][0]["type"], "counter");
    assert_eq!(metadata["wait_seconds"][0]["type"], "histogram");
}

async fn a_range_has_the_times_that_were_asked_for(service: &Service) {
    for step in ["15", "15s", "15.0"] {
        let form = format!("query=time%28%29&start=1716900000.123&end=1716900031.987&step={step}");
        let values = json!([
            [1_716_900_000.123, "1716900000.123"],
            [1_716_900_015.123, "1716900015.123"],
            [1_716_900_030.123, "1716900030.123"],
        ]);
        let expected = json!({"resultType": "matrix", "result": [{"metric": {}, "values": values}]});
        assert_eq!(data(&post(service, "/query_range", &form).await), expected, "{step}");
    }
    let fine = "query=1&start=1716900000.123&end=1716900000.523&step=0.2";
    let values = data(&post(service, "/query_range", fine).await)["result"][0]["values"].take();
    assert_eq!(values, json!([[1_716_900_000.123, "1"], [1_716_900_000.323, "1"], [1_716_900_000.523, "1"]]));
}

async fn a_panel_shows_what_was_counted(service: &Service) {
    record(service).await;
    let (start, end) = window();
    let form = |query: &str| format!("query={query}&start={start}&end={end}&step=15");
    let orders = post(service, "/query_range", &form("sum%28increase%28orders_total%5B10m%5D%29%29")).await;
    let values = data(&orders)["result"][0]["values"].take();
    assert_eq!(values.as_array().unwrap().last().unwrap()[1], "7", "{values}");
    let quantile =
        "histogram_quantile%280.5%2C+sum+by+%28le%29+%28rate%28wait_seconds_bucket%5B10m%5D%29%29%29";
    let quantile = data(&post(service, "/query_range", &form(quantile)).await)["result"][0]["values"].take();
    assert!(quantile.as_array().is_some_and(|values| !values.is_empty()), "{quantile}");
}

async fn alert_rules_are_listed_for_those_who_may_see_them(service: &Service) {
    let rule = json!({"name": "NoOrders", "query": "orders_total == 0", "severity": "high"});
    service.post("/alerts", MODERATOR, rule).await.data();
    let rules = data(&get_as(service, MODERATOR, "/rules").await);
    assert_eq!(rules["groups"][0]["rules"][0]["name"], "NoOrders", "{rules}");
    assert_eq!(get(service, "/rules").await.status, StatusCode::FORBIDDEN);
}
