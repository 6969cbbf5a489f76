//! Configuration → what the engines and lookup clients start from.
//!
//! In: a [`Config`]. Out: digest lists in memory and clients that have asked nothing yet. A list with a
//! mistake is refused whole, with the mistake's line.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use imss_core::limits::Limits;
use imss_scan::lookup::Lookups;
use imss_scan::malware::clamd;
use imss_scan::malware::digests::DigestList;
use imss_scan::reputation::dns;
use imss_scan::{PlanError, Settings};

use crate::config::{Config, load_policy};
use crate::judge::Judge;
use crate::outbound::Server;

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
    let lists: Result<Vec<_>, _> =
        config.scan.digest_lists.iter().map(|path| digest_list(path)).collect();
    let settings = Settings { digests: lists?, clamd: config.scan.clamd.is_some() };
    Ok(Judge::new(policy, settings, limits)?)
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
    Ok(Lookups { dns: Some(dns::Client::new(&dns)?), clamd })
}

fn digest_list(path: &Path) -> Result<Arc<DigestList>, EngineError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| EngineError::ReadDigests { path: path.to_owned(), source })?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    DigestList::parse(&name, &text).map(Arc::new).map_err(|mistakes| {
        let lines: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
        EngineError::Digests { path: path.to_owned(), mistakes: lines.join("\n") }
    })
}
