-- Samples that have settled, packed: up to a few hundred of one series in a row, in columns, a few
-- bytes each. Rows of monitoring_metric_samples are where samples land, these are where they stay.
CREATE TABLE monitoring_metric_chunks (
    series_id INTEGER NOT NULL,
    -- Of its first and its last sample, on one UTC day.
    start_time INTEGER NOT NULL,
    end_time INTEGER NOT NULL,
    samples INTEGER NOT NULL CHECK (samples > 0),
    data BLOB NOT NULL,
    -- The samples of a series from a time on.
    PRIMARY KEY (series_id, end_time),
    CHECK (start_time <= end_time)
) WITHOUT ROWID;
-- Samples of all series, newest first: lists, retention.
CREATE INDEX monitoring_metric_chunks_time ON monitoring_metric_chunks (end_time, series_id);
