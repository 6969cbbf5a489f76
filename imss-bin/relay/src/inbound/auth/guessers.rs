//! Who guesses passwords, and who is known: addresses and networks from which more logins failed than were
//! right, and addresses from which one was right lately.
//!
//! In: what came of logins. Out: the [`Standing`] of an address. A failure is a point, a right login takes
//! one back, and so does every minute: somebody's typing mistake at a webmail host, from which all others
//! log in rightly, makes it no guesser, and whoever has stopped guessing is none after a while. What is
//! remembered is bounded; who was heard of longest ago is forgotten first. Only a right login makes an
//! address known, so guesses from many addresses push nobody out of that table.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use imss_scan::reputation::source::SourceKey;
use imss_scan::reputation::tracker::Tracker;

use crate::inbound::slots::prefix;

/// Points from which an address (or IPv6 /64) guesses, and a network (/24 or /48).
pub(super) const CLIENT_POINTS: u16 = 3;
const NETWORK_POINTS: u16 = 12;
/// The most points: whoever has them is forgiven an hour later.
const MOST_POINTS: u16 = 60;
/// After so many seconds a point is forgiven.
pub(super) const FORGIVEN_AFTER_SECS: u64 = 60;
/// So long is an address known after a right login: a webmail host is, after a quiet night.
pub(super) const KNOWN_FOR_SECS: u64 = 12 * 3_600;
/// Addresses, as many networks, and as many known addresses that are remembered.
const REMEMBERED: usize = 20_000;

/// The table. See the module.
#[derive(Debug)]
pub(super) struct Guessers {
    started: Instant,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    clients: Tracker<Points>,
    networks: Tracker<Points>,
    /// The second of the last right login.
    right: Tracker<u64>,
}

/// What an address is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// A login from there was right lately.
    Known,
    /// None was, or nothing was heard of it.
    Stranger,
    /// It guesses, or its network does.
    Guesser,
}

#[derive(Debug, Clone, Copy, Default)]
struct Points {
    count: u16,
    /// The second at which it was counted.
    at_secs: u64,
}

impl Guessers {
    pub(super) fn new() -> Self {
        let known = Known {
            clients: Tracker::new(REMEMBERED),
            networks: Tracker::new(REMEMBERED),
            right: Tracker::new(REMEMBERED),
        };
        Self { started: Instant::now(), known: Mutex::new(known) }
    }

    /// A login from `client` was right, or not.
    pub(super) fn count(&self, client: IpAddr, is_right: bool) {
        self.count_at(client, is_right, self.started.elapsed().as_secs());
    }

    /// What `client` is.
    pub(super) fn standing(&self, client: IpAddr) -> Standing {
        self.standing_at(client, self.started.elapsed().as_secs())
    }

    pub(super) fn count_at(&self, client: IpAddr, is_right: bool, now_secs: u64) {
        let known = &mut *self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (one, all) = keys(client);
        if is_right {
            known.right.update(one, |last| *last = now_secs);
        }
        for (table, key) in [(&mut known.clients, one), (&mut known.networks, all)] {
            // Most logins are right, and from nobody who is remembered.
            if is_right && table.get(key).is_none() {
                continue;
            }
            table.update(key, |points| {
                let count = points.at(now_secs);
                let count =
                    if is_right { count.saturating_sub(1) } else { count.saturating_add(1) };
                *points = Points { count: count.min(MOST_POINTS), at_secs: now_secs };
            });
        }
    }

    pub(super) fn standing_at(&self, client: IpAddr, now_secs: u64) -> Standing {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (one, all) = keys(client);
        let points = |table: &Tracker<Points>, key| {
            table.get(key).map_or(0, |points: &Points| points.at(now_secs))
        };
        if points(&known.clients, one) >= CLIENT_POINTS
            || points(&known.networks, all) >= NETWORK_POINTS
        {
            return Standing::Guesser;
        }
        match known.right.get(one) {
            Some(last) if now_secs.saturating_sub(*last) < KNOWN_FOR_SECS => Standing::Known,
            _ => Standing::Stranger,
        }
    }
}

impl Points {
    fn at(self, now_secs: u64) -> u16 {
        let forgiven = now_secs.saturating_sub(self.at_secs) / FORGIVEN_AFTER_SECS;
        self.count.saturating_sub(u16::try_from(forgiven).unwrap_or(u16::MAX))
    }
}

/// Under which an address is remembered, and under which its network.
fn keys(client: IpAddr) -> (u64, u64) {
    let network = prefix(client, 24, 48);
    (SourceKey::new(client, 64).number(), SourceKey::new(network, 48).number())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Logins in a row: `+` is right, `-` is not.
    fn after(logins: &[(&str, &str)]) -> Guessers {
        let guessers = Guessers::new();
        for (client, row) in logins {
            row.bytes().for_each(|one| guessers.count_at(ip(client), one == b'+', 0));
        }
        guessers
    }

    #[test]
    fn who_guesses() {
        let (host, many) = ("192.0.2.1", "-".repeat(500));
        let cases = [
            ("nobody heard of", vec![], host, 0, Standing::Stranger),
            ("a mistake or two", vec![(host, "--")], host, 0, Standing::Stranger),
            ("more", vec![(host, "---")], host, 0, Standing::Guesser),
            ("mapped", vec![("::ffff:192.0.2.1", "---")], host, 0, Standing::Guesser),
            (
                "forgiven in time",
                vec![(host, "---")],
                host,
                FORGIVEN_AFTER_SECS,
                Standing::Stranger,
            ),
            (
                "not in a moment",
                vec![(host, "----------")],
                host,
                FORGIVEN_AFTER_SECS,
                Standing::Guesser,
            ),
            ("never longer than an hour", vec![(host, &many)], host, 3_600, Standing::Stranger),
            ("a webmail host", vec![(host, "-++-+-+++-+++-++++")], host, 0, Standing::Known),
            ("and its neighbour", vec![(host, "+")], "192.0.2.2", 0, Standing::Stranger),
            ("a night later", vec![(host, "+")], host, KNOWN_FOR_SECS - 1, Standing::Known),
            ("and later", vec![(host, "+")], host, KNOWN_FOR_SECS, Standing::Stranger),
            ("a mistake after that", vec![(host, "+--")], host, 0, Standing::Known),
            ("rights are not saved up", vec![(host, "++++++++---")], host, 0, Standing::Guesser),
            ("somebody else", vec![("192.0.2.2", "---")], host, 0, Standing::Stranger),
            ("a neighbour in a network of guessers", network(), "192.0.2.99", 0, Standing::Guesser),
            ("and outside of it", network(), "192.0.3.99", 0, Standing::Stranger),
            ("an IPv6 customer", vec![("2001:db8::1", "---")], "2001:db8::2", 0, Standing::Guesser),
        ];
        for (name, logins, client, later, expected) in cases {
            assert_eq!(after(&logins).standing_at(ip(client), later), expected, "{name}");
        }
    }

    fn network() -> Vec<(&'static str, &'static str)> {
        ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5", "192.0.2.6"]
            .map(|client| (client, "--"))
            .to_vec()
    }
}
