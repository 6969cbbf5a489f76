//! Keeps open sessions for the next message, and bounds how many there are per server.
//!
//! In: sessions after a clean transaction. Out: the most recently used one that is still open and
//! silent. Unused sessions are closed with QUIT after the idle time by a task that runs only while
//! there are any.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::route::Server;
use super::session::{Protocol, Session};
use super::settings::PoolSettings;
use super::tls::Need;

/// Jobs that wait for a server or work with it, as a multiple of its sessions; and how many always may.
const CROWD_FACTOR: usize = 5;
const MIN_CROWD: usize = 100;

/// Whom a session is with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Peer {
    pub(super) protocol: Protocol,
    pub(super) server: Server,
    /// What the session must have: one that was opened for less must not be used for more.
    pub(super) need: Need,
}

/// The open sessions.
#[derive(Debug)]
pub(super) struct Pool {
    settings: PoolSettings,
    quit_limit: Duration,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    peers: HashMap<Peer, Sessions>,
    reaping: bool,
}

#[derive(Debug)]
struct Sessions {
    permits: Arc<Semaphore>,
    /// The most recently used last.
    idle: Vec<(Instant, Session)>,
}

impl Pool {
    pub(super) fn new(settings: PoolSettings, quit_limit: Duration) -> Arc<Self> {
        Arc::new(Self { settings, quit_limit, inner: Mutex::default() })
    }

    /// Waits for the right to use one of the server's sessions. Hold it while using one. `None` if so
    /// many wait already that mail for others would be kept waiting with them.
    pub(super) async fn permit(self: &Arc<Self>, peer: &Peer) -> Option<OwnedSemaphorePermit> {
        let permits = {
            let mut inner = self.lock();
            match inner.peers.get(peer) {
                Some(sessions) => Arc::clone(&sessions.permits),
                None => {
                    let permits = Arc::new(Semaphore::new(self.settings.max_per_server.max(1)));
                    let sessions = Sessions { permits: Arc::clone(&permits), idle: Vec::new() };
                    inner.peers.insert(peer.clone(), sessions);
                    self.watch(&mut inner);
                    permits
                }
            }
        };
        // Everybody who waits or works holds one reference.
        let crowd = self.settings.max_per_server.saturating_mul(CROWD_FACTOR).max(MIN_CROWD);
        if Arc::strong_count(&permits) > crowd {
            return None;
        }
        permits.acquire_owned().await.ok()
    }

    /// An open session, if there is one.
    pub(super) fn take(&self, peer: &Peer) -> Option<Session> {
        let mut inner = self.lock();
        let sessions = inner.peers.get_mut(peer)?;
        while let Some((since, mut session)) = sessions.idle.pop() {
            // The server may have closed it, or said 421, which comes to the same.
            if since.elapsed() < self.settings.idle && session.wire.is_quiet() {
                return Some(session);
            }
        }
        None
    }

    /// Keeps a session for later, or says goodbye if it has served long enough.
    pub(super) fn put(self: &Arc<Self>, peer: &Peer, session: Session) {
        let keep = session.reusable
            && session.messages < self.settings.max_messages
            && !self.settings.idle.is_zero();
        if !keep {
            if session.reusable {
                tokio::spawn(session.wire.quit(self.quit_limit));
            }
            return;
        }
        let mut inner = self.lock();
        if let Some(sessions) = inner.peers.get_mut(peer) {
            sessions.idle.push((Instant::now(), session));
        }
        self.watch(&mut inner);
    }

    /// Starts the task that closes idle sessions and forgets servers, unless it runs.
    fn watch(self: &Arc<Self>, inner: &mut Inner) {
        if std::mem::replace(&mut inner.reaping, true) {
            return;
        }
        let pool = Arc::downgrade(self);
        let pause = self.settings.idle / 4;
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(pause.max(Duration::from_millis(100))).await;
                let Some(pool) = pool.upgrade() else { return };
                if !pool.reap() {
                    return;
                }
            }
        });
    }

    /// Closes what was idle too long. False if nothing is left to watch.
    fn reap(&self) -> bool {
        let idle = self.settings.idle;
        let mut old = Vec::new();
        let mut inner = self.lock();
        inner.peers.retain(|_, sessions| {
            let fresh = sessions.idle.iter().position(|(since, _)| since.elapsed() < idle);
            let fresh = fresh.unwrap_or(sessions.idle.len());
            old.extend(sessions.idle.drain(..fresh));
            // Somebody who waits for a permit holds the semaphore as well.
            !sessions.idle.is_empty() || Arc::strong_count(&sessions.permits) > 1
        });
        inner.reaping = !inner.peers.is_empty();
        let reaping = inner.reaping;
        drop(inner);
        for (_, session) in old {
            tokio::spawn(session.wire.quit(self.quit_limit));
        }
        reaping
    }

    /// Says goodbye to all idle sessions.
    pub(super) async fn close(&self) {
        let sessions: Vec<_> = {
            let mut inner = self.lock();
            inner.peers.values_mut().flat_map(|sessions| sessions.idle.drain(..)).collect()
        };
        for (_, session) in sessions {
            session.wire.quit(self.quit_limit).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
