use super::*;

const RULES: &str = r#"
groups:
  - name: alerts
    rules:
      - alert: InstanceDown
        expr: up == 0
        for: 5m
        keep_firing_for: 3m
        labels: {severity: page}
        annotations:
          summary: "{{ $labels.instance }} of {{ $externalLabels.region }} is down"
          others: "{{ query `count(up)` | first | value }} in all"
  - name: sums
    rules:
      - {record: "job:up:sum", expr: sum by (job) (up)}
"#;

async fn tested(tests: &str) -> RuleTestReport {
    let files = BTreeMap::from([("rules.yml".to_owned(), RULES.to_owned())]);
    test_rules(tests, &files, &Limits::default(), &QueryLimits::default())
        .await
        .expect("the files make sense")
}

/// One instance goes down at 2m and is back at 10m.
fn with_input(expectations: &str) -> String {
    format!(
        "rule_files: [rules.yml]\nevaluation_interval: 1m\ntests:\n- name: down\n  interval: 1m\n  \
         external_labels: {{region: eu}}\n  input_series:\n  - series: 'up{{job=\"a\", instance=\"x\"}}'\n    \
         values: 1 1 0x7 1x20\n  - series: 'up{{job=\"a\", instance=\"y\"}}'\n    values: 1x30\n{expectations}"
    )
}

#[tokio::test]
async fn alerts_fire_and_go_when_they_should() {
    let firing = "exp_alerts: [{exp_labels: {severity: page, job: a, instance: x}, \
                  exp_annotations: {summary: x of eu is down, others: 2 in all}}]";
    let report = tested(&with_input(&format!(
        "  alert_rule_test:\n  - {{eval_time: 6m, alertname: InstanceDown}}\n  \
         - {{eval_time: 7m, alertname: InstanceDown, {firing}}}\n  \
         - {{eval_time: 7m59s, alertname: InstanceDown, {firing}}}\n  \
         - {{eval_time: 12m, alertname: InstanceDown, {firing}}}\n  \
         - {{eval_time: 13m, alertname: InstanceDown, exp_alerts: []}}\n"
    )))
    .await;
    assert!(report.is_success(), "{report}");
    assert_eq!(report.passed, 5);
}

#[tokio::test]
async fn queries_of_texts_yield_series_in_the_order_of_the_file() {
    let rules = "groups: [{name: g, rules: [{alert: A, expr: vector(1), annotations: \
                 {all: '{{ range query \"up\" }}{{ .Labels.instance }} {{ end }}'}}]}]";
    let tests = "rule_files: [rules.yml]\ntests:\n- interval: 1m\n  input_series:\n  \
                 - {series: 'up{instance=\"b\"}', values: 1x3}\n  - {series: 'up{instance=\"a\"}', values: 1x3}\n  \
                 - {series: 'up{instance=\"c\"}', values: 1x3}\n  alert_rule_test:\n  \
                 - {eval_time: 2m, alertname: A, exp_alerts: [{exp_annotations: {all: 'b a c '}}]}\n";
    let files = BTreeMap::from([("rules.yml".to_owned(), rules.to_owned())]);
    let report = test_rules(tests, &files, &Limits::default(), &QueryLimits::default()).await.unwrap();
    assert!(report.is_success(), "{report}");
}

#[tokio::test]
async fn queries_see_what_rules_record_and_alerts_are() {
    let report = tested(&with_input(
        "  promql_expr_test:\n  - {expr: 'job:up:sum', eval_time: 3m, exp_samples: [{labels: 'job:up:sum{job=\"a\"}', value: 1}]}\n  \
         - {expr: 'count by (alertstate) (ALERTS)', eval_time: 3m, exp_samples: [{labels: '{alertstate=\"pending\"}', value: 1}]}\n  \
         - {expr: 'count by (alertstate) (ALERTS)', eval_time: 8m, exp_samples: [{labels: '{alertstate=\"firing\"}', value: 1}]}\n  \
         - {expr: 'ALERTS_FOR_STATE - 0', eval_time: 8m, exp_samples: [{labels: '{alertname=\"InstanceDown\", instance=\"x\", job=\"a\", severity=\"page\"}', value: 120}]}\n  \
         - {expr: ALERTS, eval_time: 14m}\n",
    ))
    .await;
    assert!(report.is_success(), "{report}");
}

#[tokio::test]
async fn what_is_not_met_is_told_with_what_was_found() {
    let report = tested(&with_input(
        "  alert_rule_test: [{eval_time: 7m, alertname: InstanceDown}]\n  \
         promql_expr_test: [{expr: sum(up), eval_time: 3m, exp_samples: [{labels: '{}', value: 2}]}, {expr: 'sum(', eval_time: 0}]\n",
    ))
    .await;
    let told: Vec<_> =
        report.failures.iter().map(|failure| (failure.subject.as_str(), failure.expected.as_str())).collect();
    assert_eq!(
        told,
        [("alerts InstanceDown at 7m", "nothing"), ("sum(up) at 3m", "{} 2"), ("sum( at 0s", "nothing")]
    );
    assert_eq!(report.failures[1].found, "{} 1");
    assert!(!report.is_success());
}

