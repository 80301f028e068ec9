//! The lock-out against guessing passwords, and against making accounts by the dozen.
//!
//! Failures are counted per user name and per client address over a sliding window. A name
//! locks after a few, an address after more, because an office may share one. Names that do
//! not exist count like those that do, so the answer tells nothing. Counting is kept in
//! memory: it protects this process, costs the database nothing under attack, and its size
//! is bounded. With several replicas a guesser gets as many tries as there are replicas.
//!
//! Registrations count too, whatever comes of them: each costs a hash, and an account that stays.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// How long a failure counts.
pub(super) const WINDOW: Duration = Duration::from_secs(15 * 60);
const FAILURES_PER_NAME: usize = 5;
const FAILURES_PER_ADDRESS: usize = 20;
/// In the same time. An office that registers together may have to wait.
const REGISTRATIONS_PER_ADDRESS: usize = 10;
const KEYS_MAX: usize = 20_000;
/// Where those are counted for whom there is no room: together with others, so that filling the
/// memory unlocks nothing. It may lock strangers who share a place, for as long as the flood lasts.
const CROWDS: u64 = 1_024;
const SWEEP_PAUSE: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Name(String),
    Address(IpAddr),
    Registering(IpAddr),
    Crowd { number: u64, failures_max: usize },
}

impl Key {
    fn failures_max(&self) -> usize {
        match self {
            Self::Name(_) => FAILURES_PER_NAME,
            Self::Address(_) => FAILURES_PER_ADDRESS,
            Self::Registering(_) => REGISTRATIONS_PER_ADDRESS,
            Self::Crowd { failures_max, .. } => *failures_max,
        }
    }

    /// Where it is counted.
    fn place(self, failures: &Failures) -> Self {
        if failures.len() < KEYS_MAX || failures.contains_key(&self) {
            return self;
        }
        let number = CROWDING.get_or_init(RandomState::new).hash_one(&self) % CROWDS;
        Self::Crowd { number, failures_max: self.failures_max() }
    }
}

/// Drawn at random, so that nobody chooses whom to share a place with.
static CROWDING: OnceLock<RandomState> = OnceLock::new();

type Failures = HashMap<Key, Vec<Instant>>;

/// Recent failures by name and by address.
#[derive(Debug, Default)]
pub(crate) struct Lockout {
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    failures: Failures,
    /// When the memory was last full and swept; looking at every key costs too much to do
    /// it for every attempt of a flood.
    swept: Option<Instant>,
}

impl Memory {
    fn sweep_if_full(&mut self, now: Instant) {
        let due = self.swept.is_none_or(|swept| now.saturating_duration_since(swept) > SWEEP_PAUSE);
        if due && self.failures.len() >= KEYS_MAX {
            self.swept = Some(now);
            self.failures.retain(|_, recent| recent.last().is_some_and(|last| *last + WINDOW > now));
        }
    }
}

impl Lockout {
    /// Takes one attempt, or says how long the name or the address has to wait.
    ///
    /// The attempt counts as a failure from the start, so that a volley of parallel guesses
    /// cannot slip through before the first of them is checked; [`Self::succeed`] or
    /// [`Self::release`] give it back.
    pub(crate) fn attempt(&self, username: &str, address: IpAddr, now: Instant) -> Result<(), Duration> {
        self.count(keys(username, address), now)
    }

    /// Takes one registration, or says how long the address has to wait.
    pub(crate) fn register(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        self.count([Key::Registering(network(address))], now)
    }

    fn count<const N: usize>(&self, keys: [Key; N], now: Instant) -> Result<(), Duration> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.sweep_if_full(now);
        let keys = keys.map(|key| key.place(&memory.failures));
        if let Some(wait) = keys.iter().filter_map(|key| wait(&memory.failures, key, now)).max() {
            return Err(wait);
        }
        let failures = &mut memory.failures;
        for key in keys {
            let failures_max = key.failures_max();
            let recent = failures.entry(key).or_default();
            recent.push(now);
            let excess = recent.len().saturating_sub(failures_max);
            recent.drain(..excess);
        }
        Ok(())
    }

    /// Forgets the failures of a name after a successful login. The address only gets this
    /// attempt back: an attacker with an account must not be able to wipe it clean.
    pub(crate) fn succeed(&self, username: &str, address: IpAddr, attempted: Instant) {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let [name, address] = keys(username, address).map(|key| key.place(&memory.failures));
        match name {
            Key::Crowd { .. } => give_back(&mut memory.failures, &name, attempted),
            _ => drop(memory.failures.remove(&name)),
        }
        give_back(&mut memory.failures, &address, attempted);
    }

    /// Gives back an attempt whose password was never checked.
    pub(crate) fn release(&self, username: &str, address: IpAddr, attempted: Instant) {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        for key in keys(username, address).map(|key| key.place(&memory.failures)) {
            give_back(&mut memory.failures, &key, attempted);
        }
    }
}

/// A key is free again once its oldest counting failure leaves the window.
fn wait(failures: &Failures, key: &Key, now: Instant) -> Option<Duration> {
    let oldest = failures.get(key)?.iter().rev().nth(key.failures_max() - 1)?;
    (*oldest + WINDOW).checked_duration_since(now).filter(|wait| !wait.is_zero())
}

