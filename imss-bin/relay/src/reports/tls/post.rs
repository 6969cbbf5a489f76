//! Reports that go by HTTPS (RFC 8460 §3, §5.4): a folder of what is to be posted, and who posts it.
//!
//! In: packed reports with their addresses. Out: files `DAY!HOST!DOMAIN!N.json`, each gone after a 2yz answer,
//! or after a day of tries. Host and domain are digests: they may be too long for a file's name. Several
//! hosts are asked at a time, and who does not answer is asked once a round. Redirects are not followed, and what the server says is not read. The server
//! is asked for no certificate of a known authority: a report on broken TLS must get through.
//!
//! Addresses come from the DNS of others. Only HTTPS to port 443 of addresses of the Internet is spoken:
//! nobody can have us talk to what lies in our own network, or try the ports of others.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use jiff::civil::Date;
use reqwest::{Url, redirect};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

use super::outside::{Outside, may_be_asked};
use super::record::Places;
use crate::ids::unix_millis;

/// Reports that may wait, and their octets; more are not kept, and that is said.
const MAX_WAITING: Room = Room { files: 10_000, octets: 1 << 30 };
/// How long a report is tried (RFC 8460 §5.4).
const MAX_AGE_MILLIS: u64 = 24 * 3_600 * 1_000;
/// For one try.
const TIMEOUT: Duration = Duration::from_secs(60);
/// For all that one host gets in a round.
const HOST_TIME: Duration = Duration::from_secs(300);
/// For a round, which is less than the hour between two.
const ROUND_TIME: Duration = Duration::from_secs(2_400);
/// Hosts that are asked at the same time.
const HOSTS_AT_ONCE: usize = 16;
/// Why a host is not asked.
const SILENT: &str = "its server does not answer";

/// What is to be posted, and the client for it.
pub(crate) struct Outbox {
    dir: PathBuf,
    poster: Arc<Poster>,
    /// Rounds in which a host did not answer, by the digest of its name.
    silent: Mutex<HashMap<String, u32>>,
    /// What more may wait; not known before somebody looked.
    room: Mutex<Option<Room>>,
}

/// Files and octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Room {
    files: usize,
    octets: u64,
}

/// Who posts.
struct Poster {
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
        let poster = Arc::new(Poster { client, private });
        Ok(Self { dir, poster, silent: Mutex::default(), room: Mutex::default() })
    }

    /// Keeps a report for all HTTPS addresses of `places`, as far as there is room; for how many.
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
        let (digest, mut kept) = (digest(domain), 0_usize);
        for (number, url) in places.https.iter().enumerate() {
            let waiting = Waiting {
                url: url.clone(),
                since_unix_millis: unix_millis(),
                packed: packed.clone(),
            };
            let waiting = serde_json::to_vec(&waiting)?;
            if !self.has_room(waiting.len()) {
                tracing::warn!(%day, domain, url, "a TLS report is dropped: too many wait");
                continue;
            }
            let name = format!("{day}!{}!{digest}!{number}.json", host_of(url));
            let aside = self.dir.join(format!(".{name}"));
            std::fs::write(&aside, waiting)?;
            std::fs::rename(aside, self.dir.join(name))?;
            kept = kept.saturating_add(1);
        }
        Ok(kept)
    }

    /// Tries all that waits, once, as far as the time for a round goes.
    pub(crate) async fn post(&self) {
        let dir = self.dir.clone();
        let files = tokio::task::spawn_blocking(move || waiting_in(&dir)).await;
        let hosts = self.by_host(files.unwrap_or_default());
        let round = async {
            let mut running = JoinSet::new();
            for (host, files) in hosts {
                if running.len() >= HOSTS_AT_ONCE {
                    self.note(running.join_next().await);
                }
                let poster = Arc::clone(&self.poster);
                running.spawn(async move {
                    let answers = timeout(HOST_TIME, poster.post_all(files)).await;
                    (host, answers == Ok(true))
                });
            }
            while !running.is_empty() {
                self.note(running.join_next().await);
            }
        };
        if timeout(ROUND_TIME, round).await.is_err() {
            tracing::warn!("servers for TLS reports are slow: what was not tried waits an hour");
        }
        // What was taken makes room.
        *self.room.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether there is room for one more report; then it is taken.
    fn has_room(&self, octets: usize) -> bool {
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        let left = room.get_or_insert_with(|| MAX_WAITING.without(&waiting_in(&self.dir)));
        left.take(u64::try_from(octets).unwrap_or(u64::MAX))
    }

    /// The files of each host; who answered so far comes first, so that the others cannot be in its way.
    fn by_host(&self, files: Vec<PathBuf>) -> Vec<(String, Vec<PathBuf>)> {
        let mut hosts: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
        for file in files {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let host = name.split('!').nth(1).unwrap_or_default().to_owned();
            hosts.entry(host).or_default().push(file);
        }
        let mut silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        silent.retain(|host, _| hosts.contains_key(host));
        let mut hosts: Vec<_> = hosts.into_iter().collect();
        hosts.sort_by_key(|(host, _)| silent.get(host).copied().unwrap_or_default());
        hosts
    }

    /// Remembers whether a host answers.
    fn note(&self, done: Option<Result<(String, bool), JoinError>>) {
        let Some(Ok((host, answers))) = done else { return };
        let mut silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        if answers {
            silent.remove(&host);
        } else {
            let rounds = silent.entry(host).or_default();
            *rounds = rounds.saturating_add(1);
        }
    }
}

