-- Everything lives in a schema of its own, so that no table here ever meets one of the host's and
-- a join with a business table needs one FROM. No foreign keys to the host: users are bare UUIDs.
CREATE SCHEMA IF NOT EXISTS monitoring;

-- Events, one partition per UTC day. Retention drops partitions. The default partition takes rows
-- whose day has no partition yet (a host's own transaction must not do DDL); upkeep moves them.
CREATE TABLE monitoring.events (
    id UUID NOT NULL,
    event_type TEXT NOT NULL
        CONSTRAINT valid_event_type CHECK (event_type IN ('log', 'metric', 'trace', 'alert')),
    source TEXT NOT NULL,
    message TEXT,
    level TEXT
        CONSTRAINT valid_level CHECK (level IN ('trace', 'debug', 'info', 'warn', 'error', 'critical')),
    tags JSONB NOT NULL DEFAULT '{}',
    payload JSONB NOT NULL DEFAULT '{}',
    request_id TEXT,
    trace_id TEXT,
    span_id TEXT,
    timestamp TIMESTAMPTZ NOT NULL DEFAULT now(),
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    created_by UUID,
    -- The transaction it came with, for live streams: which of two events was visible first is
    -- decided by the ends of their transactions, not by any clock.
    arrival XID8 NOT NULL DEFAULT pg_current_xact_id(),
    -- Time first: lists newest first, walks cursors, and finds an id by the millisecond in it.
    PRIMARY KEY (timestamp, id)
) PARTITION BY RANGE (timestamp);
CREATE TABLE monitoring.events_default PARTITION OF monitoring.events DEFAULT;

-- What did this source report lately?
CREATE INDEX events_source ON monitoring.events (source, timestamp);
-- What went wrong lately? Warnings and worse are few, so the index is small.
CREATE INDEX events_problems ON monitoring.events (level, timestamp)
    WHERE level IN ('warn', 'error', 'critical');
-- Everything of one request, of one trace.
CREATE INDEX events_request ON monitoring.events (request_id) WHERE request_id IS NOT NULL;
CREATE INDEX events_trace ON monitoring.events (trace_id) WHERE trace_id IS NOT NULL;
-- tag.<key>=<value>. The pending list is kept small: at the default size, emptying it stalls an
-- unlucky insert for most of a second.
CREATE INDEX events_tags ON monitoring.events USING gin (tags jsonb_path_ops)
    WITH (gin_pending_list_limit = 512);
-- What arrived since I last looked (live streams)? Transactions are numbered upwards and bring many
-- events, so the index grows at one end and stays small.
CREATE INDEX events_arrival ON monitoring.events (arrival);

-- Metric series: identity (name and labels), stored once. The id follows from the identity, so
-- replicas agree on it without asking. A series may be registered by several writers at once:
-- nothing here is unique across transactions, so a host's open transaction blocks nobody.
CREATE TABLE monitoring.metric_series (
    id BIGINT NOT NULL,
    registered_by BIGINT NOT NULL,
    name TEXT NOT NULL,
    metric_type TEXT NOT NULL
        CONSTRAINT valid_metric_type CHECK (metric_type IN ('counter', 'gauge', 'histogram', 'summary')),
    temporality TEXT NOT NULL
        CONSTRAINT valid_temporality CHECK (temporality IN ('delta', 'cumulative')),
    labels JSONB NOT NULL DEFAULT '{}',
    bounds DOUBLE PRECISION[] NOT NULL DEFAULT '{}',
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (id, registered_by)
);
-- The series of a metric, in the order of exposition.
CREATE INDEX metric_series_name ON monitoring.metric_series (name, id);

-- What people wrote about a metric.
CREATE TABLE monitoring.metric_metadata (
    name TEXT PRIMARY KEY,
    help TEXT NOT NULL DEFAULT '',
    unit TEXT NOT NULL DEFAULT ''
);

-- Samples, one partition per UTC day. `origin` tells the samples of one series and instant apart:
-- a repeated write adds nothing, and the increments of two replicas both count.
CREATE TABLE monitoring.metric_samples (
    series_id BIGINT NOT NULL,
    timestamp TIMESTAMPTZ NOT NULL,
    origin BIGINT NOT NULL,
    -- A counter's increment, a gauge's reading, the sum of a distribution's measurements.
    value DOUBLE PRECISION NOT NULL,
    -- Of a distribution: how many measurements, and how many in each bucket.
    count BIGINT,
    buckets BIGINT[],
    observations BIGINT NOT NULL DEFAULT 1,
    PRIMARY KEY (series_id, timestamp, origin)
) PARTITION BY RANGE (timestamp);
CREATE TABLE monitoring.metric_samples_default PARTITION OF monitoring.metric_samples DEFAULT;
-- Samples of a time range across series: lists, and statistics of the last hour.
CREATE INDEX metric_samples_time ON monitoring.metric_samples USING brin (timestamp)
    WITH (pages_per_range = 16, autosummarize = on);

-- Running totals of delta series, and the last value of the others. Each writer owns its rows, so
-- replicas never wait for each other; the total of a series is the sum over its writers. They
-- outlive the samples, so a counter never goes back when old samples are dropped.
CREATE TABLE monitoring.metric_totals (
    series_id BIGINT NOT NULL,
    writer BIGINT NOT NULL,
    value DOUBLE PRECISION NOT NULL,
    count BIGINT,
    buckets BIGINT[],
    observations BIGINT NOT NULL,
    -- Of the newest sample.
    timestamp TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (series_id, writer)
) WITH (fillfactor = 70);

CREATE TABLE monitoring.alert_rules (
    id UUID PRIMARY KEY,
    name TEXT NOT NULL CONSTRAINT alert_rules_name UNIQUE,
    description TEXT,
    query TEXT NOT NULL,
    threshold_value DOUBLE PRECISION,
    for_seconds BIGINT NOT NULL DEFAULT 0 CHECK (for_seconds >= 0),
    keep_firing_for_seconds BIGINT NOT NULL DEFAULT 0 CHECK (keep_firing_for_seconds >= 0),
    severity TEXT NOT NULL
        CONSTRAINT valid_severity CHECK (severity IN ('low', 'medium', 'high', 'critical')),
    labels JSONB NOT NULL DEFAULT '{}',
    annotations JSONB NOT NULL DEFAULT '{}',
    enabled BOOLEAN NOT NULL DEFAULT TRUE,
    open_incident BOOLEAN NOT NULL DEFAULT FALSE,
    created_by UUID,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    version BIGINT NOT NULL DEFAULT 1
);

CREATE TABLE monitoring.incidents (
    id UUID PRIMARY KEY,
    title TEXT NOT NULL,
    description TEXT,
    severity TEXT NOT NULL
        CONSTRAINT valid_severity CHECK (severity IN ('low', 'medium', 'high', 'critical')),
    status TEXT NOT NULL
        CONSTRAINT valid_status CHECK (status IN ('open', 'investigating', 'resolved', 'closed')),
    assigned_to UUID,
    root_cause TEXT,
    created_by UUID,
    started_at TIMESTAMPTZ NOT NULL,
    resolved_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    version BIGINT NOT NULL DEFAULT 1
);
-- Lists, newest first.
CREATE INDEX incidents_started ON monitoring.incidents (started_at, id);
-- What is going on? Unresolved incidents are few.
CREATE INDEX incidents_unresolved ON monitoring.incidents (started_at, id)
    WHERE status IN ('open', 'investigating');

-- Every change of an incident; the opening is version 1.
CREATE TABLE monitoring.incident_changes (
    incident_id UUID NOT NULL REFERENCES monitoring.incidents (id) ON DELETE CASCADE,
    version BIGINT NOT NULL,
    changed_by UUID,
    changed_at TIMESTAMPTZ NOT NULL,
    changes JSONB NOT NULL,
    PRIMARY KEY (incident_id, version)
);

CREATE TABLE monitoring.incident_comments (
    id UUID PRIMARY KEY,
    incident_id UUID NOT NULL REFERENCES monitoring.incidents (id) ON DELETE CASCADE,
    author UUID,
    body TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX incident_comments_incident ON monitoring.incident_comments (incident_id, created_at, id);

-- Events somebody attached to an incident: a copy, so that it outlives the event's partition.
CREATE TABLE monitoring.incident_events (
    incident_id UUID NOT NULL REFERENCES monitoring.incidents (id) ON DELETE CASCADE,
    event_id UUID NOT NULL,
    -- Of the event, so that timelines sort without reading the copy.
    timestamp TIMESTAMPTZ NOT NULL,
    event JSONB NOT NULL,
    attached_by UUID,
    attached_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (incident_id, event_id)
);

CREATE TABLE monitoring.audit_log (
    id UUID PRIMARY KEY,
    timestamp TIMESTAMPTZ NOT NULL,
    actor UUID,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    before JSONB NOT NULL,
    after JSONB NOT NULL
);
-- Lists, newest first.
CREATE INDEX audit_log_time ON monitoring.audit_log (timestamp, id);
