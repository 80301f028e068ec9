-- What opened incidents, until their timelines tell of the silences that hid it.
CREATE TABLE monitoring.incident_openings (
    incident_id UUID PRIMARY KEY REFERENCES monitoring.incidents (id) ON DELETE CASCADE,
    fingerprint BIGINT NOT NULL,
    fired_at TIMESTAMPTZ NOT NULL,
    labels JSONB NOT NULL
);
