-- Which replica does what runs once per cluster. The token grows with every change of hands: whoever
-- holds an older one has been replaced.
CREATE TABLE monitoring.leases (
    name TEXT PRIMARY KEY,
    holder UUID NOT NULL,
    token BIGINT NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL
);

-- One row, changed with every rule and group, so that who evaluates them sees when to read them again.
CREATE TABLE monitoring.rule_revision (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    revision BIGINT NOT NULL
);
INSERT INTO monitoring.rule_revision (id, revision) VALUES (1, 1);

-- Settings of groups. A group without a row has the usual ones.
CREATE TABLE monitoring.rule_groups (
    name TEXT PRIMARY KEY,
    interval_seconds BIGINT CHECK (interval_seconds > 0),
    query_offset_seconds BIGINT NOT NULL DEFAULT 0 CHECK (query_offset_seconds >= 0),
    alert_limit BIGINT NOT NULL DEFAULT 0 CHECK (alert_limit >= 0),
    labels JSONB NOT NULL DEFAULT '{}',
    version BIGINT NOT NULL DEFAULT 1
);

ALTER TABLE monitoring.alert_rules
    ADD COLUMN group_name TEXT NOT NULL DEFAULT 'default',
    ADD COLUMN position BIGINT NOT NULL DEFAULT 0 CHECK (position >= 0),
    ADD COLUMN on_no_data TEXT NOT NULL DEFAULT 'ok'
        CONSTRAINT valid_on_no_data CHECK (on_no_data IN ('ok', 'keep', 'alert')),
    ADD COLUMN on_error TEXT NOT NULL DEFAULT 'keep'
        CONSTRAINT valid_on_error CHECK (on_error IN ('ok', 'keep', 'alert')),
    ADD COLUMN severity_label BOOLEAN NOT NULL DEFAULT TRUE,
    DROP CONSTRAINT alert_rules_name;
-- Labels may be longer than an index can hold.
CREATE UNIQUE INDEX alert_rules_name ON monitoring.alert_rules (group_name, name, md5(labels::text));

CREATE TABLE monitoring.recording_rules (
    id UUID PRIMARY KEY,
    record TEXT NOT NULL,
    group_name TEXT NOT NULL DEFAULT 'default',
    position BIGINT NOT NULL DEFAULT 0 CHECK (position >= 0),
    query TEXT NOT NULL,
    labels JSONB NOT NULL DEFAULT '{}',
    enabled BOOLEAN NOT NULL DEFAULT TRUE,
    created_by UUID,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    version BIGINT NOT NULL DEFAULT 1
);
CREATE UNIQUE INDEX recording_rules_record ON monitoring.recording_rules (group_name, record, md5(labels::text));

-- How far each group has come. The revision grows with every evaluation: whoever began one before
-- another was committed finds that here, and commits nothing.
CREATE TABLE monitoring.rule_group_states (
    name TEXT PRIMARY KEY,
    revision BIGINT NOT NULL,
    evaluated_at TIMESTAMPTZ,
    evaluation_seconds DOUBLE PRECISION NOT NULL,
    iterations BIGINT NOT NULL,
    missed BIGINT NOT NULL
);

-- What came of the last evaluation of each rule.
CREATE TABLE monitoring.rule_states (
    rule_id UUID PRIMARY KEY,
    health TEXT NOT NULL
        CONSTRAINT valid_health CHECK (health IN ('unknown', 'ok', 'no_data', 'error')),
    last_evaluation TIMESTAMPTZ NOT NULL,
    evaluation_seconds DOUBLE PRECISION NOT NULL,
    last_error TEXT
) WITH (fillfactor = 70);

-- Alerts that are pending or firing, or were resolved a short while ago.
CREATE TABLE monitoring.alert_instances (
    rule_id UUID NOT NULL,
    fingerprint BIGINT NOT NULL,
    rule_version BIGINT NOT NULL,
    labels JSONB NOT NULL,
    annotations JSONB NOT NULL,
    state TEXT NOT NULL CONSTRAINT valid_state CHECK (state IN ('pending', 'firing', 'resolved')),
    value DOUBLE PRECISION NOT NULL,
    active_at TIMESTAMPTZ NOT NULL,
    fired_at TIMESTAMPTZ,
    keep_firing_since TIMESTAMPTZ,
    resolved_at TIMESTAMPTZ,
    updated_at TIMESTAMPTZ NOT NULL,
    incident_id UUID,
    PRIMARY KEY (rule_id, fingerprint)
) WITH (fillfactor = 70);
-- Who is told of what? How many alerts are there?
CREATE INDEX alert_instances_state ON monitoring.alert_instances (state);

-- Every change of an alert's state. Rows are only ever added; they outlive their rule.
CREATE TABLE monitoring.alert_transitions (
    id UUID PRIMARY KEY,
    rule_id UUID NOT NULL,
    rule_name TEXT NOT NULL,
    rule_version BIGINT NOT NULL,
    fingerprint BIGINT NOT NULL,
    labels JSONB NOT NULL,
    from_state TEXT CONSTRAINT valid_from CHECK (from_state IN ('pending', 'firing', 'resolved')),
    to_state TEXT CONSTRAINT valid_to CHECK (to_state IN ('pending', 'firing', 'resolved')),
    value DOUBLE PRECISION NOT NULL,
    at TIMESTAMPTZ NOT NULL,
    incident_id UUID
);
-- The history of a rule; what changed in a while, as on a timeline.
CREATE INDEX alert_transitions_rule ON monitoring.alert_transitions (rule_id, at, id);
CREATE INDEX alert_transitions_at ON monitoring.alert_transitions (at, id);
-- The rules an incident is about.
CREATE INDEX alert_transitions_incident ON monitoring.alert_transitions (incident_id, rule_id)
    WHERE incident_id IS NOT NULL;
