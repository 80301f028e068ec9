-- Rules that are removed and leave their incidents open, for as long as they have alerts.
CREATE TABLE monitoring_removed_rules (
    rule_id BLOB NOT NULL PRIMARY KEY,
    removed_at INTEGER NOT NULL
) WITHOUT ROWID;
