//! What any service shows that embeds the monitoring: its requests, its logs, and whether the
//! monitoring itself keeps up.

use super::dashboard::{Dashboard, Panel, Picture, Query, Row, Variable};

pub(super) fn dashboard() -> Dashboard {
    let route = Variable {
        name: "route",
        title: "Route",
        metric: "http_server_request_duration_seconds_count",
        label: "http_route",
    };
    Dashboard { uid: "monitoring-service", title: "Service", rows: ROWS, variable: Some(route) }
}

const ROWS: &[Row] = &[
    Row { title: "Now", panels: NOW },
    Row { title: "Requests", panels: REQUESTS },
    Row { title: "Logs", panels: LOGS },
    Row { title: "The monitoring itself", panels: PIPELINE },
];

const NOW: &[Panel] = &[
    Panel {
        title: "Requests",
        picture: Picture::Number,
        unit: "reqps",
        queries: &[Query {
            expr: r#"sum(rate(http_server_request_duration_seconds_count{http_route=~"$route"}[$__rate_interval]))"#,
            legend: "requests",
        }],
    },
    Panel {
        title: "Failed",
        picture: Picture::Number,
        unit: "percentunit",
        // The first half has no series before the first failure.
        queries: &[Query {
            expr: r#"(sum(rate(http_server_request_duration_seconds_count{http_route=~"$route",http_response_status_code=~"5.."}[$__rate_interval])) or vector(0)) / sum(rate(http_server_request_duration_seconds_count{http_route=~"$route"}[$__rate_interval]))"#,
            legend: "failed",
        }],
    },
    Panel {
        title: "Latency, 99 of 100 below",
        picture: Picture::Number,
        unit: "s",
        queries: &[Query {
            expr: r#"histogram_quantile(0.99, sum by (le) (rate(http_server_request_duration_seconds_bucket{http_route=~"$route"}[$__rate_interval])))"#,
            legend: "p99",
        }],
    },
    Panel {
        title: "Being served",
        picture: Picture::Number,
        unit: "short",
        queries: &[Query { expr: "sum(http_server_active_requests)", legend: "requests" }],
    },
];

const REQUESTS: &[Panel] = &[
    Panel {
        title: "By route",
        picture: Picture::Lines,
        unit: "reqps",
        queries: &[Query {
            expr: r#"sum by (http_request_method, http_route) (rate(http_server_request_duration_seconds_count{http_route=~"$route"}[$__rate_interval]))"#,
            legend: "{{http_request_method}} {{http_route}}",
        }],
    },
    Panel {
        title: "By status",
        picture: Picture::Columns,
        unit: "reqps",
        queries: &[Query {
            expr: r#"sum by (http_response_status_code) (rate(http_server_request_duration_seconds_count{http_route=~"$route"}[$__rate_interval]))"#,
            legend: "{{http_response_status_code}}",
        }],
    },
    Panel {
        title: "Failed, by route",
        picture: Picture::Lines,
        unit: "percentunit",
        queries: &[Query {
            expr: r#"sum by (http_route) (rate(http_server_request_duration_seconds_count{http_route=~"$route",http_response_status_code=~"5.."}[$__rate_interval])) / sum by (http_route) (rate(http_server_request_duration_seconds_count{http_route=~"$route"}[$__rate_interval]))"#,
            legend: "{{http_route}}",
        }],
    },
    Panel {
        title: "Latency",
        picture: Picture::Lines,
        unit: "s",
        queries: &[
            Query {
                expr: r#"histogram_quantile(0.5, sum by (le) (rate(http_server_request_duration_seconds_bucket{http_route=~"$route"}[$__rate_interval])))"#,
                legend: "p50",
            },
            Query {
                expr: r#"histogram_quantile(0.9, sum by (le) (rate(http_server_request_duration_seconds_bucket{http_route=~"$route"}[$__rate_interval])))"#,
                legend: "p90",
            },
            Query {
                expr: r#"histogram_quantile(0.99, sum by (le) (rate(http_server_request_duration_seconds_bucket{http_route=~"$route"}[$__rate_interval])))"#,
                legend: "p99",
            },
        ],
    },
    Panel {
        title: "Slowest routes, 95 of 100 below",
        picture: Picture::Bars,
        unit: "s",
        queries: &[Query {
            expr: r#"topk(10, histogram_quantile(0.95, sum by (le, http_route) (rate(http_server_request_duration_seconds_bucket{http_route=~"$route"}[$__range]))))"#,
            legend: "{{http_route}}",
        }],
    },
    Panel {
        title: "Bodies",
        picture: Picture::Lines,
        unit: "Bps",
        queries: &[
            Query {
                expr: r#"sum(rate(http_server_request_body_size_bytes_sum{http_route=~"$route"}[$__rate_interval]))"#,
                legend: "received",
            },
            Query {
                expr: r#"sum(rate(http_server_response_body_size_bytes_sum{http_route=~"$route"}[$__rate_interval]))"#,
                legend: "sent",
            },
        ],
    },
];

const LOGS: &[Panel] = &[
    Panel {
        title: "By level",
        picture: Picture::Columns,
        unit: "short",
        queries: &[Query {
            expr: r#"sum by (level) (increase(monitoring_events_total{event_type="log"}[$__rate_interval]))"#,
            legend: "{{level}}",
        }],
    },
    Panel {
        title: "Warnings and worse, by source",
        picture: Picture::Columns,
        unit: "short",
        queries: &[Query {
            expr: r#"sum by (source, level) (increase(monitoring_events_total{level=~"warn|error|critical"}[$__rate_interval]))"#,
            legend: "{{source}} {{level}}",
        }],
    },
];

const PIPELINE: &[Panel] = &[
    Panel {
        title: "Written",
        picture: Picture::Lines,
        unit: "cps",
        queries: &[Query {
            expr: "sum by (kind) (rate(monitoring_ingest_written_total[$__rate_interval]))",
            legend: "{{kind}}s",
        }],
    },
    Panel {
        title: "Lost or cut",
        picture: Picture::Columns,
        unit: "short",
        queries: &[
            Query {
                expr: "sum by (reason) (increase(monitoring_ingest_shed_total[$__rate_interval]))",
                legend: "{{reason}}",
            },
            Query {
                expr: "sum(increase(monitoring_ingest_truncated_total[$__rate_interval]))",
                legend: "cut to the limits",
            },
        ],
    },
    Panel {
        title: "Waiting to be written",
        picture: Picture::Lines,
        unit: "bytes",
        queries: &[Query { expr: "sum(monitoring_ingest_queue_bytes)", legend: "in memory" }],
    },
    Panel {
        title: "Writes to the database",
        picture: Picture::Lines,
        unit: "s",
        queries: &[
            Query {
                expr: "histogram_quantile(0.5, sum by (le) (rate(monitoring_ingest_write_duration_seconds_bucket[$__rate_interval])))",
                legend: "p50",
            },
            Query {
                expr: "histogram_quantile(0.99, sum by (le) (rate(monitoring_ingest_write_duration_seconds_bucket[$__rate_interval])))",
                legend: "p99",
            },
        ],
    },
];
