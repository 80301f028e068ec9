//! Whether a routing makes sense.

use std::collections::{HashMap, HashSet};

use super::asked::Asked;
use super::conditions::check_name;
use crate::model::{InhibitRule, Invalid, NamedTimeInterval, PromDuration, ReceiverType, Route, Routing};

/// Routes in a tree.
const ROUTES_MAX: usize = 1_000;
/// Routes below each other.
const DEPTH_MAX: usize = 16;
/// Inhibition rules, and names for times.
const RULES_MAX: usize = 500;
/// What keeps every alert in a group of its own.
pub(super) const ALL: &str = "...";

/// Checks a routing against the receivers there are.
///
/// # Errors
///
/// All that is wrong, each under the path of its field.
pub(crate) fn check_routing(
    routing: &Routing,
    receivers: &HashMap<String, ReceiverType>,
) -> Result<(), Invalid> {
    let mut check = Check { receivers, intervals: HashSet::new(), routes: 0, invalid: Invalid::default() };
    check.intervals(&routing.time_intervals);
    check.root(routing);
    check.inhibition(&routing.inhibit_rules);
    if check.routes > ROUTES_MAX {
        check.invalid.push("routes", format!("there must be at most {ROUTES_MAX} routes in all"));
    }
    check.invalid.or(())
}

struct Check<'r> {
    receivers: &'r HashMap<String, ReceiverType>,
    intervals: HashSet<&'r str>,
    routes: usize,
    invalid: Invalid,
}

impl<'r> Check<'r> {
    fn root(&mut self, root: &'r Routing) {
        match &root.receiver {
            Some(receiver) => self.receiver(receiver, "receiver"),
            // As before any was set: nobody is told of anything.
            None if root.routes.is_empty() => {}
            None => self.invalid.push("receiver", "the root must name one, for what no other route takes"),
        }
        if !root.matchers.is_empty() {
            self.invalid
                .push("matchers", "the root takes every alert and must have none; make a route of it");
        }
        if root.continues {
            self.invalid.push("continue", "there is nothing after the root");
        }
        self.group_by(root.group_by.as_deref(), "group_by");
        self.interval(root.group_interval, "group_interval");
        self.interval(root.repeat_interval, "repeat_interval");
        self.children(&root.routes, "", 1);
    }

    fn children(&mut self, routes: &'r [Route], above: &str, depth: usize) {
        self.routes += routes.len();
        for (index, route) in routes.iter().enumerate() {
            let path = format!("{above}routes[{index}]");
            if depth > DEPTH_MAX {
                let message = format!("there must be at most {DEPTH_MAX} routes below each other");
                return self.invalid.push(path, message);
            }
            self.route(route, &path);
            self.children(&route.routes, &format!("{path}."), depth + 1);
        }
    }

    fn route(&mut self, route: &'r Route, path: &str) {
        if let Some(receiver) = &route.receiver {
            self.receiver(receiver, &format!("{path}.receiver"));
        }
        if let Err(wrong) = Asked::of_route(route).compile(path) {
            self.invalid.extend(wrong);
        }
        self.group_by(route.group_by.as_deref(), &format!("{path}.group_by"));
        self.interval(route.group_interval, &format!("{path}.group_interval"));
        self.interval(route.repeat_interval, &format!("{path}.repeat_interval"));
        self.times(&route.mute_time_intervals, &format!("{path}.mute_time_intervals"));
        self.times(&route.active_time_intervals, &format!("{path}.active_time_intervals"));
    }

    fn receiver(&mut self, name: &str, field: &str) {
        match self.receivers.get(name) {
            Some(ReceiverType::Heartbeat) => {
                self.invalid.push(field, format!("{name:?} is a heartbeat, which is told of no alert"));
            }
            Some(_) => {}
            None => self.invalid.push(field, format!("there is no receiver {name:?}; make it first")),
        }
    }

    fn group_by(&mut self, labels: Option<&[String]>, field: &str) {
        let labels = labels.unwrap_or_default();
        let distinct: HashSet<_> = labels.iter().collect();
        if distinct.len() < labels.len() {
            self.invalid.push(field, "must name each label once");
        }
        if labels.len() > 1 && labels.iter().any(|label| label == ALL) {
            self.invalid.push(field, "\"...\" stands for all labels, so there must be no other");
        }
        for (index, label) in labels.iter().enumerate() {
            if let Err(message) = check_name(label) {
                self.invalid.push(format!("{field}[{index}]"), message);
            }
        }
    }

    fn interval(&mut self, interval: Option<PromDuration>, field: &str) {
        if interval.is_some_and(|interval| interval < PromDuration::from_secs(1)) {
            self.invalid.push(field, "must be at least 1s");
        }
    }

    fn times(&mut self, names: &[String], field: &str) {
        for (index, name) in names.iter().enumerate() {
            if !self.intervals.contains(name.as_str()) {
                let message = format!("there is no {name:?} among the time_intervals");
                self.invalid.push(format!("{field}[{index}]"), message);
            }
        }
    }

    fn intervals(&mut self, named: &'r [NamedTimeInterval]) {
        if named.len() > RULES_MAX {
            self.invalid.push("time_intervals", format!("must be at most {RULES_MAX}"));
        }
        for (index, NamedTimeInterval { name, time_intervals }) in named.iter().enumerate() {
            let path = format!("time_intervals[{index}]");
            if name.trim().is_empty() || !self.intervals.insert(name) {
                self.invalid.push(format!("{path}.name"), "each must have a name of its own");
            }
            for (at, interval) in time_intervals.iter().enumerate() {
                for (range_at, range) in interval.times.iter().enumerate() {
                    if range.end_time <= range.start_time {
                        let field = format!("{path}.time_intervals[{at}].times[{range_at}].end_time");
                        let message =
                            "must be after start_time; write a night as two, up to 24:00 and from 00:00";
                        self.invalid.push(field, message);
                    }
                }
            }
        }
    }

