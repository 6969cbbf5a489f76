//! Notices by mail: complete new messages (RFC 5322, RFC 2045, RFC 2047).
//!
//! In: who, subject and text, already without tokens. Out: the message. Text that is ASCII stays
//! plain; anything else is UTF-8 in base64. No line break of a subject or an address reaches the
//! header section.

use imss_core::envelope::ForwardPath;

use super::Stamp;

/// Octets of UTF-8 in one encoded word: 75 characters in all (RFC 2047 §2).
const ENCODED_WORD_OCTETS: usize = 45;
/// Base64 characters on one line (RFC 2045 §6.8).
const BASE64_LINE: usize = 76;

/// Builds one notice.
pub(super) fn build(
    from: &str,
    to: &[ForwardPath],
    subject: &str,
    text: &str,
    number: usize,
    stamp: &Stamp,
) -> Vec<u8> {
    let to = match to {
        [only] => format!("<{}>", with_domain(only, &stamp.host)),
        _ => "undisclosed-recipients:;".to_owned(),
    };
    let subject: String = subject.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let needs_utf8 = !to.is_ascii() || !from.is_ascii();
    let subject = if needs_utf8 { subject } else { encode_words(&subject) };
    let (charset, encoding, body) = body(text);
    let mut message = format!(
        "Date: {date}\r\nFrom: Mail Security <{from}>\r\nTo: {to}\r\nSubject: {subject}\r\n\
         Message-ID: <{id}.notice{number}@{host}>\r\nAuto-Submitted: auto-generated\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset={charset}\r\n\
         Content-Transfer-Encoding: {encoding}\r\n\r\n",
        date = stamp.date,
        id = stamp.queue_id,
        host = stamp.host,
    );
    message.push_str(&body);
    message.into_bytes()
}

fn with_domain(path: &ForwardPath, host: &str) -> String {
    match path.mailbox() {
        Some(mailbox) => mailbox.to_string(),
        None => format!("postmaster@{host}"),
    }
}

/// Charset, transfer encoding and body lines.
fn body(text: &str) -> (&'static str, &'static str, String) {
    let mut lines = String::with_capacity(text.len().saturating_add(64));
    for line in text.lines() {
        lines.push_str(&line.replace('\r', " "));
        lines.push_str("\r\n");
    }
    // 998 octets are the most that RFC 5322 §2.1.1 allows on a line.
    if lines.is_ascii() && lines.lines().all(|line| line.len() <= 900) {
        return ("us-ascii", "7bit", lines);
    }
    let encoded = base64(lines.as_bytes());
    let mut out = String::with_capacity(encoded.len().saturating_add(encoded.len() / 30));
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at_checked(BASE64_LINE).unwrap_or((rest, ""));
        out.push_str(line);
        out.push_str("\r\n");
        rest = after;
    }
    ("utf-8", "base64", out)
}

/// A subject as RFC 2047 encoded words, if it needs them.
fn encode_words(text: &str) -> String {
    let text = text.trim();
    if text.is_ascii() && text.len() <= 900 && !text.contains("=?") {
        return text.to_owned();
    }
    let mut words = Vec::new();
    let mut chunk = String::new();
    for c in text.chars() {
        if chunk.len().saturating_add(c.len_utf8()) > ENCODED_WORD_OCTETS {
            words.push(std::mem::take(&mut chunk));
        }
        chunk.push(c);
    }
    words.push(chunk);
    let encoded: Vec<String> =
        words.iter().map(|word| format!("=?utf-8?B?{}?=", base64(word.as_bytes()))).collect();
    encoded.join("\r\n ")
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3).saturating_mul(4));
    for chunk in bytes.chunks(3) {
        let at = |place: usize| u32::from(chunk.get(place).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for (place, shift) in [18_u32, 12, 6, 0].into_iter().enumerate() {
            if place > chunk.len() {
                out.push('=');
            } else {
                let six = usize::try_from(bits >> shift & 63).unwrap_or(0);
                out.push(char::from(ALPHABET.get(six).copied().unwrap_or(b'A')));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_rfc_4648() {
        for (text, expected) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(text.as_bytes()), expected);
        }
    }

    #[test]
    fn subjects() {
        let long = "会".repeat(40);
        let cases = [
            ("ASCII stays plain", "Attachment removed", 1),
            ("Japanese is encoded", "添付ファイル", 1),
            ("words are at most 75 characters", long.as_str(), 3),
            ("what looks encoded is encoded", "=?utf-8?Q?x?=", 1),
        ];
        for (name, subject, lines) in cases {
            let encoded = encode_words(subject);
            assert_eq!(encoded.lines().count(), lines, "{name}");
            assert!(encoded.lines().all(|line| line.trim().len() <= 75), "{name}");
            assert_eq!(encoded == subject, name.starts_with("ASCII"), "{name}");
        }
    }

    #[test]
    fn nothing_is_injected() {
        let stamp = Stamp {
            queue_id: "Q".to_owned(),
            host: "mx.example.com".to_owned(),
            date: "Sun, 22 Nov 2026 10:00:00 +0900".to_owned(),
            trace: Vec::new(),
        };
        let message = build(
            "p@example.com",
            &[ForwardPath::Postmaster],
            "a\r\nBcc: x\r\n\r\nb",
            "t\r\n.\r\nu",
            1,
            &stamp,
        );
        let text = String::from_utf8(message).unwrap();
        let (header, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(!header.contains("\r\nBcc"), "{header}");
        assert!(header.contains("To: <postmaster@mx.example.com>"), "{header}");
        assert_eq!(body, "t\r\n.\r\nu\r\n");
    }
}
