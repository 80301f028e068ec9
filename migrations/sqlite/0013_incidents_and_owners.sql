-- What was said about the alerts of an incident, as its timeline tells it. It outlives what it tells of.
CREATE TABLE monitoring_incident_steps (
    incident_id BLOB NOT NULL,
    at INTEGER NOT NULL,
    id BLOB NOT NULL,
    entry TEXT NOT NULL,
    PRIMARY KEY (incident_id, at, id)
) WITHOUT ROWID;

-- Which incident did this firing join?
CREATE INDEX monitoring_alert_transitions_firing ON monitoring_alert_transitions (fingerprint, at)
    WHERE incident_id IS NOT NULL AND to_state = 'firing';

-- When did an alert last join an incident?
CREATE INDEX monitoring_alert_transitions_joined ON monitoring_alert_transitions (incident_id, at)
    WHERE incident_id IS NOT NULL AND to_state = 'firing';

-- The last incident of the alerts that people are told of together.
CREATE TABLE monitoring_incident_groups (
    -- Of the group's key, which may be longer than an index takes; or the rule, where nobody is told.
    group_key TEXT NOT NULL PRIMARY KEY,
    incident_id BLOB
) WITHOUT ROWID;

-- Does any alert that fires keep an incident open?
CREATE INDEX monitoring_alert_instances_incident ON monitoring_alert_instances (incident_id)
    WHERE incident_id IS NOT NULL;

ALTER TABLE monitoring_alert_rules ADD COLUMN resolve_incident INTEGER NOT NULL DEFAULT 1;

-- Whom a rule belongs to: a person or a team.
ALTER TABLE monitoring_alert_rules ADD COLUMN owner TEXT;
