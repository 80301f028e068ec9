-- What was said about the alerts of an incident, as its timeline tells it. It outlives what it tells of.
CREATE TABLE monitoring_incident_steps (
    incident_id BLOB NOT NULL,
    at INTEGER NOT NULL,
    id BLOB NOT NULL,
    entry TEXT NOT NULL,
    PRIMARY KEY (incident_id, at, id)
) WITHOUT ROWID;

-- When did an alert last join an incident?
CREATE INDEX monitoring_alert_transitions_joined ON monitoring_alert_transitions (incident_id, at)
    WHERE incident_id IS NOT NULL AND to_state = 'firing';
