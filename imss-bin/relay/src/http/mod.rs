//! The one HTTP server of a node: metrics and health ([`observe`]), and scanning ([`scan`]).
//!
//! In: requests. Out: answers. Connections are limited in number, and one over which no octet of an
//! answer went for so long is closed, whatever the client does.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;

pub mod access;
mod envelope;
pub mod observe;
pub mod scan;

/// Connections at once; more wait in the system's queue.
const MAX_CONNECTIONS: usize = 256;
/// How long requests may still take when the node stops.
const GRACE: Duration = Duration::from_secs(10);
/// How long we wait after a failed `accept`, which is for want of files or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Listens on `address`; serves `routes` until `stop`. A connection may be without an answer for
/// `patience`.
///
/// # Errors
///
/// The address cannot be bound.
pub async fn serve(
    address: SocketAddr,
    routes: Router,
    patience: Duration,
    stop: CancellationToken,
) -> io::Result<(SocketAddr, impl Future<Output = ()>)> {
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let listener = Bounded { listener, slots, patience };
    let service = routes.into_make_service_with_connect_info::<Peer>();
    let serving = async move {
        let (until, late) = (stop.clone().cancelled_owned(), stop.cancelled_owned());
        let serving = axum::serve(listener, service).with_graceful_shutdown(until);
        let too_late = async {
            late.await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            served = serving => if let Err(error) = served {
                tracing::error!(%error, "the HTTP server ended");
            },
            () = too_late => tracing::warn!("HTTP requests were cut while stopping"),
        }
    };
    Ok((bound, serving))
}

/// Who sent a request.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

impl Connected<IncomingStream<'_, Bounded>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Bounded>) -> Self {
        Self(*stream.remote_addr())
    }
}

/// A listener with so many connections and no more.
pub struct Bounded {
    listener: TcpListener,
    slots: Arc<Semaphore>,
    patience: Duration,
}

/// A connection that ends when its time is over.
pub struct Timed {
    stream: TcpStream,
    patience: Duration,
    /// Runs from the last octet that was written.
    end: Pin<Box<Sleep>>,
    _slot: Option<OwnedSemaphorePermit>,
}

impl Listener for Bounded {
    type Io = Timed;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Timed, SocketAddr) {
        // The semaphore is never closed; if it were, connections would not be counted.
        let slot = Arc::clone(&self.slots).acquire_owned().await.ok();
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    let (patience, end) = (self.patience, tokio::time::sleep(self.patience));
                    return (Timed { stream, patience, end: Box::pin(end), _slot: slot }, peer);
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept HTTP connections");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Timed {
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        self.end.as_mut().poll(cx).is_ready()
    }
}

impl AsyncRead for Timed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_over(cx) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Timed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_over(cx) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, octets));
        let end = Instant::now() + self.patience;
        self.end.as_mut().reset(end);
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
