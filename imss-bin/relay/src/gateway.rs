//! What one running node shares: the policy and scanner of the moment, the worker pool, the queue,
//! the way out, the logs. Everything that can change while it runs is one immutable value behind
//! an atomic pointer.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use imss_core::envelope::{Client, ForwardPath, ReversePath};
use imss_core::ids::QueueId;
use imss_core::limits::StopFlag;
use imss_scan::{RunError, Runner};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::border::Border;
use crate::dispatch;
use crate::filter::Filter;
use crate::ids::{QueueIds, unix_millis};
use crate::inbound::{Acceptor, Leave, Mode, Received, Reply, Role, SessionEvent, Stage};
use crate::judge::Judge;
use crate::notices::own_message;
use crate::observe::Logs;
use crate::outbound::Outbound;
use crate::pipeline::{self, MessageRules};
use crate::queue::{Notifier, Queue};
use crate::recipients::Recipients;
use crate::reports::Counts;
use crate::spool::Accepted;
use crate::spool::writer::BodyWriter;
use crate::srs::Srs;
use imss_scan::lookup::Lookups;

/// Octets of memory that messages being scanned may take together, as far as it can be foreseen.
const SCAN_MEMORY_BYTES: u64 = 224 << 20;
/// Memory of one scan per octet of the message: the octets themselves and what they decode to.
const MEMORY_PER_OCTET: u64 = 2;
/// Messages below this size are never made to wait for memory: the number of sessions bounds them.
const SMALL_BYTES: u64 = 512 << 10;
/// Messages that crashed a worker and are remembered until they come again.
const CRASHES_KEPT: usize = 1_024;
/// Octets one permit of the memory gate stands for.
const PERMIT_BYTES: u64 = 64 << 10;

/// One node. See the module.
pub struct Gateway {
    parts: Parts,
    judge: ArcSwap<Judge>,
    border: Arc<ArcSwap<Border>>,
    memory: Arc<Semaphore>,
    crashed: Mutex<VecDeque<u64>>,
}

/// What a gateway is put together from.
pub struct Parts {
    /// The node's name.
    pub hostname: String,
    /// What every message must keep to.
    pub rules: MessageRules,
    /// Threads that read and scan.
    pub runner: Runner,
    /// Who answers the engines' questions.
    pub lookups: Lookups,
    /// Where accepted mail is.
    pub queue: Queue,
    /// The way out.
    pub outbound: Arc<Outbound>,
    /// How forwarded mail gets a reverse-path of ours.
    pub srs: Option<Arc<Srs>>,
    /// Who writes delivery status notifications.
    pub notifier: Arc<dyn Notifier>,
    /// Who may hand over mail.
    pub filter: Arc<Filter>,
    /// Logs.
    pub logs: Arc<Logs>,
    /// Where messages are counted for DMARC reports, if they are sent.
    pub counts: Option<Arc<Counts>>,
    /// Queue IDs.
    pub ids: Arc<QueueIds>,
    /// Who exists in our domains.
    pub recipients: Recipients,
}

impl Gateway {
    /// A gateway that judges by `judge`.
    #[must_use]
    pub fn new(parts: Parts, judge: Judge, border: Arc<ArcSwap<Border>>) -> Self {
        let permits = usize::try_from(SCAN_MEMORY_BYTES / PERMIT_BYTES).unwrap_or(1);
        Self {
            parts,
            judge: ArcSwap::from_pointee(judge),
            border,
            memory: Arc::new(Semaphore::new(permits)),
            crashed: Mutex::new(VecDeque::new()),
        }
    }

    /// Judges by `judge` and signs with the keys of `border` from the next message on. Messages
    /// under way keep the old ones.
    pub fn swap(&self, judge: Judge, border: Border) {
        self.judge.store(Arc::new(judge));
        self.border.store(Arc::new(border));
    }

    /// What happens to mail at our border.
    #[must_use]
    pub fn border(&self) -> Arc<Border> {
        self.border.load_full()
    }

