//! What one node needs to start: `imss.toml` → [`Config`].
//!
//! In: the file, or nothing at all. Out: checked values, in the types of those who use them; nobody
//! checks them again. Bad input: every mistake at once, each with line, column, key, reason and
//! remedy. Without a file the values are those of [`Config::default`], with which a gateway starts
//! and harms nobody.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use imss_scan::malware::icap::Service;

use crate::inbound::Mode;
use crate::inbound::auth::users::UserFiles;
use crate::jail::JailSettings;
use crate::notices::NoticeSettings;
use crate::outbound::Server;
use crate::recipients::RecipientSettings;
use crate::signatures::{Key, Source, Store};
use crate::{filter as sender_filter, inbound, queue};

mod auth;
mod authentication;
mod defaults;
mod doors;
pub mod filter;
mod listen;
mod lower;
mod notices;
mod outbound;
mod policy;
mod reader;
mod recipients;
mod reports;
mod units;

pub use authentication::{AuthenticationSettings, BatvSettings, KeySettings, TagKeySettings};
pub use defaults::default_data_dir;
pub use imss_policy::{Mistake, Mistakes, Severity};
pub use outbound::OutboundTls;
pub use policy::load_policy;
pub use reports::{ReportSettings, TlsReportSettings};

/// Everything `imss.toml` says, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it was read from, to be read again.
    pub file: Option<PathBuf>,
    /// Where the node keeps everything it writes.
    pub data_dir: PathBuf,
    /// The policy's file; `None` is the built-in policy.
    pub policy: Option<PathBuf>,
    /// Where SMTP is accepted.
    pub listeners: Vec<Listener>,
    /// Where mail servers ask over milter.
    pub milters: Vec<crate::milter::Address>,
    /// How mail is accepted. Its host name is the node's name.
    pub inbound: inbound::Settings,
    /// Who may log in.
    pub users: UserFiles,
    /// Who exists in our domains.
    pub recipients: RecipientSettings,
    /// Certificate and key for STARTTLS; without them STARTTLS is not offered.
    pub tls: Option<TlsFiles>,
    /// Whether `message/partial` passes (RFC 2046 §5.2.2); its pieces cannot be scanned.
    pub allow_partial: bool,
    /// How messages are scanned.
    pub scan: ScanSettings,
    /// Where signature sets come from.
    pub signatures: SignatureSettings,
    /// How names are resolved.
    pub dns: DnsSettings,
    /// Whom others are, and what we sign.
    pub authentication: AuthenticationSettings,
    /// When delivery is tried again, and for how long.
    pub queue: queue::Settings,
    /// Where accepted mail goes, and how.
    pub outbound: crate::outbound::Settings,
    /// How connections to other servers are secured.
    pub outbound_tls: OutboundTls,
    /// Reports about TLS to the domains of others; `None` sends none.
    pub tls_reports: Option<TlsReportSettings>,
    /// How delivery status notifications are written.
    pub notices: NoticeSettings,
    /// Who may hand over mail.
    pub filter: sender_filter::Settings,
    /// Where metrics and the health check are served; `None` serves none.
    pub http: Option<SocketAddr>,
    /// Who may have messages scanned there; `None` is nobody.
    pub scan_access: Option<crate::http::access::Access>,
}

/// One SMTP listener.
#[derive(Debug, Clone)]
pub struct Listener {
    /// Where it listens.
    pub address: SocketAddr,
    /// What it is for.
    pub mode: Mode,
    /// How TLS is used.
    pub tls: ListenTls,
    /// How AUTH is used.
    pub auth: UseOfAuth,
    /// Its settings: those of all listeners, with what is different here.
    pub settings: inbound::Settings,
}

/// TLS at a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenTls {
    /// None.
    Off,
    /// Offered by STARTTLS.
    StartTls,
    /// From the first octet.
    Implicit,
}

/// AUTH at a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UseOfAuth {
    /// None.
    Off,
    /// Offered.
    Offered,
    /// Nobody sends without it.
    Required,
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = MODES.iter().find(|(_, mode)| *mode == self.mode).map_or("", |(word, _)| word);
        write!(f, "{word} on {}", self.address)
    }
}

/// What listeners are for, in the words of the configuration.
const MODES: [(&str, Mode); 6] = [
    ("edge", Mode::Edge),
    ("submission", Mode::Submission),
    ("proxy", Mode::Proxy),
    ("rescan", Mode::Rescan),
    ("reinject", Mode::Reinject),
    ("milter", Mode::Milter),
];

