//! The routing tree, ready to be asked.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};

use super::Conditions;
use super::asked::Asked;
use super::muting::Inhibition;
use super::tree::ALL;
use crate::model::{Invalid, Labels, NotificationGroup, PromDuration, Route, Routing, TimeInterval};

const GROUP_WAIT: PromDuration = PromDuration::from_secs(30);
const GROUP_INTERVAL: PromDuration = PromDuration::from_secs(5 * 60);
const REPEAT_INTERVAL: PromDuration = PromDuration::from_secs(4 * 60 * 60);

/// A routing, compiled.
#[derive(Debug)]
pub(crate) struct Router {
    /// The root first, each before what is below it.
    nodes: Vec<Node>,
    intervals: HashMap<String, Vec<TimeInterval>>,
    pub(super) inhibition: Vec<Inhibition>,
}

/// A route with what it has from its parents.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// The matchers of the way to it, as Alertmanager writes them.
    key: String,
    pub(crate) receiver: String,
    group_by: Vec<String>,
    pub(super) group_wait: PromDuration,
    pub(super) group_interval: PromDuration,
    pub(super) repeat_interval: PromDuration,
    conditions: Conditions,
    continues: bool,
    mute: Vec<String>,
    active: Vec<String>,
    children: Vec<usize>,
}

impl Router {
    /// `None` if the routing names no receiver: then nobody is told of anything.
    ///
    /// # Errors
    ///
    /// A matcher makes no sense, which [`check_routing`](super::check_routing) would have found.
    pub(crate) fn compile(routing: &Routing) -> Result<Option<Self>, Invalid> {
        let Some(receiver) = routing.receiver.clone() else { return Ok(None) };
        let root = Node {
            key: "{}".to_owned(),
            receiver,
            group_by: routing.group_by.clone().unwrap_or_default(),
            group_wait: routing.group_wait.unwrap_or(GROUP_WAIT),
            group_interval: routing.group_interval.unwrap_or(GROUP_INTERVAL),
            repeat_interval: routing.repeat_interval.unwrap_or(REPEAT_INTERVAL),
            conditions: Conditions::default(),
            continues: false,
            mute: Vec::new(),
            active: Vec::new(),
            children: Vec::new(),
        };
        let mut nodes = vec![root];
        add_children(&mut nodes, 0, &routing.routes)?;
        let intervals = routing.time_intervals.iter();
        let intervals = intervals.map(|named| (named.name.clone(), named.time_intervals.clone())).collect();
        let rules = routing.inhibit_rules.iter().enumerate();
        let inhibition =
            rules.map(|(index, rule)| Inhibition::compile(rule, index)).collect::<Result<_, _>>()?;
        Ok(Some(Self { nodes, intervals, inhibition }))
    }

    /// The routes that take an alert with these labels; at least the root does.
    pub(crate) fn routes(&self, labels: &Labels) -> Vec<&Node> {
        let mut found = Vec::new();
        self.collect(0, labels, &mut found);
        found
    }