fn give_back(failures: &mut Failures, key: &Key, attempted: Instant) {
    let Some(recent) = failures.get_mut(key) else {
        return;
    };
    if let Some(index) = recent.iter().rposition(|instant| *instant == attempted) {
        recent.remove(index);
    }
    if recent.is_empty() {
        failures.remove(key);
    }
}

fn keys(username: &str, address: IpAddr) -> [Key; 2] {
    [Key::Name(folded(username)), Key::Address(network(address))]
}

/// A name as it is counted: without case, and cut, so that a caller cannot fill the memory with
/// long names.
pub(super) fn folded(username: &str) -> String {
    username.chars().take(64).collect::<String>().to_ascii_lowercase()
}

/// What one guesser has to himself: an IPv4 address, or a whole /64 of IPv6 addresses.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const AWAY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    #[test]
    fn a_name_locks_after_five_failures_until_the_oldest_is_fifteen_minutes_old() {
        let lockout = Lockout::default();
        let start = Instant::now();
        for second in 0..5 {
            assert_eq!(lockout.attempt("ada", HOME, start + Duration::from_secs(second)), Ok(()));
        }
        let now = start + Duration::from_secs(10);
        let wait = WINDOW - Duration::from_secs(10);
        assert_eq!(lockout.attempt("ada", HOME, now), Err(wait));
        assert_eq!(lockout.attempt("ADA", AWAY, now), Err(wait), "from anywhere, in any case");
        assert_eq!(lockout.attempt("bob", HOME, now), Ok(()));
        assert_eq!(lockout.attempt("ada", HOME, start + WINDOW), Ok(()));
    }

    #[test]
    fn an_address_locks_after_twenty_failures_over_any_names() {
        let lockout = Lockout::default();
        let now = Instant::now();
        for guess in 0..20 {
            assert_eq!(lockout.attempt(&format!("user{guess}"), HOME, now), Ok(()));
        }
        assert_eq!(lockout.attempt("bob", HOME, now), Err(WINDOW));
        assert_eq!(lockout.attempt("bob", AWAY, now), Ok(()));
    }

    #[test]
    fn all_addresses_of_one_network_count_as_one() {
        let lockout = Lockout::default();
        let now = Instant::now();
        let address = |last: u16| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, last, 0, 0, last));
        for guess in 0..20 {
            assert_eq!(lockout.attempt(&format!("user{guess}"), address(guess), now), Ok(()));
        }
        assert_eq!(lockout.attempt("bob", address(99), now), Err(WINDOW));
        let neighbour = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 2, 0, 0, 0, 1));
        assert_eq!(lockout.attempt("bob", neighbour, now), Ok(()));
    }

    #[test]
    fn a_success_clears_the_name_but_not_the_address() {
        let lockout = Lockout::default();
        let start = Instant::now();
        for guess in 0..19 {
            assert_eq!(lockout.attempt(&format!("user{guess}"), HOME, start), Ok(()));
        }
        let login = start + Duration::from_secs(1);
        assert_eq!(lockout.attempt("mallory", HOME, login), Ok(()));
        lockout.succeed("mallory", HOME, login);
        assert_eq!(lockout.attempt("bob", HOME, login), Ok(()));
        assert!(lockout.attempt("bob", HOME, login).is_err());
    }

    #[test]
    fn a_network_registers_ten_accounts_in_fifteen_minutes() {
        let lockout = Lockout::default();
        let start = Instant::now();
        for _ in 0..10 {
            assert_eq!(lockout.register(HOME, start), Ok(()));
        }
        assert_eq!(lockout.register(HOME, start), Err(WINDOW));
        assert_eq!(lockout.register(AWAY, start), Ok(()));
        assert_eq!(lockout.attempt("ada", HOME, start), Ok(()), "who is there may still come in");
        assert_eq!(lockout.register(HOME, start + WINDOW), Ok(()));
    }

    #[test]
    fn an_attempt_that_was_never_checked_does_not_count() {
        let lockout = Lockout::default();
        let now = Instant::now();
        for _ in 0..50 {
            assert_eq!(lockout.attempt("ada", HOME, now), Ok(()));
            lockout.release("ada", HOME, now);
        }
        assert!(lockout.memory.lock().unwrap().failures.is_empty());
    }

    #[test]
    fn memory_is_bounded_under_a_flood_of_names_and_addresses() {
        let lockout = Lockout::default();
        let now = Instant::now();
        for guess in 0..u32::try_from(KEYS_MAX).unwrap() {
            let address = IpAddr::V4(guess.into());
            let _ = lockout.attempt(&format!("user{guess}"), address, now);
        }
        let bound = KEYS_MAX + 2 * usize::try_from(CROWDS).unwrap();
        assert!(lockout.memory.lock().unwrap().failures.len() <= bound);
    }

    #[test]
    fn a_flood_unlocks_nobody() {
        let lockout = Lockout::default();
        let now = Instant::now();
        for guess in 0..u32::try_from(KEYS_MAX).unwrap() {
            let _ = lockout.attempt(&format!("user{guess}"), IpAddr::V4(guess.into()), now);
        }
        let guesses = (0..100).filter(|guess| {
            let fresh = IpAddr::V4((u32::MAX - guess).into());
            lockout.attempt("admin", fresh, now).is_ok()
        });
        assert!(guesses.count() <= FAILURES_PER_NAME, "one name, however many addresses");
    }
}
