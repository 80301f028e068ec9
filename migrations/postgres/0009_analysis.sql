-- What analyses of incidents found: each is kept as it was made. The id is a UUIDv7 made from the
-- time, so ids sort as times do.
CREATE TABLE monitoring.incident_analyses (
    id UUID PRIMARY KEY,
    incident_id UUID NOT NULL REFERENCES monitoring.incidents (id) ON DELETE CASCADE,
    made_at TIMESTAMPTZ NOT NULL,
    -- Who asked for it; NULL if nobody did.
    made_by UUID,
    -- Which version of the method it was made with.
    method BIGINT NOT NULL,
    -- Whether it says something else than the one before; only then is it on the timeline.
    is_news BOOLEAN NOT NULL,
    window_start TIMESTAMPTZ NOT NULL,
    window_end TIMESTAMPTZ NOT NULL,
    reference_start TIMESTAMPTZ NOT NULL,
    reference_end TIMESTAMPTZ NOT NULL,
    onset JSONB,
    findings JSONB NOT NULL,
    -- What an incident like this looks like, to recognize one.
    signature JSONB NOT NULL,
    cost JSONB NOT NULL
);
-- Those of an incident, newest first; the last of each.
CREATE INDEX incident_analyses_incident ON monitoring.incident_analyses (incident_id, made_at, id);
