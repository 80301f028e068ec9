//! Runs one test: evaluates the rules step by step, and looks at what they made of it.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::allowance::Allowance;
use super::compare::{alerts, same_samples, samples};
use super::file::{AlertTest, ExpectedSample, QueryTest, TestGroup, TestTime};
use super::world::World;
use crate::alerting::{ALERT_NAME, Instances, written_by_alerts};
use crate::evaluation::loaded::{LoadedGroup, RuleKind};
use crate::evaluation::rule::{Asked, Outcomes, evaluate_rule};
use crate::evaluation::schedule::at_millis;
use crate::model::{AlertState, Labels, RuleTestFailure, RuleTestReport, Series, SeriesId};
use crate::promql::{LabelSet, QueryLimits, STALE, written_series};

/// How long the rules of one step may take.
const PATIENCE: Duration = Duration::from_secs(30);

impl TestGroup {
    /// The last time anything is looked at.
    pub(super) fn end(&self) -> TestTime {
        let alerts = self.alert_rule_test.iter().map(|test| test.eval_time);
        alerts.chain(self.promql_expr_test.iter().map(|test| test.eval_time)).max().unwrap_or_default()
    }
}

pub(super) struct Run<'t> {
    name: String,
    test: &'t TestGroup,
    groups: &'t [LoadedGroup],
    limits: &'t QueryLimits,
    is_fuzzy: bool,
    /// The alerts of each rule, by the places of its group and of the rule.
    pub alerts: HashMap<(usize, usize), Instances>,
    /// What each recording rule recorded last.
    recorded: HashMap<(usize, usize), HashMap<SeriesId, Series>>,
    pub report: RuleTestReport,
    allowance: &'t mut Allowance,
}

impl<'t> Run<'t> {
    pub(super) fn new(
        name: String,
        test: &'t TestGroup,
        groups: &'t [LoadedGroup],
        limits: &'t QueryLimits,
        is_fuzzy: bool,
        allowance: &'t mut Allowance,
    ) -> Self {
        let (alerts, recorded, report) = (HashMap::new(), HashMap::new(), RuleTestReport::default());
        Self { name, test, groups, limits, is_fuzzy, alerts, recorded, report, allowance }
    }

    /// Evaluates the rules every `interval` milliseconds, and looks at everything that is expected.
    ///
    /// Nothing here waits for anything: whoever shares the thread has a turn after each evaluation and look.
    pub(super) async fn whole(&mut self, interval: i64) {
        let mut world = match World::new(self.test, interval, self.test.end().0, self.limits) {
            Ok(world) => world,
            Err(error) => return self.fail("input_series", String::new(), error),
        };
        let mut time = 0;
        while time <= self.test.end().0 {
            world.come_to(self.at(time)).await;
            if !self.step(&mut world, time).await {
                return;
            }
            let now = time..time.saturating_add(interval);
            for test in self.test.alert_rule_test.iter().filter(|test| now.contains(&test.eval_time.0)) {
                self.look_at_alerts(test);
                tokio::task::yield_now().await;
            }
            time = time.saturating_add(interval);
            tokio::task::yield_now().await;
        }
        for test in &self.test.promql_expr_test {
            self.look_at_query(&world, test).await;
            tokio::task::yield_now().await;
        }
    }

    /// The time so many milliseconds after the beginning, in those since 1970.
    fn at(&self, time: i64) -> i64 {
        self.test.start_timestamp.0.saturating_add(time)
    }

    /// Evaluates every rule once. False if one could not be.
    pub(super) async fn step(&mut self, world: &mut World<'_>, time: i64) -> bool {
        let (now, end) = (at_millis(self.at(time)), Instant::now() + PATIENCE);
        for (g, group) in self.groups.iter().enumerate() {
            let samples_at = (now - group.query_offset).timestamp_millis();
            for (r, rule) in group.rules.iter().enumerate() {
                let alerts = self.alerts.entry((g, r)).or_default();
                let outcome = evaluate_rule(world, group, rule, alerts, now, end).await;
                let written = match outcome.result {
                    Outcomes::Alerts(advanced) => written_by_alerts(alerts.values(), &advanced.transitions),
                    Outcomes::Series(recorded) => self.recorded((g, r), recorded.unwrap_or_default()),
                };
                let wrote = self.allowance.write(written.len(), world.memory.len());
                if wrote.is_ok() {
                    written.iter().for_each(|(series, value)| world.write(series, samples_at, *value));
                }
                tokio::task::yield_now().await;
                if let Some(error) = outcome.state.last_error.or(wrote.err()) {
                    let subject = format!("a rule of the group {} at {}", group.name, shown(time));
                    self.fail(&subject, String::new(), format!("{}: {error}", rule.query()));
                    return false;
                }
            }
        }
        true
    }

