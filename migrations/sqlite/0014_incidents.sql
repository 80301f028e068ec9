-- What was said about the alerts of an incident, as its timeline tells it. It outlives what it tells of.
CREATE TABLE monitoring_incident_steps (
    incident_id BLOB NOT NULL,
    at INTEGER NOT NULL,
    id BLOB NOT NULL,
    entry TEXT NOT NULL,
    PRIMARY KEY (incident_id, at, id)
) WITHOUT ROWID;
