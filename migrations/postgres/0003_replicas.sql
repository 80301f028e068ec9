-- Who is there to be scraped? A replica that was given an address renews its row every few seconds.
CREATE TABLE monitoring.replicas (
    address TEXT PRIMARY KEY,
    started_at TIMESTAMPTZ NOT NULL,
    seen_at TIMESTAMPTZ NOT NULL
);