#[tokio::test]
async fn a_file_without_sense_is_refused() {
    let files = BTreeMap::new();
    for (tests, part) in [
        ("tests: 1", "tests"),
        ("tests: [{promql_expr_test: [{expr: up, eval_time: soon}]}]", "soon"),
        ("group_eval_order: [a, a]", "twice"),
        ("evaluation_interval: 1s\ntests: [{promql_expr_test: [{expr: up, eval_time: 10y}]}]", "evaluations"),
    ] {
        let error = test_rules(tests, &files, &Limits::default(), &QueryLimits::default()).await.unwrap_err();
        assert!(error.to_string().contains(part), "{tests}: {error}");
    }
}

/// Prometheus's own examples; they are not part of this project.
#[tokio::test]
async fn promtools_own_tests_pass() {
    let Ok(folder) = std::env::var("MONITORING_PROMTOOL_TESTS") else {
        println!("SKIPPED: MONITORING_PROMTOOL_TESTS names no folder with tests of rules");
        return;
    };
    let read = |name: &str| {
        std::fs::read_to_string(std::path::Path::new(&folder).join(name)).expect("it can be read")
    };
    let files = BTreeMap::from([("rules.yml".to_owned(), read("rules.yml"))]);
    // Written for Prometheus 2, whose windows are closed on the left, too.
    let of_version_2 = [
        "timestamp(test_missing) at 5m",
        "count_over_time(fixed_data[1h]) at 1h",
        "job:test:count_over_time1m at 1m",
        "job:test:count_over_time1m at 2m",
    ];
    for (tests, different) in [("unittest.yml", of_version_2.as_slice()), ("long-period.yml", &[])] {
        let report =
            test_rules(&read(tests), &files, &Limits::default(), &QueryLimits::default()).await.unwrap();
        let failed: Vec<_> = report.failures.iter().map(|failure| failure.subject.as_str()).collect();
        assert_eq!(failed, different, "{tests}: {report}");
        assert!(report.passed > 0, "{tests}");
    }
}

#[tokio::test]
async fn no_interval_is_the_usual_one() {
    let tests = with_input(
        "  promql_expr_test:\n  - {expr: 'job:up:sum', eval_time: 3m, exp_samples: [{labels: 'job:up:sum{job=\"a\"}', value: 1}]}\n",
    );
    for nothing in ["0s", "0"] {
        let report =
            tested(&tests.replace("evaluation_interval: 1m", &format!("evaluation_interval: {nothing}")))
                .await;
        assert!(report.is_success(), "{report}");
    }
}

#[tokio::test]
async fn what_would_take_too_long_is_refused() {
    for (tests, field) in [
        (
            "evaluation_interval: 1ms\ntests:\n- {promql_expr_test: [{expr: '1', eval_time: 1h}]}\n",
            "tests[0]",
        ),
        (
            "evaluation_interval: 1s\ntests:\n- {promql_expr_test: [{expr: '1', eval_time: 1d}]}\n\
             - {promql_expr_test: [{expr: '1', eval_time: 1d}]}\n- {promql_expr_test: [{expr: '1', eval_time: 1d}]}\n",
            "tests[2]",
        ),
    ] {
        let refused = test_rules(tests, &BTreeMap::new(), &Limits::default(), &QueryLimits::default()).await;
        assert_eq!(refused.unwrap_err().errors()[0].field, field);
    }
}

/// So many series of so many values, looked at in minute 9.
fn with_values(series: usize, values: &str) -> String {
    let series: String =
        (0..series).map(|n| format!("  - {{series: 'x{{n=\"{n}\"}}', values: '{values}'}}\n")).collect();
    format!(
        "tests:\n- input_series:\n{series}  promql_expr_test:\n  \
         - {{expr: count(x), eval_time: 9m, exp_samples: [{{labels: '{{}}', value: 100}}]}}\n"
    )
}

#[tokio::test]
async fn values_are_made_up_to_the_end_of_a_test() {
    let report = tested(&with_values(100, "0+1x999998")).await;
    assert!(report.is_success(), "{report}");
}

#[tokio::test]
async fn the_input_of_all_tests_has_so_many_values() {
    let tests = with_values(100, "0x20000").replace("eval_time: 9m", "eval_time: 10000m");
    let refused = test_rules(&tests, &BTreeMap::new(), &Limits::default(), &QueryLimits::default()).await;
    let wrong = refused.unwrap_err();
    assert_eq!(wrong.errors()[0].field, "tests[0]");
    assert!(wrong.to_string().contains("1000100 values"), "{wrong}");
}

