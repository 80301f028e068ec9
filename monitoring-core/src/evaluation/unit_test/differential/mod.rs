//! Random rules over random series, for which `promtool` must say what this engine says: which alerts
//! are pending and fire, since when, with which labels and texts, at every evaluation.
//!
//! What the engine makes of a case is written down as the expectations of a file of tests, and `promtool`
//! judges them. It needs no clock: both step through the same made-up minutes. `promtool` 2 holds the left
//! end of a window and this engine does not, so no sample of a case ever lies there.
//!
//! `MONITORING_RULE_CASES` raises the number of cases, `MONITORING_RULE_SEED` repeats a run.

mod cases;
mod expressions;
mod promtool;

use std::collections::BTreeMap;

use proptest::strategy::{Strategy as _, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Map, Value, json};

use super::allowance::Allowance;
use super::run::Run;
use super::world::World;
use super::{USUAL_INTERVAL, groups, millis, parsed, test_rules};
use crate::alerting::written_by_alerts;
use crate::evaluation::loaded::RuleKind;
use crate::model::{AlertInstance, AlertRule, AlertState, Labels, Limits};
use crate::promql::QueryLimits;
use crate::random::random_u64;
use cases::Case;

/// Cases of an ordinary run, and where they come from.
const CASES: usize = 40;
const SEED: u64 = 1;
/// Cases `promtool` judges at once: it takes longer to start than to judge.
const AT_ONCE: usize = 20;
/// Smaller cases tried once there is one that fails.
const SHRINKS_MAX: usize = 200;

/// What the engine made of a case.
enum Made {
    /// The expectations, of each kind.
    Expected { alerts: Vec<Value>, queries: Vec<Value>, transitions: usize },
    /// A rule could not be evaluated.
    Failed,
}

/// What became of a case.
struct Outcome {
    /// Why the two disagree.
    difference: Option<String>,
    transitions: usize,
    has_failed: bool,
}

#[test]
fn promtool_says_the_same_of_random_rules() {
    if !promtool::is_installed() {
        return;
    }
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let cases = number("MONITORING_RULE_CASES");
    // The suite tells of the code, not of the day; who asks for more cases gets others each time.
    let usual = if cases.is_some() { random_u64() } else { SEED };
    let seed = number("MONITORING_RULE_SEED").unwrap_or(usual);
    let count = cases.map_or(CASES, |cases| cases as usize);
    println!("MONITORING_RULE_SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let (mut transitions, mut failed) = (0, 0);
    for first in (0..count).step_by(AT_ONCE) {
        let number = AT_ONCE.min(count - first);
        let mut trees: Vec<_> =
            (0..number).map(|_| cases::cases().new_tree(&mut runner).expect("cases can be made")).collect();
        println!("{first} cases were judged");
        let outcomes = judged(&trees.iter().map(ValueTree::current).collect::<Vec<_>>());
        for (tree, outcome) in trees.iter_mut().zip(outcomes) {
            transitions += outcome.transitions;
            failed += usize::from(outcome.has_failed);
            if let Some(difference) = outcome.difference {
                println!("{difference}\nlooking for a smaller case");
                let (case, difference) = shrunk(tree, difference);
                panic!("MONITORING_RULE_SEED={seed}\n{difference}\n{case:#?}");
            }
        }
    }
    println!("{count} cases, {transitions} changes of state; in {failed} cases both refuse a rule");
    assert!(transitions > count, "alerts must come and go: {transitions}");
}

/// The smallest case found that fails, and how.
fn shrunk(tree: &mut impl ValueTree<Value = Case>, difference: String) -> (Case, String) {
    let mut smallest = (tree.current(), difference);
    let mut goes_on = tree.simplify();
    for _ in 0..SHRINKS_MAX {
        if !goes_on {
            break;
        }
        let case = tree.current();
        goes_on = match judged(std::slice::from_ref(&case)).remove(0).difference {
            Some(difference) => {
                smallest = (case, difference);
                tree.simplify()
            }
            None => tree.complicate(),
        };
    }
    smallest
}

/// What becomes of each of these cases.
fn judged(cases: &[Case]) -> Vec<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let made: Vec<_> = cases.iter().map(|case| runtime.block_on(made(case))).collect();
    let files: Vec<_> =
        cases.iter().zip(&made).map(|(case, made)| (case.rules(), tests(case, made))).collect();
    let verdicts = promtool::verdicts(&files);
    type Judged<'j> = ((&'j Made, &'j (String, String)), Result<(), String>);
    let outcome = |((made, (rules, tests)), verdict): Judged<'_>| {
        match (made, verdict) {
            (Made::Failed, Err(said)) if said.contains("err:") => {
                Outcome { difference: None, transitions: 0, has_failed: true }
            }
            (Made::Failed, verdict) => Outcome {
                difference: Some(format!("only this engine refuses a rule; promtool: {verdict:?}")),
                transitions: 0,
                has_failed: true,
            },
            (Made::Expected { transitions, .. }, verdict) => {
                // What is written is what the tests of rules here take for granted, too.
                let own = runtime.block_on(own_verdict(rules, tests));
                let difference = verdict.and(own).err();
                Outcome { difference, transitions: *transitions, has_failed: false }
            }
        }
    };
    made.iter().zip(&files).zip(verdicts).map(outcome).collect()
}

