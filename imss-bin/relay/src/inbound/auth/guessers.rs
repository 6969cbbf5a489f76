//! Who guesses passwords: addresses and networks from which more logins failed than were right.
//!
//! In: what came of logins. Out: whether an address guesses. A failure is a point, a right login takes
//! one back, and so does every minute: somebody's typing mistake at a webmail host, from which all others
//! log in rightly, makes it no guesser, and whoever has stopped guessing is none after a while. What is
//! remembered is bounded; who was heard of longest ago is forgotten first.

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
/// Addresses, and as many networks, that are remembered.
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
}

#[derive(Debug, Clone, Copy, Default)]
struct Points {
    count: u16,
    /// The second at which it was counted.
    at_secs: u64,
}

impl Guessers {
    pub(super) fn new() -> Self {
        let known = Known { clients: Tracker::new(REMEMBERED), networks: Tracker::new(REMEMBERED) };
        Self { started: Instant::now(), known: Mutex::new(known) }
    }

    /// A login from `client` was right, or not.
    pub(super) fn count(&self, client: IpAddr, is_right: bool) {
        self.count_at(client, is_right, self.started.elapsed().as_secs());
    }

    /// Whether `client`, or its network, guesses.
    pub(super) fn has(&self, client: IpAddr) -> bool {
        self.has_at(client, self.started.elapsed().as_secs())
    }

    pub(super) fn count_at(&self, client: IpAddr, is_right: bool, now_secs: u64) {
        let known = &mut *self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (one, all) = keys(client);
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

    pub(super) fn has_at(&self, client: IpAddr, now_secs: u64) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (one, all) = keys(client);
        let points = |table: &Tracker<Points>, key| {
            table.get(key).map_or(0, |points: &Points| points.at(now_secs))
        };
        points(&known.clients, one) >= CLIENT_POINTS
            || points(&known.networks, all) >= NETWORK_POINTS
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
            ("nobody heard of", vec![], host, 0, false),
            ("a mistake or two", vec![(host, "--")], host, 0, false),
            ("more", vec![(host, "---")], host, 0, true),
            ("mapped", vec![("::ffff:192.0.2.1", "---")], host, 0, true),
            ("forgiven in time", vec![(host, "---")], host, FORGIVEN_AFTER_SECS, false),
            ("not in a moment", vec![(host, "----------")], host, FORGIVEN_AFTER_SECS, true),
            ("never longer than an hour", vec![(host, &many)], host, 3_600, false),
            ("a webmail host", vec![(host, "-++-+-+++-+++-++++")], host, 0, false),
            ("rights are not saved up", vec![(host, "++++++++---")], host, 0, true),
            ("somebody else", vec![("192.0.2.2", "---")], host, 0, false),
            ("a neighbour in a network of guessers", network(), "192.0.2.99", 0, true),
            ("and outside of it", network(), "192.0.3.99", 0, false),
            ("an IPv6 customer", vec![("2001:db8::1", "---")], "2001:db8::2", 0, true),
        ];
        for (name, logins, client, later, expected) in cases {
            assert_eq!(after(&logins).has_at(ip(client), later), expected, "{name}");
        }
    }

    fn network() -> Vec<(&'static str, &'static str)> {
        ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5", "192.0.2.6"]
            .map(|client| (client, "--"))
            .to_vec()
    }
}
