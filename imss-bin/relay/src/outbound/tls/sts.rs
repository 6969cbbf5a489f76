//! MTA-STS: which hosts a domain says take its mail, with certificates for their names (RFC 8461).
//!
//! In: a domain. Out: its policy, if it has one. Policies are fetched over HTTPS when the `id` in DNS is
//! new, kept in a folder as long as they say, and used from there when DNS or the web server is silent:
//! who can silence them must not be able to take the protection away. A policy that is too long, comes
//! by a redirect or does not follow the grammar is none.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::RData;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect;
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::seen::{MAX_LINES, PolicyKind, SeenPolicy, Trouble, TroubleKind, kind_of, tls_error};
use crate::ids::unix_millis;

/// Octets of a policy (RFC 8461 §3.2 asks for at least 64 KiB).
const MAX_POLICY_BYTES: usize = 64 << 10;
/// `mx` lines of a policy.
const MAX_HOSTS: usize = 256;
/// The longest time a policy is kept, in seconds (RFC 8461 §3.2).
const MAX_AGE: u64 = 31_557_600;
/// For one fetch (RFC 8461 §3.3).
const FETCH_TIMEOUT: Duration = Duration::from_secs(60);
/// After a failed fetch, the next one is not tried for so long (RFC 8461 §3.3).
const FETCH_PAUSE_MILLIS: u64 = 5 * 60 * 1_000;
/// Domains kept in memory; the folder has them all.
const MAX_DOMAINS: usize = 10_000;

/// What a domain wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// How seriously.
    pub mode: Mode,
    /// Host names, or `*.` and a domain for one label more.
    pub mx: Vec<String>,
    /// How long the policy may be kept, in seconds.
    pub max_age: u64,
}

/// What there is for a domain.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// Its policy, if it has one and wants it applied.
    pub policy: Option<Policy>,
    /// Why there is none although the domain says that it has one.
    pub trouble: Option<Trouble>,
}

/// How seriously a policy is meant (RFC 8461 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Mail goes nowhere else.
    Enforce,
    /// Failures are reported, and mail goes all the same.
    Testing,
    /// As if there were none.
    None,
}

/// The policies.
#[derive(Debug)]
pub struct Sts {
    resolver: TokioResolver,
    client: reqwest::Client,
    folder: PathBuf,
    port: u16,
    domains: StdMutex<HashMap<String, Arc<Mutex<State>>>>,
}

/// What is known of one domain.
#[derive(Debug, Default)]
struct State {
    kept: Option<Kept>,
    loaded: bool,
    /// When a fetch failed, in milliseconds since 1970.
    failed_unix_millis: u64,
    /// Why the last fetch failed.
    trouble: Option<Trouble>,
}

/// A policy as it lies in the folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    id: String,
    fetched_unix_millis: u64,
    policy: Policy,
}

