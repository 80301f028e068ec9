-- What was said about the alerts of an incident, as its timeline tells it. It outlives what it tells of.
CREATE TABLE monitoring.incident_steps (
    incident_id UUID NOT NULL,
    at TIMESTAMPTZ NOT NULL,
    id UUID NOT NULL,
    entry JSONB NOT NULL,
    PRIMARY KEY (incident_id, at, id)
);

-- When did an alert last join an incident?
CREATE INDEX alert_transitions_joined ON monitoring.alert_transitions (incident_id, at)
    WHERE incident_id IS NOT NULL AND to_state = 'firing';
