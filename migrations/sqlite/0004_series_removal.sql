-- A series with nothing left is marked, not deleted: a transaction that is still open may just be
-- adding to it, and a sample must never be without its series.
ALTER TABLE monitoring_metric_series ADD COLUMN removed_at INTEGER;
CREATE INDEX monitoring_metric_series_removed ON monitoring_metric_series (removed_at, id)
    WHERE removed_at IS NOT NULL;
-- Whoever asks what a name is used for, or lists totals, shall not wade through removed ones.
CREATE INDEX monitoring_metric_series_present ON monitoring_metric_series (name, id)
    WHERE removed_at IS NULL;

-- How often anything was removed: the query engine keeps all series in memory and follows.
CREATE TABLE monitoring_metric_removals (
    single INTEGER NOT NULL PRIMARY KEY DEFAULT 1 CHECK (single = 1),
    count INTEGER NOT NULL DEFAULT 0
);
INSERT INTO monitoring_metric_removals DEFAULT VALUES;
