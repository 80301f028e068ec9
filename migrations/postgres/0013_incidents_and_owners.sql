-- What was said about the alerts of an incident, as its timeline tells it. It outlives what it tells of.
CREATE TABLE monitoring.incident_steps (
    incident_id UUID NOT NULL,
    at TIMESTAMPTZ NOT NULL,
    id UUID NOT NULL,
    entry JSONB NOT NULL,
    PRIMARY KEY (incident_id, at, id)
);

-- Which incident did this firing join?
CREATE INDEX alert_transitions_firing ON monitoring.alert_transitions (fingerprint, at)
    WHERE incident_id IS NOT NULL AND to_state = 'firing';

-- When did an alert last join an incident?
CREATE INDEX alert_transitions_joined ON monitoring.alert_transitions (incident_id, at)
    WHERE incident_id IS NOT NULL AND to_state = 'firing';

-- The last incident of the alerts that people are told of together. The row is locked by whoever has an alert
-- join one, so that no two are opened.
CREATE TABLE monitoring.incident_groups (
    -- Of the group's key, which may be longer than an index takes; or the rule, where nobody is told.
    group_key TEXT PRIMARY KEY,
    incident_id UUID
);

-- Does any alert that fires keep an incident open?
CREATE INDEX alert_instances_incident ON monitoring.alert_instances (incident_id)
    WHERE incident_id IS NOT NULL;

ALTER TABLE monitoring.alert_rules ADD COLUMN resolve_incident BOOLEAN NOT NULL DEFAULT TRUE;

-- Whom a rule belongs to: a person or a team.
ALTER TABLE monitoring.alert_rules ADD COLUMN owner TEXT;
