//! Rule files of Prometheus: written out, tested, and looked through.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use super::alert_states::failed;
use crate::alerting::rule_file::{FoundRule, export, to_yaml};
use crate::error::{Error, Result};
use crate::evaluation;
use crate::model::{ALERTS, ALERTS_FOR_STATE, ERROR_RATIO, Invalid, Limits, RuleTestReport, UnknownMetric};
use crate::promql::{NAME, QueryLimits};
use crate::query::PromQuery;
use crate::store::alerts::AlertStore as _;
use crate::store::recording_rules::RecordingRuleStore as _;
use crate::store::rule_groups::RuleGroupStore as _;
use crate::store::{Access, AsConnection, Connection};

/// All rules that are evaluated, as a rule file of Prometheus (YAML). What Prometheus does not know of a
/// rule stands in annotations whose names begin with `monitoring_`, and is read back from there. Prometheus
/// before 2.53 and 3 refuses the `query_offset` and the labels of a group: its labels stand with each of its
/// rules, the `query_offset` is left out. Reading the file in again leaves both as they are.
///
/// # Errors
///
/// Storage failed.
pub async fn export_rules(conn: &mut impl AsConnection) -> Result<String> {
    write_out(&mut conn.as_connection()).await
}

async fn write_out(connection: &mut Connection<'_>) -> Result<String> {
    let mut transaction = connection.begin_snapshot().await?;
    let groups = transaction.store().rule_groups().await?;
    let mut rules: BTreeMap<String, Vec<FoundRule>> = BTreeMap::new();
    for rule in transaction.store().enabled_alert_rules().await? {
        rules.entry(rule.group.clone()).or_default().push(FoundRule::Alert(rule));
    }
    for rule in transaction.store().enabled_recording_rules().await? {
        rules.entry(rule.group.clone()).or_default().push(FoundRule::Recording(rule));
    }
    for rules in rules.values_mut() {
        rules.sort_by_key(FoundRule::place);
    }
    let none = Vec::new();
    let groups = groups.iter().map(|group| (group, rules.get(&group.name).unwrap_or(&none).as_slice()));
    Ok(to_yaml(&export(groups)))
}

/// Runs a file of tests of rules, as `promtool test rules` does, over rule files given by the names it
/// calls them by. Nothing is read or stored: the series are those of the tests.
///
/// # Errors
///
/// [`Error::Invalid`] if a file makes no sense or one the tests name is missing. Expectations that are
/// not met are in the report.
pub async fn test_rules(tests: &str, rule_files: &BTreeMap<String, String>) -> Result<RuleTestReport> {
    let mut files = BTreeMap::new();
    for pattern in evaluation::rule_files_of(tests)? {
        let found: Vec<_> = rule_files.iter().filter(|(name, _)| fits(&pattern, name)).collect();
        if found.is_empty() {
            return Err(Invalid::field("rule_files", format!("no file is called {pattern:?}")).into());
        }
        files.extend(found.into_iter().map(|(name, text)| (name.clone(), text.clone())));
    }
    Ok(evaluation::test_rules(tests, &files, &Limits::default(), &QueryLimits::default()).await?)
}

/// Runs a file of tests of rules, as `promtool test rules` does; the rule files it names are found beside
/// it. Made for `cargo test`: it reads files while nobody else waits.
///
/// ```no_run
/// # async fn example() -> monitoring_core::Result<()> {
/// let report = monitoring_core::services::test_rule_file("rules/tests.yml").await?;
/// assert!(report.is_success(), "{report}");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// As [`test_rules`]; a file that cannot be read.
pub async fn test_rule_file(path: impl AsRef<Path>) -> Result<RuleTestReport> {
    let path = path.as_ref();
    let tests = read(path)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut files = BTreeMap::new();
    for pattern in evaluation::rule_files_of(&tests)? {
        for name in names(folder, &pattern)? {
            let text = read(&folder.join(&name))?;
            files.insert(name, text);
        }
    }
    test_rules(&tests, &files).await
}

