//! Passwords that were right, so that one sent every few seconds is not hashed every few seconds.
//!
//! What is remembered is a digest, under a key that dies with the process, of a password together
//! with the very hash it was verified against. A stored hash that changed is another digest, so a
//! changed password needs no telling.
//!
//! It also stands outside the [lock-out](super::Lockout): neither guesses at a scraper's name from
//! elsewhere nor guesses at other names from its address shut the scraper out. That must not become
//! the way around the lock-out, so
//!
//! - what is remembered holds for the network it came from: to anybody elsewhere, that the name has
//!   got in before is nothing;
//! - from that network, only so many different wrong passwords are compared with it. After those it
//!   counts as forgotten for a while, and the lock-out alone decides. Repeating a wrong password is
//!   no new guess;
//! - getting in this way clears nothing: otherwise the scraper itself would wipe out the count of
//!   guesses at its name, every few seconds.
//!
//! So whoever guesses at one name from its own network may keep it out, and nobody else. Behind a
//! proxy all share a network.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hmac::digest::CtOutput;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::lockout::{WINDOW, folded, network};
use super::session::random_bytes;
use crate::http::AppError;
use crate::secret::Secret;

const ENTRIES_MAX: usize = 1_000;
/// Different wrong passwords compared with a remembered one within [`WINDOW`].
const WRONG_MAX: usize = 5;
const TURNS: usize = 16;
const TURN_TIMEOUT: Duration = Duration::from_secs(10);

/// Compared in constant time.
type Digest = CtOutput<Hmac<Sha256>>;

/// A name and the network it is used from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Sender {
    name: String,
    network: IpAddr,
}

impl Sender {
    pub(super) fn new(username: &str, address: IpAddr) -> Self {
        Self { name: folded(username), network: network(address) }
    }
}

/// Who got in lately, and with what.
pub(crate) struct RememberedPasswords {
    key: [u8; 32],
    entries: Mutex<HashMap<Sender, Entry>>,
    /// One check at a time for each sender. Senders share them, by a hash nobody can aim.
    turns: [Semaphore; TURNS],
    hasher: RandomState,
}

struct Entry {
    right: Digest,
    wrong: Vec<(Instant, Digest)>,
    used: Instant,
}

impl Entry {
    fn is_open(&self, now: Instant) -> bool {
        self.wrong.iter().filter(|(at, _)| *at + WINDOW > now).count() < WRONG_MAX
    }

    fn compare(&mut self, digest: Digest, now: Instant) -> bool {
        if !self.is_open(now) {
            return false;
        }
        let is_right = self.right == digest;
        if is_right {
            self.used = now;
        } else if !self.wrong.iter().any(|(_, wrong)| *wrong == digest) {
            self.wrong.retain(|(at, _)| *at + WINDOW > now);
            self.wrong.push((now, digest));
        }
        is_right
    }
}

impl RememberedPasswords {
    pub(crate) fn new() -> Self {
        Self {
            key: random_bytes(),
            entries: Mutex::default(),
            turns: [const { Semaphore::const_new(1) }; TURNS],
            hasher: RandomState::new(),
        }
    }

    /// Whether there is anything to compare this sender's password with.
    pub(super) fn knows(&self, sender: &Sender, now: Instant) -> bool {
        self.entries().get(sender).is_some_and(|entry| entry.is_open(now))
    }

    /// Whether this password got the sender in before, when the account had this same hash.
    pub(super) fn recall(&self, sender: &Sender, hash: &str, password: &Secret, now: Instant) -> bool {
        let digest = self.digest(hash, password);
        self.entries().get_mut(sender).is_some_and(|entry| entry.compare(digest, now))
    }

    /// Remembers a password that was just verified against `hash`, instead of whatever was longest
    /// without use if there are too many.
    pub(super) fn remember(&self, sender: Sender, hash: &str, password: &Secret, now: Instant) {
        let right = self.digest(hash, password);
        let mut entries = self.entries();
        if entries.len() >= ENTRIES_MAX && !entries.contains_key(&sender) {
            let oldest = entries.iter().min_by_key(|(_, entry)| entry.used);
            if let Some(oldest) = oldest.map(|(sender, _)| sender.clone()) {
                entries.remove(&oldest);
            }
        }
        entries.insert(sender, Entry { right, wrong: Vec::new(), used: now });
    }

