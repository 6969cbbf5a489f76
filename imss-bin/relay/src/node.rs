//! One node from start to stop: configuration → everything running, and back.
//!
//! In: a [`Config`]. Out: a [`Node`] that accepts connections. Whatever cannot start is an error
//! with its reason before the first connection is accepted. Stopping loses nothing: sessions and
//! deliveries get a bounded time, and what is not delivered stays in the spool.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use imss_core::envelope::{ForwardPath, ReversePath};
use imss_policy::Policy;
use imss_scan::Runner;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::border::{Border, KeyError};
use crate::config::{self, Config, ListenTls, Mistakes, OutboundTls, ReportSettings, UseOfAuth};
use crate::control::desk::Desk;
use crate::control::server::ControlServer;
use crate::engines::{self, EngineError};
use crate::filter::{Filter, FilterError, Surroundings};
use crate::gateway::{Gateway, Parts};
use crate::http;
use crate::ids::{QueueIds, unix_millis};
use crate::inbound::auth::Users;
use crate::inbound::auth::users::UsersError;
use crate::inbound::server::{self, TlsUse};
use crate::inbound::tls::TlsError;
use crate::inbound::{self, Mode, Server, TlsStore};
use crate::milter;
use crate::notices::{Bare, DsnWriter};
use crate::observe::Logs;
use crate::outbound::tls::sts::Sts;
use crate::outbound::{Outbound, Tls, TlsLevel};
use crate::pipeline::MessageRules;
use crate::quarantine::Quarantine;
use crate::queue::{Hooks, Queue, Recovered};
use crate::recipients::{ListError, Recipients};
use crate::reports::tls::post::Outbox;
use crate::reports::tls::{self, TlsCounts};
use crate::reports::{Counts, daily, dmarc};
use crate::resolver::{resolver, validating_resolver};
use crate::signatures::update::{Updated, update};
use crate::spool::SpoolError;

/// How long sessions may take to end a message when the node stops.
const SESSION_GRACE: Duration = Duration::from_secs(20);

/// How long an HTTP connection may be without an answer, besides the time that scanning takes.
const HTTP_PATIENCE: Duration = Duration::from_secs(60);

