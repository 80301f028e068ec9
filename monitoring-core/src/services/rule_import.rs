//! Rule files of Prometheus: read in.

use std::collections::HashMap;

use uuid::Uuid;

use super::rule_groups::put_group;
use super::{alerts, recording_rules};
use crate::alerting::rule_file::{
    self, FileGroup, FoundRule, RuleIdentity, RuleOrigin, as_stored_before, rules_of, settings_of,
};
use crate::error::Result;
use crate::model::{
    AlertFilter, AlertRule, Invalid, Limits, Page, RecordingRule, RuleGroup, RuleImport, RuleLabels,
};
use crate::store::alerts::AlertStore as _;
use crate::store::recording_rules::RecordingRuleStore as _;
use crate::store::rule_groups::RuleGroupStore as _;
use crate::store::{AsConnection, Connection, Context, Transaction};

/// Takes over the groups of a rule file of Prometheus (YAML). A group that is there already has
/// the file's rules afterwards and no others; rules that stay keep their ids and their alerts. Groups the file
/// does not name are left alone, and so are rules that are switched off, for no file can name them. Labels and
/// the `query_offset` of a group stay where the file says nothing of them, for not every Prometheus can read
/// them; `labels: {}` and `query_offset: 0s` take them back. A group is known by its name, whichever file it comes
/// from, and durations are whole seconds: parts of one are rounded up.
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
/// [`Error::Invalid`](crate::Error::Invalid) names everything that is wrong with the file, by its place; then nothing is
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
    transaction.store().rules_changed().await?;
    for (group, rules) in groups {
        let before = transaction.store().rule_group(&group.name).await?.unwrap_or_default();
        let group = put_group(&mut transaction, settings_of(&group, &before), actor).await?;
        replace(&mut transaction, context, &group, rules, origin, &mut import).await?;
    }
    transaction.commit().await?;
    Ok(import)
}

/// The groups of a file with their rules; or everything wrong with them.
fn groups_of(file: &str, origin: RuleOrigin, limits: &Limits) -> Result<Vec<(FileGroup, Vec<FoundRule>)>> {
    let file = rule_file::read(file)?;
    let mut invalid = Invalid::default();
    let mut groups = Vec::with_capacity(file.groups.len());
    for (n, group) in file.groups.into_iter().enumerate() {
        match rules_of(n, &group, origin, limits) {
            Ok(rules) => groups.push((group, rules)),
            Err(wrong) => invalid.extend(wrong),
        }
    }
    Ok(invalid.or(groups)?)
}

/// A rule of the file, and the stored one it is.
struct Pair {
    before: Option<FoundRule>,
    rule: FoundRule,
}

/// Gives a group these rules and no others.
async fn replace(
    transaction: &mut Transaction<'_>,
    context: &Context,
    group: &RuleGroup,
    rules: Vec<FoundRule>,
    origin: RuleOrigin,
    import: &mut RuleImport,
) -> Result<()> {
    let mut stored: HashMap<RuleIdentity, Vec<FoundRule>> = HashMap::new();
    for rule in stored_rules(transaction, &group.name).await? {
        stored.entry(rule.identity(&group.labels)).or_default().push(rule);
    }
    let rules = rules.into_iter().map(|rule| as_it_would_be_stored(context, rule));
    let mut pairs = paired(rules.collect::<Result<_>>()?, &mut stored, &group.labels);
    keep_places(&mut pairs);
    for left in stored.into_values().flatten().filter(FoundRule::is_enabled) {
        import.removed += 1;
        match &left {
            FoundRule::Alert(rule) => alerts::remove_rule(transaction, rule, origin.actor).await?,
            FoundRule::Recording(rule) => {
                recording_rules::remove_rule(transaction, rule, origin.actor).await?;
            }
        }
    }
    for pair in pairs {
        put(transaction, pair, origin, import).await?;
    }
    Ok(())
}

/// The rules of a file with the stored ones they are. Of several with the same name and labels, each is the one
/// that asks the same, or else the first nobody else is.
fn paired(
    rules: Vec<FoundRule>,
    stored: &mut HashMap<RuleIdentity, Vec<FoundRule>>,
    group_labels: &RuleLabels,
) -> Vec<Pair> {
    let mut take = |rule: &FoundRule, fits: &dyn Fn(&FoundRule) -> bool| {
        let alike = stored.get_mut(&rule.identity(group_labels))?;
        alike.iter().position(fits).map(|place| alike.remove(place))
    };
    let same: Vec<_> = rules.iter().map(|rule| take(rule, &|one| one.query() == rule.query())).collect();
    let pair = |(rule, same): (FoundRule, Option<FoundRule>)| {
        let before = same.or_else(|| take(&rule, &|_| true));
        let rule = match &before {
            Some(before) => as_stored_before(before, rule),
            None => rule,
        };
        Pair { before, rule }
    };
    rules.into_iter().zip(same).map(pair).collect()
}

fn as_it_would_be_stored(context: &Context, rule: FoundRule) -> Result<FoundRule> {
    Ok(match rule {
        FoundRule::Alert(rule) => FoundRule::Alert(alerts::checked_rule(context, rule, None)?),
        FoundRule::Recording(rule) => FoundRule::Recording(recording_rules::checked_rule(context, rule)?),
    })
}

/// Where all the rules are there already and in this order, their places need not change.
fn keep_places(pairs: &mut [Pair]) {
    let places: Option<Vec<_>> = pairs.iter().map(|pair| Some(pair.before.as_ref()?.place())).collect();
    if places.is_some_and(|places| places.is_sorted()) {
        for Pair { before, rule } in pairs {
            let position = before.as_ref().map_or(0, FoundRule::position);
            rule.set_position(position);
        }
    }
}

async fn put(
    transaction: &mut Transaction<'_>,
    pair: Pair,
    origin: RuleOrigin,
    import: &mut RuleImport,
) -> Result<()> {
    let Some(before) = pair.before else {
        import.created += 1;
        return match &pair.rule {
            FoundRule::Alert(rule) => alerts::insert_rule(transaction, rule, origin.actor).await,
            FoundRule::Recording(rule) => recording_rules::insert_rule(transaction, rule, origin.actor).await,
        };
    };
    if before == pair.rule {
        import.unchanged += 1;
        return Ok(());
    }
    import.updated += 1;
    match (&before, pair.rule) {
        (FoundRule::Alert(before), FoundRule::Alert(rule)) => {
            let rule = AlertRule { updated_at: origin.now, version: before.version + 1, ..rule };
            alerts::replace_rule(transaction, before, &rule, origin.actor).await
        }
        (FoundRule::Recording(before), FoundRule::Recording(rule)) => {
            let rule = RecordingRule { updated_at: origin.now, version: before.version + 1, ..rule };
            recording_rules::replace_rule(transaction, before, &rule, origin.actor).await
        }
        _ => unreachable!("an alert is never taken for a recording rule: their identities differ"),
    }
}

/// All rules of a group, switched off or not.
async fn stored_rules(transaction: &mut Transaction<'_>, group: &str) -> Result<Vec<FoundRule>> {
    let filter = AlertFilter { group: Some(group.to_owned()), ..AlertFilter::default() };
    // Of a rule that is left out another would be made.
    let all = Page::first(u32::MAX);
    let alerts = transaction.store().alert_rules(&filter, &all).await?.items;
    let recording = transaction.store().recording_rules(Some(group), &all).await?.items;
    let recording = recording.into_iter().map(FoundRule::Recording);
    Ok(alerts.into_iter().map(FoundRule::Alert).chain(recording).collect())
}
