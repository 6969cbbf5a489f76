//! TLS reports (RFC 8460): what is counted, a report per domain and day, sent by mail or by HTTPS.
//!
//! In: every session with a server that was chosen by MX. Out: `DATA-DIR/tls/session-YYYY-MM-DD.jsonl`,
//! one line a session; after the day (UTC) has ended, one report per domain that asks for them in
//! `_smtp._tls`. What goes by HTTPS lies in `DATA-DIR/tls/post` until the server took it, at most a day.
//! Off unless `[tls-reports]` is there.
//!
//! Bounded: up to `MAX_DOMAINS` domains a day, `MAX_POLICIES` policies and `MAX_ROWS` kinds of failures
//! for each; sessions beyond are left out and said so. A crash between sending and removing sends a
//! report twice with the same ID, which receivers drop.

pub(crate) mod aggregate;
pub(crate) mod outside;
pub(crate) mod post;
pub(crate) mod record;
pub(crate) mod send;

use std::path::Path;

use crate::ids::unix_millis;
use crate::observe::lines::DailyLines;
use crate::outbound::tls::seen::{SeenSession, TlsObserver};
use crate::reports::daily::open;

/// Domains that are counted on one day.
pub(crate) const MAX_DOMAINS: usize = 20_000;
/// Policies of one report.
pub(crate) const MAX_POLICIES: usize = 20;
/// Kinds of failures of one policy.
pub(crate) const MAX_ROWS: usize = 500;
/// Octets of the line of a session; longer ones are not counted.
pub(crate) const MAX_LINE: usize = 64 << 10;
/// The start of the names of the days' files.
pub(crate) const PREFIX: &str = "session";

/// Where sessions are counted.
pub struct TlsCounts {
    lines: DailyLines,
}

impl TlsCounts {
    /// Counts into `dir`, which is created if need be.
    ///
    /// # Errors
    ///
    /// The folder or the writer's thread.
    pub fn open(dir: &Path) -> std::io::Result<Self> {
        Ok(Self { lines: open(dir, PREFIX)? })
    }

    /// Returns once everything counted before is in its file.
    pub fn sync(&self) {
        self.lines.sync();
    }
}

impl TlsObserver for TlsCounts {
    fn session(&self, seen: SeenSession) {
        match serde_json::to_vec(&seen) {
            Ok(line) if line.len() <= MAX_LINE => self.lines.append(unix_millis(), line),
            Ok(line) => {
                let octets = line.len();
                tracing::warn!(
                    domain = seen.domain,
                    octets,
                    "a session is too long for TLS reports"
                );
            }
            Err(error) => tracing::error!(%error, "a session is not counted for TLS reports"),
        }
    }
}

#[cfg(test)]
mod tests;
