-- Table names start with monitoring_, so that no table here ever meets one of the host's. No
-- foreign keys to the host: users are bare UUIDs. UUIDs are 16-byte blobs, timestamps are
-- microseconds since 1970, JSON is text.

-- Events. `seq` is the order of arrival (live streams) and the key of the tag index.
CREATE TABLE monitoring_events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL,
    event_type TEXT NOT NULL
        CONSTRAINT valid_event_type CHECK (event_type IN ('log', 'metric', 'trace', 'alert')),
    source TEXT NOT NULL,
    message TEXT,
    level TEXT
        CONSTRAINT valid_level CHECK (level IN ('trace', 'debug', 'info', 'warn', 'error', 'critical')),
    tags TEXT NOT NULL DEFAULT '{}',
    payload TEXT NOT NULL DEFAULT '{}',
    request_id TEXT,
    trace_id TEXT,
    span_id TEXT,
    timestamp INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    created_by BLOB
);
-- Time first: lists newest first, walks cursors, and finds an id by the millisecond in it.
CREATE UNIQUE INDEX monitoring_events_id ON monitoring_events (timestamp, id);
-- What did this source report lately?
CREATE INDEX monitoring_events_source ON monitoring_events (source, timestamp);
-- What went wrong lately? Warnings and worse are few, so the index is small.
CREATE INDEX monitoring_events_problems ON monitoring_events (level, timestamp)
    WHERE level IN ('warn', 'error', 'critical');
-- Everything of one request, of one trace.
CREATE INDEX monitoring_events_request ON monitoring_events (request_id) WHERE request_id IS NOT NULL;
CREATE INDEX monitoring_events_trace ON monitoring_events (trace_id) WHERE trace_id IS NOT NULL;

-- tag.<key>=<value>: one token per tag. It keeps no text of its own; hits are checked on the row.
CREATE VIRTUAL TABLE monitoring_event_tags USING fts5 (
    tags, content = '', contentless_delete = 1, detail = none, tokenize = 'ascii'
);

-- Metric series: identity (name and labels), stored once. The id follows from the identity.
CREATE TABLE monitoring_metric_series (
    id INTEGER NOT NULL,
    registered_by INTEGER NOT NULL,
    name TEXT NOT NULL,
    metric_type TEXT NOT NULL
        CONSTRAINT valid_metric_type CHECK (metric_type IN ('counter', 'gauge', 'histogram', 'summary')),
    temporality TEXT NOT NULL
        CONSTRAINT valid_temporality CHECK (temporality IN ('delta', 'cumulative')),
    labels TEXT NOT NULL DEFAULT '{}',
    bounds TEXT NOT NULL DEFAULT '[]',
    created_at INTEGER NOT NULL,
    PRIMARY KEY (id, registered_by)
) WITHOUT ROWID;
-- The series of a metric, in the order of exposition.
CREATE INDEX monitoring_metric_series_name ON monitoring_metric_series (name, id);

-- What people wrote about a metric.
CREATE TABLE monitoring_metric_metadata (
    name TEXT NOT NULL PRIMARY KEY,
    help TEXT NOT NULL DEFAULT '',
    unit TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;

-- Samples. `origin` tells the samples of one series and instant apart: a repeated write adds
-- nothing, and the increments of two writers both count.
CREATE TABLE monitoring_metric_samples (
    series_id INTEGER NOT NULL,
    timestamp INTEGER NOT NULL,
    origin INTEGER NOT NULL,
    -- A counter's increment, a gauge's reading, the sum of a distribution's measurements. No type:
    -- a NaN, which SQLite would turn into NULL, is kept as the 8 bytes of its bits.
    value NOT NULL,
    -- Of a distribution: how many measurements, and how many in each bucket.
    count INTEGER,
    buckets TEXT,
    observations INTEGER NOT NULL DEFAULT 1,
    PRIMARY KEY (series_id, timestamp, origin)
) WITHOUT ROWID;
-- Samples of a time range across series: lists, statistics of the last hour, retention.
CREATE INDEX monitoring_metric_samples_time ON monitoring_metric_samples (timestamp);

-- Running totals of delta series, and the last value of the others. They outlive the samples, so
-- a counter never goes back when old samples are removed.
CREATE TABLE monitoring_metric_totals (
    series_id INTEGER NOT NULL,
    writer INTEGER NOT NULL,
    value NOT NULL,
    count INTEGER,
    buckets TEXT,
    observations INTEGER NOT NULL,
    -- Of the newest sample.
    timestamp INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (series_id, writer)
) WITHOUT ROWID;

CREATE TABLE monitoring_alert_rules (
    id BLOB NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
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
    version INTEGER NOT NULL DEFAULT 1
);

CREATE TABLE monitoring_incidents (
    id BLOB NOT NULL PRIMARY KEY,
    title TEXT NOT NULL,
    description TEXT,
    severity TEXT NOT NULL
        CONSTRAINT valid_severity CHECK (severity IN ('low', 'medium', 'high', 'critical')),
    status TEXT NOT NULL
        CONSTRAINT valid_status CHECK (status IN ('open', 'investigating', 'resolved', 'closed')),
    assigned_to BLOB,
    root_cause TEXT,
    created_by BLOB,
    started_at INTEGER NOT NULL,
    resolved_at INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    version INTEGER NOT NULL DEFAULT 1
);
-- Lists, newest first.
CREATE INDEX monitoring_incidents_started ON monitoring_incidents (started_at, id);
-- What is going on? Unresolved incidents are few.
CREATE INDEX monitoring_incidents_unresolved ON monitoring_incidents (started_at, id)
    WHERE status IN ('open', 'investigating');

-- Every change of an incident; the opening is version 1.
CREATE TABLE monitoring_incident_changes (
    incident_id BLOB NOT NULL REFERENCES monitoring_incidents (id) ON DELETE CASCADE,
    version INTEGER NOT NULL,
    changed_by BLOB,
    changed_at INTEGER NOT NULL,
    changes TEXT NOT NULL,
    PRIMARY KEY (incident_id, version)
) WITHOUT ROWID;

CREATE TABLE monitoring_incident_comments (
    id BLOB NOT NULL PRIMARY KEY,
    incident_id BLOB NOT NULL REFERENCES monitoring_incidents (id) ON DELETE CASCADE,
    author BLOB,
    body TEXT NOT NULL,
    created_at INTEGER NOT NULL
);
CREATE INDEX monitoring_incident_comments_incident
    ON monitoring_incident_comments (incident_id, created_at, id);

-- Events somebody attached to an incident: a copy, so that it outlives the event.
CREATE TABLE monitoring_incident_events (
    incident_id BLOB NOT NULL REFERENCES monitoring_incidents (id) ON DELETE CASCADE,
    event_id BLOB NOT NULL,
    -- Of the event, so that timelines sort without reading the copy.
    timestamp INTEGER NOT NULL,
    event TEXT NOT NULL,
    attached_by BLOB,
    attached_at INTEGER NOT NULL,
    PRIMARY KEY (incident_id, event_id)
) WITHOUT ROWID;

CREATE TABLE monitoring_audit_log (
    id BLOB NOT NULL PRIMARY KEY,
    timestamp INTEGER NOT NULL,
    actor BLOB,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    before TEXT NOT NULL,
    after TEXT NOT NULL
);
-- Lists, newest first.
CREATE INDEX monitoring_audit_log_time ON monitoring_audit_log (timestamp, id);
