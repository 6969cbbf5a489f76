//! Ended days → mail and HTTPS (RFC 8460 §3, §5).
//!
//! In: the file of a day that is over. Out: queued messages with a null reverse-path, and files for
//! [`super::post`]. The mail says `TLS-Required: No` (RFC 8689 §4): a report on broken TLS must not wait
//! for that TLS. Where DNS is silent for one domain, it gets no report; where it is silent for all, the
//! day waits for the next round, at most `MAX_WAIT_DAYS` days.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Write as _};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use hickory_resolver::TokioResolver;
use jiff::civil::Date;
use mail_auth::report::tlsrpt::TlsReport;

use super::PREFIX;
use super::aggregate::{Day, Reporter, add_up, json};
use super::post::Outbox;
use super::record::{Places, look};
use crate::config::ReportSettings;
use crate::gateway::Gateway;
use crate::reports::daily::{Daily, MAX_WAIT_DAYS, Sent, begin_of, submit};
use crate::spool::Accepted;

/// Octets of one packed report at most.
const MAX_PACKED: usize = 10 << 20;

/// Who sends, and from where.
pub(crate) struct Sender {
    pub(crate) dir: PathBuf,
    pub(crate) settings: ReportSettings,
    pub(crate) host: String,
    pub(crate) resolver: TokioResolver,
    pub(crate) outbox: Outbox,
}

impl Daily for Sender {
    const WHAT: &'static str = "TLS reports";
    const PREFIX: &'static str = PREFIX;

    fn dir(&self) -> &Path {
        &self.dir
    }

    async fn send(
        &self,
        gateway: &Gateway,
        day: Date,
        path: &Path,
        waited: i32,
    ) -> std::io::Result<Sent> {
        let file = path.to_owned();
        let read = move || add_up(BufReader::new(File::open(file)?));
        let read = tokio::task::spawn_blocking(read).await.map_err(std::io::Error::other)?;
        let (days, skipped) = read?;
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
        let (mut messages, mut posts) = (Vec::new(), 0_usize);
        for (domain, places) in places {
            let Some(seen) = days.get(&domain) else { continue };
            // What fails for one domain is no matter of the others.
            match self.one(gateway, day, &domain, seen, &places) {
                Ok((message, posted)) => {
                    messages.extend(message);
                    posts = posts.saturating_add(posted);
                }
                Err(error) => tracing::error!(%day, domain, %error, "no TLS report"),
            }
        }
        Ok(Sent::Done(submit(gateway, messages).await?.saturating_add(posts)))
    }

    async fn tend(&self) {
        self.outbox.post().await;
    }
}

/// A report in its forms.
struct Packed {
    report: TlsReport,
    packed: Vec<u8>,
}

impl Sender {
    /// Where reports are wanted, and for how many domains that could not be found out.
    async fn places(&self, days: &BTreeMap<String, Day>) -> (Vec<(String, Places)>, usize) {
        let (mut found, mut silent) = (Vec::new(), 0_usize);
        for domain in days.keys() {
            match look(&self.resolver, domain).await {
                Some(places) if places == Places::default() => {}
                Some(places) => found.push((domain.clone(), places)),
                None => silent = silent.saturating_add(1),
            }
        }
        (found, silent)
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
