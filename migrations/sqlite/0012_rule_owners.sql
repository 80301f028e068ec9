-- Whom a rule belongs to: a person or a team.
ALTER TABLE monitoring_alert_rules ADD COLUMN owner TEXT;

-- Between the last two times a group was evaluated for.
ALTER TABLE monitoring_rule_group_states ADD COLUMN rhythm_seconds REAL NOT NULL DEFAULT 0;