/// Runs the only test of a file.
async fn run_within(tests: &str, mut allowance: Allowance) -> RuleTestReport {
    let (file, limits) = (parsed(tests).unwrap(), QueryLimits::default());
    let rules = BTreeMap::from([("rules.yml".to_owned(), RULES.to_owned())]);
    let groups = groups(&rules, &file, &Limits::default()).unwrap();
    let mut run = Run::new("down".to_owned(), &file.tests[0], &groups, &limits, false, &mut allowance);
    run.whole(60_000).await;
    run.report
}

#[tokio::test]
async fn rules_write_so_many_samples() {
    let tests = with_input("  promql_expr_test: [{expr: up, eval_time: 20m}]\n");
    let report = run_within(&tests, Allowance::of(20, 10_000)).await;
    assert_eq!(report.failures.len(), 1, "{report}");
    assert!(report.failures[0].found.contains("rules write more than"), "{report}");
}

#[tokio::test]
async fn so_much_is_told_of_failures() {
    let tests =
        with_input("  promql_expr_test:\n  - {expr: up, eval_time: 0}\n  - {expr: up, eval_time: 1m}\n");
    let report = run_within(&tests, Allowance::of(1_000, 100)).await;
    let found: Vec<_> = report.failures.iter().map(|failure| failure.found.as_str()).collect();
    assert_eq!(found.len(), 2, "{report}");
    assert!(found[0].contains("up{"), "{report}");
    assert!(found[1].starts_with("left out"), "{report}");
}

/// As `promtool` of 2026 has them: input, evaluations and looks all begin there.
#[tokio::test]
async fn a_test_may_begin_at_another_time() {
    for start in ["1609459200", "2021-01-01T00:00:00Z", "'2021-01-01T01:00:00+01:00'", "1.6094592e9"] {
        let report = tested(&with_input(&format!(
            "  start_timestamp: {start}\n  alert_rule_test:\n  \
             - {{eval_time: 6m, alertname: InstanceDown}}\n  promql_expr_test:\n  \
             - {{expr: 'time() - timestamp(up{{instance=\"y\"}})', eval_time: 90s, \
             exp_samples: [{{labels: '{{instance=\"y\", job=\"a\"}}', value: 30}}]}}\n  \
             - {{expr: 'year() * 100 + month()', eval_time: 0, exp_samples: [{{labels: '{{}}', value: 202101}}]}}\n  \
             - {{expr: 'ALERTS_FOR_STATE - 1609459200', eval_time: 8m, exp_samples: [{{labels: '{{alertname=\"InstanceDown\", instance=\"x\", job=\"a\", severity=\"page\"}}', value: 120}}]}}\n"
        )))
        .await;
        assert!(report.is_success(), "{start}: {report}");
        assert_eq!(report.passed, 4);
    }
    for start in ["soon", "NaN", "1e300", "''"] {
        let tests = with_input(&format!("  start_timestamp: {start}\n"));
        let tested = test_rules(&tests, &BTreeMap::new(), &Limits::default(), &QueryLimits::default()).await;
        let error = tested.unwrap_err().to_string();
        assert!(error.contains("is no time such as"), "{start}: {error}");
    }
}

/// As the same rules do live, and Prometheus.
#[tokio::test]
async fn what_rules_write_is_as_old_as_what_they_read() {
    const LATE: &str = "groups: [{name: late, query_offset: 90s, rules: [{record: r, expr: x}, \
                        {alert: A, expr: x > 2}]}]";
    let files = BTreeMap::from([("rules.yml".to_owned(), LATE.to_owned())]);
    let tests = "rule_files: [rules.yml]\nevaluation_interval: 1m\ntests:\n- interval: 1m\n  \
        input_series: [{series: x, values: 1 2 3 4 5 6}]\n  promql_expr_test:\n  \
        - {expr: r, eval_time: 5m, exp_samples: [{labels: r, value: 4}]}\n  \
        - {expr: timestamp(r), eval_time: 5m, exp_samples: [{labels: '{}', value: 210}]}\n  \
        - {expr: 'timestamp(ALERTS{alertname=\"A\"})', eval_time: 5m, \
           exp_samples: [{labels: '{alertname=\"A\", alertstate=\"firing\"}', value: 210}]}\n  \
        - {expr: 'r offset 90s', eval_time: 4m, exp_samples: [{labels: r, value: 3}]}\n";
    let report = test_rules(tests, &files, &Limits::default(), &QueryLimits::default()).await.unwrap();
    assert!(report.is_success(), "{report}");
}
