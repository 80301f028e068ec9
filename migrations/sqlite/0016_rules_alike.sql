-- Rules of one group may have the same name and labels, as long as they ask something else.
DROP INDEX monitoring_alert_rules_name;
CREATE UNIQUE INDEX monitoring_alert_rules_name ON monitoring_alert_rules (group_name, name, labels, query);
DROP INDEX monitoring_recording_rules_record;
CREATE UNIQUE INDEX monitoring_recording_rules_record
    ON monitoring_recording_rules (group_name, record, labels, query);
