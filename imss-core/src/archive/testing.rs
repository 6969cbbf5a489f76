//! What the tests of all unpackers share.

use super::{Member, Passwords, Source, UnpackError, Unpacked, Unpacker};
use crate::anomaly::AnomalyKind;
use crate::filetype;
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
    unpack_with(unpacker, content, limits, &Passwords::none())
}

/// Unpacks `content`, trying `passwords`.
pub(super) fn unpack_with(
    unpacker: &dyn Unpacker,
    content: Vec<u8>,
    limits: &Limits,
    passwords: &Passwords,
) -> Found {
    let (mut members, mut anomalies) = (Vec::new(), Vec::new());
    let mut budget = Budget::new(limits);
    let content = bytes::Bytes::from(content);
    let detected = filetype::detect(&content);
    let source = Source { content: &content, detected: &detected, names: &[], passwords };
    let result = unpacker.unpack(&source, &mut budget, &mut |unpacked| match unpacked {
        Unpacked::Member(member) => members.push(member),
        Unpacked::Anomaly { kind, .. } => anomalies.push(kind),
    });
    Found { members, anomalies, result }
}
