//! `/prometheus/api/v1`: what standard tools expect.

use axum::body::Body;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{ALICE, Answer, MODERATOR, Service, exchange, on_both_databases, request};

on_both_databases! {
    a_query_answers_as_prometheus_does
    a_form_is_as_good_as_a_url
    a_form_may_be_long
    a_range_answers_with_a_matrix
    a_large_answer_comes_whole
    regular_expressions_are_bounded
    a_query_is_bounded_in_what_it_makes
    mistakes_have_the_words_and_classes_of_prometheus
    a_query_without_time_times_out
    series_labels_and_values_are_listed
    metadata_tells_type_and_help
    grafana_finds_what_it_asks_for
    queries_are_formatted_and_parsed
}

pub(super) const API: &str = "/prometheus/api/v1";

pub(super) async fn get(service: &Service, path: &str) -> Answer {
    service.get(&format!("{API}{path}"), ALICE).await
}

async fn post_form(service: &Service, path: &str, form: &str) -> Answer {
    let request = request(Method::POST, &format!("{API}{path}"), Some(ALICE))
        .header("content-type", "application/x-www-form-urlencoded");
    exchange(&service.app, request.body(Body::from(form.to_owned())).unwrap()).await
}

#[track_caller]
pub(super) fn data(answer: &Answer) -> Value {
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(answer.header("content-type"), "application/json");
    let mut json = answer.json();
    assert_eq!(json["status"], "success");
    json["data"].take()
}

pub(super) async fn record(service: &Service, batch: Value) {
    service.post("/metrics", ALICE, batch).await.data();
}

pub(super) async fn record_orders(service: &Service) {
    let order = |shop: &str, value: u32| json!({"name": "orders_total", "metric_type": "counter", "value": value, "labels": {"shop": shop}});
    record(service, json!([order("a", 3), order("b", 4)])).await;
}

async fn a_query_answers_as_prometheus_does(service: &Service) {
    record_orders(service).await;
    let answer = get(service, "/query?query=sum(orders_total)&time=4102444800.5").await;
    assert_eq!(
        answer.text(),
        r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[4102444800.500,"7"]}]}}"#
    );
    let scalar = get(service, "/query?query=1%2B1&time=0").await;
    assert_eq!(data(&scalar), json!({"resultType": "scalar", "result": [0, "2"]}));
    let text = get(service, "/query?query=%22x%22&time=0").await;
    assert_eq!(data(&text), json!({"resultType": "string", "result": [0, "x"]}));
    let infos = get(service, "/query?query=rate(nothing[5m])").await;
    assert_eq!(data(&infos)["result"], json!([]));
    let matrix = get(service, "/query?query=orders_total[1h]").await;
    assert_eq!(data(&matrix)["resultType"], "matrix");
}

async fn a_form_is_as_good_as_a_url(service: &Service) {
    record_orders(service).await;
    let answer = post_form(service, "/query", "query=sum+by+%28shop%29+%28orders_total%29").await;
    assert_eq!(data(&answer)["result"].as_array().unwrap().len(), 2);
    let limited = post_form(service, "/query", "query=orders_total&limit=1").await;
    assert_eq!(limited.json()["warnings"], json!(["results truncated due to limit"]));
    assert_eq!(data(&limited)["result"].as_array().unwrap().len(), 1);
}

async fn a_form_may_be_long(service: &Service) {
    record_orders(service).await;
    let form = format!("chaff={}&match[]=orders_total", "x".repeat(100_000));
    let found = post_form(service, "/series", &form).await;
    assert_eq!(data(&found).as_array().unwrap().len(), 2);
    let refused = post_form(service, "/series", &"match[]=orders_total&".repeat(101)).await;
    assert_eq!((refused.status, &refused.json()["errorType"]), (StatusCode::BAD_REQUEST, &json!("bad_data")));
}

async fn a_range_answers_with_a_matrix(service: &Service) {
    let answer = get(service, "/query_range?query=time()&start=60&end=180&step=1m").await;
    let expected = json!([{"metric": {}, "values": [[60, "60"], [120, "120"], [180, "180"]]}]);
    assert_eq!(data(&answer), json!({"resultType": "matrix", "result": expected}));
}

