//! How much of a header section the signatures' library is given: its work grows with the square of
//! what it finds.
//!
//! In: a message. Out: its header section and body, cut apart ([`split`]), and a section in which
//! whatever is more than can be looked at has another name ([`Bounded`]). All of it counts when a
//! signature is verified, since any field can be signed. What was not looked at is counted, never
//! dropped in silence. One pass over the octets, whatever they are.

use bytes::Bytes;
use mail_auth::AuthenticatedMessage;

/// Signatures that are looked at.
pub(super) const MAX_SIGNATURES: usize = 10;
/// ARC sets (RFC 8617 §5.1.1.2).
pub(super) const MAX_SETS: usize = 50;
/// Octets of a header section that is searched for signatures, and fields.
pub(super) const MAX_HEADER: usize = 1 << 20;
const MAX_FIELDS: usize = 5_000;
/// Octets of one signature or seal; real ones have less than 2,000. Verifying one takes as many steps as it
/// names fields, times the fields there are.
const MAX_SIGNATURE_BYTES: usize = 4 << 10;
/// Octets of the results in one ARC set.
const MAX_RESULTS_BYTES: usize = 32 << 10;
/// One more than a message may have.
const MAX_AUTHORS: usize = 2;

/// A kind of field the library parses: its name, how many are looked at, octets of one.
struct Kind {
    name: &'static [u8],
    count: usize,
    bytes: usize,
}

const fn kind(name: &'static [u8], count: usize, bytes: usize) -> Kind {
    Kind { name, count, bytes }
}

const SIGNATURE: usize = 0;
const KINDS: [Kind; 7] = [
    kind(b"dkim-signature:", MAX_SIGNATURES, MAX_SIGNATURE_BYTES),
    kind(b"arc-seal:", MAX_SETS, MAX_SIGNATURE_BYTES),
    kind(b"arc-message-signature:", MAX_SETS, MAX_SIGNATURE_BYTES),
    kind(b"arc-authentication-results:", MAX_SETS, MAX_RESULTS_BYTES),
    kind(b"from:", MAX_AUTHORS, MAX_HEADER),
    // The next version of DKIM, a draft that nobody is asked about here.
    kind(b"dkim2-signature:", 0, 0),
    kind(b"message-instance:", 0, 0),
];
const ARC_KINDS: std::ops::Range<usize> = 1..4;

/// A header section, fit for the library.
pub(super) struct Bounded {
    /// The section as it came.
    header: Bytes,
    /// The section with other names for what is not looked at.
    masked: Bytes,
    /// Signatures that are not looked at.
    pub(super) signatures_left_out: usize,
    /// ARC sets there seem to be.
    pub(super) sets: usize,
    /// Whether fields of ARC sets are not looked at.
    pub(super) leaves_sets_out: bool,
}

impl Bounded {
    pub(super) fn new(header: Bytes) -> Self {
        let mut seen = [0_usize; KINDS.len()];
        let mut left_out = [0_usize; KINDS.len()];
        let mut masks = Vec::new();
        let mut at = 0_usize;
        while let Some(rest) = header.get(at..).filter(|rest| !rest.is_empty()) {
            let bytes = field_bytes(rest);
            if let Some(number) = KINDS.iter().position(|kind| starts_with(rest, kind.name))
                && let (Some(kind), Some(seen), Some(left_out)) =
                    (KINDS.get(number), seen.get_mut(number), left_out.get_mut(number))
            {
                *seen = seen.saturating_add(1);
                if *seen > kind.count || bytes > kind.bytes {
                    *left_out = left_out.saturating_add(1);
                    masks.push(at);
                }
            }
            at = at.saturating_add(bytes);
        }
        let of = |counts: &[usize; KINDS.len()], kinds: std::ops::Range<usize>| {
            counts.get(kinds).unwrap_or_default().iter().copied().max().unwrap_or(0)
        };
        Self {
            masked: masked(&header, &masks),
            header,
            signatures_left_out: of(&left_out, SIGNATURE..SIGNATURE + 1),
            sets: of(&seen, ARC_KINDS),
            leaves_sets_out: of(&left_out, ARC_KINDS) > 0,
        }
    }

    /// What the library makes of it; `None` if there is no field.
    pub(super) fn parse(&self) -> Option<AuthenticatedMessage<'_>> {
        let mut message = AuthenticatedMessage::parse_with_opts(&self.masked, None, false)?;
        // What is signed are the fields as they came.
        let start = self.masked.as_ptr().addr();
        let original = |piece: &[u8]| {
            let from = piece.as_ptr().addr().checked_sub(start)?;
            self.header.get(from..from.checked_add(piece.len())?)
        };
        for (name, value) in &mut message.headers {
            *name = original(name).unwrap_or(name);
            *value = original(value).unwrap_or(value);
        }
        Some(message)
    }
}

/// Header section, with the empty line after it, and body; the section is cut where it is too long.
pub(super) fn split(raw: &[u8]) -> (&[u8], &[u8]) {
    let (whole, body) = split_at_empty_line(raw);
    let header = whole.get(..MAX_HEADER).unwrap_or(whole);
    let (mut at, mut fields) = (0_usize, 0_usize);
    while let Some(rest) = header.get(at..).filter(|rest| !rest.is_empty()) {
        if fields == MAX_FIELDS {
            return (header.get(..at).unwrap_or(header), body);
        }
        fields = fields.saturating_add(1);
        at = at.saturating_add(field_bytes(rest));
    }
    (header, body)
}

