//! Listeners: bound, accepting, limited, and stopped within a bound.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use imss_core::envelope::Client;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{self, Connection};
use super::slots::Slots;
use super::{Acceptor, Mode, Reply, Settings, TlsStore};

/// Connections the kernel holds for us until we accept them.
const BACKLOG: u32 = 1_024;
/// How long we wait after a failed `accept`, which is for want of files or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a client that is turned away may take to read why.
const TURN_AWAY: Duration = Duration::from_secs(5);

/// One address to listen at.
#[derive(Debug, Clone)]
pub struct Listener {
    /// Where.
    pub address: SocketAddr,
    /// What for.
    pub mode: Mode,
    /// TLS.
    pub tls: TlsUse,
    /// Settings of its own instead of the server's.
    pub settings: Option<Arc<Settings>>,
}

/// TLS at a listener.
#[derive(Debug, Clone)]
pub enum TlsUse {
    /// None.
    Off,
    /// Offered by STARTTLS (RFC 3207).
    StartTls(Arc<TlsStore>),
    /// From the first octet (RFC 8314 §3).
    Implicit(Arc<TlsStore>),
}

/// Why the server cannot listen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The system refuses the address.
    #[error("cannot listen at {address}: {source}{}", remedy(source))]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// A mode that trusts what comes in, at an address that others reach.
    #[error(
        "a {mode:?} listener must be on a loopback address, not {address}; use 127.0.0.1 or ::1"
    )]
    NotLoopback {
        /// The address.
        address: SocketAddr,
        /// The mode.
        mode: Mode,
    },
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; another program listens there: stop it or choose another",
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 want root or the capability CAP_NET_BIND_SERVICE"
        }
        io::ErrorKind::AddrNotAvailable => "; no interface of this machine has that address",
        _ => "",
    }
}

/// What all connections share.
#[derive(Debug)]
pub(super) struct Shared<A> {
    pub(super) acceptor: Arc<A>,
    pub(super) settings: Arc<ArcSwap<Settings>>,
    pub(super) slots: Arc<Slots>,
    /// No new connections; idle ones end.
    pub(super) stop: CancellationToken,
    /// Every connection ends now.
    pub(super) cut: CancellationToken,
    connections: TaskTracker,
}

/// The running server.
#[derive(Debug)]
pub struct Server {
    addresses: Vec<SocketAddr>,
    settings: Arc<ArcSwap<Settings>>,
    slots: Arc<Slots>,
    stop: CancellationToken,
    cut: CancellationToken,
    connections: TaskTracker,
    listeners: TaskTracker,
}

impl Server {
    /// Binds all `listeners`, then accepts connections at each.
    ///
    /// Call it inside a tokio runtime.
    ///
    /// # Errors
    ///
    /// See [`StartError`]. Nothing was accepted then.
    pub fn start<A: Acceptor>(
        listeners: Vec<Listener>,
        settings: Settings,
        acceptor: Arc<A>,
    ) -> Result<Self, StartError> {
        let mut bound = Vec::with_capacity(listeners.len());
        for listener in listeners {
            bound.push((bind(&listener)?, listener));
        }
        let server = Self {
            addresses: bound.iter().filter_map(|(socket, _)| socket.local_addr().ok()).collect(),
            settings: Arc::new(ArcSwap::from_pointee(settings)),
            slots: Arc::default(),
            stop: CancellationToken::new(),
            cut: CancellationToken::new(),
            connections: TaskTracker::new(),
            listeners: TaskTracker::new(),
        };
        let shared = Arc::new(Shared {
            acceptor,
            settings: Arc::clone(&server.settings),
            slots: Arc::clone(&server.slots),
            stop: server.stop.clone(),
            cut: server.cut.clone(),
            connections: server.connections.clone(),
        });
        for (socket, listener) in bound {
            let shared = Arc::clone(&shared);
            // How many connections there are is counted for all listeners, and for each.
            server.listeners.spawn(accept(socket, Arc::new(listener), shared));
        }
        Ok(server)
    }

    /// Where the listeners are, in order; the port is the real one if 0 was asked for.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Connections that are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.slots.total()
    }

    /// Takes new settings for the connections that come after this.
    pub fn reconfigure(&self, settings: Settings) {
        self.settings.store(Arc::new(settings));
    }

    /// Stops: nothing new is accepted, clients that wait with no message on its way get 421, and
    /// the others may finish theirs until `bound` is over. Returns how many were cut then.
    pub async fn stop(self, bound: Duration) -> usize {
        self.stop.cancel();
        self.listeners.close();
        self.listeners.wait().await;
        self.connections.close();
        let in_time = tokio::time::timeout(bound, self.connections.wait()).await;
        let cut = if in_time.is_ok() { 0 } else { self.connections.len() };
        self.cut.cancel();
        self.connections.wait().await;
        cut
    }
}

fn bind(listener: &Listener) -> Result<TcpListener, StartError> {
    let Listener { address, mode, .. } = *listener;
    if mode.is_loopback_only() && !address.ip().to_canonical().is_loopback() {
        return Err(StartError::NotLoopback { address, mode });
    }
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().map_err(|source| StartError::Bind { address, source })
}

async fn accept<A: Acceptor>(socket: TcpListener, listener: Arc<Listener>, shared: Arc<Shared<A>>) {
    let here = Arc::default();
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            () = shared.stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer)) => welcome((stream, peer), &listener, &here, &shared),
            Err(error) => {
                tracing::warn!(address = %listener.address, %error, "cannot accept connections");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Starts a session, or turns the client away.
fn welcome<A: Acceptor>(
    (stream, peer): (TcpStream, SocketAddr),
    listener: &Arc<Listener>,
    here: &Arc<Slots>,
    shared: &Arc<Shared<A>>,
) {
    let settings = listener.settings.clone().unwrap_or_else(|| shared.settings.load_full());
    let ip = peer.ip().to_canonical();
    // A load balancer may have all places; they are its clients', which are counted later.
    let is_balancer = settings.proxy_from.iter().any(|network| network.contains(&ip));
    let is_trusted = is_balancer || settings.relaying.trusts(ip);
    let client = Client::new(ip);
    let everywhere = shared.settings.load();
    let place = shared.slots.take(ip, is_trusted, &everywhere.limits);
    let places = place.and_then(|slot| Ok([slot, here.take(ip, is_trusted, &settings.limits)?]));
    match places {
        Ok(slots) => {
            let connection =
                Connection::new(client, settings, Arc::clone(listener), Arc::clone(shared));
            shared.connections.spawn(connection::serve(connection, stream, slots));
        }
        Err(reply) => {
            tracing::debug!(client = %ip, %reply, "turned away");
            let is_implicit = matches!(listener.tls, TlsUse::Implicit(_));
            // Where the client waits for a handshake, it could not read a reply.
            if !is_implicit {
                shared.connections.spawn(turn_away(stream, reply));
            }
        }
    }
}

async fn turn_away(mut stream: TcpStream, reply: Reply) {
    let mut output = Vec::new();
    reply.write_to(&mut output);
    // The client may be gone already, which is as well.
    let _ = tokio::time::timeout(TURN_AWAY, stream.write_all(&output)).await;
}
