-- What has one account sent, newest first? Most events have no author.
CREATE INDEX monitoring_events_author ON monitoring_events (created_by, timestamp, id)
    WHERE created_by IS NOT NULL;