pub(super) fn split_at_empty_line(raw: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr::memmem::find(raw, b"\r\n\r\n").map_or(raw.len(), |at| at.saturating_add(4));
    raw.split_at_checked(end).unwrap_or((raw, &[]))
}

/// Files often have LF line ends; what was signed had CRLF.
pub(super) fn with_crlf(raw: Bytes) -> Bytes {
    let first = memchr::memchr(b'\n', &raw);
    let is_crlf = first.is_none_or(|at| at > 0 && raw.get(at.saturating_sub(1)) == Some(&b'\r'));
    if is_crlf {
        return raw;
    }
    let mut out = Vec::with_capacity(raw.len().saturating_add(raw.len() / 16));
    let mut before = 0;
    for octet in raw.iter() {
        if *octet == b'\n' && before != b'\r' {
            out.push(b'\r');
        }
        out.push(*octet);
        before = *octet;
    }
    out.into()
}

/// Octets of the first line and of those that continue it.
fn field_bytes(text: &[u8]) -> usize {
    let ends = memchr::memchr_iter(b'\n', text).map(|end| end.saturating_add(1));
    let is_last = |end: &usize| !matches!(text.get(*end), Some(b' ' | b'\t'));
    ends.into_iter().find(is_last).unwrap_or(text.len())
}

fn starts_with(text: &[u8], name: &[u8]) -> bool {
    text.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
}

/// The section with an octet of each of these names changed; the length stays.
fn masked(header: &Bytes, masks: &[usize]) -> Bytes {
    if masks.is_empty() {
        return header.clone();
    }
    let mut copy = header.to_vec();
    for at in masks {
        if let Some(octet) = copy.get_mut(*at) {
            *octet = b'X';
        }
    }
    copy.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Valid in form, and each with a body digest of its own, which costs most.
    fn signature(number: usize) -> String {
        format!(
            "DKIM-Signature: v=1; a=rsa-sha256; d=d{number}.example; s=s; h=from; l={number};\r\n\
             \tbh=AAAA; b=AAAA\r\n"
        )
    }

    fn set(instance: usize) -> String {
        format!(
            "ARC-Seal: i={instance}; a=rsa-sha256; cv=pass; d=d.example; s=s; b=AAAA\r\n\
             ARC-Message-Signature: i={instance}; a=rsa-sha256; d=d.example; s=s; h=from;\r\n\
             \tl={instance}; bh=AAAA; b=AAAA\r\n\
             ARC-Authentication-Results: i={instance}; mx.example; spf=pass\r\n"
        )
    }

    #[test]
    fn what_the_library_is_given() {
        let many = 10_000;
        let signatures: String = (0..many).map(signature).collect();
        let sets: String = (1..=51).map(set).collect();
        let (few, long) = ((1..4).map(signature).collect::<String>(), "a".repeat(5_000));
        let fields = "X-A: b\r\n".repeat(MAX_FIELDS);
        let from = "From: a@b.example\r\n";
        // The header; then signatures parsed and left out, digests, sets of ARC, whether cut.
        let cases: [(&str, String, usize, usize, usize, usize, bool); 8] = [
            ("few", format!("{few}{from}"), 3, 0, 3, 0, false),
            // The section ends at its 5,000th field.
            ("ten thousand", format!("{from}{signatures}"), 10, 4_989, 10, 0, true),
            ("one is huge", format!("DKIM-Signature: v=1; h={long}\r\n{few}"), 3, 1, 3, 0, false),
            ("51 sets", sets, 0, 0, 50, 50, false),
            ("ten thousand authors", from.repeat(4_000), 0, 0, 0, 0, false),
            ("fields", format!("{fields}{few}"), 0, 0, 0, 0, true),
            ("any case", few.replace("DKIM", "dKiM"), 3, 0, 3, 0, false),
            ("a draft", "Message-Instance: m=1\r\n".repeat(100) + from, 0, 0, 0, 0, false),
        ];
        for (name, header, signatures, left_out, digests, sets, is_cut) in cases {
            let raw = Bytes::from(format!("{header}\r\nbody"));
            let (header, body) = split(&raw);
            assert_eq!(
                (header.len() + body.len() < raw.len(), body),
                (is_cut, &b"body"[..]),
                "{name}"
            );
            let bounded = Bounded::new(raw.slice_ref(header));
            let message = bounded.parse().unwrap();
            assert_eq!(message.dkim_headers.len(), signatures, "{name}");
            assert_eq!(bounded.signatures_left_out, left_out, "{name}");
            assert_eq!(message.body_hashes.len(), digests, "{name}");
            assert_eq!(message.as_headers.len(), sets, "{name}");
            assert_eq!(bounded.leaves_sets_out, sets == 50, "{name}");
            assert!(message.from.len() <= MAX_AUTHORS && message.errors.is_empty(), "{name}");
            assert!(message.dkim2_instances.is_empty(), "{name}");
            // Every field is there, as it came.
            let again: Vec<u8> =
                message.headers.iter().flat_map(|(a, b)| [a, &b":"[..], b].concat()).collect();
            assert_eq!(
                again,
                header.strip_suffix(b"\r\n\r\n").map_or(header, |h| &header[..h.len() + 2]),
                "{name}"
            );
        }
    }
}
