-- Between the last two times a group was evaluated for.
ALTER TABLE monitoring.rule_group_states
    ADD COLUMN rhythm_seconds DOUBLE PRECISION NOT NULL DEFAULT 0;
