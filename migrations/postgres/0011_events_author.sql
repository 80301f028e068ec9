-- What has one account sent, newest first? Most events have no author.
CREATE INDEX events_author ON monitoring.events (created_by, timestamp, id) WHERE created_by IS NOT NULL;
