-- Between the last two times a group was evaluated for.
ALTER TABLE monitoring_rule_group_states ADD COLUMN rhythm_seconds REAL NOT NULL DEFAULT 0;