impl Room {
    /// What these files leave.
    fn without(mut self, files: &[PathBuf]) -> Self {
        let lengths = files.iter().filter_map(|file| file.metadata().ok()).map(|about| about.len());
        let octets = lengths.fold(0_u64, u64::saturating_add);
        self.files = self.files.saturating_sub(files.len());
        self.octets = self.octets.saturating_sub(octets);
        self
    }

    /// Takes the room of a file, if it is there.
    fn take(&mut self, octets: u64) -> bool {
        let left = self.files.checked_sub(1).zip(self.octets.checked_sub(octets));
        if let Some((files, octets)) = left {
            *self = Self { files, octets };
        }
        left.is_some()
    }
}

impl Poster {
    /// Tries what waits for one host; false if it does not answer. Then it is not asked for the rest.
    async fn post_all(&self, files: Vec<PathBuf>) -> bool {
        let mut answers = true;
        for file in files {
            let read = tokio::fs::read(&file).await.ok();
            let waiting = read.and_then(|read| serde_json::from_slice::<Waiting>(&read).ok());
            let is_over = match waiting {
                Some(waiting) => self.try_one(waiting, &mut answers).await,
                None => {
                    tracing::warn!(file = %file.display(), "not a TLS report, and dropped");
                    true
                }
            };
            if is_over {
                let _ = tokio::fs::remove_file(&file).await;
            }
        }
        answers
    }

