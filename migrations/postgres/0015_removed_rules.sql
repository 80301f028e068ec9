-- Rules that are removed and leave their incidents open, for as long as they have alerts.
CREATE TABLE monitoring.removed_rules (
    rule_id UUID PRIMARY KEY,
    removed_at TIMESTAMPTZ NOT NULL
);
