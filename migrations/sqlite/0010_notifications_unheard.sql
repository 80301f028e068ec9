-- What was said and not heard: alerts of refused messages that are to be said again, and since when the
-- receiver refuses.
ALTER TABLE monitoring_notification_groups ADD COLUMN unheard TEXT NOT NULL DEFAULT '{}';
ALTER TABLE monitoring_notification_groups ADD COLUMN refused_since INTEGER;

-- When somebody had it sent again: from then on its age counts.
ALTER TABLE monitoring_notifications ADD COLUMN revived_at INTEGER;

-- Is something due for a receiver, and since when?
CREATE INDEX monitoring_notifications_due ON monitoring_notifications (receiver_id, next_attempt_at)
    WHERE status = 'pending';
-- What goes to it first.
CREATE INDEX monitoring_notifications_order ON monitoring_notifications (receiver_id, sequence)
    WHERE status = 'pending';
-- The few that were given up, newest first.
CREATE INDEX monitoring_notifications_dead ON monitoring_notifications (created_at, id) WHERE status = 'dead';