    /// Tries one; true if it need not be tried again.
    async fn try_one(&self, waiting: Waiting, answers: &mut bool) -> bool {
        let Ok(packed) = base64_simd::STANDARD.decode_to_vec(&waiting.packed) else { return true };
        let url = waiting.url;
        let asked = if *answers { self.ask(&url, packed).await } else { Err(SILENT.to_owned()) };
        let why = match asked {
            Ok(status) if status.is_success() => return true,
            Ok(status) => status.to_string(),
            Err(why) => {
                *answers = false;
                why
            }
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

/// The files in a folder, the oldest day first.
fn waiting_in(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten();
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        .collect();
    files.sort();
    files
}

/// The digest of the host of an address.
fn host_of(url: &str) -> String {
    let url = Url::parse(url).ok();
    digest(url.as_ref().and_then(Url::host_str).unwrap_or_default())
}

/// A short name for a text of any length, fit for a file's name.
fn digest(text: &str) -> String {
    Sha256::digest(text).iter().take(16).map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use hickory_resolver::config::ResolverConfig;
    use hickory_resolver::net::runtime::TokioRuntimeProvider;
    use tokio::net::TcpListener;

    use super::*;

    fn outbox(dir: &Path, private: bool) -> Outbox {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let builder = TokioResolver::builder_with_config(
            ResolverConfig::from_parts(None, Vec::new(), Vec::new()),
            TokioRuntimeProvider::default(),
        );
        Outbox::new(dir.to_owned(), builder.build().unwrap(), private).unwrap()
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
        let outbox = outbox(folder.path(), false);
        let day: Date = "2026-11-22".parse().unwrap();
        let places = places(&["https://r.example/"]);
        for length in [237, 242, 253] {
            let domain: String = "a.".chars().cycle().take(length).collect();
            assert_eq!(outbox.put(day, &domain, &places, b"x").unwrap(), 1, "{length}");
        }
        assert_eq!(names(folder.path()).len(), 3);
    }

    #[tokio::test]
    async fn silent_servers_are_not_in_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = outbox(folder.path(), true);
        // They take connections, and say nothing.
        let listen = |ip| TcpListener::bind((Ipv4Addr::from(ip), 0));
        let (one, other) =
            (listen([127, 0, 0, 1]).await.unwrap(), listen([127, 0, 0, 2]).await.unwrap());
        let urls = [&one, &other].map(|at| format!("https://{}/", at.local_addr().unwrap()));
        let day = "2026-11-22".parse().unwrap();
        for domain in ["a.example", "b.example", "c.example"] {
            outbox.put(day, domain, &places(&[&urls[0], &urls[1]]), b"x").unwrap();
        }
        let both = async { tokio::join!(one.accept(), other.accept()) };
        tokio::select! {
            () = outbox.post() => panic!("nobody answers"),
            taken = timeout(Duration::from_secs(20), both) => {
                assert!(taken.is_ok(), "one is waited for before the other is asked");
            }
        }
    }

    #[tokio::test]
    async fn who_does_not_answer_comes_last() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = outbox(folder.path(), true);
        let file = |name: &str| folder.path().join(name);
        let files = || vec![file("d!a!x!0.json"), file("d!b!x!0.json"), file("d!b!y!0.json")];
        let order = || outbox.by_host(files()).into_iter().map(|(host, _)| host);
        assert_eq!(order().collect::<String>(), "ab");
        outbox.note(Some(Ok(("a".to_owned(), false))));
        assert_eq!(order().collect::<String>(), "ba");
        outbox.note(Some(Ok(("a".to_owned(), true))));
        assert_eq!(order().collect::<String>(), "ab");
        // Port 1 refuses: one question is enough, and all reports wait.
        for domain in ["a.example", "b.example"] {
            let places = places(&["https://127.0.0.1:1/"]);
            outbox.put("2026-11-22".parse().unwrap(), domain, &places, b"x").unwrap();
        }
        outbox.post().await;
        assert_eq!(names(folder.path()).len(), 2);
        let silent = outbox.silent.lock().unwrap().values().copied().collect::<Vec<_>>();
        assert_eq!(silent, [1]);
    }

    #[test]
    fn what_waits_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = outbox(folder.path(), false);
        let day = "2026-11-22".parse().unwrap();
        let put = |domain| outbox.put(day, domain, &places(&["https://r.example/"]), b"x").unwrap();
        assert_eq!(put("a.example"), 1);
        let octets = waiting_in(folder.path())[0].metadata().unwrap().len();
        let left = Room { files: MAX_WAITING.files - 1, octets: MAX_WAITING.octets - octets };
        assert_eq!(MAX_WAITING.without(&waiting_in(folder.path())), left);
        let cases = [
            ("files", Room { files: 0, octets: u64::MAX }, 0),
            ("octets", Room { files: 1, octets: octets - 1 }, 0),
            ("just", Room { files: 1, octets }, 1),
        ];
        for (name, room, expected) in cases {
            *outbox.room.lock().unwrap() = Some(room);
            assert_eq!(put("b.example"), expected, "{name}");
        }
        assert_eq!(put("c.example"), 0, "the room is taken");
        assert_eq!(names(folder.path()).len(), 2, "what waits stays");
    }
}