    /// Whether a proxy can hand a message over to both recipients in one transaction: there is one reply
    /// for all.
    fn go_together(
        &self,
        reverse_path: &ReversePath,
        first: &ForwardPath,
        other: &ForwardPath,
    ) -> bool {
        let now = unix_millis();
        let company = |path: &ForwardPath| {
            let original = self.srs().and_then(|srs| srs.reverse(path, now).ok().flatten());
            let path = original.as_ref().unwrap_or(path);
            let sender = self.srs().and_then(|srs| srs.forward(reverse_path, path, now));
            let is_rewritten = sender.is_some();
            let sender = sender.unwrap_or_else(|| reverse_path.clone());
            (self.outbound().company(&sender, path), is_rewritten)
        };
        company(first) == company(other)
    }

    /// A message of our own, signed with the key of its author's domain if there is one.
    pub(crate) fn own_message(
        &self,
        to: Vec<ForwardPath>,
        message: Vec<u8>,
        subject: &str,
    ) -> Accepted {
        let message = self.border.load().own(message);
        own_message(self.parts.ids.next(), to, message, subject)
    }

    /// The policy and scanner of the moment.
    #[must_use]
    pub fn judge(&self) -> Arc<Judge> {
        self.judge.load_full()
    }

    /// The node's name.
    #[must_use]
    pub fn hostname(&self) -> &str {
        &self.parts.hostname
    }

    /// What every message must keep to.
    #[must_use]
    pub fn message_rules(&self) -> MessageRules {
        self.parts.rules
    }

    /// Who answers the engines' questions.
    #[must_use]
    pub fn lookups(&self) -> &Lookups {
        &self.parts.lookups
    }

    /// Where accepted mail is.
    #[must_use]
    pub fn queue(&self) -> &Queue {
        &self.parts.queue
    }

    /// The way out.
    #[must_use]
    pub fn outbound(&self) -> &Outbound {
        &self.parts.outbound
    }

    /// Who may hand over mail.
    #[must_use]
    pub fn filter(&self) -> &Arc<Filter> {
        &self.parts.filter
    }

    /// How forwarded mail gets a reverse-path of ours, if it does.
    #[must_use]
    pub fn srs(&self) -> Option<&Srs> {
        self.parts.srs.as_deref()
    }

    /// Who writes delivery status notifications.
    #[must_use]
    pub fn notifier(&self) -> &dyn Notifier {
        self.parts.notifier.as_ref()
    }

    /// Logs.
    #[must_use]
    pub fn logs(&self) -> &Logs {
        &self.parts.logs
    }

    /// Where messages are counted for DMARC reports, if they are sent.
    #[must_use]
    pub fn counts(&self) -> Option<&Arc<Counts>> {
        self.parts.counts.as_ref()
    }

    /// Queue IDs.
    #[must_use]
    pub fn ids(&self) -> &QueueIds {
        &self.parts.ids
    }

    /// Who exists in our domains.
    #[must_use]
    pub fn recipients(&self) -> &Recipients {
        &self.parts.recipients
    }

    /// The worker pool.
    #[must_use]
    pub fn runner(&self) -> &Runner {
        &self.parts.runner
    }

