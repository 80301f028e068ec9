//! What the shop counts of its business, besides what the layers count of its requests.
//!
//! Counting goes through the recorder: it costs the caller nothing worth mentioning and cannot
//! fail. Labels have few values; ids belong into events.

use std::collections::HashMap;

use monitoring_core::{CreateMetricRequest, MetricType, Monitoring, MonitoringBuilder, Recorder};

pub(super) const PAYMENT_AMOUNT_CENTS: &str = "payment_amount_cents";
/// From a mug to a hundred grinders.
pub(super) const PAYMENT_AMOUNT_BUCKETS: [f64; 8] = [1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 1e6];

const ORDERS: &str = "orders_total";
const PAYMENTS: &str = "payments_total";

/// Says what the metrics mean, for those who read the scrape.
pub(super) fn described(builder: MonitoringBuilder) -> MonitoringBuilder {
    builder
        .describe(ORDERS, "Orders placed, by product.", "")
        .describe(PAYMENTS, "Payments tried, by outcome.", "")
        .describe(PAYMENT_AMOUNT_CENTS, "What captured payments brought in.", "cents")
}

/// How a payment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Captured,
    Declined,
    GatewayFailed,
    GatewayTimeout,
    GatewayPoolExhausted,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Captured => "captured",
            Self::Declined => "declined",
            Self::GatewayFailed => "gateway_failed",
            Self::GatewayTimeout => "gateway_timeout",
            Self::GatewayPoolExhausted => "gateway_pool_exhausted",
        }
    }
}

/// The shop's own metrics; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct BusinessMetrics {
    recorder: Recorder,
}

impl BusinessMetrics {
    pub(crate) fn new(monitoring: &Monitoring) -> Self {
        Self { recorder: monitoring.recorder().clone() }
    }

    /// `orders_total{product}`: an order was placed.
    pub(crate) fn order_placed(&self, product: &str) {
        self.count(ORDERS, ("product", product));
    }

    /// `payments_total{outcome}`, and the amount if the money arrived.
    pub(crate) fn payment_ended(&self, outcome: Outcome, amount_cents: i64) {
        self.count(PAYMENTS, ("outcome", outcome.as_str()));
        if outcome == Outcome::Captured {
            self.record(PAYMENT_AMOUNT_CENTS, MetricType::Histogram, amount_cents as f64, HashMap::new());
        }
    }

    fn count(&self, name: &str, (label, value): (&str, &str)) {
        let labels = HashMap::from([(label.to_owned(), value.to_owned())]);
        self.record(name, MetricType::Counter, 1.0, labels);
    }

    fn record(&self, name: &str, metric_type: MetricType, value: f64, labels: HashMap<String, String>) {
        let name = name.to_owned();
        self.recorder.metric(CreateMetricRequest { name, metric_type, value, labels, timestamp: None });
    }
}
