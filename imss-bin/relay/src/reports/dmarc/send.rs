//! Ended days → mail to those who asked, through our own queue.
//!
//! In: the files of days that are over. Out: queued messages, null reverse-path, and the files are
//! gone. An address of another organisation gets a report only if its domain says so in the DNS (RFC 9990
//! §4); if nobody answers, the day waits for the next round, at most `MAX_WAIT_DAYS` days.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use imss_core::envelope::ForwardPath;
use imss_scan::auth::client::AuthClient;
use jiff::civil::Date;

use super::PREFIX;
use super::aggregate::{Day, Reporter, add_up};
use crate::config::ReportSettings;
use crate::gateway::Gateway;
use crate::reports::daily::{
    Daily, MAX_WAIT_DAYS, Sent, begin_of, mailbox, off_network, read, submit,
};
use crate::spool::Accepted;

/// Octets of one mail at most; `rua` may say less, which is not followed.
const MAX_MAIL: usize = 10 << 20;

/// Who sends, and from where.
pub(crate) struct Sender {
    dir: PathBuf,
    names: AuthClient,
    maker: Maker,
}

/// Who makes reports.
#[derive(Clone)]
struct Maker {
    settings: ReportSettings,
    host: String,
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
        let (days, skipped) = read(path, add_up).await?;
        if skipped > 0 {
            tracing::warn!(%day, skipped, "messages are left out of DMARC reports");
        }
        let mut wanted = Vec::new();
        for (domain, seen) in days {
            let Some(to) = self.destinations(&domain, &seen).await else {
                if waited < MAX_WAIT_DAYS {
                    return Ok(Sent::Later);
                }
                tracing::warn!(%day, domain, "nobody says where its DMARC report may go");
                continue;
            };
            if !to.is_empty() {
                wanted.push((domain, seen, to));
            }
        }
        let (maker, signer) = (self.maker.clone(), Arc::clone(gateway));
        let make = move || {
            let one = |(domain, seen, to): (String, Day, _)| {
                maker.message(&signer, day, &domain, &seen, to)
            };
            wanted.into_iter().filter_map(one).collect()
        };
        submit(gateway, off_network(make).await?).await.map(Sent::Done)
    }
}

impl Maker {
    fn message(
        &self,
        gateway: &Gateway,
        day: Date,
        domain: &str,
        seen: &Day,
        to: Vec<ForwardPath>,
    ) -> Option<Accepted> {
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
}

impl Sender {
    /// Sends what lies in `dir` in the name of `host`.
    pub(crate) fn new(
        dir: PathBuf,
        settings: ReportSettings,
        host: String,
        names: AuthClient,
    ) -> Self {
        Self { dir, names, maker: Maker { settings, host } }
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
