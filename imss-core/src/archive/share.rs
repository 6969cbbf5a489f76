//! Hands over members that share their container's octets.
//!
//! In: where a member's octets lie, as the container claims. Out: a [`Member`], charged to the
//! budget. What lies beyond the end is missing: malformed.

use bytes::Bytes;

use super::{Member, Missing, UnpackError, Unpacked, le};
use crate::anomaly::AnomalyKind;
use crate::finding::GapReason;
use crate::limits::{Budget, Limit};

/// A container being read.
pub(super) struct Share<'a, 'b, 'c> {
    /// The container.
    pub(super) content: &'a Bytes,
    /// The message's account.
    pub(super) budget: &'a mut Budget<'b>,
    /// Who receives the members.
    pub(super) out: &'a mut (dyn FnMut(Unpacked) + 'c),
}

impl Share<'_, '_, '_> {
    /// The octets from `start`, as many of `size` as there are.
    pub(super) fn slice(&self, start: u64, size: u64) -> Bytes {
        let start = le::length(start).min(self.content.len());
        let end = start.saturating_add(le::length(size)).min(self.content.len());
        self.content.slice(start..end)
    }

    /// Hands over `size` octets from `start`.
    pub(super) fn member(
        &mut self,
        names: Vec<String>,
        start: u64,
        size: u64,
    ) -> Result<(), UnpackError> {
        let content = self.slice(start, size);
        self.content(names, content, size)
    }

    /// Hands over `content`, of which the container claims `size` octets.
    pub(super) fn content(
        &mut self,
        names: Vec<String>,
        content: Bytes,
        size: u64,
    ) -> Result<(), UnpackError> {
        let short = (content.len() as u64) < size;
        let missing = short.then(|| Missing::new(GapReason::Malformed, "ends early"));
        self.partial(names, content, size, missing)
    }

    /// Hands over what there is, and says why it is not everything.
    pub(super) fn partial(
        &mut self,
        names: Vec<String>,
        content: Bytes,
        claimed_size: u64,
        missing: Option<Missing>,
    ) -> Result<(), UnpackError> {
        self.budget.charge_entity()?;
        self.budget.charge_bytes(content.len() as u64)?;
        let too_large = content.len() as u64 > self.budget.limits().max_entity_bytes;
        let missing = if too_large {
            let limit = Limit::EntityBytes;
            Some(Missing::new(GapReason::Limit(limit), format!("{limit} limit")))
        } else {
            missing
        };
        (self.out)(Unpacked::Member(Member { names, claimed_size, content, missing }));
        Ok(())
    }

    /// Names a member that cannot be read.
    pub(super) fn unreadable(
        &mut self,
        names: Vec<String>,
        claimed_size: u64,
        reason: GapReason,
        detail: &str,
    ) -> Result<(), UnpackError> {
        let missing = Some(Missing::new(reason, detail));
        self.partial(names, Bytes::new(), claimed_size, missing)
    }

    /// Reports a defect.
    pub(super) fn tell(&mut self, kind: AnomalyKind, offset: u64, detail: &str) {
        (self.out)(Unpacked::Anomaly { kind, offset, detail: detail.to_owned() });
    }
}
