-- What opened incidents, until their timelines tell of the silences that hid it.
CREATE TABLE monitoring_incident_openings (
    incident_id BLOB NOT NULL PRIMARY KEY REFERENCES monitoring_incidents (id) ON DELETE CASCADE,
    fingerprint INTEGER NOT NULL,
    fired_at INTEGER NOT NULL,
    labels TEXT NOT NULL
) WITHOUT ROWID;
