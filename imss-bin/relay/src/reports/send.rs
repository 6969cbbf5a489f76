//! Ended days → mail to those who asked, through our own queue.
//!
//! In: the files of days that are over. Out: queued messages, null reverse-path, and the files are
//! gone. An address of another organisation gets a report only if its domain says so in the DNS (RFC 9990
//! §4); if nobody answers, the day waits for the next round, at most [`MAX_WAIT_DAYS`] days.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::Duration;

use imss_core::envelope::{ForwardPath, Syntax};
use imss_scan::auth::client::AuthClient;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use tokio_util::sync::CancellationToken;

use super::PREFIX;
use super::aggregate::{Day, Reporter, add_up};
use crate::config::ReportSettings;
use crate::gateway::Gateway;
use crate::notices::own_message;

/// How often it is looked for days that are over.
const PAUSE: Duration = Duration::from_secs(3_600);
/// Days a report waits for name servers.
const MAX_WAIT_DAYS: i32 = 3;
/// Octets of one mail at most; `rua` may say less, which is not followed.
const MAX_MAIL: usize = 10 << 20;

/// Who sends, and from where.
pub(crate) struct Sender {
    pub(crate) dir: PathBuf,
    pub(crate) settings: ReportSettings,
    pub(crate) host: String,
    pub(crate) names: AuthClient,
}

impl Sender {
    /// Sends what is due, now and every hour, until `stop`.
    pub(crate) async fn run(self, gateway: std::sync::Arc<Gateway>, stop: CancellationToken) {
        let mut clock = tokio::time::interval(PAUSE);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = clock.tick() => {}
            }
            let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
            for (day, path) in ended(&self.dir, today) {
                if let Err(error) = self.send(&gateway, day, &path, today).await {
                    tracing::error!(%day, %error, "DMARC reports were not sent");
                }
            }
        }
    }

    /// Sends the reports on one day, and removes its file.
    async fn send(
        &self,
        gateway: &Gateway,
        day: Date,
        path: &Path,
        today: Date,
    ) -> std::io::Result<()> {
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
                if (today - day).get_days() < MAX_WAIT_DAYS {
                    return Ok(());
                }
                tracing::warn!(%day, domain, "nobody says where its DMARC report may go");
                continue;
            };
            messages.extend(self.message(gateway, day, domain, seen, to));
        }
        let count = messages.len();
        if count > 0 {
            gateway.queue().submit(messages).await.map_err(std::io::Error::other)?;
        }
        tracing::info!(%day, reports = count, "DMARC reports are on their way");
        std::fs::remove_file(path)
    }

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
        let begin = day.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second();
        let begin = u64::try_from(begin).ok()?;
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
        Some(own_message(gateway.ids().next(), to, mail.into(), "DMARC report"))
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

/// The mailbox of `mailto:name@example.com!10m`, if it is one that cannot do harm in a field.
pub(super) fn mailbox(uri: &str) -> Option<ForwardPath> {
    let bare = uri.strip_prefix("mailto:").unwrap_or(uri);
    let bare = bare.split(['!', '?']).next()?;
    let plain =
        bare.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'<' | b'>' | b','));
    ForwardPath::parse(bare, Syntax::default())
        .ok()
        .filter(|path| plain && path.mailbox().is_some())
}

/// The files of days before `today`, oldest first.
pub(super) fn ended(dir: &Path, today: Date) -> Vec<(Date, PathBuf)> {
    let mut found: Vec<(Date, PathBuf)> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let day = name.strip_prefix(PREFIX)?.strip_prefix('-')?.strip_suffix(".jsonl")?;
            Some((day.parse::<Date>().ok()?, entry.path()))
        })
        .filter(|(day, _)| *day < today)
        .collect();
    found.sort();
    found
}
