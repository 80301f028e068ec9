//! What may be said to `/prometheus/api/v1` beside a query: limits, times, and whether to tell what it took.

use http::StatusCode;
use serde_json::json;

use super::prometheus::{data, get, record, record_orders};
use crate::support::{Service, on_both_databases};

on_both_databases! {
    lists_that_are_cut_off_say_so
    a_limit_is_no_negative_number
    metadata_has_limits_of_its_own
    a_query_tells_what_it_took
    the_look_back_is_the_one_asked_for
    a_query_warns_beside_its_answer
    a_query_that_runs_out_of_time_answers_503
}

const CUT_OFF: &str = "results truncated due to limit";

async fn lists_that_are_cut_off_say_so(service: &Service) {
    record_orders(service).await;
    for path in [
        "/series?match[]=orders_total",
        "/labels?match[]=orders_total",
        "/label/shop/values?match[]=orders_total",
    ] {
        for (limit, count, warnings) in [
            ("", 2, json!(null)),
            ("0", 2, json!(null)),
            ("2", 2, json!(null)),
            ("9223372036854775807", 2, json!(null)),
            ("1", 1, json!([CUT_OFF])),
        ] {
            let answer = get(service, &format!("{path}&limit={limit}")).await;
            assert_eq!(data(&answer).as_array().unwrap().len(), count, "{path} of {limit}");
            assert_eq!(answer.json()["warnings"], warnings, "{path} of {limit}");
        }
    }
}

async fn a_limit_is_no_negative_number(service: &Service) {
    for path in [
        "/query?query=1",
        "/query_range?query=1&start=0&end=1&step=1",
        "/series?match[]=up",
        "/labels?",
        "/label/job/values?",
    ] {
        let refused = get(service, &format!("{path}&limit=-1")).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{path}");
        assert_eq!(
            refused.json()["error"],
            "invalid parameter \"limit\": limit must be non-negative",
            "{path}"
        );
    }
}

async fn metadata_has_limits_of_its_own(service: &Service) {
    record_orders(service).await;
    record(service, json!([{"name": "heat", "metric_type": "gauge", "value": 1}])).await;
    let all = data(&get(service, "/metadata").await);
    assert!(all["orders_total"].is_array() && all["heat"].is_array());
    assert_eq!(data(&get(service, "/metadata?limit=0").await), json!({}));
    assert_eq!(data(&get(service, "/metadata?limit=1").await).as_object().unwrap().len(), 1);
    for no_limit in ["limit=-1", "limit_per_metric=1", "limit_per_metric=0", "limit_per_metric=-1"] {
        assert_eq!(data(&get(service, &format!("/metadata?{no_limit}")).await), all, "{no_limit}");
    }
    for name in ["limit", "limit_per_metric"] {
        let refused = get(service, &format!("/metadata?{name}=some")).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
        assert_eq!(refused.json()["error"], format!("{name} must be a number"));
    }
}

async fn a_query_tells_what_it_took(service: &Service) {
    record_orders(service).await;
    let (at, range) = ("time=4102444800", "start=4102444800&end=4102444860&step=30");
    for (path, seen) in [
        (format!("/query?query=orders_total&{at}"), 2),
        (format!("/query_range?query=orders_total&{range}"), 6),
    ] {
        assert_eq!(data(&get(service, &path).await).get("stats"), None, "nobody asked");
        let stats = data(&get(service, &format!("{path}&stats=all")).await)["stats"].take();
        assert_eq!(stats["samples"]["totalQueryableSamples"], seen);
        assert!(stats["samples"]["peakSamples"].as_u64().unwrap() >= seen, "{stats}");
        let seconds =
            |name: &str| stats["timings"][name].as_f64().unwrap_or_else(|| panic!("{name}: {stats}"));
        let evaluated =
            seconds("queryPreparationTime") + seconds("innerEvalTime") + seconds("resultSortTime");
        assert!(evaluated > 0.0 && seconds("execQueueTime") >= 0.0, "{stats}");
        assert!((seconds("evalTotalTime") - evaluated).abs() < 1e-6, "{stats}");
        let total = evaluated + seconds("execQueueTime");
        assert!((seconds("execTotalTime") - total).abs() < 1e-6, "{stats}");
    }
}

async fn the_look_back_is_the_one_asked_for(service: &Service) {
    record(service, json!([{"name": "heat", "metric_type": "gauge", "value": 1}])).await;
    let now = chrono::Utc::now().timestamp();
    for (after, lookback, is_seen) in [
        (120, "", true),
        (120, "&lookback_delta=1h", true),
        (120, "&lookback_delta=60", false),
        (1_800, "", false),
        (1_800, "&lookback_delta=0", false),
        (1_800, "&lookback_delta=1h", true),
    ] {
        let answer = get(service, &format!("/query?query=heat&time={}{lookback}", now + after)).await;
        let found = data(&answer)["result"].as_array().unwrap().len();
        assert_eq!(found == 1, is_seen, "{after} s later{lookback}");
    }
    let refused = get(service, "/query?query=heat&lookback_delta=x").await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    let words = "error parsing lookback delta duration: cannot parse \"x\" to a valid duration";
    assert_eq!(refused.json()["error"], words);
}

async fn a_query_warns_beside_its_answer(service: &Service) {
    record(service, json!([{"name": "heat", "metric_type": "gauge", "value": 1}])).await;
    let answer = get(service, "/query?query=quantile(2,heat)").await;
    assert_eq!(data(&answer)["result"][0]["value"][1], "+Inf");
    let warning = "PromQL warning: quantile value should be between 0 and 1, got 2";
    assert_eq!(answer.json()["warnings"], json!([warning]));
    assert_eq!(answer.json().get("infos"), None);
}

async fn a_query_that_runs_out_of_time_answers_503(service: &Service) {
    // Two million sines and their sum: more than a millisecond's work anywhere.
    let query = "query=sum_over_time(sin(vector(time()))[2000s:1ms])&timeout=1ms";
    for path in [format!("/query?{query}"), format!("/query_range?{query}&start=0&end=10&step=5")] {
        let answer = get(service, &path).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.text());
        let expected = json!({
            "status": "error", "errorType": "timeout", "error": "query timed out in expression evaluation",
        });
        assert_eq!(answer.json(), expected);
    }
}