async fn a_large_answer_comes_whole(service: &Service) {
    let range = "start=0&end=10999&step=1";
    let answer = get(service, &format!("/query_range?query=sin(vector(time()))&{range}")).await;
    assert!(answer.body.len() > 250_000, "it is written in several portions");
    let values = data(&answer)["result"][0]["values"].take();
    assert_eq!(values.as_array().unwrap().len(), 11_000);
    assert_eq!(values[10_999], json!([10_999, 10_999_f64.sin().to_string()]));
}

async fn regular_expressions_are_bounded(service: &Service) {
    let conditions = |count| vec!["a=~'b|c'"; count].join(",");
    for path in ["/parse_query", "/format_query", "/query", "/query_exemplars"] {
        let refused = post_form(service, path, &format!("query=up{{{}}}", conditions(51))).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{path}");
        let message = "parse error: there are more than 50 regular expressions";
        assert!(refused.text().contains(message), "{path}: {}", refused.text());
        let refused = post_form(service, path, "query=up{a=~'(.{99}){99}'}").await;
        assert!(refused.text().contains("1:4: parse error: the regular expression takes more"), "{path}");
    }
    data(&post_form(service, "/query", &format!("query=up{{{}}}", conditions(50))).await);
    let selectors = format!("match[]=up{{{}}}&", conditions(50));
    data(&post_form(service, "/series", &selectors.repeat(2)).await);
    let refused = post_form(service, "/series", &selectors.repeat(3)).await;
    assert!(
        refused.text().contains("at most 100 regular expressions are taken at once"),
        "{}",
        refused.text()
    );
}

async fn a_query_is_bounded_in_what_it_makes(service: &Service) {
    let spread = r#", "a", "", "a", "a", "a", "a", "a", "a", "a", "a")"#;
    let query = (0..4)
        .fold(r#"label_replace(vector(1), "a", "xxxxxxxxxxxxxxxx", "", "")"#.to_owned(), |inner, _| {
            format!("label_join({inner}{spread}")
        });
    let refused = post_form(service, "/query", &format!("query={query}")).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused.text().contains("label_join() makes a label value of 65536 bytes"), "{}", refused.text());
}

async fn mistakes_have_the_words_and_classes_of_prometheus(service: &Service) {
    let cases = [
        ("/query?query=sum(", "invalid parameter \"query\": 1:5: parse error: "),
        (
            "/query?query=up&time=soon",
            "invalid parameter \"time\": Invalid time value for 'time': cannot parse \"soon\" to a valid timestamp",
        ),
        (
            "/query?query=up&timeout=x",
            "invalid parameter \"timeout\": cannot parse \"x\" to a valid duration",
        ),
        (
            "/query_range?query=up&start=2&end=1&step=1",
            "invalid parameter \"end\": end timestamp must not be before start time",
        ),
        (
            "/query_range?query=up&start=1&end=2&step=0",
            "invalid parameter \"step\": zero or negative query resolution step widths",
        ),
        ("/query_range?query=up&start=0&end=12000&step=1", "exceeded maximum resolution of 11,000 points"),
        (
            "/query_range?query=up[5m]&start=0&end=1&step=1",
            "invalid parameter \"query\": invalid expression type \"range vector\" for range query",
        ),
        ("/series", "no match[] parameter provided"),
        (
            "/query_range?query=up&start=soon&end=2&step=1",
            "invalid parameter \"start\": cannot parse \"soon\" to a valid timestamp",
        ),
        ("/query?query=", "invalid parameter \"query\": 1:1: parse error: no expression found in input"),
        (
            "/query?query=rate(up)",
            "invalid parameter \"query\": 1:6: parse error: expected type range vector in call to function \"rate\", got instant vector",
        ),
        (
            "/series?match[]={}",
            "invalid parameter \"match[]\": match[] must contain at least one non-empty matcher",
        ),
        ("/series?match[]=up+offset+5m", "invalid parameter \"match[]\": "),
        ("/label/a-b/values", "invalid label name: \"a-b\""),
        ("/query?query=1e1000", "invalid parameter \"query\": 1:1: parse error: error parsing number: "),
        ("/query?query=up[293y]", "invalid parameter \"query\": 1:4: parse error: duration out of range"),
        ("/query_exemplars?query=up&start=2&end=1", "end timestamp must not be before start timestamp"),
    ];
    for (path, message) in cases {
        let answer = get(service, path).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
        let json = answer.json();
        assert_eq!((&json["status"], &json["errorType"]), (&json!("error"), &json!("bad_data")));
        assert!(json["error"].as_str().unwrap().starts_with(message), "{path}: {json}");
    }
    let gauge = |name: &str| json!({"name": name, "metric_type": "gauge", "value": 1});
    record(service, json!([gauge("one"), gauge("two")])).await;
    let ambiguous = get(service, "/query?query=abs({__name__%3D~%22one|two%22})").await;
    assert_eq!(ambiguous.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(ambiguous.json()["errorType"], "execution");
}

async fn a_query_without_time_times_out(service: &Service) {
    for timeout in ["0", "-1", "-0.5"] {
        for path in ["/query?query=1", "/query_range?query=1&start=0&end=10&step=5"] {
            let answer = get(service, &format!("{path}&timeout={timeout}")).await;
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path} within {timeout}");
            assert_eq!(answer.json()["errorType"], "timeout");
        }
    }
    data(&get(service, "/query?query=1&timeout=5s").await);
}