impl Sts {
    /// Fetches with the system's certificate authorities and `roots`, and keeps in `folder`.
    ///
    /// # Errors
    ///
    /// The HTTP client cannot be built.
    pub fn new(
        resolver: TokioResolver,
        folder: PathBuf,
        roots: &[CertificateDer<'_>],
    ) -> Result<Self, reqwest::Error> {
        let roots = roots.iter().map(|root| reqwest::Certificate::from_der(root));
        let client = reqwest::Client::builder()
            .https_only(true)
            .redirect(redirect::Policy::none())
            .timeout(FETCH_TIMEOUT)
            .no_proxy()
            .tls_certs_merge(roots.collect::<Result<Vec<_>, _>>()?)
            .dns_resolver(Arc::new(Names(resolver.clone())))
            .build()?;
        Ok(Self { resolver, client, folder, port: 443, domains: StdMutex::default() })
    }

    /// Fetches from this port instead of 443: the standard knows no other, tests do.
    #[must_use]
    pub fn with_port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// What there is for `domain`, in ASCII.
    pub async fn look(&self, domain: &str) -> Found {
        let domain = domain.to_ascii_lowercase();
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if domain.starts_with('.') || domain.len() > 253 || !domain.chars().all(is_name) {
            return Found::default();
        }
        let state = self.state(&domain);
        // One fetch per domain at a time; others wait for it, and other domains do not.
        let mut state = state.lock().await;
        let now = unix_millis();
        if !state.loaded {
            state.kept = self.load(&domain).await;
            state.loaded = true;
        }
        if state.kept.as_ref().is_some_and(|kept| !kept.holds(now)) {
            state.kept = None;
        }
        let id = self.id(&domain).await;
        let is_said = id.is_some();
        if let Some(id) = id
            && state.kept.as_ref().is_none_or(|kept| kept.id != id)
            && now.saturating_sub(state.failed_unix_millis) >= FETCH_PAUSE_MILLIS
        {
            match self.fetch(&domain).await {
                Ok(policy) => {
                    let kept = Kept { id, fetched_unix_millis: now, policy };
                    self.keep(&domain, &kept).await;
                    (state.kept, state.trouble) = (Some(kept), None);
                }
                Err(trouble) => {
                    let why = &trouble.reason;
                    tracing::warn!(domain, why, "an MTA-STS policy could not be fetched");
                    state.failed_unix_millis = now;
                    state.trouble = Some(trouble);
                }
            }
        }
        let policy = state.kept.as_ref().map(|kept| kept.policy.clone());
        let trouble = state.trouble.clone().filter(|_| policy.is_none() && is_said);
        Found { policy: policy.filter(|policy| policy.mode != Mode::None), trouble }
    }

    fn state(&self, domain: &str) -> Arc<Mutex<State>> {
        let mut domains = self.domains.lock().unwrap_or_else(PoisonError::into_inner);
        if domains.len() >= MAX_DOMAINS && !domains.contains_key(domain) {
            domains.retain(|_, state| Arc::strong_count(state) > 1);
        }
        Arc::clone(domains.entry(domain.to_owned()).or_default())
    }

    /// The `id` in DNS; `None` if there is no single valid record (RFC 8461 §3.1).
    async fn id(&self, domain: &str) -> Option<String> {
        let lookup = self.resolver.txt_lookup(format!("_mta-sts.{domain}.")).await.ok()?;
        let mut ids = lookup.answers().iter().filter_map(|record| match &record.data {
            RData::TXT(txt) => {
                let octets: Vec<u8> =
                    txt.txt_data.iter().flat_map(|part| part.iter().copied()).collect();
                record_id(&String::from_utf8(octets).ok()?)
            }
            _ => None,
        });
        ids.next().filter(|_| ids.next().is_none())
    }

    async fn fetch(&self, domain: &str) -> Result<Policy, Trouble> {
        let port = if self.port == 443 { String::new() } else { format!(":{}", self.port) };
        let address = format!("https://mta-sts.{domain}{port}/.well-known/mta-sts.txt");
        let away = |why: &str| Trouble::new(TroubleKind::StsPolicyFetchError, why);
        let wrong = |why: &str| Trouble::new(TroubleKind::StsPolicyInvalid, why);
        let told = |error: reqwest::Error| not_fetched(error.without_url());
        let mut response = self.client.get(address).send().await.map_err(told)?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(away(&format!("the server answers {}", response.status())));
        }
        let mut text = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(told)? {
            text.extend_from_slice(&chunk);
            if text.len() > MAX_POLICY_BYTES {
                return Err(wrong("the policy is too long"));
            }
        }
        let text = String::from_utf8(text).map_err(|_| wrong("the policy is no text"))?;
        Policy::parse(&text).ok_or_else(|| wrong("what came is no policy"))
    }

    async fn load(&self, domain: &str) -> Option<Kept> {
        let path = self.folder.join(domain);
        let text = tokio::task::spawn_blocking(move || std::fs::read(path).ok()).await.ok()??;
        serde_json::from_slice(&text).ok()
    }

    /// Writes a policy aside and puts it in place. Without it the policy holds until the next start.
    async fn keep(&self, domain: &str, kept: &Kept) {
        let (folder, path) = (self.folder.clone(), self.folder.join(domain));
        let Ok(text) = serde_json::to_vec(kept) else { return };
        let write = move || write_aside(&folder, &path, &text);
        let written = tokio::task::spawn_blocking(write).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(domain, %error, "an MTA-STS policy could not be kept");
        }
    }
}

fn write_aside(folder: &Path, path: &Path, text: &[u8]) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    // No domain begins with a dot.
    let aside = folder.join(format!(".{}", path.file_name().unwrap_or_default().to_string_lossy()));
    std::fs::write(&aside, text)?;
    std::fs::rename(aside, path)
}

impl Kept {
    fn holds(&self, now_unix_millis: u64) -> bool {
        let age = now_unix_millis.saturating_sub(self.fetched_unix_millis);
        age / 1_000 < self.policy.max_age.min(MAX_AGE)
    }
}

impl Policy {
    /// Reads a policy (RFC 8461 §3.2). `None` if it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (mut version, mut mode, mut max_age, mut mx) = (None, None, None, Vec::new());
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let (key, value) = line.split_once(':')?;
            let value = value.trim();
            match key.trim() {
                // What is said twice counts the first time.
                "version" => version = version.or(Some(value)),
                "mode" => mode = mode.or(Some(value)),
                "max_age" => max_age = max_age.or(Some(value)),
                "mx" if mx.len() < MAX_HOSTS => mx.push(value.to_ascii_lowercase()),
                _ => {}
            }
        }
        let mode = match mode? {
            "enforce" => Mode::Enforce,
            "testing" => Mode::Testing,
            "none" => Mode::None,
            _ => return None,
        };
        let max_age = max_age.filter(|digits| digits.len() <= 10)?.parse().ok()?;
        let whole = version == Some("STSv1") && (mode == Mode::None || !mx.is_empty());
        whole.then_some(Self { mode, mx, max_age })
    }

    /// As a report describes it (RFC 8460 §4.4).
    #[must_use]
    pub fn seen(&self) -> SeenPolicy {
        let mode = match self.mode {
            Mode::Enforce => "enforce",
            Mode::Testing => "testing",
            Mode::None => "none",
        };
        let mut lines = vec!["version: STSv1".to_owned(), format!("mode: {mode}")];
        // As many hosts as leave room for the last line.
        lines
            .extend(self.mx.iter().take(MAX_LINES.saturating_sub(3)).map(|mx| format!("mx: {mx}")));
        lines.push(format!("max_age: {}", self.max_age));
        SeenPolicy::new(PolicyKind::Sts, lines, self.mx.iter().cloned())
    }

    /// Whether `host` may take mail (RFC 8461 §4.1).
    #[must_use]
    pub fn allows(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        self.mx.iter().any(|pattern| match pattern.strip_prefix("*.") {
            Some(parent) => host.split_once('.').is_some_and(|(_, rest)| rest == parent),
            None => *pattern == host,
        })
    }
}

