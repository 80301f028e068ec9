-- Who is there to be scraped? A replica that was given an address renews its row every few seconds.
CREATE TABLE monitoring_replicas (
    address TEXT NOT NULL PRIMARY KEY,
    started_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL
) WITHOUT ROWID;
