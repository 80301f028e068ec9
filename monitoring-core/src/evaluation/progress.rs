//! Where a group stands, as far as an evaluator knows.

use std::collections::{HashMap, HashSet};

use crate::alerting::Instances;
use crate::model::AlertRuleId;
use crate::store::rule_groups::GroupState;

/// How far a group has come, and its alerts. It is right as long as nobody else evaluates the group, and
/// whoever commits finds out.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    pub state: GroupState,
    pub alerts: HashMap<AlertRuleId, Instances>,
    /// Of rules that are gone, those that leave their incidents open.
    pub leaving_open: HashSet<AlertRuleId>,
}