    fn collect<'r>(&'r self, at: usize, labels: &Labels, found: &mut Vec<&'r Node>) -> bool {
        let node = &self.nodes[at];
        if !node.conditions.accept(labels) {
            return false;
        }
        let before = found.len();
        for child in &node.children {
            if self.collect(*child, labels, found) && !self.nodes[*child].continues {
                break;
            }
        }
        if found.len() == before {
            found.push(node);
        }
        true
    }

    /// The routes a group belongs to, if there still are any: several where they have the same matchers and
    /// receiver, and put its alerts into the same group. If none does that any more, the matchers decide.
    pub(super) fn routes_of(&self, group: &NotificationGroup) -> Vec<&Node> {
        let is_of = |node: &&Node| {
            let rest = group.key.strip_prefix(&node.key);
            node.receiver == group.receiver && rest.is_some_and(|rest| rest.starts_with(":{"))
        };
        let mut nodes: Vec<_> = self.nodes.iter().filter(is_of).collect();
        let alerts = || group.told.values().chain(group.unheard.values());
        let groups_so = |node: &&Node| alerts().any(|alert| node.group_labels(&alert.labels) == group.labels);
        if nodes.len() > 1 && nodes.iter().any(groups_so) {
            nodes.retain(groups_so);
        }
        nodes
    }

    /// The route whose intervals a group has now.
    pub(super) fn route_of(&self, group: &NotificationGroup, now: DateTime<Utc>) -> Option<&Node> {
        self.speaking(&self.routes_of(group), now)
    }

    /// Of the routes of a group the first that tells at this time; the first if none does.
    pub(super) fn speaking<'n>(&self, nodes: &[&'n Node], now: DateTime<Utc>) -> Option<&'n Node> {
        let speaking = nodes.iter().find(|node| !self.is_quiet(node, now));
        speaking.or(nodes.first()).copied()
    }

    /// Whether the route tells nobody at this time.
    pub(crate) fn is_quiet(&self, node: &Node, now: DateTime<Utc>) -> bool {
        !self.muted_by(node, now).is_empty()
    }

    /// The time intervals for which the route tells nobody now: those it is muted in, or else those it tells
    /// in, if it is none of these.
    pub(crate) fn muted_by<'n>(&self, node: &'n Node, now: DateTime<Utc>) -> Vec<&'n str> {
        let is_now = |name: &&String| {
            let intervals = self.intervals.get(*name).into_iter().flatten();
            intervals.into_iter().any(|interval| interval.contains(now))
        };
        let muted: Vec<_> = node.mute.iter().filter(is_now).collect();
        let names = match muted[..] {
            [] if !node.active.iter().any(|name| is_now(&name)) => node.active.iter().collect(),
            _ => muted,
        };
        names.into_iter().map(String::as_str).collect()
    }

    /// The time intervals for which none of these routes tells anybody now; nothing, if one does.
    pub(crate) fn all_muted_by(&self, nodes: &[&Node], now: DateTime<Utc>) -> Vec<String> {
        let muted: Vec<_> = nodes.iter().map(|node| self.muted_by(node, now)).collect();
        if muted.iter().any(Vec::is_empty) {
            return Vec::new();
        }
        muted.concat().into_iter().map(str::to_owned).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

impl Node {
    /// The labels an alert is grouped by here.
    pub(crate) fn group_labels(&self, labels: &Labels) -> Labels {
        if self.group_by.iter().any(|label| label == ALL) {
            return labels.clone();
        }
        let named = self.group_by.iter().filter_map(|name| Some((name.as_str(), labels.value(name)?)));
        named.collect()
    }

    /// What the group of these labels is called.
    pub(crate) fn group_key(&self, group_labels: &Labels) -> String {
        format!("{}:{}", self.key, written(group_labels))
    }
}

/// Labels as Alertmanager writes them.
fn written(labels: &Labels) -> String {
    let pairs: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", pairs.join(", "))
}

fn add_children(nodes: &mut Vec<Node>, parent: usize, routes: &[Route]) -> Result<(), Invalid> {
    for (index, route) in routes.iter().enumerate() {
        let asked = Asked::of_route(route);
        let conditions = asked.compile(&format!("routes[{index}]"))?;
        let above = &nodes[parent];
        let node = Node {
            key: format!("{}/{}", above.key, asked.sorted()),
            receiver: route.receiver.clone().unwrap_or_else(|| above.receiver.clone()),
            group_by: route.group_by.clone().unwrap_or_else(|| above.group_by.clone()),
            group_wait: route.group_wait.unwrap_or(above.group_wait),
            group_interval: route.group_interval.unwrap_or(above.group_interval),
            repeat_interval: route.repeat_interval.unwrap_or(above.repeat_interval),
            conditions,
            continues: route.continues,
            // Times are the one thing a route does not have from its parent.
            mute: route.mute_time_intervals.clone(),
            active: route.active_time_intervals.clone(),
            children: Vec::new(),
        };
        let at = nodes.len();
        nodes[parent].children.push(at);
        nodes.push(node);
        add_children(nodes, at, &route.routes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn router(routing: Value) -> Router {
        Router::compile(&serde_json::from_value(routing).unwrap()).unwrap().unwrap()
    }

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().copied().collect()
    }

    fn group(key: &str, receiver: &str) -> NotificationGroup {
        let group = json!({"key": key, "receiver": receiver, "labels": {}, "next_at": DateTime::UNIX_EPOCH,
            "told_at": null, "told": {}, "is_acknowledged": false});
        serde_json::from_value(group).unwrap()
    }

    fn told(router: &Router, pairs: &[(&str, &str)]) -> Vec<String> {
        router.routes(&labels(pairs)).iter().map(|node| node.receiver.clone()).collect()
    }

    #[test]
    fn the_first_route_that_takes_an_alert_ends_the_search_unless_it_continues() {
        let router = router(json!({"receiver": "root", "routes": [
            {"receiver": "all", "continue": true},
            {"receiver": "db", "matchers": ["service=db"], "routes": [
                {"receiver": "db-critical", "matchers": ["severity=critical"]},
                {"matchers": ["severity=low"], "receiver": "db-low", "continue": true},
            ]},
            {"receiver": "late", "match": {"service": "db"}},
            {"receiver": "any-web", "match_re": {"service": "web.*"}},
        ]}));
        assert_eq!(told(&router, &[("service", "db"), ("severity", "critical")]), ["all", "db-critical"]);
        assert_eq!(told(&router, &[("service", "db"), ("severity", "low")]), ["all", "db-low"]);
        assert_eq!(told(&router, &[("service", "db")]), ["all", "db"]);
        assert_eq!(told(&router, &[("service", "web1")]), ["all", "any-web"]);
        assert_eq!(told(&router, &[("service", "x")]), ["all"]);
    }

    #[test]
    fn what_no_route_takes_is_the_roots() {
        let router = router(json!({"receiver": "root", "routes": [{"receiver": "a", "matchers": ["x=y"]}]}));
        assert_eq!(told(&router, &[]), ["root"]);
        assert!(Router::compile(&Routing::default()).unwrap().is_none());
    }

    #[test]
    fn a_route_has_from_its_parent_what_it_does_not_say_itself() {
        let router = router(json!({
            "receiver": "root", "group_by": ["a"], "repeat_interval": "1h",
            "routes": [{"matchers": ["x=y"], "group_wait": "1s", "mute_time_intervals": ["always"],
                "routes": [{"matchers": ["z=~\"1|2\""], "group_by": []}]}],
            "time_intervals": [{"name": "always", "time_intervals": [{}]}],
        }));
        let parent = &router.nodes[1];
        let child = &router.nodes[2];
        assert_eq!((child.receiver.as_str(), child.group_wait), ("root", PromDuration::from_secs(1)));
        assert_eq!(child.repeat_interval, PromDuration::from_secs(3_600));
        assert_eq!(child.group_interval, GROUP_INTERVAL);
        assert_eq!((parent.group_by.len(), child.group_by.len()), (1, 0));
        let now = DateTime::UNIX_EPOCH;
        assert!(router.is_quiet(parent, now) && !router.is_quiet(child, now), "times are not passed on");
    }

    #[test]
    fn an_active_time_is_the_only_time() {
        let router = router(json!({"receiver": "root",
            "routes": [{"active_time_intervals": ["june"]}],
            "time_intervals": [{"name": "june", "time_intervals": [{"months": ["june"]}]}]}));
        let is_quiet = |time: &str| router.is_quiet(&router.nodes[1], time.parse().unwrap());
        assert!(!is_quiet("2026-06-15T12:00:00Z"));
        assert!(is_quiet("2026-07-01T00:00:00Z"));
    }

    #[test]
    fn groups_are_called_as_alertmanager_calls_them() {
        let router = router(json!({"receiver": "root", "group_by": ["alertname", "zone"],
            "routes": [{"matchers": ["severity=~\"a|b\""], "group_by": ["..."]}]}));
        let alert = labels(&[("alertname", "Slow"), ("route", "/\"x\"")]);
        let root = &router.nodes[0];
        assert_eq!(root.group_key(&root.group_labels(&alert)), r#"{}:{alertname="Slow"}"#);
        let child = &router.nodes[1];
        let key = child.group_key(&child.group_labels(&alert));
        assert_eq!(key, r#"{}/{severity=~"a|b"}:{alertname="Slow", route="/\"x\""}"#);
        let keys = router.routes_of(&group(&key, "root")).into_iter().map(|node| &node.key);
        assert_eq!(keys.collect::<Vec<_>>(), [&child.key]);
        assert!(router.routes_of(&group(&key, "other")).is_empty());
    }

    #[test]
    fn of_routes_with_the_same_matchers_and_receiver_the_first_speaks_whose_time_it_is() {
        let router = router(json!({"receiver": "root", "routes": [
            {"matchers": ["a=b"], "continue": true, "active_time_intervals": ["june"], "group_wait": "1s"},
            {"matchers": ["a=b"], "continue": true, "receiver": "other"},
            {"matchers": ["a=b"], "mute_time_intervals": ["june", "may"], "group_wait": "2s"},
        ], "time_intervals": [{"name": "june", "time_intervals": [{"months": ["june"]}]},
            {"name": "may", "time_intervals": [{"months": ["may"]}]}]}));
        let alert = labels(&[("a", "b")]);
        let keys =
            router.routes(&alert).iter().map(|node| node.group_key(&Labels::new())).collect::<Vec<_>>();
        assert_eq!(keys, [r#"{}/{a="b"}:{}"#; 3]);
        for (month, seconds, muted_by) in
            [("06", 1, vec![]), ("07", 2, vec![]), ("05", 1, vec!["june".to_owned(), "may".to_owned()])]
        {
            let now = format!("2026-{month}-15T00:00:00Z").parse().unwrap();
            let node = router.route_of(&group(&keys[0], "root"), now).unwrap();
            assert_eq!(node.group_wait, PromDuration::from_secs(seconds), "month {month}");
            let nodes = router.routes_of(&group(&keys[0], "root"));
            assert_eq!(router.all_muted_by(&nodes, now), muted_by);
        }
    }
}
