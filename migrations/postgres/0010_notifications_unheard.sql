-- What was said and not heard: alerts of refused messages that are to be said again, and since when the
-- receiver refuses.
ALTER TABLE monitoring.notification_groups
    ADD COLUMN unheard JSONB NOT NULL DEFAULT '{}',
    ADD COLUMN refused_since TIMESTAMPTZ;

-- When somebody had it sent again: from then on its age counts.
ALTER TABLE monitoring.notifications ADD COLUMN revived_at TIMESTAMPTZ;

-- Is something due for a receiver, and since when?
CREATE INDEX notifications_due ON monitoring.notifications (receiver_id, next_attempt_at)
    WHERE status = 'pending';
-- What goes to it first.
CREATE INDEX notifications_order ON monitoring.notifications (receiver_id, sequence)
    WHERE status = 'pending';
-- The few that were given up, newest first.
CREATE INDEX notifications_dead ON monitoring.notifications (created_at, id) WHERE status = 'dead';
