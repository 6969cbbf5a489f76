//! Ended days → mail and HTTPS (RFC 8460 §3, §5).
//!
//! In: the file of a day that is over. Out: queued messages with a null reverse-path, and files for
//! [`super::post`]. The mail says `TLS-Required: No` (RFC 8689 §4): a report on broken TLS must not wait
//! for that TLS. Where DNS is silent for one domain, it gets no report; where it is silent for all, the
//! day waits for the next round, at most `MAX_WAIT_DAYS` days.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use hickory_resolver::TokioResolver;
use jiff::civil::Date;
use mail_auth::report::tlsrpt::TlsReport;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

use super::PREFIX;
use super::aggregate::{Day, Reporter, add_up, json};
use super::post::Outbox;
use super::record::{Places, look};
use crate::config::ReportSettings;
use crate::gateway::Gateway;
use crate::reports::daily::{Daily, MAX_WAIT_DAYS, Sent, begin_of, off_network, read, submit};
use crate::spool::Accepted;

/// Octets of one packed report at most.
const MAX_PACKED: usize = 10 << 20;
/// Domains whose reports are made and submitted together.
const AT_ONCE: usize = 100;
/// Domains that are looked up at the same time.
const LOOK_UPS: usize = 64;
/// For one of them.
const LOOK_UP_TIME: Duration = Duration::from_secs(15);

/// Who sends, and from where.
pub(crate) struct Sender {
    dir: PathBuf,
    resolver: TokioResolver,
    maker: Arc<Maker>,
    progress: Progress,
}

/// Who makes reports: packs, signs, keeps.
struct Maker {
    settings: ReportSettings,
    host: String,
    outbox: Outbox,
}

impl Daily for Sender {
    const WHAT: &'static str = "TLS reports";
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
        let (mut days, skipped) = read(path, add_up).await?;
        self.progress.skip(day, &mut days);
        if skipped > 0 {
            tracing::warn!(%day, skipped, "sessions are left out of TLS reports");
        }
        let (places, silent) = self.places(&days).await;
        if places.is_empty() && silent > 0 && waited < MAX_WAIT_DAYS {
            return Ok(Sent::Later);
        }
        if silent > 0 {
            tracing::warn!(%day, domains = silent, "nobody says where their TLS reports may go");
        }
        let (days, mut sent, mut rest) = (Arc::new(days), 0_usize, places.into_iter());
        loop {
            let part: Vec<(String, Places)> = rest.by_ref().take(AT_ONCE).collect();
            let Some((last, _)) = part.last().cloned() else { return Ok(Sent::Done(sent)) };
            let (maker, to, days) = (self.maker.clone(), Arc::clone(gateway), Arc::clone(&days));
            let made = off_network(move || maker.make(&to, day, &days, &part)).await?;
            let mailed = submit(gateway, made.0).await?;
            sent = sent.saturating_add(mailed).saturating_add(made.1);
            self.progress.reached(day, last);
        }
    }

    async fn tend(&self) {
        self.maker.outbox.post().await;
    }
}

/// A report in its forms.
struct Packed {
    report: TlsReport,
    packed: Vec<u8>,
}

impl Sender {
    /// Sends what lies in `dir` in the name of `host`.
    pub(crate) fn new(
        dir: PathBuf,
        settings: ReportSettings,
        host: String,
        resolver: TokioResolver,
        outbox: Outbox,
    ) -> Self {
        let maker = Arc::new(Maker { settings, host, outbox });
        Self { dir, resolver, maker, progress: Progress::default() }
    }

    /// Where reports are wanted, and for how many domains that could not be found out.
    async fn places(&self, days: &BTreeMap<String, Day>) -> (Vec<(String, Places)>, usize) {
        let (mut found, mut silent) = (Vec::new(), 0_usize);
        let mut take = |done: Result<(String, Option<Places>), JoinError>| match done {
            Ok((_, Some(places))) if places == Places::default() => {}
            Ok((domain, Some(places))) => found.push((domain, places)),
            Ok((_, None)) | Err(_) => silent = silent.saturating_add(1),
        };
        let mut running = JoinSet::new();
        for domain in days.keys().cloned() {
            if running.len() >= LOOK_UPS
                && let Some(done) = running.join_next().await
            {
                take(done);
            }
            let resolver = self.resolver.clone();
            running.spawn(async move {
                let places = timeout(LOOK_UP_TIME, look(&resolver, &domain)).await;
                (domain, places.ok().flatten())
            });
        }
        while let Some(done) = running.join_next().await {
            take(done);
        }
        found.sort_by(|(one, _), (other, _)| one.cmp(other));
        (found, silent)
    }
}

