-- Until when a receiver has asked to be sent nothing.
ALTER TABLE monitoring.notification_receivers ADD COLUMN quiet_until TIMESTAMPTZ;