async fn own_verdict(rules: &str, tests: &str) -> Result<(), String> {
    let files = BTreeMap::from([("rules.yml".to_owned(), rules.to_owned())]);
    let report = test_rules(tests, &files, &Limits::default(), &QueryLimits::default()).await;
    let report = report.map_err(|invalid| invalid.to_string())?;
    if report.is_success() { Ok(()) } else { Err(format!("our own verdict: {report}")) }
}

/// The file of tests of a case, with what the engine made of it as what is expected.
fn tests(case: &Case, made: &Made) -> String {
    let mut file = case.tests();
    let test = &mut file["tests"][0];
    match made {
        Made::Expected { alerts, queries, .. } => {
            test["alert_rule_test"] = json!(alerts);
            test["promql_expr_test"] = json!(queries);
        }
        Made::Failed => {
            let query = json!({"expr": "vector(1)", "eval_time": seconds(case.end()),
                "exp_samples": [{"labels": "{}", "value": 1}]});
            test["promql_expr_test"] = json!([query]);
        }
    }
    file.to_string()
}

fn seconds(time: i64) -> String {
    format!("{time}s")
}

/// Evaluates the rules of a case step by step, and writes down what there is at each.
async fn made(case: &Case) -> Made {
    let limits = QueryLimits::default();
    let file = parsed(&case.tests().to_string()).expect("a file of tests is made");
    let rules = BTreeMap::from([("rules.yml".to_owned(), case.rules())]);
    let groups = groups(&rules, &file, &Limits::default()).expect("rules are made that make sense");
    let test = &file.tests[0];
    let world = World::new(test, millis(USUAL_INTERVAL), case.end() * 1_000, &limits);
    let mut world = world.expect("series are made that make sense");
    let mut allowance = Allowance::default();
    let mut run = Run::new(String::new(), test, &groups, &limits, false, &mut allowance);
    let (mut alerts, mut queries, mut transitions) = (Vec::new(), Vec::new(), 0);
    let mut before = BTreeMap::new();
    for step in 0..case.steps {
        let time = step * case.evaluation_seconds;
        world.come_to(time * 1_000).await;
        if !run.step(&mut world, time * 1_000).await {
            return Made::Failed;
        }
        let mut now = Vec::new();
        for (g, group) in groups.iter().enumerate() {
            for (r, rule) in group.rules.iter().enumerate() {
                let RuleKind::Alerting(terms) = &rule.kind else { continue };
                let of_rule: Vec<_> = run.alerts[&(g, r)].values().cloned().collect();
                alerts.push(firing(time, &terms.rule, &of_rule));
                now.extend(of_rule);
            }
        }
        queries.extend(["ALERTS", "ALERTS_FOR_STATE"].map(|name| series(time, name, &now)));
        let states: BTreeMap<_, _> = now
            .iter()
            .map(|alert| ((alert.rule_id, alert.fingerprint), (alert.state, alert.active_at)))
            .collect();
        transitions += states.iter().filter(|(key, state)| before.get(*key) != Some(*state)).count();
        before = states;
    }
    Made::Expected { alerts, queries, transitions }
}

/// The alerts of a rule that fire.
fn firing(time: i64, rule: &AlertRule, alerts: &[AlertInstance]) -> Value {
    let firing = alerts.iter().filter(|alert| alert.state == AlertState::Firing);
    let expected = firing.map(|alert| {
        let mut labels = alert.labels.clone();
        labels.set("alertname", "");
        // An annotation that comes to nothing is none here; Prometheus keeps it.
        let text = |name: &str| json!(alert.annotations.value(name).unwrap_or_default());
        let annotations = rule.annotations.iter().map(|(name, _)| (name.to_owned(), text(name)));
        json!({"exp_labels": labels, "exp_annotations": annotations.collect::<Map<_, _>>()})
    });
    let expected: Vec<_> = expected.collect();
    json!({"eval_time": seconds(time), "alertname": rule.name, "exp_alerts": expected})
}

/// What a query for the series that alerts write yields.
fn series(time: i64, name: &str, alerts: &[AlertInstance]) -> Value {
    let written = written_by_alerts(alerts, &[]).into_iter().filter(|(series, _)| series.name == name);
    let samples =
        written.map(|(series, value)| json!({"labels": notation(name, &series.labels), "value": value}));
    let samples: Vec<_> = samples.collect();
    json!({"expr": name, "eval_time": seconds(time), "exp_samples": samples})
}

/// A series as tests of rules write it.
fn notation(name: &str, labels: &Labels) -> String {
    let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={}", quoted(value))).collect();
    format!("{name}{{{}}}", labels.join(","))
}

/// A text as PromQL quotes it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}