impl Maker {
    /// The mails to some domains, signed, and how many reports wait to be posted.
    fn make(
        &self,
        gateway: &Gateway,
        day: Date,
        days: &BTreeMap<String, Day>,
        places: &[(String, Places)],
    ) -> (Vec<Accepted>, usize) {
        let (mut messages, mut posts) = (Vec::new(), 0_usize);
        for (domain, places) in places {
            let Some(seen) = days.get(domain) else { continue };
            // What fails for one domain is no matter of the others.
            match self.one(gateway, day, domain, seen, places) {
                Ok((message, posted)) => {
                    messages.extend(message);
                    posts = posts.saturating_add(posted);
                }
                Err(error) => tracing::error!(%day, domain, %error, "no TLS report"),
            }
        }
        (messages, posts)
    }

    /// The report on one domain: the mail, if one is wanted, and how many wait to be posted.
    fn one(
        &self,
        gateway: &Gateway,
        day: Date,
        domain: &str,
        seen: &Day,
        places: &Places,
    ) -> std::io::Result<(Option<Accepted>, usize)> {
        let report = self.report(day, domain, seen)?;
        let posted = self.outbox.put(day, domain, places, &report.packed).unwrap_or_else(|error| {
            tracing::error!(%day, domain, %error, "a TLS report is not posted");
            0
        });
        Ok((self.message(gateway, domain, places, &report)?, posted))
    }

    fn report(&self, day: Date, domain: &str, seen: &Day) -> std::io::Result<Packed> {
        let begin = begin_of(day).ok_or_else(|| std::io::Error::other("no such day"))?;
        let report = seen.report(
            domain,
            &Reporter {
                organisation: &self.settings.organisation,
                from: &self.settings.from,
                host: &self.host,
                begin,
                end: begin.saturating_add(86_399),
            },
        );
        let mut packer = GzEncoder::new(Vec::new(), Compression::default());
        packer.write_all(&json(&report)?)?;
        let packed = packer.finish()?;
        if packed.len() > MAX_PACKED {
            return Err(std::io::Error::other(format!("too large: {} octets", packed.len())));
        }
        Ok(Packed { report, packed })
    }

    fn message(
        &self,
        gateway: &Gateway,
        domain: &str,
        places: &Places,
        Packed { report, packed }: &Packed,
    ) -> std::io::Result<Option<Accepted>> {
        if places.mail.is_empty() {
            return Ok(None);
        }
        let addresses: Vec<String> = places.mail.iter().map(ToString::to_string).collect();
        let to = addresses.iter().map(String::as_str);
        let mut mail = b"TLS-Required: No\r\n".to_vec();
        let from = self.settings.from.as_str();
        report.write_rfc5322_from_bytes(domain, &self.host, from, to, packed, &mut mail)?;
        Ok(Some(gateway.own_message(places.mail.clone(), mail, "TLS report")))
    }
}

/// How far a day has come, while the process lives: what is on its way is not sent again when a later
/// part of the day fails.
#[derive(Debug, Default)]
struct Progress(Mutex<Option<(Date, String)>>);

impl Progress {
    /// Takes from `days` what is done.
    fn skip(&self, day: Date, days: &mut BTreeMap<String, Day>) {
        let reached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, last)) = reached.as_ref().filter(|(of, _)| *of == day) {
            days.retain(|domain, _| domain > last);
        }
    }

    /// All domains up to `last` are done.
    fn reached(&self, day: Date, last: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((day, last));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_not_sent_again() {
        let [day, next] = ["2026-11-22", "2026-11-23"].map(|day| day.parse::<Date>().unwrap());
        let left = |progress: &Progress, day| {
            let all = ["a.example", "b.example", "c.example"];
            let mut days = all.map(|domain| (domain.to_owned(), Day::default())).into();
            progress.skip(day, &mut days);
            days.into_keys().collect::<Vec<_>>()
        };
        let progress = Progress::default();
        assert_eq!(left(&progress, day).len(), 3);
        progress.reached(day, "b.example".to_owned());
        assert_eq!(left(&progress, day), ["c.example"]);
        assert_eq!(left(&progress, next).len(), 3);
    }
}
