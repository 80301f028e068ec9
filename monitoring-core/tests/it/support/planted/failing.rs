//! Dependencies and places that fail or are slow: all of them, or those of one region, host or tenant.

use super::dice::Dice;
use super::fault::{Effect, Fault, Step, Visit, fail, slow};

pub(super) struct SlowDependency;
impl Fault for SlowDependency {
    fn step(&self, _: &Visit, step: &Step, since: i64, dice: &mut Dice) -> Effect {
        if since < 0 || step.span != "psp.capture" {
            return Effect::default();
        }
        if dice.chance(0.25) {
            let message = format!("the card network did not answer within {} ms", 3_000 + dice.next() % 50);
            return Effect { extra_millis: 3_000.0, ..fail(message) };
        }
        Effect { extra_millis: dice.spread(900.0, 0.5), ..Effect::default() }
    }
}

pub(super) struct BadRegion;
impl Fault for BadRegion {
    fn step(&self, visit: &Visit, step: &Step, since: i64, dice: &mut Dice) -> Effect {
        let is_there = since >= 0 && visit.region == "eu-north" && step.span != "cache.get";
        if is_there && dice.chance(0.2) {
            fail(format!("{} unavailable", step.span))
        } else {
            Effect::default()
        }
    }
}

pub(super) struct BadPair;
impl Fault for BadPair {
    fn visit(&self, visit: &mut Visit, _: i64, dice: &mut Dice) {
        // Enough of both that each alone is common.
        if visit.payment_method.is_some() && dice.chance(0.5) {
            visit.payment_method = Some(if dice.chance(0.6) { "sepa" } else { "card" });
        }
        if dice.chance(0.2) {
            visit.region = "us-east";
        }
    }

    fn step(&self, visit: &Visit, step: &Step, since: i64, dice: &mut Dice) -> Effect {
        let is_there = visit.region == "us-east" && visit.payment_method == Some("sepa");
        if since >= 0 && is_there && step.span == "payments.charge" && dice.chance(0.8) {
            return fail(format!("mandate {} refused", dice.next() % 90_000));
        }
        Effect::default()
    }
}

pub(super) struct BadHost;
impl Fault for BadHost {
    fn step(&self, visit: &Visit, step: &Step, since: i64, dice: &mut Dice) -> Effect {
        if since < 0 || visit.host != "h3" {
            return Effect::default();
        }
        if dice.chance(0.04) {
            fail(format!("{} failed: input/output error", step.span))
        } else {
            slow(dice.between(3.0, 8.0))
        }
    }
}

pub(super) struct Dns;
impl Fault for Dns {
    fn step(&self, _: &Visit, step: &Step, since: i64, dice: &mut Dice) -> Effect {
        if since >= 0 && step.span == "mail.send" && dice.chance(0.6) {
            return fail(format!("could not resolve 'smtp{}.mail.internal': no such host", dice.next() % 3));
        }
        Effect::default()
    }
}

pub(super) struct Certificate;
impl Fault for Certificate {
    fn step(&self, _: &Visit, step: &Step, since: i64, _: &mut Dice) -> Effect {
        if since >= 0 && step.span == "search.find" {
            return fail("tls handshake with 10.0.3.17:9200 failed: certificate has expired");
        }
        Effect::default()
    }
}

pub(super) struct RateLimit;
impl Fault for RateLimit {
    fn step(&self, _: &Visit, step: &Step, since: i64, dice: &mut Dice) -> Effect {
        if since >= 0 && step.span == "mail.send" && dice.chance(0.5) {
            let warning =
                format!("the quota of the mail provider is used up, next try in {} s", dice.next() % 60);
            return Effect { warning: Some(warning), ..Effect::default() };
        }
        Effect::default()
    }
}

pub(super) struct BadTenant;
impl Fault for BadTenant {
    fn step(&self, visit: &Visit, step: &Step, since: i64, dice: &mut Dice) -> Effect {
        let is_there = since >= 0 && visit.tenant == "t03" && step.span != "cache.get";
        if is_there && dice.chance(0.5) {
            fail("cannot decode settings: unexpected end of input")
        } else {
            Effect::default()
        }
    }
}

pub(super) struct LostIndex;
impl Fault for LostIndex {
    fn step(&self, visit: &Visit, step: &Step, since: i64, dice: &mut Dice) -> Effect {
        let is_there = since >= 0 && visit.route == "/account" && step.span == "db.select";
        if is_there { slow(dice.between(30.0, 120.0)) } else { Effect::default() }
    }
}

pub(super) struct Deadlocks;
impl Fault for Deadlocks {
    fn step(&self, _: &Visit, step: &Step, since: i64, dice: &mut Dice) -> Effect {
        if since >= 0 && step.span == "inventory.reserve" && dice.chance(0.3) {
            let message = format!(
                "deadlock detected: process {} waits for {}",
                dice.next() % 9_999,
                dice.next() % 9_999
            );
            return Effect { extra_millis: 1_000.0, ..fail(message) };
        }
        Effect::default()
    }
}

pub(super) struct Flaky;
impl Fault for Flaky {
    fn step(&self, _: &Visit, step: &Step, since: i64, dice: &mut Dice) -> Effect {
        if since >= 0 && step.span == "inventory.reserve" && dice.chance(0.16) {
            return fail(format!("stock service unavailable ({})", 502 + dice.next() % 3));
        }
        Effect::default()
    }
}

/// No tag has anything to do with it.
pub(super) struct Everywhere;
impl Fault for Everywhere {
    fn step(&self, _: &Visit, step: &Step, since: i64, dice: &mut Dice) -> Effect {
        if since >= 0 && dice.chance(0.05) {
            fail(format!("{} gave way", step.span))
        } else {
            Effect::default()
        }
    }
}