    /// Runs `job` on the worker pool.
    ///
    /// # Errors
    ///
    /// [`RunError`]: it crashed, did not end in time, or the pool is full.
    pub async fn on_worker<T: Send + 'static>(
        &self,
        job: impl FnOnce(&StopFlag) -> T + Send + 'static,
    ) -> Result<T, RunError> {
        let (done, result) = oneshot::channel();
        self.parts.runner.run(job, move |outcome| {
            // A receiver that is gone belongs to a session that was cut: nobody waits.
            let _ = done.send(outcome);
        });
        result.await.unwrap_or_else(|_| Err(RunError::Crashed("the worker went away".to_owned())))
    }

    /// Whether `received` crashes a worker for the first time, as far as is remembered. A crash may
    /// be ours and pass; the client is asked to come again once, and then the policy answers it.
    #[must_use]
    pub fn first_crash(&self, received: &Received) -> bool {
        let mut hasher = DefaultHasher::new();
        received.envelope.reverse_path.hash(&mut hasher);
        received.body.len().hash(&mut hasher);
        if let Ok(start) = received.body.read(0..received.body.len().min(64 << 10)) {
            start.hash(&mut hasher);
        }
        let message = hasher.finish();
        let mut crashed = self.crashed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = crashed.iter().position(|known| *known == message) {
            crashed.remove(place);
            return false;
        }
        if crashed.len() >= CRASHES_KEPT {
            crashed.pop_front();
        }
        crashed.push_back(message);
        true
    }

    /// Waits until a message of `bytes` octets may be held in memory and scanned, and holds that
    /// memory for as long as the permit lives. The largest ones go one by one.
    pub async fn memory_for(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        if bytes < SMALL_BYTES {
            return None;
        }
        self.memory(bytes.saturating_mul(MEMORY_PER_OCTET)).await
    }

    /// Waits for `octets` of the memory that scans share, and holds it for as long as the permit lives.
    /// Little is had at once.
    pub(crate) async fn memory(&self, octets: u64) -> Option<OwnedSemaphorePermit> {
        if octets < SMALL_BYTES {
            return None;
        }
        let wanted = octets.min(SCAN_MEMORY_BYTES);
        let permits = u32::try_from(wanted / PERMIT_BYTES).unwrap_or(u32::MAX);
        Arc::clone(&self.memory).acquire_many_owned(permits).await.ok()
    }

    /// Whether a message is welcome now.
    ///
    /// # Errors
    ///
    /// The reply for its client.
    pub fn admit(&self) -> Result<(), Reply> {
        self.readiness().map_err(|_| Reply::new(421, (4, 3, 1), "Insufficient system storage"))
    }

    /// Whether new mail can be accepted.
    ///
    /// # Errors
    ///
    /// Why not, in a few words.
    pub fn readiness(&self) -> Result<(), String> {
        if self.parts.queue.is_healthy() {
            Ok(())
        } else {
            Err("the spool takes no mail: its disk is full or failed".to_owned())
        }
    }
}

impl Acceptor for Gateway {
    fn next_id(&self) -> QueueId {
        self.parts.ids.next()
    }

    async fn check(&self, stage: Stage<'_>) -> Result<Leave, Reply> {
        match stage {
            Stage::Connect { .. } | Stage::Mail { .. } => self.admit()?,
            Stage::Rcpt { role, reverse_path, recipient, first: Some(first), .. }
                if role.mode == Mode::Proxy
                    && !self.go_together(reverse_path, first, recipient) =>
            {
                let text = "Too many recipients: this one goes elsewhere, send it by itself";
                return Err(Reply::new(452, (4, 5, 3), text));
            }
            Stage::Hello { .. } | Stage::Rcpt { .. } => {}
        }
        let not_for_data = match stage {
            Stage::Rcpt { role, reverse_path, recipient, first, .. } => {
                self.border.load().bounce(role, reverse_path, recipient, first)?.not_for_data
            }
            _ => None,
        };
        let leave = self.parts.filter.check(stage).await?;
        Ok(Leave { not_for_data, ..leave })
    }

    fn listens_first(&self, client: &Client, role: Role) -> Option<Duration> {
        self.parts.filter.listens_first(client, role)
    }

    fn observe(&self, event: SessionEvent<'_>) {
        self.parts.filter.observe(&event);
    }

    async fn verify(&self, recipient: &ForwardPath) -> Result<(), Reply> {
        let is_rewritten = |srs: &Srs| matches!(srs.reverse(recipient, unix_millis()), Ok(Some(_)));
        if self.srs().is_some_and(is_rewritten) {
            // It stands for somebody elsewhere.
            return Ok(());
        }
        self.parts.recipients.verify(&self.border().bare_recipient(recipient)).await
    }

    fn body_writer(&self, id: QueueId) -> BodyWriter {
        self.parts.queue.body_writer(id)
    }

    async fn accept(&self, received: Received) -> Reply {
        metrics::counter!("imss_messages_received_total").increment(1);
        let id = received.id;
        let dispositions = pipeline::process(received, self).await;
        dispatch::reply_to(id, &dispositions)
    }
}
