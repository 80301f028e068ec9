-- Samples that have settled, packed: up to a few hundred of one series in a row, in columns, a few
-- bytes each. Rows of metric_samples are where samples land, these are where they stay.
CREATE TABLE monitoring.metric_chunks (
    series_id BIGINT NOT NULL,
    -- Of its first and its last sample, on one UTC day.
    start_time TIMESTAMPTZ NOT NULL,
    end_time TIMESTAMPTZ NOT NULL,
    samples INTEGER NOT NULL CHECK (samples > 0),
    data BYTEA NOT NULL,
    -- The samples of a series from a time on.
    PRIMARY KEY (series_id, end_time),
    CHECK (start_time <= end_time)
) PARTITION BY RANGE (end_time);
-- Packed already, so not to be compressed again.
ALTER TABLE monitoring.metric_chunks ALTER COLUMN data SET STORAGE EXTERNAL;
CREATE TABLE monitoring.metric_chunks_default PARTITION OF monitoring.metric_chunks DEFAULT;
-- Samples of all series, newest first: lists. Strays, by age.
CREATE INDEX metric_chunks_time ON monitoring.metric_chunks (end_time, series_id);