    /// Waits until no other request of this sender is being checked.
    pub(super) async fn turn(&self, sender: &Sender) -> Result<SemaphorePermit<'_>, AppError> {
        let turn = self.hasher.hash_one(sender) as usize % TURNS;
        let turn = timeout(TURN_TIMEOUT, self.turns[turn].acquire()).await;
        turn.map_err(|_| AppError::Busy)?.map_err(|_| AppError::Busy)
    }

    fn digest(&self, hash: &str, password: &Secret) -> Digest {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("a key may have any length");
        // The hash is text without a NUL, so the two cannot run into each other.
        for part in [hash, "\0", password.reveal()] {
            mac.update(part.as_bytes());
        }
        mac.finalize()
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Sender, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for RememberedPasswords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RememberedPasswords").field("entries", &self.entries().len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$argon2id$1";

    fn secret(text: &str) -> Secret {
        Secret::new(text)
    }

    fn scraper() -> Sender {
        Sender::new("prometheus", [10, 0, 0, 1].into())
    }

    /// Remembers the scraper's password, "right".
    fn remembered(now: Instant) -> RememberedPasswords {
        let remembered = RememberedPasswords::new();
        remembered.remember(scraper(), HASH, &secret("right"), now);
        remembered
    }

    #[test]
    fn a_password_is_known_by_name_network_and_stored_hash() {
        let now = Instant::now();
        let remembered = remembered(now);
        let shouted = Sender::new("PROMETHEUS", [10, 0, 0, 1].into());
        assert!(remembered.recall(&shouted, HASH, &secret("right"), now));
        assert!(!remembered.recall(&scraper(), HASH, &secret("wrong"), now));
        assert!(!remembered.recall(&scraper(), "$argon2id$2", &secret("right"), now), "changed meanwhile");
        let elsewhere = Sender::new("prometheus", [10, 0, 0, 2].into());
        assert!(!remembered.knows(&elsewhere, now));
        assert!(!remembered.recall(&elsewhere, HASH, &secret("right"), now));
    }

    #[test]
    fn five_different_guesses_close_the_way_around_the_lock_out_for_a_while() {
        let start = Instant::now();
        let remembered = remembered(start);
        for guess in 0..4 {
            assert!(!remembered.recall(&scraper(), HASH, &secret(&format!("guess {guess}")), start));
        }
        for _ in 0..100 {
            assert!(!remembered.recall(&scraper(), HASH, &secret("guess 3"), start), "no new guess");
        }
        assert!(remembered.recall(&scraper(), HASH, &secret("right"), start));
        assert!(!remembered.recall(&scraper(), HASH, &secret("guess 4"), start));
        assert!(!remembered.knows(&scraper(), start));
        assert!(!remembered.recall(&scraper(), HASH, &secret("right"), start));
        let later = start + WINDOW;
        assert!(remembered.knows(&scraper(), later));
        assert!(remembered.recall(&scraper(), HASH, &secret("right"), later));
    }

    #[test]
    fn the_longest_unused_is_forgotten_first() {
        let start = Instant::now();
        let remembered = remembered(start);
        let other = |index: usize| Sender::new(&format!("user{index}"), [10, 0, 0, 1].into());
        for index in 1..ENTRIES_MAX {
            remembered.remember(other(index), HASH, &secret("x"), start + Duration::from_secs(1));
        }
        assert!(remembered.recall(&scraper(), HASH, &secret("right"), start + Duration::from_secs(2)));
        let now = start + Duration::from_secs(3);
        for index in ENTRIES_MAX..ENTRIES_MAX + 500 {
            remembered.remember(other(index), HASH, &secret("x"), now);
        }
        assert!(remembered.recall(&scraper(), HASH, &secret("right"), now));
        assert_eq!(remembered.entries().len(), ENTRIES_MAX);
    }

    #[test]
    fn debug_shows_neither_key_nor_digest() {
        let remembered = remembered(Instant::now());
        assert_eq!(format!("{remembered:?}"), "RememberedPasswords { entries: 1, .. }");
    }
}