/// The `id` of a TXT record; `None` if it is not one of ours.
fn record_id(text: &str) -> Option<String> {
    let mut fields = text.split(';').map(str::trim);
    if fields.next() != Some("v=STSv1") {
        return None;
    }
    let id = fields.find_map(|field| field.strip_prefix("id="))?.trim();
    let fine = (1..=32).contains(&id.len()) && id.chars().all(|c| c.is_ascii_alphanumeric());
    fine.then(|| id.to_owned())
}

/// What an error of the HTTP client means.
fn not_fetched(error: reqwest::Error) -> Trouble {
    let kind = match tls_error(&error).map(kind_of) {
        Some(TroubleKind::ValidationFailure) | None => TroubleKind::StsPolicyFetchError,
        Some(_) => TroubleKind::StsWebpkiInvalid,
    };
    Trouble::new(kind, &with_causes(&error))
}

/// An error and what caused it, in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Names as our resolver knows them.
#[derive(Debug)]
pub(super) struct Names(pub(super) TokioResolver);

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.0.clone();
        Box::pin(async move {
            let found = resolver.lookup_ip(format!("{}.", name.as_str())).await?;
            let all: Vec<SocketAddr> = found.iter().map(|ip| SocketAddr::new(ip, 0)).collect();
            Ok(Box::new(all.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies() {
        let cases = [
            (
                "as in the standard",
                "version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\n\
                 max_age: 604800\r\n",
                Some((Mode::Enforce, 2)),
            ),
            ("LF", "version: STSv1\nmode: testing\nmx: a\nmax_age: 1\n", Some((Mode::Testing, 1))),
            (
                "none needs no hosts",
                "version: STSv1\nmode: none\nmax_age: 1",
                Some((Mode::None, 0)),
            ),
            (
                "unknown keys pass",
                "version: STSv1\nx: y\nmode: none\nmax_age: 1",
                Some((Mode::None, 0)),
            ),
            ("no hosts", "version: STSv1\nmode: enforce\nmax_age: 1\n", None),
            ("another version", "version: STSv2\nmode: none\nmax_age: 1\n", None),
            ("no age", "version: STSv1\nmode: none\n", None),
            ("an endless age", "version: STSv1\nmode: none\nmax_age: 99999999999\n", None),
            ("an unknown mode", "version: STSv1\nmode: maybe\nmax_age: 1\n", None),
            ("a page", "<html>\n", None),
            ("empty", "", None),
        ];
        for (name, text, expected) in cases {
            let policy = Policy::parse(text).map(|policy| (policy.mode, policy.mx.len()));
            assert_eq!(policy, expected, "{name}");
        }
    }

    #[test]
    fn hosts() {
        let mx = ["mail.example.com", "*.example.net"].map(str::to_owned).to_vec();
        let policy = Policy { mode: Mode::Enforce, mx, max_age: 1 };
        let cases = [
            ("the host", "mail.example.com", true),
            ("in another case, with a dot", "Mail.Example.COM.", true),
            ("another host", "mx.example.com", false),
            ("one label more", "mx1.example.net", true),
            ("two labels more", "a.mx1.example.net", false),
            ("none more", "example.net", false),
            ("ends alike", "mx.badexample.net", false),
        ];
        for (name, host, expected) in cases {
            assert_eq!(policy.allows(host), expected, "{name}");
        }
    }

    #[test]
    fn policies_in_reports_are_bounded() {
        let hosts = format!("mx: {}.example\n", "a".repeat(500)).repeat(MAX_HOSTS);
        let text = format!("version: STSv1\nmode: enforce\n{hosts}max_age: 7\n");
        let seen = Policy::parse(&text).unwrap().seen();
        assert_eq!((seen.lines.len(), seen.hosts.len()), (MAX_LINES, MAX_LINES));
        assert_eq!(seen.lines.last().map(String::as_str), Some("max_age: 7"));
        assert!(seen.lines.iter().chain(&seen.hosts).all(|line| line.len() <= 255));
    }

    #[test]
    fn ids() {
        let cases = [
            ("plain", "v=STSv1; id=20160831085700Z;", Some("20160831085700Z")),
            ("without spaces", "v=STSv1;id=1", Some("1")),
            ("no id", "v=STSv1;", None),
            ("another record", "v=spf1 -all", None),
            ("an id that is none", "v=STSv1; id=a b", None),
        ];
        for (name, text, expected) in cases {
            assert_eq!(record_id(text).as_deref(), expected, "{name}");
        }
    }
}