    /// What a recording rule writes: what it recorded now, and markers for what it recorded before.
    fn recorded(&mut self, rule: (usize, usize), now: Vec<(Series, f64)>) -> Vec<(Series, f64)> {
        let known: HashMap<_, _> = now.iter().map(|(series, _)| (series.id, series.clone())).collect();
        let mut gone = self.recorded.remove(&rule).unwrap_or_default();
        gone.retain(|id, _| !known.contains_key(id));
        self.recorded.insert(rule, known);
        let gone = gone.into_values().map(|series| (series, STALE));
        now.into_iter().chain(gone).collect()
    }

    fn look_at_alerts(&mut self, test: &AlertTest) {
        let subject = format!("alerts {} at {}", test.alertname, shown(test.eval_time.0));
        if test.alertname.is_empty() {
            return self.fail(&subject, "a name of an alert".to_owned(), "none is given".to_owned());
        }
        let expected = test.exp_alerts.iter().map(|expected| {
            let texts = |texts: &std::collections::BTreeMap<_, crate::alerting::rule_file::Text>| {
                texts
                    .iter()
                    .map(|(name, text): (&String, _)| (name.as_str(), text.0.as_str()))
                    .collect::<Labels>()
            };
            let mut labels = texts(&expected.exp_labels);
            labels.set(ALERT_NAME, test.alertname.as_str());
            (labels, texts(&expected.exp_annotations))
        });
        let mut expected: Vec<_> = expected.collect();
        let mut found: Vec<_> = self.firing(&test.alertname).collect();
        expected.sort();
        found.sort();
        match expected == found {
            true => self.report.passed += 1,
            false => self.fail(&subject, alerts(&expected), alerts(&found)),
        }
    }

    /// The alerts that rules of this name fire.
    fn firing<'s>(&'s self, name: &'s str) -> impl Iterator<Item = (Labels, Labels)> + 's {
        let of_name = self.alerts.iter().filter(move |((g, r), _)| {
            matches!(&self.groups[*g].rules[*r].kind, RuleKind::Alerting(terms) if terms.rule.name == name)
        });
        let all = of_name.flat_map(|(_, alerts)| alerts.values());
        let firing = all.filter(|alert| alert.state == AlertState::Firing);
        firing.map(|alert| (alert.labels.clone(), alert.annotations.clone()))
    }

    async fn look_at_query(&mut self, world: &World<'_>, test: &QueryTest) {
        let subject = format!("{} at {}", test.expr.0, shown(test.eval_time.0));
        let mut expected = match test.exp_samples.iter().map(expected_sample).collect::<Result<Vec<_>, _>>() {
            Ok(expected) => expected,
            Err(error) => return self.fail(&subject, String::new(), error),
        };
        let mut found: Vec<(LabelSet, f64)> =
            match world.columns_at(&test.expr.0, at_millis(self.at(test.eval_time.0))).await {
                Ok(columns) => columns.at(0).map(|(labels, value)| (labels.clone(), value)).collect(),
                Err(error) => return self.fail(&subject, samples(&expected), error.to_string()),
            };
        expected.sort_by(|one, other| one.0.cmp(&other.0));
        found.sort_by(|one, other| one.0.cmp(&other.0));
        match same_samples(&expected, &found, self.is_fuzzy) {
            true => self.report.passed += 1,
            false => self.fail(&subject, samples(&expected), samples(&found)),
        }
    }

    fn fail(&mut self, subject: &str, expected: String, found: String) {
        let (test, subject) = (self.name.clone(), subject.to_owned());
        let failure = self.allowance.told(RuleTestFailure { test, subject, expected, found });
        self.report.failures.push(failure);
    }
}

fn expected_sample(sample: &ExpectedSample) -> Result<(LabelSet, f64), String> {
    if sample.histogram.is_some() {
        return Err("native histograms are not known here".to_owned());
    }
    match written_series(sample.labels.0.trim()) {
        Ok((labels, rest)) if rest.trim().is_empty() => Ok((labels, sample.value)),
        Ok((_, rest)) => Err(format!("unexpected {rest:?} behind the labels of a sample")),
        Err(error) => Err(error),
    }
}

fn shown(millis: i64) -> String {
    crate::model::PromDuration::from_millis(millis.unsigned_abs()).to_string()
}
