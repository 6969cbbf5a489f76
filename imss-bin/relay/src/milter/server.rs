//! Listeners for mail servers that ask: TCP and Unix sockets, limited, stopped within a bound.
//!
//! Whoever may connect can have mail stored and sent, so a TCP client must be in the trusted networks,
//! and a Unix socket has a mode. A client above the limit, or a stranger, is hung up on: a mail server
//! then does what its own settings say, which should be to try again later.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Address;
use super::conversation::Conversation;
use crate::gateway::Gateway;
use crate::inbound::Settings;

/// How long we wait after a failed `accept`, which is for want of files or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the server cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen at {address}: {source}{}", remedy(source))]
pub struct StartError {
    /// Where.
    pub address: Address,
    /// What the system says.
    pub source: io::Error,
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; another program listens there: stop it or choose another",
        io::ErrorKind::NotFound => "; make the folder, and let the mail server's user into it",
        io::ErrorKind::PermissionDenied => "; the gateway's user must be allowed to write there",
        _ => "",
    }
}

/// The running server.
#[derive(Debug)]
pub struct Server {
    addresses: Vec<Address>,
    /// Socket files, removed at the end.
    files: Vec<PathBuf>,
    stop: CancellationToken,
    cut: CancellationToken,
    connections: TaskTracker,
    listeners: TaskTracker,
}

/// What all connections share.
#[derive(Clone)]
struct Shared {
    gateway: Arc<Gateway>,
    settings: Arc<Settings>,
    slots: Arc<Semaphore>,
    stop: CancellationToken,
    cut: CancellationToken,
    connections: TaskTracker,
}

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Server {
    /// Binds all `listeners`, then accepts connections at each.
    ///
    /// # Errors
    ///
    /// See [`StartError`]. Nothing was accepted then.
    pub async fn start(
        listeners: &[Address],
        settings: Settings,
        gateway: Arc<Gateway>,
    ) -> Result<Self, StartError> {
        let mut server = Self {
            addresses: Vec::new(),
            files: Vec::new(),
            stop: CancellationToken::new(),
            cut: CancellationToken::new(),
            connections: TaskTracker::new(),
            listeners: TaskTracker::new(),
        };
        let mut sockets = Vec::new();
        for address in listeners {
            let failed = |source| StartError { address: address.clone(), source };
            let (socket, bound) = bind(address).await.map_err(failed)?;
            if let Address::Unix { path, .. } = address {
                server.files.push(path.clone());
            }
            server.addresses.push(bound);
            sockets.push(socket);
        }
        let shared = Shared {
            gateway,
            slots: Arc::new(Semaphore::new(settings.limits.connections)),
            settings: Arc::new(settings),
            stop: server.stop.clone(),
            cut: server.cut.clone(),
            connections: server.connections.clone(),
        };
        for socket in sockets {
            server.listeners.spawn(accept(socket, shared.clone()));
        }
        Ok(server)
    }

    /// Where the listeners are, in order; a port is the real one if 0 was asked for.
    #[must_use]
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Stops: nothing new is accepted, connections without a message end, the others may finish theirs
    /// until `bound` is over. Returns how many were cut then.
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

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
        for path in &self.files {
            // Whoever starts next removes what is left.
            let _ = std::fs::remove_file(path);
        }
    }
}

async fn bind(address: &Address) -> io::Result<(Socket, Address)> {
    Ok(match address {
        Address::Tcp(address) => {
            let socket = TcpListener::bind(address).await?;
            let bound = socket.local_addr()?;
            (Socket::Tcp(socket), Address::Tcp(bound))
        }
        Address::Unix { path, mode } => (Socket::Unix(bind_unix(path, *mode)?), address.clone()),
    })
}

/// Binds under another name first: nobody can connect before the mode is right. A file that a gateway
/// left which was killed is replaced; anything else that lies there is not ours to remove.
fn bind_unix(path: &Path, mode: u32) -> io::Result<UnixListener> {
    use std::os::unix::fs::FileTypeExt;
    match std::fs::symlink_metadata(path) {
        Ok(known) if !known.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is no socket"));
        }
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        _ => {}
    }
    let fresh = path.with_extension("new");
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&fresh)?;
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(mode))?;
    std::fs::rename(&fresh, path)?;
    Ok(listener)
}

async fn accept(socket: Socket, shared: Shared) {
    loop {
        let accepted = tokio::select! {
            () = shared.stop.cancelled() => return,
            accepted = next(&socket, &shared) => accepted,
        };
        if let Err(error) = accepted {
            tracing::warn!(%error, "cannot accept connections of mail servers");
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }
}

async fn next(socket: &Socket, shared: &Shared) -> io::Result<()> {
    match socket {
        Socket::Tcp(listener) => {
            let (stream, peer) = listener.accept().await?;
            if !shared.settings.relaying.trusts(peer.ip()) {
                tracing::warn!(client = %peer.ip(), "not in trusted-networks: no milter for it");
                return Ok(());
            }
            stream.set_nodelay(true)?;
            serve(stream, shared);
        }
        Socket::Unix(listener) => serve(listener.accept().await?.0, shared),
    }
    Ok(())
}

fn serve<S>(stream: S, shared: &Shared)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Ok(slot) = Arc::clone(&shared.slots).try_acquire_owned() else {
        tracing::warn!("too many connections of mail servers; see limits.connections");
        return;
    };
    let conversation = Conversation::new(
        Arc::clone(&shared.gateway),
        Arc::clone(&shared.settings),
        shared.stop.clone(),
    );
    let cut = shared.cut.clone();
    shared.connections.spawn(async move {
        tokio::select! {
            ended = conversation.run(stream) => if let Err(error) = ended {
                tracing::warn!(%error, "the conversation with a mail server broke off");
            },
            () = cut.cancelled() => tracing::warn!("a mail server was cut off while stopping"),
        }
        drop(slot);
    });
}
