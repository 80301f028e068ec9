//! Rule files of Prometheus: read in, written out, and tested.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use uuid::Uuid;

use super::alert_states::failed;
use super::rule_groups::put_group;
use super::{alerts, recording_rules};
use crate::alerting::rule_file::{self, FoundRule, RuleOrigin, export, rules_of, settings_of, to_yaml};
use crate::error::{Error, Result};
use crate::evaluation;
use crate::model::{
    AlertFilter, AlertRule, Invalid, Limits, Page, RecordingRule, RuleGroup, RuleImport, RuleTestReport,
    Slice, UnknownMetric,
};
use crate::promql::{NAME, QueryLimits};
use crate::query::PromQuery;
use crate::store::alerts::AlertStore as _;
use crate::store::recording_rules::RecordingRuleStore as _;
use crate::store::rule_groups::RuleGroupStore as _;
use crate::store::{AsConnection, Connection, Context, Transaction};

/// Rules read at once.
const PAGE: u32 = 1_000;

/// Takes over the groups of a rule file of Prometheus (YAML). A group that is there already has
/// exactly the file's rules afterwards; rules that stay keep their ids and their alerts. Groups the file
/// does not name are left alone.
///
/// ```no_run
/// # async fn example(monitoring: &monitoring_core::Monitoring) -> monitoring_core::Result<()> {
/// use monitoring_core::services;
///
/// let mut conn = monitoring.acquire().await?;
/// let rules = "groups: [{name: web, rules: [{alert: Down, expr: up == 0, for: 5m}]}]";
/// let import = services::import_rules(&mut conn, rules, None).await?;
/// println!("{} rules are new", import.created);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`Error::Invalid`] names everything that is wrong with the file, by its place; then nothing is
/// changed. Storage failed.
pub async fn import_rules(
    conn: &mut impl AsConnection,
    file: &str,
    actor: Option<Uuid>,
) -> Result<RuleImport> {
    import(&mut conn.as_connection(), file, actor).await
}

async fn import(connection: &mut Connection<'_>, file: &str, actor: Option<Uuid>) -> Result<RuleImport> {
    let context = connection.context();
    let settings = &context.settings;
    let origin = RuleOrigin { actor, now: settings.clock.now() };
    let groups = groups_of(file, origin, &settings.limits)?;
    let mut import = RuleImport { groups: groups.len(), ..RuleImport::default() };
    let mut transaction = connection.begin().await?;
    for (group, rules) in groups {
        put_group(&mut transaction, group.clone(), actor).await?;
        replace(&mut transaction, context, &group.name, rules, origin, &mut import).await?;
    }
    transaction.commit().await?;
    Ok(import)
}

/// The groups of a file with their rules; or everything wrong with them.
fn groups_of(file: &str, origin: RuleOrigin, limits: &Limits) -> Result<Vec<(RuleGroup, Vec<FoundRule>)>> {
    let file = rule_file::read(file)?;
    let mut invalid = Invalid::default();
    let mut groups = Vec::with_capacity(file.groups.len());
    for (n, group) in file.groups.iter().enumerate() {
        match rules_of(n, group, origin, limits) {
            Ok(rules) => groups.push((settings_of(group), rules)),
            Err(wrong) => invalid.extend(wrong),
        }
    }
    Ok(invalid.or(groups)?)
}

/// Gives a group these rules and no others.
async fn replace(
    transaction: &mut Transaction<'_>,
    context: &Context,
    group: &str,
    rules: Vec<FoundRule>,
    origin: RuleOrigin,
    import: &mut RuleImport,
) -> Result<()> {
    let mut alerts_before = alert_rules(transaction, group).await?;
    let mut recordings_before = recording_rules(transaction, group).await?;
    let (mut alerts_now, mut recordings_now) = (Vec::new(), Vec::new());
    for rule in rules {
        match rule {
            FoundRule::Alert(rule) => {
                let same = |before: &AlertRule| before.name == rule.name && before.labels == rule.labels;
                let before = alerts_before.iter().position(same).map(|at| alerts_before.swap_remove(at));
                alerts_now.push((before, rule));
            }
            FoundRule::Recording(rule) => {
                let same =
                    |before: &RecordingRule| before.record == rule.record && before.labels == rule.labels;
                let before =
                    recordings_before.iter().position(same).map(|at| recordings_before.swap_remove(at));
                recordings_now.push((before, rule));
            }
        }
    }
    import.removed += alerts_before.len() + recordings_before.len();
    for before in &alerts_before {
        alerts::remove_rule(transaction, before, origin.actor).await?;
    }
    for before in &recordings_before {
        recording_rules::remove_rule(transaction, before, origin.actor).await?;
    }
    for (before, rule) in alerts_now {
        put_alert(transaction, (before, alerts::checked_rule(context, rule, None)?), origin, import).await?;
    }
    for (before, rule) in recordings_now {
        put_recording(transaction, (before, recording_rules::checked_rule(context, rule)?), origin, import)
            .await?;
    }
    Ok(())
}

