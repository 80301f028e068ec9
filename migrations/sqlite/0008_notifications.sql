-- Who is told of alerts: receivers, what routes lead to them, and what people say about alerts.

-- Secrets stand apart from what may be shown: only delivery reads them.
CREATE TABLE monitoring_notification_receivers (
    id BLOB NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    receiver_type TEXT NOT NULL,
    config TEXT NOT NULL,
    secrets TEXT NOT NULL,
    send_resolved INTEGER NOT NULL,
    created_by BLOB,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    version INTEGER NOT NULL
);

-- The routing tree with inhibition and times: one document, as people edit it. The tick that decides what
-- is said locks the row, so that no two decide at once.
CREATE TABLE monitoring_notification_routing (
    id INTEGER NOT NULL PRIMARY KEY CONSTRAINT one_routing CHECK (id = 1),
    routing TEXT NOT NULL,
    version INTEGER NOT NULL,
    updated_at INTEGER,
    updated_by BLOB
);
INSERT INTO monitoring_notification_routing (id, routing, version) VALUES (1, '{}', 0);

CREATE TABLE monitoring_silences (
    id BLOB NOT NULL PRIMARY KEY,
    matchers TEXT NOT NULL,
    starts_at INTEGER NOT NULL,
    ends_at INTEGER NOT NULL,
    author TEXT NOT NULL,
    comment TEXT NOT NULL,
    created_by BLOB,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    CHECK (starts_at <= ends_at)
);
-- Those that hold, and those long over.
CREATE INDEX monitoring_silences_end ON monitoring_silences (ends_at);

-- Of one firing of an alert, told by when it began.
CREATE TABLE monitoring_alert_acknowledgements (
    fingerprint INTEGER NOT NULL,
    fired_at INTEGER NOT NULL,
    rule_id BLOB NOT NULL,
    author TEXT NOT NULL,
    comment TEXT,
    acknowledged_by BLOB,
    acknowledged_at INTEGER NOT NULL,
    until INTEGER,
    PRIMARY KEY (fingerprint, fired_at)
) WITHOUT ROWID;

-- What each receiver has been told of each group of alerts. Changed in one transaction with the
-- notifications that follow from it.
CREATE TABLE monitoring_notification_groups (
    -- Of the group's key, which may be longer than an index takes.
    dedup_key TEXT NOT NULL,
    receiver TEXT NOT NULL,
    group_key TEXT NOT NULL,
    labels TEXT NOT NULL,
    next_at INTEGER NOT NULL,
    told_at INTEGER,
    told TEXT NOT NULL,
    is_acknowledged INTEGER NOT NULL,
    PRIMARY KEY (dedup_key, receiver)
);

-- The outbox. Whoever delivers a notification claims it for a while; if nothing is heard of it, another
-- does. Those about one group go to a receiver in the order they were decided.
CREATE TABLE monitoring_notifications (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    receiver_id BLOB NOT NULL,
    receiver TEXT NOT NULL,
    dedup_key TEXT NOT NULL,
    kind TEXT NOT NULL
        CONSTRAINT valid_kind CHECK (kind IN ('firing', 'resolved', 'acknowledged', 'test')),
    message TEXT NOT NULL,
    status TEXT NOT NULL CONSTRAINT valid_status CHECK (status IN ('pending', 'sent', 'dead')),
    attempts INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    next_attempt_at INTEGER NOT NULL,
    claimed_by BLOB,
    claimed_until INTEGER,
    finished_at INTEGER,
    error TEXT
);
-- What waits for a receiver, and what waits before it.
CREATE INDEX monitoring_notifications_pending ON monitoring_notifications (receiver_id, dedup_key, sequence)
    WHERE status = 'pending';
-- Lists, newest first.
CREATE INDEX monitoring_notifications_time ON monitoring_notifications (created_at, id);
-- What is long over.
CREATE INDEX monitoring_notifications_finished ON monitoring_notifications (finished_at) WHERE finished_at IS NOT NULL;

-- What was sent when, and what came back. A heartbeat is about no notification.
CREATE TABLE monitoring_notification_attempts (
    id BLOB NOT NULL PRIMARY KEY,
    receiver_id BLOB NOT NULL,
    notification_id BLOB,
    at INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    status INTEGER,
    error TEXT
);
CREATE INDEX monitoring_notification_attempts_notification ON monitoring_notification_attempts (notification_id, at)
    WHERE notification_id IS NOT NULL;
CREATE INDEX monitoring_notification_attempts_receiver ON monitoring_notification_attempts (receiver_id, at);
CREATE INDEX monitoring_notification_attempts_time ON monitoring_notification_attempts (at);