/// PEM files for STARTTLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain, leaf first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// How messages are scanned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanSettings {
    /// Scanning threads.
    pub threads: usize,
    /// Longest time one message may take, lookups included.
    pub deadline: Duration,
    /// The ClamAV daemon to ask; `None` asks none.
    pub clamd: Option<Server>,
    /// The ICAP service to ask; `None` asks none.
    pub icap: Option<Service>,
    /// Files of YARA rules.
    pub yara: Vec<PathBuf>,
    /// Files of SHA-256 digests of known malware.
    pub digest_lists: Vec<PathBuf>,
    /// Passwords tried on what is encrypted, besides those that the message itself offers.
    pub passwords: Vec<String>,
    /// Read messages in confined workers; `None` reads them in the gateway.
    pub jail: Option<JailSettings>,
}

/// Where signature sets come from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SignatureSettings {
    /// Keys whose bundles are trusted.
    pub keys: Vec<Key>,
    /// Where updates are fetched from.
    pub source: Option<Source>,
    /// How often; `None` only by hand.
    pub interval: Option<Duration>,
}

/// How names are resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsSettings {
    /// Servers to ask; empty means those of the system.
    pub servers: Vec<SocketAddr>,
    /// Longest time for one answer.
    pub timeout: Duration,
    /// DNSKEY records to trust instead of the root's, where DNSSEC is asked for.
    pub trust_anchor: Option<PathBuf>,
}

/// Reads `path`, or gives the defaults if there is none. Paths in the file are relative to it.
///
/// Files that the configuration names must be there; what is in them is not looked at.
///
/// # Errors
///
/// Every mistake in the file, in the order of its lines, or that it cannot be read.
pub fn load(path: Option<&Path>) -> Result<Config, Mistakes> {
    let Some(path) = path else { return Ok(Config::default()) };
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(&name, &error))?;
    let config = parse(&text, &name, path.parent().unwrap_or(Path::new("")))?;
    Ok(Config { file: Some(path.to_owned()), ..config })
}

/// Reads the text of a configuration. `name` is the file that mistakes show; relative paths in the
/// text start at `folder`.
///
/// # Errors
///
/// Every mistake, in the order of the text's lines.
pub fn parse(text: &str, name: &str, folder: &Path) -> Result<Config, Mistakes> {
    let reader = reader::Reader::new(text, name);
    let config = lower::lower(&reader, folder);
    reader.finish(config)
}

impl Config {
    /// Where installed signature sets lie.
    #[must_use]
    pub fn signature_store(&self) -> Store {
        Store::new(self.data_dir.join("signatures"))
    }

    /// The socket of the running gateway that `imss queue` and others talk to.
    #[must_use]
    pub fn control_socket(&self) -> PathBuf {
        self.data_dir.join("control.sock")
    }

    /// Where the spool lies.
    #[must_use]
    pub fn spool_dir(&self) -> PathBuf {
        self.data_dir.join("spool")
    }

    /// Where the sender filter keeps its lists and counters.
    #[must_use]
    pub fn filter_dir(&self) -> PathBuf {
        self.data_dir.join("filter")
    }

    /// Where quarantined copies lie, one folder per area.
    #[must_use]
    pub fn quarantine_dir(&self) -> PathBuf {
        self.data_dir.join("quarantine")
    }

    /// Where archived copies lie, one folder per area.
    #[must_use]
    pub fn archive_dir(&self) -> PathBuf {
        self.data_dir.join("archive")
    }

    /// Where messages are counted for DMARC reports, one file a day.
    #[must_use]
    pub fn dmarc_dir(&self) -> PathBuf {
        self.data_dir.join("dmarc")
    }

    /// Where sessions are counted for TLS reports, one file a day.
    #[must_use]
    pub fn tls_report_dir(&self) -> PathBuf {
        self.data_dir.join("tls")
    }

    /// Where verdict records lie, one file a day.
    #[must_use]
    pub fn log_dir(&self) -> PathBuf {
        self.data_dir.join("log")
    }
}

/// A file that cannot be read has no lines to show.
fn unreadable(name: &str, error: &std::io::Error) -> Mistakes {
    Mistakes(vec![Mistake {
        severity: Severity::Error,
        file: name.to_owned(),
        line: 1,
        column: 1,
        length: 1,
        key: String::new(),
        reason: format!("cannot be read: {error}"),
        remedy: Some("give the path of a readable UTF-8 file".to_owned()),
        text: String::new(),
    }])
}

#[cfg(test)]
mod tests;
