-- Who is told of alerts: receivers, what routes lead to them, and what people say about alerts.

-- Secrets stand apart from what may be shown: only delivery reads them.
CREATE TABLE monitoring.notification_receivers (
    id UUID PRIMARY KEY,
    name TEXT NOT NULL CONSTRAINT notification_receivers_name UNIQUE,
    receiver_type TEXT NOT NULL,
    config JSONB NOT NULL,
    secrets JSONB NOT NULL,
    send_resolved BOOLEAN NOT NULL,
    created_by UUID,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    version BIGINT NOT NULL
);

-- The routing tree with inhibition and times: one document, as people edit it. The tick that decides what
-- is said locks the row, so that no two decide at once.
CREATE TABLE monitoring.notification_routing (
    id BIGINT PRIMARY KEY CONSTRAINT one_routing CHECK (id = 1),
    routing JSONB NOT NULL,
    version BIGINT NOT NULL,
    updated_at TIMESTAMPTZ,
    updated_by UUID
);
INSERT INTO monitoring.notification_routing (id, routing, version) VALUES (1, '{}', 0);

CREATE TABLE monitoring.silences (
    id UUID PRIMARY KEY,
    matchers JSONB NOT NULL,
    starts_at TIMESTAMPTZ NOT NULL,
    ends_at TIMESTAMPTZ NOT NULL,
    author TEXT NOT NULL,
    comment TEXT NOT NULL,
    created_by UUID,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    CHECK (starts_at <= ends_at)
);
-- Those that hold, and those long over.
CREATE INDEX silences_end ON monitoring.silences (ends_at);

-- Of one firing of an alert, told by when it began.
CREATE TABLE monitoring.alert_acknowledgements (
    fingerprint BIGINT NOT NULL,
    fired_at TIMESTAMPTZ NOT NULL,
    rule_id UUID NOT NULL,
    author TEXT NOT NULL,
    comment TEXT,
    acknowledged_by UUID,
    acknowledged_at TIMESTAMPTZ NOT NULL,
    until TIMESTAMPTZ,
    PRIMARY KEY (fingerprint, fired_at)
);

-- What each receiver has been told of each group of alerts. Changed in one transaction with the
-- notifications that follow from it.
CREATE TABLE monitoring.notification_groups (
    -- Of the group's key, which may be longer than an index takes.
    dedup_key TEXT NOT NULL,
    receiver TEXT NOT NULL,
    group_key TEXT NOT NULL,
    labels JSONB NOT NULL,
    next_at TIMESTAMPTZ NOT NULL,
    told_at TIMESTAMPTZ,
    told JSONB NOT NULL,
    is_acknowledged BOOLEAN NOT NULL,
    PRIMARY KEY (dedup_key, receiver)
);

-- The outbox. Whoever delivers a notification claims it for a while; if nothing is heard of it, another
-- does. Those about one group go to a receiver in the order they were decided.
CREATE TABLE monitoring.notifications (
    sequence BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id UUID NOT NULL CONSTRAINT notifications_id UNIQUE,
    receiver_id UUID NOT NULL,
    receiver TEXT NOT NULL,
    dedup_key TEXT NOT NULL,
    kind TEXT NOT NULL
        CONSTRAINT valid_kind CHECK (kind IN ('firing', 'resolved', 'acknowledged', 'test')),
    message JSONB NOT NULL,
    status TEXT NOT NULL CONSTRAINT valid_status CHECK (status IN ('pending', 'sent', 'dead')),
    attempts BIGINT NOT NULL DEFAULT 0,
    created_at TIMESTAMPTZ NOT NULL,
    next_attempt_at TIMESTAMPTZ NOT NULL,
    claimed_by UUID,
    claimed_until TIMESTAMPTZ,
    finished_at TIMESTAMPTZ,
    error TEXT
);
-- What waits for a receiver, and what waits before it.
CREATE INDEX notifications_pending ON monitoring.notifications (receiver_id, dedup_key, sequence)
    WHERE status = 'pending';
-- Lists, newest first.
CREATE INDEX notifications_time ON monitoring.notifications (created_at, id);
-- What is long over.
CREATE INDEX notifications_finished ON monitoring.notifications (finished_at) WHERE finished_at IS NOT NULL;

-- What was sent when, and what came back. A heartbeat is about no notification.
CREATE TABLE monitoring.notification_attempts (
    id UUID PRIMARY KEY,
    receiver_id UUID NOT NULL,
    notification_id UUID,
    at TIMESTAMPTZ NOT NULL,
    duration_ms BIGINT NOT NULL,
    status BIGINT,
    error TEXT
);
CREATE INDEX notification_attempts_notification ON monitoring.notification_attempts (notification_id, at)
    WHERE notification_id IS NOT NULL;
CREATE INDEX notification_attempts_receiver ON monitoring.notification_attempts (receiver_id, at);
CREATE INDEX notification_attempts_time ON monitoring.notification_attempts (at);
