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

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use imss_core::report::dsn::Language;
use imss_policy::Policy;
use imss_scan::Runner;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::control::desk::Desk;
use crate::control::server::ControlServer;
use crate::engines::{self, EngineError};
use crate::gateway::{Gateway, Parts};
use crate::ids::{QueueIds, unix_millis};
use crate::inbound::server::{self, TlsUse};
use crate::inbound::tls::TlsError;
use crate::inbound::{Mode, Server, TlsStore};
use crate::notices::DsnWriter;
use crate::observe::{Logs, http};
use crate::outbound::{Outbound, Tls, TlsLevel};
use crate::pipeline::MessageRules;
use crate::quarantine::Quarantine;
use crate::queue::{Hooks, Queue, Recovered};
use crate::signatures::update::{Updated, update};
use crate::spool::SpoolError;

/// How long sessions may take to end a message when the node stops.
const SESSION_GRACE: Duration = Duration::from_secs(20);

/// How often held mail that was kept long enough is removed.
const SWEEP_PAUSE: Duration = Duration::from_secs(3_600);

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Policy, lists or lookup clients.
    #[error(transparent)]
    Engines(#[from] EngineError),
    /// The spool.
    #[error("spool: {0}")]
    Spool(#[from] SpoolError),
    /// A listener.
    #[error(transparent)]
    Listen(#[from] server::StartError),
    /// Certificate or key.
    #[error(transparent)]
    Certificate(#[from] TlsError),
    /// The TLS library.
    #[error("TLS for outgoing mail: {0}")]
    OutboundTls(#[from] rustls::Error),
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
    http: Option<SocketAddr>,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

/// What is read again by a reload, and where it goes.
struct Settings {
    config: Config,
    gateway: Arc<Gateway>,
    tls: Option<Arc<TlsStore>>,
}

impl Settings {
    fn reload(&self) -> Result<(), StartError> {
        let judge = engines::judge(&self.config)?;
        if let Some(tls) = &self.tls {
            tls.reload()?;
        }
        self.gateway.swap(judge);
        tracing::info!("policy, lists and certificate were read again");
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
        let logs = Arc::new(Logs::open(&config.log_dir()).map_err(at(config.log_dir()))?);
        let (queue, recovered) = Queue::open(&config.spool_dir(), config.queue.clone())?;
        let quarantine = Quarantine::new(&config.data_dir);
        let ids = Arc::new(QueueIds::new());
        let hostname = config.inbound.hostname.clone();
        let notifier = DsnWriter::new(hostname.clone(), Language::Both, Arc::clone(&ids));
        let hooks = Hooks { observer: Arc::clone(&logs) as _, notifier: Arc::new(notifier) };
        let tls = Tls::unverified(TlsLevel::Opportunistic)?;
        let outbound = Arc::new(Outbound::new(config.outbound.clone(), resolver(&config)?, tls));
        let parts = Parts {
            hostname,
            rules: MessageRules { allow_partial: config.allow_partial },
            runner: Runner::new(config.scan.threads, config.scan.deadline),
            lookups: engines::lookups(&config)?,
            queue: queue.clone(),
            outbound: Arc::clone(&outbound),
            notifier: Arc::clone(&hooks.notifier),
            logs,
            ids,
        };
        let gateway = Arc::new(Gateway::new(parts, judge));
        let stop = CancellationToken::new();
        let tls = certificate(&config)?;
        let server = listen(&config, tls.as_ref(), &gateway)?;
        let mut tasks = Vec::new();
        let metrics = metrics_handle();
        let http = match config.http {
            Some(address) => Some(observe(address, metrics, &gateway, &stop, &mut tasks).await?),
            None => None,
        };
        let settings = Arc::new(Settings { config, gateway, tls });
        tasks.push(control(&settings, &queue, &quarantine, &stop)?);
        tasks.push(tokio::spawn(sweep(Arc::clone(&settings), quarantine.clone(), stop.clone())));
        if let Some(interval) = settings.config.signatures.interval {
            tasks.push(tokio::spawn(keep_current(Arc::clone(&settings), interval, stop.clone())));
        }
        let until = stop.clone();
        tasks.push(tokio::spawn(async move {
            queue.run(Arc::clone(&outbound), quarantine, hooks, until).await;
            outbound.close().await;
        }));
        Ok(Self { settings, recovered, server, http, stop, tasks })
    }

    /// The bound addresses of the listeners, each with its mode.
    pub fn listening(&self) -> impl Iterator<Item = (SocketAddr, Mode)> {
        let modes = self.settings.config.listeners.iter().map(|listener| listener.mode);
        self.server.addresses().iter().copied().zip(modes)
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
        let cut = self.server.stop(SESSION_GRACE).await;
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

fn at(path: PathBuf) -> impl FnOnce(io::Error) -> StartError {
    |source| StartError::Io { path, source }
}

fn resolver(config: &Config) -> Result<TokioResolver, StartError> {
    let provider = TokioRuntimeProvider::default();
    let mut builder = if config.dns.servers.is_empty() {
        TokioResolver::builder(provider)?
    } else {
        let servers = config.dns.servers.iter().map(|server| {
            let mut named = NameServerConfig::udp_and_tcp(server.ip());
            for connection in &mut named.connections {
                connection.port = server.port();
            }
            named
        });
        let names = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
        TokioResolver::builder_with_config(names, provider)
    };
    builder.options_mut().timeout = config.dns.timeout;
    Ok(builder.build()?)
}

fn certificate(config: &Config) -> Result<Option<Arc<TlsStore>>, StartError> {
    let open = |files: &crate::config::TlsFiles| {
        TlsStore::open(files.certificate.clone(), files.key.clone()).map(Arc::new)
    };
    Ok(config.tls.as_ref().map(open).transpose()?)
}

fn listen(
    config: &Config,
    tls: Option<&Arc<TlsStore>>,
    gateway: &Arc<Gateway>,
) -> Result<Server, StartError> {
    let tls = tls.map_or(TlsUse::Off, |store| TlsUse::StartTls(Arc::clone(store)));
    let listeners = config.listeners.iter().map(|listener| crate::inbound::Listener {
        address: listener.address,
        mode: listener.mode,
        tls: tls.clone(),
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
    );
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

async fn observe(
    address: SocketAddr,
    metrics: PrometheusHandle,
    gateway: &Arc<Gateway>,
    stop: &CancellationToken,
    tasks: &mut Vec<JoinHandle<()>>,
) -> Result<SocketAddr, StartError> {
    let (ready, gauges) = (Arc::clone(gateway), Arc::clone(gateway));
    let (bound, serving) = http::serve(
        address,
        metrics,
        Arc::new(move || ready.readiness()),
        Arc::new(move || set_gauges(&gauges)),
        stop.clone(),
    )
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
