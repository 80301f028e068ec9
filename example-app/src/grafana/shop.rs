//! What this service counts of its business.

use super::dashboard::{Dashboard, Panel, Picture, Query, Row};

pub(super) fn dashboard() -> Dashboard {
    Dashboard { uid: "monitoring-shop", title: "Shop", rows: ROWS, variable: None }
}

const ROWS: &[Row] = &[Row { title: "Takings", panels: TAKINGS }, Row { title: "In time", panels: IN_TIME }];

const TAKINGS: &[Panel] = &[
    Panel {
        title: "Orders",
        picture: Picture::Number,
        unit: "short",
        queries: &[Query { expr: "sum(increase(orders_total[$__range]))", legend: "orders" }],
    },
    Panel {
        title: "Captured",
        picture: Picture::Number,
        unit: "currencyEUR",
        queries: &[Query {
            expr: "sum(increase(payment_amount_cents_sum[$__range])) / 100",
            legend: "captured",
        }],
    },
    Panel {
        title: "Median payment",
        picture: Picture::Number,
        unit: "currencyEUR",
        queries: &[Query {
            expr: "histogram_quantile(0.5, sum by (le) (increase(payment_amount_cents_bucket[$__range]))) / 100",
            legend: "median",
        }],
    },
    Panel {
        title: "Payments the gateway failed",
        picture: Picture::Number,
        unit: "percentunit",
        queries: &[Query {
            expr: r#"(sum(increase(payments_total{outcome=~"gateway_.*"}[$__range])) or vector(0)) / sum(increase(payments_total[$__range]))"#,
            legend: "failed",
        }],
    },
];

const IN_TIME: &[Panel] = &[
    Panel {
        title: "Orders, by product",
        picture: Picture::Columns,
        unit: "short",
        queries: &[Query {
            expr: "sum by (product) (increase(orders_total[$__rate_interval]))",
            legend: "{{product}}",
        }],
    },
    Panel {
        title: "Payments, by outcome",
        picture: Picture::Columns,
        unit: "short",
        queries: &[Query {
            expr: "sum by (outcome) (increase(payments_total[$__rate_interval]))",
            legend: "{{outcome}}",
        }],
    },
    Panel {
        title: "How long a payment takes, 95 of 100 below",
        picture: Picture::Lines,
        unit: "s",
        queries: &[Query {
            expr: r#"histogram_quantile(0.95, sum by (le) (rate(http_server_request_duration_seconds_bucket{http_route="/api/v1/payments"}[$__rate_interval])))"#,
            legend: "p95",
        }],
    },
];
