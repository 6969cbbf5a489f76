//! Reports that go by HTTPS (RFC 8460 §3, §5.4): a folder of what is to be posted, and who posts it.
//!
//! In: packed reports with their addresses. Out: files `DAY!DIGEST!N.json`, each gone after a 2yz answer,
//! or after a day of tries. The digest stands for the domain, which may be too long for a file's name. Redirects are not followed, and what the server says is not read. The server
//! is asked for no certificate of a known authority: a report on broken TLS must get through.
//!
//! Addresses come from the DNS of others. Only HTTPS to port 443 of addresses of the Internet is spoken:
//! nobody can have us talk to what lies in our own network, or try the ports of others.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use jiff::civil::Date;
use reqwest::{Url, redirect};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::outside::{Outside, may_be_asked};
use super::record::Places;
use crate::ids::unix_millis;

/// Reports that may wait; more are not kept.
const MAX_FILES: usize = 10_000;
/// How long a report is tried (RFC 8460 §5.4).
const MAX_AGE_MILLIS: u64 = 24 * 3_600 * 1_000;
/// For one try.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What is to be posted, and the client for it.
pub(crate) struct Outbox {
    dir: PathBuf,
    client: reqwest::Client,
    /// Whether addresses of our own networks are fine: where DNS is ours.
    private: bool,
}

/// A report that waits.
#[derive(Debug, Serialize, Deserialize)]
struct Waiting {
    url: String,
    since_unix_millis: u64,
    /// The packed report in base64.
    packed: String,
}

impl Outbox {
    /// Keeps what waits in `dir`. `private` allows addresses of private networks and this machine.
    pub(crate) fn new(
        dir: PathBuf,
        resolver: TokioResolver,
        private: bool,
    ) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .https_only(true)
            .redirect(redirect::Policy::none())
            .timeout(TIMEOUT)
            .no_proxy()
            .tls_danger_accept_invalid_certs(true)
            .dns_resolver(Arc::new(Outside::new(resolver, private)))
            .build()?;
        Ok(Self { dir, client, private })
    }

    /// Keeps a report for all HTTPS addresses of `places`; how many that are.
    pub(crate) fn put(
        &self,
        day: Date,
        domain: &str,
        places: &Places,
        packed: &[u8],
    ) -> std::io::Result<usize> {
        if places.https.is_empty() {
            return Ok(0);
        }
        std::fs::create_dir_all(&self.dir)?;
        let packed = base64_simd::STANDARD.encode_to_string(packed);
        let digest = digest(domain);
        for (number, url) in places.https.iter().enumerate() {
            let waiting = Waiting {
                url: url.clone(),
                since_unix_millis: unix_millis(),
                packed: packed.clone(),
            };
            let name = format!("{day}!{digest}!{number}.json");
            let aside = self.dir.join(format!(".{name}"));
            std::fs::write(&aside, serde_json::to_vec(&waiting)?)?;
            std::fs::rename(aside, self.dir.join(name))?;
        }
        Ok(places.https.len())
    }

    /// Tries all that waits, once.
    pub(crate) async fn post(&self) {
        let mut files: Vec<PathBuf> = std::fs::read_dir(&self.dir)
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
            .collect();
        files.sort();
        for (number, file) in files.into_iter().enumerate() {
            if number >= MAX_FILES || self.try_one(&file).await {
                let _ = std::fs::remove_file(&file);
            }
        }
    }

    /// Tries one; true if it need not be tried again.
    async fn try_one(&self, file: &Path) -> bool {
        let read = std::fs::read(file).ok();
        let Some(waiting) = read.and_then(|read| serde_json::from_slice::<Waiting>(&read).ok())
        else {
            return true;
        };
        let Ok(packed) = base64_simd::STANDARD.decode_to_vec(&waiting.packed) else { return true };
        let url = waiting.url;
        let why = match self.ask(&url, packed).await {
            Ok(status) if status.is_success() => return true,
            Ok(status) => status.to_string(),
            Err(why) => why,
        };
        let age = unix_millis().saturating_sub(waiting.since_unix_millis);
        let is_over = age >= MAX_AGE_MILLIS;
        tracing::warn!(url, why, is_over, "a TLS report was not taken");
        is_over
    }

    async fn ask(&self, url: &str, packed: Vec<u8>) -> Result<reqwest::StatusCode, String> {
        let url = Url::parse(url).map_err(|error| error.to_string())?;
        if !self.private {
            may_be_asked(&url)?;
        }
        let asked = self.client.post(url).header("Content-Type", "application/tlsrpt+gzip");
        let answer = asked.body(packed).send().await;
        answer.map(|answer| answer.status()).map_err(|error| error.without_url().to_string())
    }
}

/// A short name for a text of any length, fit for a file's name.
fn digest(text: &str) -> String {
    Sha256::digest(text).iter().take(16).map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use hickory_resolver::config::ResolverConfig;
    use hickory_resolver::net::runtime::TokioRuntimeProvider;

    use super::*;

    fn outbox(dir: &Path) -> Outbox {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let builder = TokioResolver::builder_with_config(
            ResolverConfig::from_parts(None, Vec::new(), Vec::new()),
            TokioRuntimeProvider::default(),
        );
        Outbox::new(dir.to_owned(), builder.build().unwrap(), false).unwrap()
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn places(urls: &[&str]) -> Places {
        let https = urls.iter().map(|url| (*url).to_owned()).collect();
        Places { mail: Vec::new(), https }
    }

    #[test]
    fn long_domains_have_files_too() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = outbox(folder.path());
        let day: Date = "2026-11-22".parse().unwrap();
        let places = places(&["https://r.example/"]);
        for length in [237, 242, 253] {
            let domain: String = "a.".chars().cycle().take(length).collect();
            assert_eq!(outbox.put(day, &domain, &places, b"x").unwrap(), 1, "{length}");
        }
        assert_eq!(names(folder.path()).len(), 3);
    }
}
