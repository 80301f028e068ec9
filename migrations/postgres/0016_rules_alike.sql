-- Rules of one group may have the same name and labels, as long as they ask something else.
DROP INDEX monitoring.alert_rules_name;
CREATE UNIQUE INDEX alert_rules_name
    ON monitoring.alert_rules (group_name, name, md5(labels::text), md5(query));
DROP INDEX monitoring.recording_rules_record;
CREATE UNIQUE INDEX recording_rules_record
    ON monitoring.recording_rules (group_name, record, md5(labels::text), md5(query));
