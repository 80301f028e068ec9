-- Recipients of an e-mail that were refused for now where others took it. While it waits for these, it keeps
-- nothing else about its group waiting, and is replaced by nothing but what is said later.
ALTER TABLE monitoring_notifications ADD COLUMN unreached TEXT NOT NULL DEFAULT '[]';