/// How often held mail that was kept long enough is removed.
const SWEEP_PAUSE: Duration = Duration::from_secs(3_600);

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Policy, lists or lookup clients.
    #[error(transparent)]
    Engines(#[from] EngineError),
    /// The sender filter.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The settings have mistakes.
    #[error("{0}")]
    Settings(Mistakes),
    /// The spool.
    #[error("spool: {0}")]
    Spool(#[from] SpoolError),
    /// A listener.
    #[error(transparent)]
    Listen(#[from] server::StartError),
    /// A listener for mail servers that ask.
    #[error(transparent)]
    Milter(#[from] milter::server::StartError),
    /// Certificate or key.
    #[error(transparent)]
    Certificate(#[from] TlsError),
    /// A key that signs mail.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Who exists in our domains.
    #[error("recipients: {0}")]
    Recipients(#[from] ListError),
    /// Who may log in.
    #[error("users: {0}")]
    Users(#[from] UsersError),
    /// The TLS library.
    #[error("TLS for outgoing mail: {0}")]
    OutboundTls(#[from] rustls::Error),
    /// The client that fetches MTA-STS policies, or posts TLS reports.
    #[error("HTTPS client: {0}")]
    Https(#[from] reqwest::Error),
    /// The keys that DNSSEC begins with.
    #[error("{}: not a file of DNSKEY records: {reason}", path.display())]
    TrustAnchor {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The resolver.
    #[error("DNS resolver: {0}")]
    Resolver(#[from] hickory_resolver::net::NetError),
    /// The metrics endpoint.
    #[error("cannot serve metrics on {address}: {source}")]
    Http {
        /// Its address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A folder or a thread.
    #[error("{}: {source}", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A running node.
pub struct Node {
    settings: Arc<Settings>,
    recovered: Recovered,
    server: Server,
    milter: milter::server::Server,
    http: Option<SocketAddr>,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

/// What is read again by a reload, and where it goes.
struct Settings {
    config: Config,
    gateway: Arc<Gateway>,
    tls: Option<Arc<TlsStore>>,
    users: Option<Arc<Users>>,
}

impl Settings {
    /// Reads the settings file again, and everything that is swapped while mail goes on.
    fn reload(&self) -> Result<(), StartError> {
        let fresh = match &self.config.file {
            Some(file) => config::load(Some(file)).map_err(StartError::Settings)?,
            None => self.config.clone(),
        };
        // First of all: a password that was taken back must not wait for a mistake elsewhere to be
        // mended.
        if let Some(users) = &self.users {
            users.reload()?;
        }
        let (judge, border) = (engines::judge(&fresh)?, Border::new(&fresh)?);
        Filter::prepare(&fresh.filter).map_err(FilterError::from)?;
        if let Some(tls) = &self.tls {
            tls.reload()?;
        }
        self.gateway.recipients().reload()?;
        self.gateway.filter().reconfigure(fresh.filter).map_err(FilterError::from)?;
        self.gateway.swap(judge, border);
        tracing::info!("policy, lists, certificate and signing keys were read again");
        Ok(())
    }
}

impl Node {
    /// Starts everything that `config` names.
    ///
    /// # Errors
    ///
    /// [`StartError`]. Nothing goes on running then.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let judge = engines::judge(&config)?;
        let border = Arc::new(ArcSwap::from_pointee(Border::new(&config)?));
        let logs = Arc::new(Logs::open(&config.log_dir()).map_err(at(config.log_dir()))?);
        let (queue, recovered) = Queue::open(&config.spool_dir(), config.queue.clone())?;
        let quarantine = Quarantine::new(&config.data_dir);
        let ids = Arc::new(QueueIds::new());
        let hostname = config.inbound.hostname.clone();
        let (notices, bare) = (config.notices.clone(), bare(&config, &border));
        let notifier =
            DsnWriter::new(&hostname, notices, Arc::clone(&ids), bare, Arc::clone(&border));
        let hooks = Hooks { observer: Arc::clone(&logs) as _, notifier: Arc::new(notifier) };
        let outbound = outbound(&config)?;
        let lookups = engines::lookups(&config)?;
        let filter = Arc::new(open_filter(&config, lookups.dns.clone())?);
        let parts = Parts {
            hostname,
            filter: Arc::clone(&filter),
            rules: MessageRules { allow_partial: config.allow_partial },
            runner: Runner::new(config.scan.threads, config.scan.deadline),
            lookups,
            queue: queue.clone(),
            outbound: Arc::clone(&outbound),
            srs: config.inbound.relaying.srs.clone(),
            notifier: Arc::clone(&hooks.notifier),
            logs,
            counts: counts(&config)?,
            ids,
            recipients: Recipients::open(&config.recipients, &config.outbound.routing)?,
        };
        let gateway = Arc::new(Gateway::new(parts, judge, border));
        let stop = CancellationToken::new();
        let tls = certificate(&config)?;
        let users = users(&config)?;
        let server = listen(&config, (tls.as_ref(), users.as_ref()), &gateway)?;
        let (asked, inbound) = (Arc::clone(&gateway), config.inbound.clone());
        let milter = milter::server::Server::start(&config.milters, inbound, asked).await?;
        let mut tasks = Vec::new();
        let http = match config.http {
            Some(at) => Some(serve_http(at, &config, &gateway, &stop, &mut tasks).await?),
            None => None,
        };
        let settings = Arc::new(Settings { config, gateway, tls, users });
        tasks.push(control(&settings, &queue, &quarantine, &stop)?);
        tasks.push(tokio::spawn(sweep(Arc::clone(&settings), quarantine.clone(), stop.clone())));
        tasks.extend(reports(&settings, &stop)?);
        tasks.push(tokio::spawn(filter.run(stop.clone())));
        if let Some(interval) = settings.config.signatures.interval {
            tasks.push(tokio::spawn(keep_current(Arc::clone(&settings), interval, stop.clone())));
        }
        let until = stop.clone();
        tasks.push(tokio::spawn(async move {
            queue.run(Arc::clone(&outbound), quarantine, hooks, until).await;
            outbound.close().await;
        }));
        Ok(Self { settings, recovered, server, milter, http, stop, tasks })
    }

    /// The bound addresses of the listeners, each with its mode.
    pub fn listening(&self) -> impl Iterator<Item = (SocketAddr, Mode)> {
        let modes = self.settings.config.listeners.iter().map(|listener| listener.mode);
        self.server.addresses().iter().copied().zip(modes)
    }

    /// Where mail servers ask.
    #[must_use]
    pub fn milters(&self) -> &[milter::Address] {
        self.milter.addresses()
    }

    /// The bound address of the metrics endpoint.
    #[must_use]
    pub fn http(&self) -> Option<SocketAddr> {
        self.http
    }

    /// What was found in the spool at the start.
    #[must_use]
    pub fn recovered(&self) -> &Recovered {
        &self.recovered
    }

    /// What the node shares.
    #[must_use]
    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.settings.gateway
    }

    /// Reads policy, lists and certificate again; messages and handshakes from now on use them.
    ///
    /// # Errors
    ///
    /// [`StartError`]; then everything stays as it was.
    pub fn reload(&self) -> Result<(), StartError> {
        self.settings.reload()
    }

    /// Stops: no new connections, sessions end their message, deliveries under way finish, the spool is
    /// synced. Everything within a bound.
    pub async fn stop(self) {
        let stopped =
            tokio::join!(self.server.stop(SESSION_GRACE), self.milter.stop(SESSION_GRACE));
        let cut = stopped.0.saturating_add(stopped.1);
        if cut > 0 {
            tracing::warn!(cut, "sessions were cut at the end of their time");
        }
        self.stop.cancel();
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task ended badly");
            }
        }
        self.settings.gateway.logs().sync();
    }
}

/// Fetches signature sets now and at every interval. What is wrong is logged, and the next time counts.
async fn keep_current(settings: Arc<Settings>, interval: Duration, stop: CancellationToken) {
    let signatures = &settings.config.signatures;
    let Some(source) = &signatures.source else { return };
    let store = settings.config.signature_store();
    let mut timer = tokio::time::interval(interval);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = timer.tick() => {}
        }
        let try_it = || async { settings.reload().map_err(|error| error.to_string()) };
        match update(&store, &signatures.keys, (source, false), try_it).await {
            Ok(Updated { name, version, before }) if before.as_ref() != Some(&version) => {
                tracing::info!(%name, %version, "a new signature set is in use");
            }
            Ok(Updated { name, version, .. }) => {
                tracing::debug!(%name, %version, "the signature set is current");
            }
            Err(error) => tracing::error!(%error, %source, "signature sets were not updated"),
        }
    }
}

/// Where messages are counted for DMARC reports.
fn counts(config: &Config) -> Result<Option<Arc<Counts>>, StartError> {
    let dir = config.dmarc_dir();
    let open = |_: &ReportSettings| Counts::open(&dir).map(Arc::new).map_err(at(dir.clone()));
    config.authentication.reports.as_ref().map(open).transpose()
}

/// The way out, and where its sessions are counted for TLS reports.
fn outbound(config: &Config) -> Result<Arc<Outbound>, StartError> {
    let tls = outbound_tls(config)?;
    let outbound = Outbound::new(config.outbound.clone(), resolver(config)?, tls);
    if config.tls_reports.is_none() {
        return Ok(Arc::new(outbound));
    }
    let dir = config.tls_report_dir();
    let counts = TlsCounts::open(&dir).map_err(at(dir))?;
    Ok(Arc::new(outbound.with_observer(Arc::new(counts))))
}

/// Sends reports about the days that are over.
fn reports(
    settings: &Arc<Settings>,
    stop: &CancellationToken,
) -> Result<Vec<JoinHandle<()>>, StartError> {
    let (config, gateway) = (&settings.config, &settings.gateway);
    let host = config.inbound.hostname.clone();
    let mut tasks = Vec::new();
    let asker = settings.gateway.lookups().auth.clone();
    if let Some((own, names)) = config.authentication.reports.clone().zip(asker) {
        let sender = dmarc::send::Sender::new(config.dmarc_dir(), own, host.clone(), names);
        tasks.push(tokio::spawn(daily::run(sender, Arc::clone(gateway), stop.clone())));
    }
    if let Some(own) = config.tls_reports.clone() {
        let (dir, names) = (config.tls_report_dir(), resolver(config)?);
        let outbox = Outbox::new(dir.join("post"), names.clone(), own.post_to_private)?;
        let settings = own.reports;
        let sender = tls::send::Sender::new(dir, settings, host, names, outbox);
        tasks.push(tokio::spawn(daily::run(sender, Arc::clone(gateway), stop.clone())));
    }
    Ok(tasks)
}

fn at(path: PathBuf) -> impl FnOnce(io::Error) -> StartError {
    |source| StartError::Io { path, source }
}

/// The sender filter of a node, with its files.
///
/// # Errors
///
/// [`FilterError`]: another process has the files, or one cannot be read.
pub fn open_filter(
    config: &Config,
    dns: Option<imss_scan::reputation::dns::Client>,
) -> Result<Filter, FilterError> {
    let around = Surroundings {
        hostname: config.inbound.hostname.clone(),
        relaying: config.inbound.relaying.clone(),
        dns,
        clock: None,
        log_dir: Some(config.log_dir()),
    };
    Filter::open(&config.filter_dir(), config.filter.clone(), around)
}

/// What makes of a reverse-path the address of who is told about mail: without a tag of ours, and
/// the original of a rewritten one.
fn bare(config: &Config, border: &Arc<ArcSwap<Border>>) -> Bare {
    let (tags, srs) = (Arc::clone(border), config.inbound.relaying.srs.clone());
    Box::new(move |path| {
        let path = tags.load().bare(path);
        let forward = path.mailbox().cloned().map(ForwardPath::Mailbox);
        let reverse = |path: ForwardPath| srs.as_ref()?.reverse(&path, unix_millis()).ok()?;
        let original = forward.and_then(reverse).and_then(|original| original.mailbox().cloned());
        original.map_or(path, ReversePath::Mailbox)
    })
}

/// TLS towards other servers, with the lookups that its levels ask for.
fn outbound_tls(config: &Config) -> Result<Tls, StartError> {
    let OutboundTls { policy, roots } = &config.outbound_tls;
    let mut tls = Tls::by_policy(policy.clone(), roots.clone())?;
    if policy.levels().any(TlsLevel::asks_dane) {
        tls = tls.with_dane(validating_resolver(config)?);
    }
    if policy.levels().any(TlsLevel::asks_sts) {
        let sts = Sts::new(resolver(config)?, config.data_dir.join("mta-sts"), roots)?;
        tls = tls.with_sts(Arc::new(sts));
    }
    Ok(tls)
}

fn certificate(config: &Config) -> Result<Option<Arc<TlsStore>>, StartError> {
    let open = |files: &crate::config::TlsFiles| {
        TlsStore::open(files.certificate.clone(), files.key.clone()).map(Arc::new)
    };
    Ok(config.tls.as_ref().map(open).transpose()?)
}

/// Who may log in, if anybody may at any listener.
fn users(config: &Config) -> Result<Option<Arc<Users>>, StartError> {
    let is_used = config.listeners.iter().any(|listener| listener.auth != UseOfAuth::Off);
    Ok(is_used.then(|| Users::open(config.users.clone()).map(Arc::new)).transpose()?)
}

fn listen(
    config: &Config,
    (tls, users): (Option<&Arc<TlsStore>>, Option<&Arc<Users>>),
    gateway: &Arc<Gateway>,
) -> Result<Server, StartError> {
    let listeners = config.listeners.iter().map(|listener| {
        let mut settings = listener.settings.clone();
        settings.auth.users = users.filter(|_| listener.auth != UseOfAuth::Off).cloned();
        let tls = match (listener.tls, tls) {
            (ListenTls::Off, _) | (_, None) => TlsUse::Off,
            (ListenTls::StartTls, Some(store)) => TlsUse::StartTls(Arc::clone(store)),
            (ListenTls::Implicit, Some(store)) => TlsUse::Implicit(Arc::clone(store)),
        };
        let settings = Some(Arc::new(settings));
        inbound::Listener { address: listener.address, mode: listener.mode, tls, settings }
    });
    Ok(Server::start(listeners.collect(), config.inbound.clone(), Arc::clone(gateway))?)
}

/// The socket that commands talk to. The spool's lock is held: nobody else serves this folder.
fn control(
    settings: &Arc<Settings>,
    queue: &Queue,
    quarantine: &Quarantine,
    stop: &CancellationToken,
) -> Result<JoinHandle<()>, StartError> {
    let path = settings.config.control_socket();
    let server = ControlServer::bind(&path).map_err(at(path))?;
    let (reloaded, ids) = (Arc::clone(settings), Arc::clone(settings));
    let desk = Desk::new(
        queue.clone(),
        quarantine.clone(),
        move || ids.gateway.ids().next(),
        move || reloaded.reload().map_err(|error| error.to_string()),
    )
    .with_filter(Arc::clone(settings.gateway.filter()));
    Ok(tokio::spawn(server.run(Arc::new(desk), stop.clone())))
}

/// Removes held and archived mail whose time is over, as the policy of the moment says.
async fn sweep(settings: Arc<Settings>, quarantine: Quarantine, stop: CancellationToken) {
    let mut clock = tokio::time::interval(SWEEP_PAUSE);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = clock.tick() => {}
        }
        let (judge, held) = (settings.gateway.judge(), quarantine.clone());
        let swept = tokio::task::spawn_blocking(move || sweep_once(judge.policy(), &held)).await;
        if let Err(error) = swept {
            tracing::error!(%error, "the quarantine was not swept");
        }
    }
}

fn sweep_once(policy: &Policy, quarantine: &Quarantine) {
    let archive = quarantine.archive();
    let held = policy.quarantine_areas().map(|(area, kept)| (quarantine, area, kept.keep));
    let archived = policy.archive_areas().map(|(area, kept)| (&archive, area, kept.keep));
    for (store, area, keep) in held.chain(archived) {
        let Some(keep) = keep else { continue };
        match store.sweep(area, keep, unix_millis()) {
            Ok(0) => {}
            Ok(removed) => tracing::info!(area, removed, "held mail was kept long enough"),
            Err(error) => tracing::error!(area, %error, "an area was not swept"),
        }
    }
}

/// The one HTTP server: what there is to see, and scanning where it is asked for.
async fn serve_http(
    address: SocketAddr,
    config: &Config,
    gateway: &Arc<Gateway>,
    stop: &CancellationToken,
    tasks: &mut Vec<JoinHandle<()>>,
) -> Result<SocketAddr, StartError> {
    let (ready, gauges) = (Arc::clone(gateway), Arc::clone(gateway));
    let mut routes = http::observe::routes(
        metrics_handle(),
        Arc::new(move || ready.readiness()),
        Arc::new(move || set_gauges(&gauges)),
    );
    let mut patience = HTTP_PATIENCE;
    if let Some(access) = &config.scan_access {
        // An upload, then a scan.
        let upload = http::scan::upload_time(&config.inbound);
        patience = patience.saturating_add(upload).saturating_add(config.scan.deadline);
        let inbound = Arc::new(config.inbound.clone());
        let at_once = config.scan.threads.saturating_mul(4);
        let gateway = Arc::clone(gateway);
        routes = routes.merge(http::scan::routes(gateway, inbound, access.clone(), at_once));
    }
    let (bound, serving) = http::serve(address, routes, patience, stop.clone())
        .await
        .map_err(|source| StartError::Http { address, source })?;
    tasks.push(tokio::spawn(serving));
    Ok(bound)
}

/// The recorder is one per process; a second node in it adds to the same metrics.
fn metrics_handle() -> PrometheusHandle {
    static HANDLE: std::sync::OnceLock<PrometheusHandle> = std::sync::OnceLock::new();
    HANDLE
        .get_or_init(|| {
            let recorder = PrometheusBuilder::new().build_recorder();
            let handle = recorder.handle();
            if metrics::set_global_recorder(recorder).is_err() {
                tracing::warn!("another metrics recorder is installed; /metrics will be empty");
            }
            handle
        })
        .clone()
}

#[expect(clippy::cast_precision_loss, reason = "gauges for people")]
fn set_gauges(gateway: &Gateway) {
    let counts = gateway.queue().counts();
    let runner = gateway.runner().stats();
    let age =
        counts.oldest_unix_millis.map_or(0, |oldest| unix_millis().saturating_sub(oldest) / 1000);
    for (name, value) in [
        ("imss_queue_messages", counts.messages),
        ("imss_queue_recipients", counts.recipients),
        ("imss_queue_held_recipients", counts.held),
        ("imss_queue_bytes", counts.bytes),
        ("imss_queue_oldest_seconds", age),
        ("imss_spool_journal_bytes", counts.journal_bytes),
        ("imss_spool_healthy", u64::from(counts.healthy)),
        ("imss_scan_stuck_threads", u64::try_from(runner.stuck).unwrap_or(u64::MAX)),
        ("imss_log_lines_lost", gateway.logs().lost()),
    ] {
        metrics::gauge!(name).set(value as f64);
    }
}
