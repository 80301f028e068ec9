//! How much of each thing is accepted.

/// Bounds on what one event, metric or request may carry. Past them the API answers with a clear
/// error and stores nothing; the layers cut, mark and count.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Characters in an event's message.
    pub message_chars_max: usize,
    /// Characters in a source.
    pub source_chars_max: usize,
    /// Tags on one event.
    pub tags_max: usize,
    /// Characters in a tag's key.
    pub tag_key_chars_max: usize,
    /// Characters in a tag's value.
    pub tag_value_chars_max: usize,
    /// Bytes of an event's payload, as JSON.
    pub payload_bytes_max: usize,
    /// Characters in a metric's name.
    pub metric_name_chars_max: usize,
    /// Labels on one series.
    pub labels_max: usize,
    /// Characters in a label's value.
    pub label_value_chars_max: usize,
    /// Buckets of one histogram, without `+Inf`.
    pub buckets_max: usize,
    /// Series of one metric name.
    pub series_per_metric_max: usize,
    /// Series of all metrics. What others send, by remote write or as observations over the API, may bring
    /// them to half of it: the rest is for what the host records itself.
    pub series_max: usize,
    /// Bytes of the labels of all series, of which others may take half. Queries keep them in memory, in
    /// each replica, in about twice as many.
    pub series_label_bytes_max: usize,
    /// Items in one batch.
    pub batch_items_max: usize,
    /// Bytes of a request body.
    pub body_bytes_max: usize,
    /// Characters in a title or name of a rule or an incident.
    pub title_chars_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_chars_max: 10_000,
            source_chars_max: 200,
            tags_max: 50,
            tag_key_chars_max: 100,
            tag_value_chars_max: 500,
            payload_bytes_max: 64 * 1024,
            metric_name_chars_max: 100,
            labels_max: 50,
            label_value_chars_max: 500,
            buckets_max: 100,
            series_per_metric_max: 20_000,
            series_max: 800_000,
            series_label_bytes_max: 256 * 1024 * 1024,
            batch_items_max: 10_000,
            body_bytes_max: 8 * 1024 * 1024,
            title_chars_max: 200,
        }
    }
}
