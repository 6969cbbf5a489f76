//! Configuration → what the engines and lookup clients start from.
//!
//! In: a [`Config`]. Out: digest lists in memory and clients that have asked nothing yet. A list with a
//! mistake is refused whole, with the mistake's line.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use imss_core::limits::Limits;
use imss_scan::auth::AuthSettings;
use imss_scan::auth::client::AuthClient;
use imss_scan::lookup::Lookups;
use imss_scan::malware::clamd;
use imss_scan::malware::digests::DigestList;
use imss_scan::malware::icap;
use imss_scan::malware::yara::{YaraMistake, YaraRules};
use imss_scan::reputation::dns;
use imss_scan::{PlanError, Settings};

use crate::config::{Config, load_policy};
use crate::jail::JailError;
use crate::judge::Judge;
use crate::outbound::Server;
use crate::reader::Reader;
use crate::signatures::bundle::Kind;
use crate::signatures::store::Installed;
use crate::signatures::{Bundle, Key, Store, StoreError};

/// Why policy, lists and clients could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The policy has mistakes.
    #[error("{0}")]
    Policy(imss_policy::Mistakes),
    /// The policy asks something that no engine can answer.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A digest list cannot be read.
    #[error("digest list {}: {source}", path.display())]
    ReadDigests {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A digest list has mistakes.
    #[error("digest list {}: {mistakes}", path.display())]
    Digests {
        /// The file.
        path: PathBuf,
        /// All of them, one a line.
        mistakes: String,
    },
    /// A file of YARA rules cannot be read.
    #[error("YARA rules {}: {source}", path.display())]
    ReadYara {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// YARA rules have mistakes.
    #[error("YARA rules with mistakes:\n{0}")]
    Yara(String),
    /// An installed signature set cannot be read.
    #[error("{0}; `imss update` installs it again, `imss update --roll-back NAME` goes back")]
    Signatures(#[from] StoreError),
    /// A file of a signature set has mistakes.
    #[error("signature set {place}: {reason}")]
    Set {
        /// The set, its version and the file.
        place: String,
        /// All mistakes, one a line.
        reason: String,
    },
    /// The jail.
    #[error("{0}; `[scan] jail = false` reads mail in the gateway itself")]
    Jail(#[from] JailError),
    /// The resolver of DNS lists.
    #[error(transparent)]
    Dns(#[from] dns::ClientError),
}

/// The policy of `config`, with its scanner.
///
/// # Errors
///
/// [`EngineError`].
pub fn judge(config: &Config) -> Result<Judge, EngineError> {
    let policy = load_policy(config.policy.as_deref()).map_err(EngineError::Policy)?;
    let limits =
        Limits { max_message_bytes: config.inbound.limits.message_bytes, ..Limits::default() };
    let settings = settings(config)?;
    let reader = match &config.scan.jail {
        None => Reader::new(limits, &config.scan.passwords),
        Some(jail) => Reader::jailed(limits, &config.scan.passwords, jail.clone())?,
    };
    Ok(Judge::new(policy, settings, reader)?)
}

/// What the engines start from: the lists and rules that `config` names, and the installed sets.
///
/// # Errors
///
/// [`EngineError`].
pub fn settings(config: &Config) -> Result<Settings, EngineError> {
    let scan = &config.scan;
    let mut settings = Settings {
        auth: AuthSettings { always: config.authentication.results, no_client: false },
        clamd: scan.clamd.is_some(),
        icap: scan.icap.is_some(),
        ..lists(&scan.digest_lists, &scan.yara)?
    };
    let store = config.signature_store();
    for set in store.list()? {
        add_set(&mut settings, &installed(&store, &set, &config.signatures.keys)?)?;
    }
    Ok(settings)
}

/// The digest lists and YARA rules in these files, and nothing else.
///
/// # Errors
///
/// A file that cannot be read or has mistakes.
pub fn lists(digests: &[PathBuf], yara: &[PathBuf]) -> Result<Settings, EngineError> {
    let digests: Result<Vec<_>, _> = digests.iter().map(|path| digest_list(path)).collect();
    let mut sources = Vec::new();
    for path in yara {
        let text = std::fs::read_to_string(path)
            .map_err(|source| EngineError::ReadYara { path: path.clone(), source })?;
        sources.push((path.display().to_string(), text));
    }
    let yara =
        rules("rules", &sources).map_err(|mistakes| EngineError::Yara(one_a_line(&mistakes)))?;
    Ok(Settings { digests: digests?, yara: yara.into_iter().collect(), ..Settings::default() })
}

/// One set of all sources; none if there are none.
fn rules(
    name: &str,
    sources: &[(String, String)],
) -> Result<Option<Arc<YaraRules>>, Vec<YaraMistake>> {
    if sources.is_empty() {
        return Ok(None);
    }
    let sources: Vec<_> =
        sources.iter().map(|(file, text)| (file.as_str(), text.as_str())).collect();
    YaraRules::compile(name, &sources).map(|rules| Some(Arc::new(rules)))
}

/// The clients that answer the questions of the engines.
///
/// # Errors
///
/// [`EngineError::Dns`].
pub fn lookups(config: &Config) -> Result<Lookups, EngineError> {
    let dns = dns::ClientSettings {
        servers: config.dns.servers.clone(),
        timeout: config.dns.timeout,
        ..dns::ClientSettings::default()
    };
    let clamd = config.scan.clamd.as_ref().map(|server| {
        let endpoint = match server {
            Server::Unix { path } => clamd::Endpoint::Unix(path.clone()),
            Server::Tcp { .. } => clamd::Endpoint::Tcp(server.to_string()),
        };
        let settings = clamd::ClientSettings::new(endpoint);
        clamd::Client::new(clamd::ClientSettings { timeout: config.scan.deadline, ..settings })
    });
    let icap = config.scan.icap.as_ref().map(|service| {
        let settings = icap::ClientSettings::new(service.clone());
        icap::Client::new(icap::ClientSettings { timeout: config.scan.deadline, ..settings })
    });
    let dns = dns::Client::new(&dns)?;
    let host = config.authentication.name.as_ref().unwrap_or(&config.inbound.hostname);
    let auth = AuthClient::new(dns.clone(), host)?.with_time(config.authentication.timeout);
    Ok(Lookups { dns: Some(dns), clamd, icap, auth: Some(auth) })
}

/// Who answers about senders, asking `servers`, or those of the system if there are none.
///
/// # Errors
///
/// [`EngineError::Dns`].
pub fn authentication(servers: &[SocketAddr], host: &str) -> Result<AuthClient, EngineError> {
    let settings =
        dns::ClientSettings { servers: servers.to_vec(), ..dns::ClientSettings::default() };
    Ok(AuthClient::new(dns::Client::new(&settings)?, host)?)
}

/// The current version of a set; if that is damaged, the one before, so that mail is scanned.
fn installed(store: &Store, set: &Installed, keys: &[Key]) -> Result<Bundle, EngineError> {
    let error = match store.load(&set.name, &set.current, keys) {
        Ok(bundle) => return Ok(bundle),
        Err(error) => error,
    };
    let Some(previous) = &set.previous else { return Err(error.into()) };
    tracing::error!(%error, using = %previous, "a signature set is damaged");
    Ok(store.load(&set.name, previous, keys)?)
}

fn add_set(settings: &mut Settings, bundle: &Bundle) -> Result<(), EngineError> {
    let manifest = &bundle.manifest;
    let mut sources = Vec::new();
    for (file, octets) in manifest.files.iter().zip(&bundle.files) {
        let place = format!("{} {}: {}", manifest.name, manifest.version, file.name);
        let text = str::from_utf8(octets).map_err(|error| EngineError::Set {
            place: place.clone(),
            reason: error.to_string(),
        })?;
        match file.kind {
            Kind::Digests => {
                let name = format!("{}/{}", manifest.name, file.name);
                let list = DigestList::parse(&name, text).map_err(|mistakes| EngineError::Set {
                    place,
                    reason: one_a_line(&mistakes),
                })?;
                settings.digests.push(Arc::new(list));
            }
            Kind::Yara => sources.push((file.name.clone(), text.to_owned())),
        }
    }
    let place = format!("{} {}", manifest.name, manifest.version);
    let yara = rules(&manifest.name, &sources)
        .map_err(|mistakes| EngineError::Set { place, reason: one_a_line(&mistakes) })?;
    settings.yara.extend(yara);
    Ok(())
}

fn one_a_line(mistakes: &[impl ToString]) -> String {
    let lines: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

fn digest_list(path: &Path) -> Result<Arc<DigestList>, EngineError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| EngineError::ReadDigests { path: path.to_owned(), source })?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    DigestList::parse(&name, &text).map(Arc::new).map_err(|mistakes| EngineError::Digests {
        path: path.to_owned(),
        mistakes: one_a_line(&mistakes),
    })
}
