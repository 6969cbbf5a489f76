//! What signs or encrypts mail: S/MIME (RFC 8551), OpenPGP (RFC 3156, RFC 9580 §7).
//!
//! In: a declared media type and content. Out: a [`Protection`]. Content decides where it is there; a
//! label whose content cannot be read counts as encrypted. Nothing is verified or decrypted.

use memchr::memmem;
use serde::{Deserialize, Serialize};

use crate::archive::cms;
use crate::entity::Entity;

/// How content is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protection {
    /// multipart/signed: content in plain sight beside its signature (RFC 1847 §2.1).
    Signed,
    /// CMS signed data around its content (RFC 5652 §5).
    OpaqueSigned,
    /// Text between the lines of a PGP signature.
    ClearSigned,
    /// multipart/encrypted, CMS enveloped data, a PGP message.
    Encrypted,
    /// CMS compressed data (RFC 3274).
    Compressed,
}

impl Protection {
    /// Whether a change to the content breaks a signature.
    #[must_use]
    pub fn is_signed(self) -> bool {
        matches!(self, Self::Signed | Self::OpaqueSigned | Self::ClearSigned)
    }
}

impl Entity {
    /// Whether and how it is signed, encrypted or wrapped. What is inside it shares that.
    #[must_use]
    pub fn protection(&self) -> Option<Protection> {
        of(self.declared.as_deref(), &self.content, !self.holds_no_lines())
    }
}

/// The protection of content under a declared media type. Armor is only looked for where there are
/// lines.
pub(crate) fn of(declared: Option<&str>, content: &[u8], has_lines: bool) -> Option<Protection> {
    match declared.unwrap_or_default() {
        "multipart/signed" => return Some(Protection::Signed),
        "multipart/encrypted" => return Some(Protection::Encrypted),
        _ => {}
    }
    match cms::kind(content) {
        Some(cms::Kind::Signed) if cms::has_content(content) => {
            return Some(Protection::OpaqueSigned);
        }
        Some(cms::Kind::Signed) => return None,
        Some(cms::Kind::Compressed) => return Some(Protection::Compressed),
        Some(cms::Kind::Encrypted) => return Some(Protection::Encrypted),
        None => {}
    }
    if matches!(declared, Some("application/pkcs7-mime" | "application/x-pkcs7-mime")) {
        return Some(Protection::Encrypted);
    }
    if has_lines { armor(content) } else { None }
}

/// PGP in text: its first header line (RFC 9580 §6.2).
fn armor(content: &[u8]) -> Option<Protection> {
    let begins = memmem::find_iter(content, b"-----BEGIN PGP ").find(|&at| {
        at == 0 || content.get(at.wrapping_sub(1)).is_some_and(|octet| *octet == b'\n')
    })?;
    let rest = content.get(begins..)?.strip_prefix(b"-----BEGIN PGP ")?;
    if rest.starts_with(b"SIGNED MESSAGE-----") {
        return Some(Protection::ClearSigned);
    }
    rest.starts_with(b"MESSAGE").then_some(Protection::Encrypted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds() {
        let signed = b"\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02\xa0\x80";
        let enveloped = b"\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03\xa0\x80";
        let cases: [(&str, &str, &[u8], Option<Protection>); 8] = [
            ("signed parts", "multipart/signed", b"", Some(Protection::Signed)),
            ("encrypted parts", "multipart/encrypted", b"", Some(Protection::Encrypted)),
            ("a signature alone", "application/pkcs7-signature", signed, None),
            ("enveloped", "application/octet-stream", enveloped, Some(Protection::Encrypted)),
            ("unreadable", "application/pkcs7-mime", b"?", Some(Protection::Encrypted)),
            ("PGP", "text/plain", b"a\n-----BEGIN PGP MESSAGE-----\n", Some(Protection::Encrypted)),
            (
                "clear-signed",
                "text/plain",
                b"-----BEGIN PGP SIGNED MESSAGE-----\n",
                Some(Protection::ClearSigned),
            ),
            ("quoted", "text/plain", b"> -----BEGIN PGP MESSAGE-----\n", None),
        ];
        for (name, declared, content, expected) in cases {
            assert_eq!(of(Some(declared), content, true), expected, "{name}");
        }
    }
}