async fn series_labels_and_values_are_listed(service: &Service) {
    record_orders(service).await;
    let series = get(service, "/series?match[]=orders_total&match[]=nothing").await;
    assert_eq!(
        data(&series),
        json!([
            {"__name__": "orders_total", "shop": "a"},
            {"__name__": "orders_total", "shop": "b"},
        ])
    );
    let labels = post_form(service, "/labels", "match[]=orders_total").await;
    assert_eq!(data(&labels), json!(["__name__", "shop"]));
    assert_eq!(data(&get(service, "/label/shop/values").await), json!(["a", "b"]));
    assert_eq!(data(&get(service, "/label/U__shop/values?match[]=orders_total").await), json!(["a", "b"]));
    assert_eq!(data(&get(service, "/label/nothing/values").await), json!([]));
}

async fn metadata_tells_type_and_help(service: &Service) {
    record_orders(service).await;
    let answer = get(service, "/metadata?metric=orders_total").await;
    let expected = json!({"orders_total": [{"type": "counter", "help": "", "unit": ""}]});
    assert_eq!(data(&answer), expected);
}

async fn grafana_finds_what_it_asks_for(service: &Service) {
    let health = post_form(service, "/query", "query=1%2B1&time=1").await;
    assert_eq!(data(&health)["result"], json!([1, "2"]));
    let build = data(&get(service, "/status/buildinfo").await);
    assert!(build["version"].as_str().unwrap().starts_with("3."));
    assert!(build.get("features").is_none());
    for path in
        ["/status/runtimeinfo", "/status/config", "/status/flags", "/status/tsdb", "/rules", "/alerts"]
    {
        data(&service.get(&format!("{API}{path}"), MODERATOR).await);
    }
    data(&get(service, "/targets").await);
    assert_eq!(data(&get(service, "/query_exemplars?query=up").await), json!([]));
    let healthy = service.get("/prometheus/-/healthy", ALICE).await;
    assert_eq!((healthy.status, healthy.text()), (StatusCode::OK, "Prometheus Server is Healthy.\n"));
    assert_eq!(service.get("/prometheus/-/ready", ALICE).await.status, StatusCode::OK);
}

async fn queries_are_formatted_and_parsed(service: &Service) {
    let formatted = get(service, "/format_query?query=sum(up%20@%20-5)by(job)").await;
    assert_eq!(data(&formatted), json!("sum by (job) (up @ -5.000)"));
    let parsed = get(service, "/parse_query?query=up%7Bjob=%22a%22%7D").await;
    let matcher = |name: &str, value: &str| json!({"name": name, "type": "=", "value": value});
    let expected = json!({
        "type": "vectorSelector", "name": "up", "offset": 0, "timestamp": null, "startOrEnd": null,
        "matchers": [matcher("job", "a"), matcher("__name__", "up")], "anchored": false, "smoothed": false,
    });
    assert_eq!(data(&parsed), expected);
}
