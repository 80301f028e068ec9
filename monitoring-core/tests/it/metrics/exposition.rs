//! What a scrape returns.

use monitoring_core::{Error, ExpositionFormat, MetricType, services};

use super::fixture::{
    builder, counter, create, create_all, gauge, histogram, request, scrape, scrape_text, start,
};
use super::parser::Scrape;
use crate::support::database::{Database, on_each_database};

const FORMATS: [ExpositionFormat; 2] = [ExpositionFormat::Prometheus, ExpositionFormat::OpenMetrics];

on_each_database! {
    the_systems_own_series_come_described,
    every_type_appears_in_both_formats,
    descriptions_appear,
    the_builder_describes_metrics,
    conventional_metrics_come_with_help_and_unit,
    names_that_collide_do_not_break_the_text,
    histograms_of_two_layouts_appear_as_one,
    a_scrape_in_many_portions_is_one_text,
}

async fn the_systems_own_series_come_described(database: &Database) {
    let text = scrape_text(&start(database).await, ExpositionFormat::Prometheus).await;
    let expected = "\
# HELP monitoring_total_events Total number of events in the system
# TYPE monitoring_total_events counter
monitoring_total_events 0
# HELP monitoring_total_metrics Total number of metric observations in the system
# TYPE monitoring_total_metrics counter
monitoring_total_metrics 0
# HELP monitoring_active_alerts Number of currently active alerts
# TYPE monitoring_active_alerts gauge
monitoring_active_alerts 0
# HELP monitoring_open_incidents Number of incidents that are neither resolved nor closed
# TYPE monitoring_open_incidents gauge
monitoring_open_incidents 0
# HELP monitoring_events_last_hour Number of events in the last hour
# TYPE monitoring_events_last_hour gauge
monitoring_events_last_hour 0
# HELP monitoring_metrics_last_hour Number of metric observations in the last hour
# TYPE monitoring_metrics_last_hour gauge
monitoring_metrics_last_hour 0
";
    assert_eq!(text, expected);
}

async fn every_type_appears_in_both_formats(database: &Database) {
    let monitoring = start(database).await;
    let labels = [("path", "a\"b\\c\nd")];
    let batch = vec![
        counter("orders_total", &labels, 2.0),
        counter("orders", &[], 2.5),
        gauge("temperature", &labels, -1.5),
        gauge("nothing", &[], f64::NAN),
        histogram("wait_seconds", &labels, 0.2),
        request(MetricType::Summary, "size_bytes", &labels, 100.0),
        request(MetricType::Summary, "change", &[], -100.0),
        histogram("drift", &[], -100.0),
    ];
    create_all(&monitoring, batch).await;
    for format in FORMATS {
        let scrape = Scrape::parse(&scrape_text(&monitoring, format).await, format);
        let of = |name: &str| format!("{name}{{path=\"a\\\"b\\\\c\\nd\"}}");
        assert_eq!(scrape.value(&of("orders_total")), 2.0);
        assert_eq!(scrape.value("orders"), 2.5);
        assert_eq!(scrape.value(&of("temperature")), -1.5);
        assert!(scrape.value("nothing").is_nan());
        assert_eq!(scrape.value(&of("wait_seconds_sum")), 0.2);
        assert_eq!(scrape.value(&of("size_bytes_count")), 1.0);
        assert_eq!(scrape.value("change_count"), 1.0);
        assert_eq!(scrape.value("drift_bucket{le=\"+Inf\"}"), 1.0);
        for sum in ["change_sum", "drift_sum"] {
            let has_sum = format == ExpositionFormat::Prometheus;
            assert_eq!(scrape.has(sum), has_sum, "to OpenMetrics a sum never falls: {sum}");
        }
    }
}

async fn descriptions_appear(database: &Database) {
    let monitoring = start(database).await;
    let mut conn = monitoring.acquire().await.unwrap();
    for help in ["Wrong", "How \"long\"\nit took \\"] {
        services::describe_metric(&mut conn, "wait_seconds", help, "seconds").await.unwrap();
    }
    services::describe_metric(&mut conn, "wait", "", "seconds").await.unwrap();
    drop(conn);
    create(&monitoring, histogram("wait_seconds", &[], 0.2)).await;
    create(&monitoring, gauge("wait", &[], 0.2)).await;
    let classic = scrape(&monitoring).await;
    let help = classic.families["wait_seconds"].help.as_deref();
    assert_eq!(help, Some("How \"long\"\\nit took \\\\"));
    let format = ExpositionFormat::OpenMetrics;
    let open = Scrape::parse(&scrape_text(&monitoring, format).await, format);
    assert_eq!(open.families["wait_seconds"].unit.as_deref(), Some("seconds"));
    assert_eq!(open.families["wait"].unit, None, "a unit must stand in the name");
}

