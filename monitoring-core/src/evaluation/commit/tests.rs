use super::*;
use crate::alerting::{Terms, Verdict, advance, new_rule};
use crate::evaluation::loaded::rule_revision;
use crate::model::{Labels, RuleLabels};
use crate::promql::LabelSet;
use crate::store::alerts::AlertStore as _;
use crate::store::test_pools::on_each_database;
use crate::store::{AsConnection as _, Context};

const TTL: Duration = Duration::from_secs(365 * 24 * 60 * 60);

fn rule(name: &str) -> AlertRule {
    let request = format!(r#"{{"name": "{name}", "query": "up == 0"}}"#);
    new_rule(serde_json::from_str(&request).unwrap(), None, Utc::now())
}

async fn stored_rule(pool: &Pool, name: &str) -> AlertRule {
    let rule = rule(name);
    let mut connection = pool.acquire(Access::Write).await.unwrap();
    connection.as_connection().store().insert_alert_rule(&rule).await.unwrap();
    rule
}

/// An evaluation at which a rule fires for the first time.
fn fired(rule: &AlertRule, now: DateTime<Utc>) -> RuleChanges<'_> {
    let terms = Terms::new(rule.clone(), &RuleLabels::new());
    let nobody = LabelSet::from_iter([("job", "a")]);
    let candidates = terms.candidates([(&nobody, 0.0)]).unwrap();
    let mut alerts = Instances::new();
    let advanced = advance(&mut alerts, Verdict::Holds(candidates), rule, now);
    let alerts = Some(RuleAlerts { rule, alerts, advanced });
    RuleChanges { id: rule.id, version: rule.version, state: None, alerts, recorded: Vec::new() }
}

async fn write_of<'r>(
    pool: &Pool,
    lease: Option<&Lease>,
    rule_revision: i64,
    rules: &mut Vec<RuleChanges<'r>>,
) -> Committed {
    let now = pool.context().settings.clock.now();
    let state = GroupState { revision: 1, ..GroupState::default() };
    let group = "default";
    let routing = &CompiledRouting::default();
    let mut batch = Batch { group, revision: 0, state, rule_revision, now, samples_at: now, routing, rules };
    commit(pool, lease, &mut batch).await.unwrap()
}

async fn alerts(pool: &Pool) -> Vec<AlertRuleId> {
    let mut connection = pool.acquire(Access::Read).await.unwrap();
    let alerts = connection.as_connection().store().alert_instances(&Default::default()).await.unwrap();
    alerts.into_iter().map(|alert| alert.rule_id).collect()
}

#[tokio::test]
async fn nothing_is_written_under_a_lease_that_is_lost() {
    on_each_database(|pool| async move {
        let rule = stored_rule(&pool, "a").await;
        let revision = rule_revision(&pool).await.unwrap();
        let now = pool.context().settings.clock.now();
        let lease = async |holder: u128, by_force: bool| {
            let mut connection = pool.acquire(Access::Write).await.unwrap();
            let mut connection = connection.as_connection();
            let holder = uuid::Uuid::from_u128(holder);
            connection.store().acquire_lease("test", holder, TTL, by_force).await.unwrap().unwrap()
        };
        let (lost, held) = (lease(1, false).await, lease(2, true).await);
        let mut rules = vec![fired(&rule, now)];
        assert_eq!(write_of(&pool, Some(&lost), revision, &mut rules).await, Committed::Overtaken);
        assert!(alerts(&pool).await.is_empty());
        assert_eq!(write_of(&pool, Some(&held), revision, &mut rules).await, Committed::Done);
        assert_eq!(alerts(&pool).await, vec![rule.id]);
    })
    .await;
}

#[tokio::test]
async fn of_rules_that_were_changed_or_removed_meanwhile_nothing_is_written() {
    on_each_database(|pool| async move {
        let mut stored = Vec::new();
        for name in ["stays", "moves", "goes"] {
            stored.push(stored_rule(&pool, name).await);
        }
        let [stays, moves, goes] = &stored[..] else { panic!("there are three") };
        let (revision, now) = (rule_revision(&pool).await.unwrap(), pool.context().settings.clock.now());
        let mut rules: Vec<_> = stored.iter().map(|rule| fired(rule, now)).collect();
        let moved = AlertRule { group: "other".to_owned(), version: 2, ..moves.clone() };
        {
            let mut connection = pool.acquire(Access::Write).await.unwrap();
            let mut connection = connection.as_connection();
            connection.store().rules_changed().await.unwrap();
            assert!(connection.store().update_alert_rule(&moved, 1).await.unwrap());
            assert!(connection.store().delete_alert_rule(goes.id).await.unwrap());
        }
        assert_eq!(write_of(&pool, None, revision, &mut rules).await, Committed::Done);
        assert_eq!(alerts(&pool).await, vec![stays.id]);
        assert_eq!(rules.len(), 1, "whoever wrote it knows");
    })
    .await;
}

#[tokio::test]
async fn more_samples_than_fit_one_transaction_are_written_all_the_same() {
    let pool = Pool::open("sqlite::memory:", Context::shared_default().clone()).unwrap();
    pool.migrate().await.unwrap();
    let series = |n: usize| {
        // Of one metric there may be fewer.
        let (name, labels) = (format!("metric_{}", n % 3), Labels::from_iter([("n", n.to_string())]));
        let (of, temporality) = (crate::model::MetricType::Gauge, crate::model::Temporality::Cumulative);
        (Series::new(name, labels, of, temporality, Vec::new()), n as f64)
    };
    let recorded = (0..SAMPLES_MAX + 10).map(series).collect();
    let changes = RuleChanges { id: rule("a").id, version: 1, state: None, alerts: None, recorded };
    let revision = rule_revision(&pool).await.unwrap();
    assert_eq!(write_of(&pool, None, revision, &mut vec![changes]).await, Committed::Done);
    let promql = crate::query::PromQuery::new(pool, Default::default());
    assert_eq!(promql.figures(1).await.unwrap().series, SAMPLES_MAX + 10);
}
