//! A finished copy as signatures see it: its fields, and the digest of its body.
//!
//! In: the copy's octets, piece by piece. Out: the header section, its fields in order, canonical
//! forms of fields (RFC 6376 §3.4.2), and the digest of the body in its simple form (§3.4.3). The simple
//! form is chosen because verifiers exist that get the relaxed one wrong.

use base64_simd::STANDARD;
use imss_core::authentication::body::{BodyDigest, BodyHasher, Canon};

use super::{MAX_HEADER, SignError};
use crate::spool::body::Content;

/// Signed if they are there, each as often as it is there.
const SIGNED: [&str; 22] = [
    "from",
    "to",
    "cc",
    "subject",
    "date",
    "message-id",
    "reply-to",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
    "sender",
    "in-reply-to",
    "references",
    "resent-from",
    "resent-to",
    "resent-date",
    "resent-message-id",
    "list-id",
    "list-unsubscribe",
    "list-unsubscribe-post",
    "list-post",
    "autocrypt",
];
/// The first of [`SIGNED`], which are signed once more than they are there: nobody can add one.
const OVERSIGNED: usize = 10;

/// A finished copy.
pub(super) struct Sections {
    pub(super) header: Vec<u8>,
    body_hash: String,
}

impl Sections {
    /// Reads a copy once.
    pub(super) fn read(content: &Content) -> Result<Self, SignError> {
        let mut header: Vec<u8> = Vec::new();
        let mut hasher = BodyHasher::new(Canon::Simple, BodyDigest::Sha256, None);
        let mut in_body = false;
        for chunk in content.chunks() {
            let chunk = chunk?;
            if in_body {
                hasher.update(&chunk);
                continue;
            }
            let searched = header.len().saturating_sub(3);
            header.extend_from_slice(&chunk);
            let rest = header.get(searched..).unwrap_or_default();
            if let Some(at) = memchr::memmem::find(rest, b"\r\n\r\n") {
                let end = searched.saturating_add(at).saturating_add(4);
                hasher.update(header.get(end..).unwrap_or_default());
                header.truncate(end);
                in_body = true;
            } else if u64::try_from(header.len()).unwrap_or(u64::MAX) > MAX_HEADER {
                return Err(SignError::TooLong);
            }
        }
        let (digest, _) = hasher.finish();
        Ok(Self { header, body_hash: STANDARD.encode_to_string(digest) })
    }

    /// `bh=`.
    pub(super) fn body_hash(&self) -> &str {
        &self.body_hash
    }

    /// Every field: its name and its value, folded, with the line end.
    pub(super) fn fields(&self) -> Vec<(&[u8], &[u8])> {
        let mut fields = Vec::new();
        let mut rest = self.header.as_slice();
        while !rest.is_empty() && !rest.starts_with(b"\r\n") {
            let mut end = 0_usize;
            while let Some(line) = rest.get(end..).filter(|line| !line.is_empty()) {
                let length =
                    memchr::memchr(b'\n', line).map_or(line.len(), |at| at.saturating_add(1));
                end = end.saturating_add(length);
                if !matches!(rest.get(end), Some(b' ' | b'\t')) {
                    break;
                }
            }
            let (field, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            if let Some(colon) = memchr::memchr(b':', field) {
                let (name, value) = field.split_at_checked(colon).unwrap_or((field, &[]));
                fields.push((name, value.get(1..).unwrap_or_default()));
            }
            rest = after;
        }
        fields
    }

    /// Whether somebody has signed it.
    pub(super) fn has_signature(&self) -> bool {
        let is_one = |name: &[u8]| {
            let name = name.trim_ascii_end();
            name.eq_ignore_ascii_case(b"dkim-signature") || name.eq_ignore_ascii_case(b"arc-seal")
        };
        self.fields().iter().any(|(name, _)| is_one(name))
    }

    /// The names for `h=`, and the canonical forms of the fields they name. `also` are signed too.
    pub(super) fn signed(&self, also: &[&'static str]) -> (String, Vec<u8>) {
        let fields = self.fields();
        let mut names: Vec<&str> = Vec::new();
        let mut data = Vec::new();
        for (place, name) in SIGNED.iter().chain(also).enumerate() {
            let named = |field: &&(&[u8], &[u8])| {
                field.0.trim_ascii_end().eq_ignore_ascii_case(name.as_bytes())
            };
            // The last one is signed first (RFC 6376 §5.4.2).
            for (field_name, value) in fields.iter().rev().filter(named) {
                names.push(name);
                push_relaxed(&mut data, field_name, value);
            }
            if place < OVERSIGNED {
                names.push(name);
            }
        }
        (names.join(":"), data)
    }
}

/// Adds the relaxed form of a field, with its line end.
pub(super) fn push_relaxed(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend(name.trim_ascii_end().iter().map(u8::to_ascii_lowercase));
    out.push(b':');
    let mut space = false;
    let mut begun = false;
    for octet in value {
        match octet {
            b'\r' | b'\n' => {}
            b' ' | b'\t' => space = true,
            other => {
                if space && begun {
                    out.push(b' ');
                }
                space = false;
                begun = true;
                out.push(*other);
            }
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// Text in lines of at most 72 characters.
pub(super) fn folded(text: &str) -> String {
    let mut out = String::with_capacity(text.len().saturating_add(text.len() / 20));
    for (place, c) in text.chars().enumerate() {
        if place > 0 && place % 72 == 0 {
            out.push_str("\r\n\t");
        }
        out.push(c);
    }
    out
}

/// A list of names in lines that are not too long.
pub(super) fn folded_names(names: &str) -> String {
    let mut out = String::new();
    let mut line = 0_usize;
    for (place, name) in names.split(':').enumerate() {
        if place > 0 {
            out.push(':');
        }
        if line.saturating_add(name.len()) > 68 {
            out.push_str("\r\n\t");
            line = 0;
        }
        out.push_str(name);
        line = line.saturating_add(name.len()).saturating_add(1);
    }
    out
}
