//! Delivers into Maildirs: `dir/ADDRESS/{tmp,new,cur}`, one per recipient.
//!
//! In: a message and one recipient. Out: a file in `new`, durable when this returns: written to `tmp`,
//! synced, renamed, folder synced. Line ends stay CRLF, as received, so that signatures can be checked.
//!
//! The folder's name is made from the address by percent-encoding; no address leads anywhere else.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use imss_core::envelope::{ForwardPath, ReversePath};

use crate::spool::body::Content;

/// One message for one mailbox.
#[derive(Debug, Clone, Copy)]
pub(super) struct Letter<'a> {
    pub(super) dir: &'a Path,
    pub(super) hostname: &'a str,
    pub(super) reverse_path: &'a ReversePath,
    pub(super) recipient: &'a ForwardPath,
    pub(super) content: &'a Content,
}

/// Files delivered by this process: no two have the same name.
static DELIVERED: AtomicU64 = AtomicU64::new(0);

/// Delivers. Gives the path of the new file.
pub(super) fn deliver(letter: &Letter<'_>) -> io::Result<PathBuf> {
    let mailbox = letter.dir.join(folder_name(letter.recipient));
    prepare(letter.dir, &mailbox)?;
    let name = file_name(letter.hostname);
    let (temporary, new) = (mailbox.join("tmp").join(&name), mailbox.join("new"));
    let written = write(&temporary, letter).and_then(|()| {
        let path = new.join(&name);
        fs::rename(&temporary, &path)?;
        File::open(&new)?.sync_all()?;
        Ok(path)
    });
    if written.is_err() {
        // Best effort: a rest in tmp harms nobody, and the error is told.
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn write(path: &Path, letter: &Letter<'_>) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let mut out = BufWriter::with_capacity(64 << 10, file);
    write!(out, "Return-Path: <{}>\r\n", letter.reverse_path)?;
    write!(out, "Delivered-To: {}\r\n", letter.recipient)?;
    for chunk in letter.content.chunks() {
        out.write_all(&chunk?)?;
    }
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

/// Makes the folders that are missing, durably.
fn prepare(dir: &Path, mailbox: &Path) -> io::Result<()> {
    if mailbox.join("cur").is_dir() {
        return Ok(());
    }
    let make = |path: &Path| DirBuilder::new().recursive(true).mode(0o700).create(path);
    // `cur` last: where it is, all are.
    ["tmp", "new", "cur"].iter().try_for_each(|name| make(&mailbox.join(name)))?;
    File::open(mailbox)?.sync_all()?;
    File::open(dir)?.sync_all()
}

/// `time.unique.host`, as Maildir readers expect it.
fn file_name(hostname: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let count = DELIVERED.fetch_add(1, Ordering::Relaxed);
    let host: String = hostname
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
        .take(64)
        .collect();
    let (seconds, micros, pid) = (now.as_secs(), now.subsec_micros(), std::process::id());
    format!("{seconds}.M{micros:06}P{pid}Q{count}.{host}")
}

/// Longest folder name that file systems take.
const MAX_NAME_BYTES: usize = 255;

/// The address as a folder name: letters, digits and `@+=_-` as they are, dots except in front, all
/// other octets as `%HH`. A name too long is cut, and a digest of it whole keeps it apart.
fn folder_name(recipient: &ForwardPath) -> String {
    let address = recipient.to_string();
    let mut name = String::with_capacity(address.len());
    for (index, byte) in address.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'@' | b'+' | b'=' | b'_' | b'-' => {
                name.push(char::from(byte));
            }
            b'.' if index > 0 => name.push('.'),
            _ => name.push_str(&format!("%{byte:02X}")),
        }
    }
    if name.len() > MAX_NAME_BYTES {
        let digest = <sha2::Sha256 as sha2::Digest>::digest(name.as_bytes());
        // The name is ASCII. "~" stands in no encoded address.
        name.truncate(MAX_NAME_BYTES.saturating_sub(33));
        name.push('~');
        digest.iter().take(16).for_each(|byte| name.push_str(&format!("{byte:02x}")));
    }
    name
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use imss_core::edit::Rope;
    use imss_core::envelope::Syntax;

    use super::*;
    use crate::spool::body::Body;

    fn recipient(text: &str) -> ForwardPath {
        ForwardPath::parse(text, Syntax::LAX).expect(text)
    }

    #[test]
    fn folder_names() {
        let cases = [
            ("plain", "a.b+c@example.com", "a.b+c@example.com"),
            ("domain in lower case, local part as written", "A@EXAMPLE.com", "A@example.com"),
            ("slash", "a/b@x.example", "a%2Fb@x.example"),
            ("quoted", "\"../x y\"@x.example", "%22..%2Fx%20y%22@x.example"),
            ("percent and tilde", "a%2Fb~@x.example", "a%252Fb%7E@x.example"),
            ("UTF-8", "あ@x.example", "%E3%81%82@x.example"),
            ("a literal", "a@[127.0.0.1]", "a@%5B127.0.0.1%5D"),
            ("postmaster", "postmaster", "Postmaster"),
        ];
        for (name, address, expected) in cases {
            assert_eq!(folder_name(&recipient(address)), expected, "{name}");
        }
    }

    #[test]
    fn long_names_stay_apart() {
        let long =
            |last: &str| folder_name(&recipient(&format!("{}{last}@x.example", "あ".repeat(84))));
        let (one, two) = (long("a"), long("b"));
        assert_ne!(one, two);
        assert_eq!((one.len(), two.len()), (MAX_NAME_BYTES, MAX_NAME_BYTES));
    }

    #[test]
    fn a_letter_arrives_whole() {
        let dir = tempfile::tempdir().expect("a folder");
        let raw = Bytes::from_static(b"Subject: x\r\n\r\n.body\r\n");
        let rope = Rope::original(raw.len() as u64);
        let content = Content { body: Body::Memory(raw), rope };
        let letter = Letter {
            dir: dir.path(),
            hostname: "mx/../.example",
            reverse_path: &ReversePath::Null,
            recipient: &recipient("u@x.example"),
            content: &content,
        };
        let path = deliver(&letter).expect("delivered");
        assert_eq!(path.parent(), Some(dir.path().join("u@x.example/new").as_path()));
        let text = fs::read_to_string(path).expect("readable");
        let fields = "Return-Path: <>\r\nDelivered-To: u@x.example\r\n";
        assert_eq!(text, format!("{fields}Subject: x\r\n\r\n.body\r\n"));
        let rest = fs::read_dir(dir.path().join("u@x.example/tmp")).expect("tmp").count();
        assert_eq!(rest, 0);
    }
}