    fn inhibition(&mut self, rules: &[InhibitRule]) {
        if rules.len() > RULES_MAX {
            self.invalid.push("inhibit_rules", format!("must be at most {RULES_MAX}"));
        }
        for (index, rule) in rules.iter().enumerate() {
            let path = format!("inhibit_rules[{index}]");
            for asked in [Asked::of_source(rule), Asked::of_target(rule)] {
                if asked.is_empty() {
                    let message = "must have at least one matcher; it would mean every alert";
                    self.invalid.push(format!("{path}.{}", asked.field()), message);
                } else if let Err(wrong) = asked.compile(&path) {
                    self.invalid.extend(wrong);
                }
            }
            for (at, label) in rule.equal.iter().enumerate() {
                if let Err(message) = check_name(label) {
                    self.invalid.push(format!("{path}.equal[{at}]"), message);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn wrong(routing: Value) -> Vec<(String, String)> {
        let receivers = [("team", ReceiverType::Webhook), ("alive", ReceiverType::Heartbeat)];
        let receivers = receivers.map(|(name, kind)| (name.to_owned(), kind)).into();
        let routing: Routing = serde_json::from_value(routing).unwrap();
        let invalid = check_routing(&routing, &receivers).err().unwrap_or_default();
        invalid.errors().iter().map(|error| (error.field.clone(), error.message.clone())).collect()
    }

    fn fields(routing: Value) -> Vec<String> {
        wrong(routing).into_iter().map(|(field, _)| field).collect()
    }

    #[test]
    fn a_tree_that_makes_sense_is_taken() {
        let routing = json!({
            "receiver": "team", "group_by": ["alertname", "service.name"], "group_wait": "0s",
            "routes": [{
                "matchers": ["severity=~\"critical|high\""], "match": {"team": "core"}, "group_by": ["..."],
                "mute_time_intervals": ["nights"], "continue": true, "routes": [{"match_re": {"a": "b.*"}}],
            }],
            "inhibit_rules": [
                {"source_matchers": ["a=b"], "target_matchers": "c=d,e=f", "equal": ["x"]},
                {"source_matchers": ["\"service.name\"=b"], "target_matchers": ["c=d"], "equal": ["größe"]},
                {"source_match": {"a": "b"}, "target_match_re": {"c": "d.*"}},
            ],
            "time_intervals": [{"name": "nights", "time_intervals": [
                {"times": [{"start_time": "22:00", "end_time": "24:00"}]}]}],
        });
        assert_eq!(wrong(routing), []);
    }

    #[test]
    fn the_root_takes_everything_and_must_have_a_receiver_if_there_are_routes() {
        assert_eq!(fields(json!({})), [""; 0], "nobody is told of anything");
        assert_eq!(fields(json!({"routes": [{"receiver": "team"}]})), ["receiver"]);
        let root = json!({"receiver": "team", "matchers": ["a=b"], "continue": true});
        assert_eq!(fields(root), ["matchers", "continue"]);
    }

    #[test]
    fn everything_wrong_is_named_by_its_path() {
        let routing = json!({
            "receiver": "nobody", "group_interval": "0s", "group_by": ["a", "a"],
            "routes": [{"routes": [
                {"receiver": "alive", "matchers": ["a=~\"(\""], "mute_time_intervals": ["never"],
                 "group_by": ["...", "b"], "repeat_interval": "1ms"},
                {"group_by": [""]},
            ]}],
            "inhibit_rules": [{"source_matchers": ["a=b"], "equal": [""]},
                {"source_match_re": {"a": "("}, "target_match": {"1": "c"}}],
            "time_intervals": [{"name": "x", "time_intervals": [
                {"times": [{"start_time": "22:00", "end_time": "06:00"}]}]}, {"name": "x", "time_intervals": []}],
        });
        assert_eq!(
            fields(routing),
            [
                "time_intervals[0].time_intervals[0].times[0].end_time",
                "time_intervals[1].name",
                "receiver",
                "group_by",
                "group_interval",
                "routes[0].routes[0].receiver",
                "routes[0].routes[0].matchers[0]",
                "routes[0].routes[0].group_by",
                "routes[0].routes[0].repeat_interval",
                "routes[0].routes[0].mute_time_intervals[0]",
                "routes[0].routes[1].group_by[0]",
                "inhibit_rules[0].target_matchers",
                "inhibit_rules[0].equal[0]",
                "inhibit_rules[1].source_match_re[0]",
                "inhibit_rules[1].target_match[0]",
            ]
        );
    }

    #[test]
    fn a_tree_is_bounded() {
        let mut routing = json!({"receiver": "team"});
        for _ in 0..30 {
            routing = json!({"receiver": "team", "routes": [routing]});
        }
        assert!(wrong(routing)[0].1.contains("below each other"));
        let wide = json!({"receiver": "team", "routes": vec![json!({}); ROUTES_MAX + 1]});
        assert_eq!(fields(wide), ["routes"]);
    }

    #[test]
    fn a_field_nobody_knows_is_refused() {
        let routing = json!({"receiver": "team", "routes": [{"reciever": "team"}]});
        let error = serde_json::from_value::<Routing>(routing).unwrap_err().to_string();
        assert!(error.contains("unknown field `reciever`"), "{error}");
    }
}