fn read(path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path);
    text.map_err(|error| {
        Invalid::field(path.display().to_string(), format!("cannot be read: {error}")).into()
    })
}

/// The files a name or a pattern stands for. Patterns are about the last part of the path.
fn names(folder: &Path, pattern: &str) -> Result<Vec<String>> {
    let (parent, last) = pattern.rsplit_once('/').map_or(("", pattern), |(parent, last)| (parent, last));
    if !last.contains(['*', '?']) {
        return Ok(vec![pattern.to_owned()]);
    }
    let wrong =
        |error: std::io::Error| Error::from(Invalid::field("rule_files", format!("{pattern:?}: {error}")));
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder.join(parent)).map_err(wrong)? {
        let name = entry.map_err(wrong)?.file_name().to_string_lossy().into_owned();
        if fits(last, &name) {
            names.push(if parent.is_empty() { name } else { format!("{parent}/{name}") });
        }
    }
    names.sort();
    Ok(names)
}

/// Whether a name fits a pattern of `*` and `?`. Where it does not, only the last star is tried again,
/// a character further on: one before it could not do better.
fn fits(pattern: &str, name: &str) -> bool {
    let (mut pattern, mut name) = (pattern.chars(), name.chars());
    let mut star = None;
    loop {
        match (pattern.next(), name.clone().next()) {
            (Some('*'), _) => {
                star = Some((pattern.clone(), name.clone()));
                continue;
            }
            (None, None) => return true,
            (Some(wanted), Some(found)) if wanted == found || wanted == '?' => {
                name.next();
                continue;
            }
            _ => {}
        }
        let Some((after_star, rest)) = &mut star else { return false };
        if rest.next().is_none() {
            return false;
        }
        (pattern, name) = (after_star.clone(), rest.clone());
    }
}

/// What rules ask for that there is not: names of metrics without any series, that no rule records
/// either. A typing error in a rule is silent otherwise: it never fires. Made for a test that drives the
/// service first.
///
/// # Errors
///
/// Storage failed.
pub async fn unknown_metrics(promql: &PromQuery) -> Result<Vec<UnknownMetric>> {
    let (alerts, recordings) = {
        // Not held while names are looked up, which may need one itself.
        let mut connection = promql.pool().acquire(Access::Read).await?;
        let mut connection = connection.as_connection();
        let mut store = connection.store();
        (store.enabled_alert_rules().await?, store.enabled_recording_rules().await?)
    };
    let mut known: HashSet<String> =
        promql.label_values(NAME, &[], usize::MAX).await.map_err(failed)?.into_iter().collect();
    known.extend(recordings.iter().map(|rule| rule.record.clone()));
    known.extend([ALERTS, ALERTS_FOR_STATE, ERROR_RATIO].map(str::to_owned));
    let alerts = alerts.iter().map(|rule| (&rule.group, &rule.name, &rule.query));
    let recordings = recordings.iter().map(|rule| (&rule.group, &rule.record, &rule.query));
    let mut unknown = Vec::new();
    for (group, rule, query) in alerts.chain(recordings) {
        for metric in evaluation::metrics_of(query).into_iter().filter(|metric| !known.contains(metric)) {
            unknown.push(UnknownMetric { group: group.clone(), rule: rule.clone(), metric });
        }
    }
    Ok(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_fits_names() {
        for (pattern, name, expected) in [
            ("rules.yml", "rules.yml", true),
            ("*.yml", "rules.yml", true),
            ("*.yml", "rules.yaml", false),
            ("rules-?.yml", "rules-ä.yml", true),
            ("*", "", true),
            ("a*b*c", "aXbXbc", true),
            ("a*b*c", "aXbXb", false),
            ("**", "ab", true),
            ("?", "", false),
            ("*a*a*a*a*a*a*a*a*a*b", &"a".repeat(200), false),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }
}
