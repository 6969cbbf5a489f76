//! Ended days → mail to those who asked, through our own queue.
//!
//! In: the files of days that are over. Out: queued messages, null reverse-path, and the files are
//! gone. An address of another organisation gets a report only if its domain says so in the DNS (RFC 9990
//! §4); if nobody answers, the day waits for the next round, at most `MAX_WAIT_DAYS` days.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use imss_core::envelope::ForwardPath;
use imss_scan::auth::client::AuthClient;
use jiff::civil::Date;

use super::PREFIX;
use super::aggregate::{Day, Reporter, add_up};
use crate::config::ReportSettings;
use crate::gateway::Gateway;
use crate::reports::daily::{Daily, MAX_WAIT_DAYS, Sent, begin_of, mailbox, submit};

/// Octets of one mail at most; `rua` may say less, which is not followed.
const MAX_MAIL: usize = 10 << 20;

/// Who sends, and from where.
pub(crate) struct Sender {
    pub(crate) dir: PathBuf,
    pub(crate) settings: ReportSettings,
    pub(crate) host: String,
    pub(crate) names: AuthClient,
}

impl Daily for Sender {
    const WHAT: &'static str = "DMARC reports";
    const PREFIX: &'static str = PREFIX;

    fn dir(&self) -> &Path {
        &self.dir
    }

    async fn send(
        &self,
        gateway: &Arc<Gateway>,
        day: Date,
        path: &Path,
        waited: i32,
    ) -> std::io::Result<Sent> {
        let file = path.to_owned();
        let read = move || add_up(BufReader::new(File::open(file)?));
        let read = tokio::task::spawn_blocking(read).await.map_err(std::io::Error::other)?;
        let (days, skipped) = read?;
        if skipped > 0 {
            tracing::warn!(%day, skipped, "messages are left out of DMARC reports");
        }
        let mut messages = Vec::new();
        for (domain, seen) in &days {
            let Some(to) = self.destinations(domain, seen).await else {
                if waited < MAX_WAIT_DAYS {
                    return Ok(Sent::Later);
                }
                tracing::warn!(%day, domain, "nobody says where its DMARC report may go");
                continue;
            };
            messages.extend(self.message(gateway, day, domain, seen, to));
        }
        submit(gateway, messages).await.map(Sent::Done)
    }
}

impl Sender {
    fn message(
        &self,
        gateway: &Gateway,
        day: Date,
        domain: &str,
        seen: &Day,
        to: Vec<ForwardPath>,
    ) -> Option<crate::spool::Accepted> {
        if to.is_empty() {
            return None;
        }
        let begin = begin_of(day)?;
        let by = Reporter {
            organisation: &self.settings.organisation,
            from: &self.settings.from,
            begin,
            end: begin.saturating_add(86_399),
        };
        let report = seen.report(domain, &by);
        let addresses: Vec<String> = to.iter().map(ToString::to_string).collect();
        let mut mail = Vec::new();
        let recipients = addresses.iter().map(String::as_str);
        report
            .write_rfc5322(&self.host, self.settings.from.as_str(), recipients, &mut mail)
            .ok()?;
        if mail.len() > MAX_MAIL {
            tracing::warn!(domain, octets = mail.len(), "a DMARC report is too large");
            return None;
        }
        Some(gateway.own_message(to, mail, "DMARC report"))
    }

    /// The mailboxes that may be sent to; `None` if that cannot be found out now.
    async fn destinations(&self, domain: &str, seen: &Day) -> Option<Vec<ForwardPath>> {
        let mut allowed = Vec::new();
        for uri in &seen.record.rua {
            let Some(path) = mailbox(uri) else { continue };
            let Some(destination) = imss_core::authentication::domain_of(&path.to_string()) else {
                continue;
            };
            if self.names.may_report(domain, &destination).await? && !allowed.contains(&path) {
                allowed.push(path);
            }
        }
        Some(allowed)
    }
}
