//! The canonical forms of a message body and their digests (RFC 6376 §3.4.3, §3.4.4), incrementally.
//!
//! In: the body's octets in pieces of any size. Out: its digest and its canonical length. Memory is
//! constant: blank lines and spaces that may turn out to be the last ones are counted, not kept. Any
//! octets will do; a line ends at CRLF, and a bare CR or LF is an octet like others.

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// How a body is brought into its canonical form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Canon {
    /// Only empty lines at the end go.
    Simple,
    /// White space is reduced as well.
    Relaxed,
}

/// The digest of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BodyDigest {
    /// SHA-1: known only to name what is refused (RFC 8301).
    Sha1,
    /// SHA-256.
    Sha256,
}

enum Hasher {
    Sha1(Sha1),
    Sha256(Sha256),
    /// Keeps the octets, for tests.
    #[cfg(test)]
    Keep(Vec<u8>),
}

/// A body on its way to its digest.
pub struct BodyHasher {
    canon: Canon,
    hasher: Hasher,
    /// Octets of the canonical form that count, if `l=` bounds them.
    limit: Option<u64>,
    length: u64,
    /// Complete empty lines that may be the last ones.
    empty_lines: u64,
    /// White space that may be the last of its line (relaxed).
    space: bool,
    /// Whether the current line has anything before this octet.
    in_line: bool,
    /// A CR that may belong to a CRLF.
    cr: bool,
}

impl BodyHasher {
    /// A body without octets yet. `limit` is `l=`: octets of the canonical form that are signed.
    #[must_use]
    pub fn new(canon: Canon, digest: BodyDigest, limit: Option<u64>) -> Self {
        let hasher = match digest {
            BodyDigest::Sha1 => Hasher::Sha1(Sha1::new()),
            BodyDigest::Sha256 => Hasher::Sha256(Sha256::new()),
        };
        Self::with(canon, hasher, limit)
    }

    fn with(canon: Canon, hasher: Hasher, limit: Option<u64>) -> Self {
        Self {
            canon,
            hasher,
            limit,
            length: 0,
            empty_lines: 0,
            space: false,
            in_line: false,
            cr: false,
        }
    }

    /// Adds octets of the body.
    pub fn update(&mut self, piece: &[u8]) {
        let mut rest = piece;
        while !rest.is_empty() {
            if std::mem::take(&mut self.cr) {
                if let Some(after) = rest.strip_prefix(b"\n") {
                    self.end_line();
                    rest = after;
                    continue;
                }
                self.text(b"\r");
            }
            let (same, after) = self.unchanged(rest);
            if !same.is_empty() {
                self.text(same);
                rest = after;
                continue;
            }
            let plain = |octet: &u8| match octet {
                b'\r' => false,
                b' ' | b'\t' => self.canon == Canon::Simple,
                _ => true,
            };
            let run = rest.iter().position(|octet| !plain(octet)).unwrap_or(rest.len());
            let (text, after) = rest.split_at_checked(run).unwrap_or((rest, &[]));
            if !text.is_empty() {
                self.text(text);
            }
            match after.split_first() {
                Some((b'\r', after)) => {
                    self.cr = true;
                    rest = after;
                }
                Some((_, after)) => {
                    self.space = true;
                    rest = after;
                }
                None => rest = &[],
            }
        }
    }

    /// Splits off what stands in the canonical form as it is: from a letter up to the last one, before
    /// white space if that is reduced. Lines of it need not be looked at one by one.
    fn unchanged<'a>(&self, rest: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        let is_line_end = |octet: &u8| matches!(octet, b'\r' | b'\n');
        if rest.first().is_none_or(is_line_end) {
            return (&[], rest);
        }
        let stretch = match self.canon {
            Canon::Simple => rest.len(),
            Canon::Relaxed => memchr::memchr2(b' ', b'\t', rest).unwrap_or(rest.len()),
        };
        let stretch = rest.get(..stretch).unwrap_or(rest);
        let last = stretch.iter().rposition(|octet| !is_line_end(octet));
        let length = last.map_or(0, |last| last.saturating_add(1));
        rest.split_at_checked(length).unwrap_or((&[], rest))
    }

    /// The digest, and the octets of the whole canonical form.
    #[must_use]
    pub fn finish(mut self) -> (Vec<u8>, u64) {
        self.end();
        let digest = match self.hasher {
            Hasher::Sha1(hasher) => hasher.finalize().to_vec(),
            Hasher::Sha256(hasher) => hasher.finalize().to_vec(),
            #[cfg(test)]
            Hasher::Keep(octets) => octets,
        };
        (digest, self.length)
    }

    fn end(&mut self) {
        if std::mem::take(&mut self.cr) {
            self.text(b"\r");
        }
        // Relaxed: white space at the end of the last line goes, and a line of nothing else with it.
        self.space = false;
        if self.in_line {
            self.emit(b"\r\n");
        } else if self.canon == Canon::Simple && self.length == 0 {
            // Simple: an empty body is one CRLF. Relaxed: it stays empty.
            self.emit(b"\r\n");
        }
    }

    fn end_line(&mut self) {
        self.space = false;
        if std::mem::take(&mut self.in_line) {
            self.emit(b"\r\n");
        } else {
            self.empty_lines = self.empty_lines.saturating_add(1);
        }
    }

    /// Octets that are neither a line end nor, if relaxed, white space.
    fn text(&mut self, octets: &[u8]) {
        const LINES: &[u8] = b"\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n";
        while self.empty_lines > 0 {
            let lines = self.empty_lines.min(16);
            let octets = usize::try_from(lines.saturating_mul(2)).unwrap_or(LINES.len());
            self.emit(LINES.get(..octets).unwrap_or(LINES));
            self.empty_lines = self.empty_lines.saturating_sub(lines);
        }
        if std::mem::take(&mut self.space) {
            self.emit(b" ");
        }
        self.in_line = true;
        self.emit(octets);
    }

    fn emit(&mut self, octets: &[u8]) {
        let left = self.limit.map_or(u64::MAX, |limit| limit.saturating_sub(self.length));
        let count = u64::try_from(octets.len()).unwrap_or(u64::MAX);
        self.length = self.length.saturating_add(count);
        let signed = usize::try_from(left.min(count)).unwrap_or(octets.len());
        let octets = octets.get(..signed).unwrap_or(octets);
        match &mut self.hasher {
            Hasher::Sha1(hasher) => hasher.update(octets),
            Hasher::Sha256(hasher) => hasher.update(octets),
            #[cfg(test)]
            Hasher::Keep(kept) => kept.extend_from_slice(octets),
        }
    }
}

#[cfg(test)]
mod tests;
