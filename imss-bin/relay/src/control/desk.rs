//! Carries out requests on a queue and a quarantine.

use std::fmt;
use std::sync::Arc;

use imss_core::ids::QueueId;

use super::{Answer, Operator, QuarantineOrder, QueueOrder, Request, Which};
use crate::filter::Filter as SenderFilter;
use crate::filter::command::{FilterAnswer, FilterOrder};
use crate::ids::unix_millis;
use crate::quarantine::{Filter, Item, ItemId, Quarantine, QuarantineError};
use crate::queue::{CommandError, Queue};

/// What a held message's list shows as the reason.
const HOLD_REASON: &str = "held by an administrator";

/// Carries out requests on the spool and quarantine of this process.
pub struct Desk {
    queue: Queue,
    quarantine: Quarantine,
    filter: Option<Arc<SenderFilter>>,
    next_id: Box<dyn Fn() -> QueueId + Send + Sync>,
    reload: Box<dyn Fn() -> Result<(), String> + Send + Sync>,
}

impl Desk {
    /// `next_id` names released messages; `reload` reads the settings again, or says why not.
    #[must_use]
    pub fn new(
        queue: Queue,
        quarantine: Quarantine,
        next_id: impl Fn() -> QueueId + Send + Sync + 'static,
        reload: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        Self {
            queue,
            quarantine,
            filter: None,
            next_id: Box::new(next_id),
            reload: Box::new(reload),
        }
    }

    /// With a sender filter.
    #[must_use]
    pub fn with_filter(self, filter: Arc<SenderFilter>) -> Self {
        Self { filter: Some(filter), ..self }
    }

    async fn filter_order(&self, order: FilterOrder) -> Answer {
        let Some(filter) = self.filter.clone() else {
            return Answer::Refused("there is no sender filter here".to_owned());
        };
        // Orders sync files and go through a million sources.
        match tokio::task::spawn_blocking(move || filter.operate(order)).await {
            Ok(FilterAnswer::Refused(reason)) => Answer::Refused(reason),
            Ok(answer) => Answer::Filter(answer),
            Err(error) => refused(&error),
        }
    }

    fn queue_order(&self, order: QueueOrder, which: Which) -> Answer {
        if order == QueueOrder::Retry && which == Which::All {
            return Answer::Done { count: self.queue.flush(), failed: Vec::new() };
        }
        done(self.chosen(which), |id| match order {
            QueueOrder::Retry => self.queue.retry(id),
            QueueOrder::Hold => self.queue.hold(id, HOLD_REASON),
            QueueOrder::Release => self.queue.release(id),
            QueueOrder::Delete => self.queue.delete(id),
        })
    }

    fn chosen(&self, which: Which) -> Vec<QueueId> {
        match which {
            Which::All => self.queue.list(usize::MAX).into_iter().map(|entry| entry.id).collect(),
            Which::These(ids) => ids,
        }
    }

    async fn quarantine_order(&self, order: QuarantineOrder, which: Which) -> Answer {
        let items = match self.items(None, 0) {
            Ok(items) => items,
            Err(error) => return refused(&error),
        };
        let (items, mut failed) = match which {
            Which::All => (items, Vec::new()),
            Which::These(ids) => {
                let held = |id: &QueueId| items.iter().any(|item| item.id == *id);
                let missing = ids.iter().filter(|id| !held(id));
                let missing: Vec<_> =
                    missing.map(|id| (*id, "is not in the quarantine".to_owned())).collect();
                (items.into_iter().filter(|item| ids.contains(&item.id)).collect(), missing)
            }
        };
        let mut count = 0_usize;
        for item in items {
            match self.quarantine_item(order, ItemId { id: item.id, copy: item.copy }).await {
                Ok(()) => count = count.saturating_add(1),
                Err(reason) => failed.push((item.id, reason)),
            }
        }
        Answer::Done { count, failed }
    }

    async fn quarantine_item(&self, order: QuarantineOrder, item: ItemId) -> Result<(), String> {
        if order == QuarantineOrder::Release {
            let accepted = self
                .quarantine
                .release(item, (self.next_id)(), unix_millis())
                .map_err(|error| error.to_string())?;
            // Only when the copy is on its way is the held one removed.
            self.queue.submit(vec![accepted]).await.map_err(|error| error.to_string())?;
        }
        self.quarantine.delete(item).map_err(|error| error.to_string())
    }

    /// Items, oldest first.
    fn items(&self, area: Option<String>, limit: usize) -> Result<Vec<Item>, QuarantineError> {
        let (mut items, _) = self.quarantine.list(&Filter { area, limit, ..Filter::default() })?;
        items.reverse();
        Ok(items)
    }
}

impl Operator for Desk {
    async fn operate(&self, request: Request) -> Answer {
        match request {
            Request::QueueList { limit } => Answer::Queue(self.queue.list(limit)),
            Request::QueueShow { id } => match self.queue.show(id) {
                Ok(entry) => Answer::Queue(vec![entry]),
                Err(CommandError::NoSuchMessage(_)) => Answer::Queue(Vec::new()),
                Err(error) => refused(&error),
            },
            Request::Queue { order, which } => self.queue_order(order, which),
            Request::QueueRoute { to, which } => {
                done(self.chosen(which), |id| self.queue.route(id, to.as_ref()))
            }
            Request::QueueFlush { destination } => {
                let count = self.queue.flush_destination(&destination);
                Answer::Done { count, failed: Vec::new() }
            }
            Request::QuarantineList { area, limit } => match self.items(area, limit) {
                Ok(items) => Answer::Quarantine(items),
                Err(error) => refused(&error),
            },
            Request::QuarantineShow { id } => match self.items(None, 0) {
                Ok(items) => {
                    Answer::Quarantine(items.into_iter().filter(|item| item.id == id).collect())
                }
                Err(error) => refused(&error),
            },
            Request::Quarantine { order, which } => self.quarantine_order(order, which).await,
            Request::Filter { order } => self.filter_order(order).await,
            Request::Reload => match (self.reload)() {
                Ok(()) => Answer::Done { count: 1, failed: Vec::new() },
                Err(reason) => Answer::Refused(reason),
            },
        }
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("quarantine", &self.quarantine).finish_non_exhaustive()
    }
}

fn done(ids: Vec<QueueId>, order: impl Fn(QueueId) -> Result<(), CommandError>) -> Answer {
    let (mut count, mut failed) = (0_usize, Vec::new());
    for id in ids {
        match order(id) {
            Ok(()) => count = count.saturating_add(1),
            Err(CommandError::NoSuchMessage(_)) => {
                failed.push((id, "is not in the queue".to_owned()));
            }
            Err(error) => failed.push((id, error.to_string())),
        }
    }
    Answer::Done { count, failed }
}

fn refused(error: &dyn std::error::Error) -> Answer {
    let mut text = error.to_string();
    if let Some(source) = error.source() {
        text.push_str(&format!(": {source}"));
    }
    Answer::Refused(text)
}
