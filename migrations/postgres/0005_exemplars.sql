-- Exemplars: single observations, with labels that lead to a trace or a request. What counts is in the
-- samples; these are few, a sample of each bucket, and only the newest stay.
CREATE TABLE monitoring.metric_exemplars (
    series_id BIGINT NOT NULL,
    -- Of a histogram, the bucket the value fell into, the lowest being 0; else 0.
    bucket INTEGER NOT NULL,
    timestamp TIMESTAMPTZ NOT NULL,
    -- Of value and labels: a repeated write adds nothing, and two of one instant both stay.
    digest BIGINT NOT NULL,
    value DOUBLE PRECISION NOT NULL,
    labels JSONB NOT NULL DEFAULT '{}',
    -- The newest of a bucket (exposition), those of a bucket between two times (queries), and the
    -- buckets one after the other (upkeep, which removes what is past its number or its age).
    PRIMARY KEY (series_id, bucket, timestamp, digest)
);