async fn the_builder_describes_metrics(database: &Database) {
    let described =
        |help| builder(database).describe("orders_total", help, "").describe("age_seconds", "", "seconds");
    described("Orders placed").start().await.unwrap().shutdown(std::time::Duration::from_secs(5)).await;
    let monitoring = described("Orders placed and paid").start().await.unwrap();
    create_all(&monitoring, vec![counter("orders_total", &[], 1.0), gauge("age_seconds", &[], 1.0)]).await;
    let families = scrape(&monitoring).await.families;
    assert_eq!(families["orders_total"].help.as_deref(), Some("Orders placed and paid"));
    let format = ExpositionFormat::OpenMetrics;
    let open = Scrape::parse(&scrape_text(&monitoring, format).await, format);
    assert_eq!(open.families["age_seconds"].unit.as_deref(), Some("seconds"));

    let wrong = builder(database).describe("5xx", "h", "").describe("monitoring_total_events", "h", "%");
    let Err(Error::Invalid(invalid)) = wrong.start().await else { panic!("it started") };
    let fields: Vec<_> = invalid.errors().iter().map(|error| error.field.as_str()).collect();
    let own = r#"describe("monitoring_total_events")"#;
    assert_eq!(fields, [r#"describe("5xx").name"#.to_owned(), format!("{own}.name"), format!("{own}.unit")]);
}

async fn conventional_metrics_come_with_help_and_unit(database: &Database) {
    let monitoring = start(database).await;
    let mut conn = monitoring.acquire().await.unwrap();
    services::track_endpoint_performance("GET", "/", 200, 1.0, &mut conn).await.unwrap();
    drop(conn);
    let families = [
        ("http_requests", None),
        ("http_request_duration_ms", Some("ms")),
        ("http_server_request_duration_seconds", Some("seconds")),
        ("http_server_request_body_size_bytes", Some("bytes")),
    ];
    create_all(&monitoring, families[2..].iter().map(|(name, _)| histogram(name, &[], 1.0)).collect()).await;
    let format = ExpositionFormat::OpenMetrics;
    let open = Scrape::parse(&scrape_text(&monitoring, format).await, format);
    for (name, unit) in families {
        let family = &open.families[name];
        assert!(family.help.as_deref().is_some_and(|help| !help.is_empty()), "{name}");
        assert_eq!(family.unit.as_deref(), unit, "{name}");
    }
}

async fn names_that_collide_do_not_break_the_text(database: &Database) {
    let monitoring = start(database).await;
    let batch = vec![
        histogram("x", &[], 1.0),
        gauge("x_count", &[], 7.0),
        gauge("x_bucket", &[("le", "1")], 7.0),
        gauge("x_total", &[], 7.0),
        counter("y_total", &[], 1.0),
        gauge("y", &[], 7.0),
        gauge("z_created", &[], 7.0),
        counter("z_total", &[], 1.0),
    ];
    create_all(&monitoring, batch).await;
    for format in FORMATS {
        let scrape = Scrape::parse(&scrape_text(&monitoring, format).await, format);
        assert_eq!(scrape.value("x_count"), 1.0, "the histogram's, not the gauge's");
        assert!(!scrape.families.contains_key("x_count"));
        for (sample, value) in
            [("x_total", 7.0), ("y_total", 1.0), ("y", 7.0), ("z_created", 7.0), ("z_total", 1.0)]
        {
            assert_eq!(scrape.value(sample), value, "{sample}");
        }
    }
}

async fn histograms_of_two_layouts_appear_as_one(database: &Database) {
    let one = builder(database).buckets("size", vec![1.0, 2.0, 4.0]).start().await.unwrap();
    let two = builder(database).buckets("size", vec![2.0, 3.0, 4.0]).start().await.unwrap();
    create_all(&one, [0.5, 1.5, 3.0].map(|value| histogram("size", &[("a", "1")], value)).into()).await;
    create_all(&two, [2.5, 9.0].map(|value| histogram("size", &[("a", "1")], value)).into()).await;
    create(&two, histogram("size", &[("a", "2")], 2.5)).await;
    let scrape = scrape(&one).await;
    assert_eq!(scrape.value("size_bucket{a=\"1\",le=\"2\"}"), 2.0);
    assert_eq!(scrape.value("size_bucket{a=\"1\",le=\"4\"}"), 4.0);
    assert_eq!(scrape.value("size_count{a=\"1\"}"), 5.0);
    assert!(!scrape.has("size_bucket{a=\"1\",le=\"3\"}"));
    assert_eq!(scrape.value("size_bucket{a=\"2\",le=\"3\"}"), 1.0, "nothing to merge with");
}

async fn a_scrape_in_many_portions_is_one_text(database: &Database) {
    let monitoring = start(database).await;
    let series = |n: u32| {
        let label = n.to_string();
        gauge(["first", "second"][n as usize / 800], &[("n", &label)], f64::from(n))
    };
    create_all(&monitoring, (0..1_600).map(series).collect()).await;
    for format in FORMATS {
        let scrape = Scrape::parse(&scrape_text(&monitoring, format).await, format);
        for name in ["first", "second"] {
            assert_eq!(scrape.families[name].samples.len(), 800);
        }
        assert_eq!(scrape.value("second{n=\"1599\"}"), 1_599.0);
    }
}
