-- Which series are new? The query engine keeps all of them in memory and follows.
CREATE INDEX monitoring_metric_series_created ON monitoring_metric_series (created_at, id);