async fn put_alert(
    transaction: &mut Transaction<'_>,
    (before, rule): (Option<AlertRule>, AlertRule),
    origin: RuleOrigin,
    import: &mut RuleImport,
) -> Result<()> {
    let Some(before) = before else {
        import.created += 1;
        return alerts::insert_rule(transaction, &rule, origin.actor).await;
    };
    let AlertRule { id, created_by, created_at, updated_at, version, .. } = before;
    let rule = AlertRule { id, created_by, created_at, updated_at, version, ..rule };
    if rule == before {
        import.unchanged += 1;
        return Ok(());
    }
    import.updated += 1;
    let rule = AlertRule { updated_at: origin.now, version: version + 1, ..rule };
    alerts::replace_rule(transaction, &before, &rule, origin.actor).await
}

async fn put_recording(
    transaction: &mut Transaction<'_>,
    (before, rule): (Option<RecordingRule>, RecordingRule),
    origin: RuleOrigin,
    import: &mut RuleImport,
) -> Result<()> {
    let Some(before) = before else {
        import.created += 1;
        return recording_rules::insert_rule(transaction, &rule, origin.actor).await;
    };
    let RecordingRule { id, created_by, created_at, updated_at, version, .. } = before;
    let rule = RecordingRule { id, created_by, created_at, updated_at, version, ..rule };
    if rule == before {
        import.unchanged += 1;
        return Ok(());
    }
    import.updated += 1;
    let rule = RecordingRule { updated_at: origin.now, version: version + 1, ..rule };
    recording_rules::replace_rule(transaction, &before, &rule, origin.actor).await
}

/// All rules that are evaluated, as a rule file of Prometheus (YAML). What Prometheus does not know of a
/// rule stands in annotations whose names begin with `monitoring_`, and is read back from there.
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
        rules.sort_by_key(FoundRule::position);
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

/// Whether a name fits a pattern of `*` and `?`.
fn fits(pattern: &str, name: &str) -> bool {
    let mut rest = pattern.chars();
    match rest.next() {
        None => name.is_empty(),
        Some('*') => {
            let ends = name.char_indices().map(|(at, _)| at).chain([name.len()]);
            ends.into_iter().any(|at| fits(rest.as_str(), &name[at..]))
        }
        Some(wanted) => {
            let mut chars = name.chars();
            chars.next().is_some_and(|c| c == wanted || wanted == '?') && fits(rest.as_str(), chars.as_str())
        }
    }
}

/// What rules ask for that there is not: names of metrics without any series, that no rule records
/// either. A typing error in a rule is silent otherwise: it never fires. Made for a test that drives the
/// service first.
///
/// # Errors
///
/// Storage failed.
pub async fn unknown_metrics(conn: &mut impl AsConnection, promql: &PromQuery) -> Result<Vec<UnknownMetric>> {
    let (alerts, recordings) = {
        let mut connection = conn.as_connection();
        let mut store = connection.store();
        (store.enabled_alert_rules().await?, store.enabled_recording_rules().await?)
    };
    let mut known: HashSet<String> =
        promql.label_values(NAME, &[], usize::MAX).await.map_err(failed)?.into_iter().collect();
    known.extend(recordings.iter().map(|rule| rule.record.clone()));
    known.extend(["ALERTS", "ALERTS_FOR_STATE"].map(str::to_owned));
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

async fn alert_rules(transaction: &mut Transaction<'_>, group: &str) -> Result<Vec<AlertRule>> {
    let filter = AlertFilter { group: Some(group.to_owned()), ..AlertFilter::default() };
    let (mut page, mut rules) = (Page::first(PAGE), Vec::new());
    loop {
        let Slice { items, pagination } = transaction.store().alert_rules(&filter, &page).await?;
        rules.extend(items);
        match pagination.next_cursor {
            Some(cursor) => page.after = Some(cursor.parse()?),
            None => return Ok(rules),
        }
    }
}

async fn recording_rules(transaction: &mut Transaction<'_>, group: &str) -> Result<Vec<RecordingRule>> {
    let (mut page, mut rules) = (Page::first(PAGE), Vec::new());
    loop {
        let Slice { items, pagination } = transaction.store().recording_rules(Some(group), &page).await?;
        rules.extend(items);
        match pagination.next_cursor {
            Some(cursor) => page.after = Some(cursor.parse()?),
            None => return Ok(rules),
        }
    }
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
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }
}
