-- Which process does what runs once per database. The token grows with every change of hands: whoever
-- holds an older one has been replaced.
CREATE TABLE monitoring_leases (
    name TEXT NOT NULL PRIMARY KEY,
    holder BLOB NOT NULL,
    token INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) WITHOUT ROWID;

-- One row, changed with every rule and group, so that who evaluates them sees when to read them again.
CREATE TABLE monitoring_rule_revision (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    revision INTEGER NOT NULL
);
INSERT INTO monitoring_rule_revision (id, revision) VALUES (1, 1);

-- Settings of groups. A group without a row has the usual ones.
CREATE TABLE monitoring_rule_groups (
    name TEXT NOT NULL PRIMARY KEY,
    interval_seconds INTEGER CHECK (interval_seconds > 0),
    query_offset_seconds INTEGER NOT NULL DEFAULT 0 CHECK (query_offset_seconds >= 0),
    alert_limit INTEGER NOT NULL DEFAULT 0 CHECK (alert_limit >= 0),
    labels TEXT NOT NULL DEFAULT '{}',
    version INTEGER NOT NULL DEFAULT 1
) WITHOUT ROWID;

-- The same table without its unique name, which cannot be taken from it otherwise.
CREATE TABLE monitoring_alert_rules_new (
    id BLOB NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT,
    query TEXT NOT NULL,
    threshold_value REAL,
    for_seconds INTEGER NOT NULL DEFAULT 0 CHECK (for_seconds >= 0),
    keep_firing_for_seconds INTEGER NOT NULL DEFAULT 0 CHECK (keep_firing_for_seconds >= 0),
    severity TEXT NOT NULL
        CONSTRAINT valid_severity CHECK (severity IN ('low', 'medium', 'high', 'critical')),
    labels TEXT NOT NULL DEFAULT '{}',
    annotations TEXT NOT NULL DEFAULT '{}',
    enabled INTEGER NOT NULL DEFAULT TRUE,
    open_incident INTEGER NOT NULL DEFAULT FALSE,
    created_by BLOB,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    version INTEGER NOT NULL DEFAULT 1,
    group_name TEXT NOT NULL DEFAULT 'default',
    position INTEGER NOT NULL DEFAULT 0 CHECK (position >= 0),
    on_no_data TEXT NOT NULL DEFAULT 'ok'
        CONSTRAINT valid_on_no_data CHECK (on_no_data IN ('ok', 'keep', 'alert')),
    on_error TEXT NOT NULL DEFAULT 'keep'
        CONSTRAINT valid_on_error CHECK (on_error IN ('ok', 'keep', 'alert')),
    severity_label INTEGER NOT NULL DEFAULT TRUE
);
INSERT INTO monitoring_alert_rules_new
    (id, name, description, query, threshold_value, for_seconds, keep_firing_for_seconds, severity, labels,
     annotations, enabled, open_incident, created_by, created_at, updated_at, version)
SELECT id, name, description, query, threshold_value, for_seconds, keep_firing_for_seconds, severity, labels,
       annotations, enabled, open_incident, created_by, created_at, updated_at, version
FROM monitoring_alert_rules;
DROP TABLE monitoring_alert_rules;
ALTER TABLE monitoring_alert_rules_new RENAME TO monitoring_alert_rules;
CREATE UNIQUE INDEX monitoring_alert_rules_name ON monitoring_alert_rules (group_name, name, labels);

CREATE TABLE monitoring_recording_rules (
    id BLOB NOT NULL PRIMARY KEY,
    record TEXT NOT NULL,
    group_name TEXT NOT NULL DEFAULT 'default',
    position INTEGER NOT NULL DEFAULT 0 CHECK (position >= 0),
    query TEXT NOT NULL,
    labels TEXT NOT NULL DEFAULT '{}',
    enabled INTEGER NOT NULL DEFAULT TRUE,
    created_by BLOB,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    version INTEGER NOT NULL DEFAULT 1
);
CREATE UNIQUE INDEX monitoring_recording_rules_record
    ON monitoring_recording_rules (group_name, record, labels);

-- How far each group has come. The revision grows with every evaluation: whoever began one before
-- another was committed finds that here, and commits nothing.
CREATE TABLE monitoring_rule_group_states (
    name TEXT NOT NULL PRIMARY KEY,
    revision INTEGER NOT NULL,
    evaluated_at INTEGER,
    evaluation_seconds REAL NOT NULL,
    iterations INTEGER NOT NULL,
    missed INTEGER NOT NULL
) WITHOUT ROWID;

-- What came of the last evaluation of each rule.
CREATE TABLE monitoring_rule_states (
    rule_id BLOB NOT NULL PRIMARY KEY,
    health TEXT NOT NULL
        CONSTRAINT valid_health CHECK (health IN ('unknown', 'ok', 'no_data', 'error')),
    last_evaluation INTEGER NOT NULL,
    evaluation_seconds REAL NOT NULL,
    last_error TEXT
) WITHOUT ROWID;

-- Alerts that are pending or firing, or were resolved a short while ago.
CREATE TABLE monitoring_alert_instances (
    rule_id BLOB NOT NULL,
    fingerprint INTEGER NOT NULL,
    rule_version INTEGER NOT NULL,
    labels TEXT NOT NULL,
    annotations TEXT NOT NULL,
    state TEXT NOT NULL CONSTRAINT valid_state CHECK (state IN ('pending', 'firing', 'resolved')),
    -- The bits of the number: NaN would become NULL.
    value INTEGER NOT NULL,
    active_at INTEGER NOT NULL,
    fired_at INTEGER,
    keep_firing_since INTEGER,
    resolved_at INTEGER,
    updated_at INTEGER NOT NULL,
    incident_id BLOB,
    PRIMARY KEY (rule_id, fingerprint)
) WITHOUT ROWID;
-- Who is told of what? How many alerts are there?
CREATE INDEX monitoring_alert_instances_state ON monitoring_alert_instances (state);

-- Every change of an alert's state. Rows are only ever added; they outlive their rule.
CREATE TABLE monitoring_alert_transitions (
    id BLOB NOT NULL PRIMARY KEY,
    rule_id BLOB NOT NULL,
    rule_name TEXT NOT NULL,
    rule_version INTEGER NOT NULL,
    fingerprint INTEGER NOT NULL,
    labels TEXT NOT NULL,
    from_state TEXT CONSTRAINT valid_from CHECK (from_state IN ('pending', 'firing', 'resolved')),
    to_state TEXT CONSTRAINT valid_to CHECK (to_state IN ('pending', 'firing', 'resolved')),
    -- The bits of the number: NaN would become NULL.
    value INTEGER NOT NULL,
    at INTEGER NOT NULL,
    incident_id BLOB
) WITHOUT ROWID;
-- The history of a rule; what changed in a while, as on a timeline.
CREATE INDEX monitoring_alert_transitions_rule ON monitoring_alert_transitions (rule_id, at, id);
CREATE INDEX monitoring_alert_transitions_at ON monitoring_alert_transitions (at, id);
-- The rules an incident is about.
CREATE INDEX monitoring_alert_transitions_incident ON monitoring_alert_transitions (incident_id, rule_id)
    WHERE incident_id IS NOT NULL;
