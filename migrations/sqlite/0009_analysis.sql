-- What analyses of incidents found: each is kept as it was made. The id is a UUIDv7 made from the
-- time, so ids sort as times do.
CREATE TABLE monitoring_incident_analyses (
    id BLOB NOT NULL PRIMARY KEY,
    incident_id BLOB NOT NULL REFERENCES monitoring_incidents (id) ON DELETE CASCADE,
    made_at INTEGER NOT NULL,
    -- Who asked for it; NULL if nobody did.
    made_by BLOB,
    -- Which version of the method it was made with.
    method INTEGER NOT NULL,
    -- Whether it says something else than the one before; only then is it on the timeline.
    is_news INTEGER NOT NULL,
    window_start INTEGER NOT NULL,
    window_end INTEGER NOT NULL,
    reference_start INTEGER NOT NULL,
    reference_end INTEGER NOT NULL,
    onset TEXT,
    findings TEXT NOT NULL,
    -- What an incident like this looks like, to recognize one.
    signature TEXT NOT NULL,
    cost TEXT NOT NULL
);
-- Those of an incident, newest first; the last of each.
CREATE INDEX monitoring_incident_analyses_incident
    ON monitoring_incident_analyses (incident_id, made_at, id);
