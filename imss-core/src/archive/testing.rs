//! What the tests of all unpackers share.

use super::{Member, UnpackError, Unpacked, Unpacker};
use crate::anomaly::AnomalyKind;
use crate::limits::{Budget, Limits};

/// Everything one unpacker reported.
pub(super) struct Found {
    pub(super) members: Vec<Member>,
    pub(super) anomalies: Vec<AnomalyKind>,
    pub(super) result: Result<(), UnpackError>,
}

impl Found {
    /// `NAME:CONTENT` of each member.
    pub(super) fn texts(&self) -> Vec<String> {
        let text = |member: &Member| {
            let name = member.names.first().map_or("", String::as_str);
            format!("{name}:{}", String::from_utf8_lossy(&member.content))
        };
        self.members.iter().map(text).collect()
    }
}

/// Unpacks `content`.
pub(super) fn unpack(unpacker: &dyn Unpacker, content: Vec<u8>, limits: &Limits) -> Found {
    let (mut members, mut anomalies) = (Vec::new(), Vec::new());
    let mut budget = Budget::new(limits);
    let result = unpacker.unpack(&content.into(), &mut budget, &mut |unpacked| match unpacked {
        Unpacked::Member(member) => members.push(member),
        Unpacked::Anomaly { kind, .. } => anomalies.push(kind),
    });
    Found { members, anomalies, result }
}
