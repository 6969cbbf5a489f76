//! Trace information (RFC 5321 §4.4): the `Received:` field we add, and counting those of others.

use std::fmt::Write as _;

use imss_core::envelope::{Client, Domain, Syntax};
use jiff::Zoned;

use super::Received;

/// Received fields above which a message is taken to go round in circles (RFC 5321 §6.3 wants at
/// least 100 to be let through; real paths stay below 30, and a loop of ours costs a scan a turn).
///
/// Deviation: 50, as Postfix's `hopcount_limit`.
pub const MAX_HOPS: usize = 50;

/// The value of the `Received:` field for a message that arrived `at`, folded, without the final
/// line end.
///
/// A client's name that is no domain and no address literal is left out.
#[must_use]
pub fn received_field(received: &Received, at: &Zoned) -> String {
    let (client, hostname) = (&received.envelope.client, &received.hostname);
    let mut value = format!("from {} ({})", from_domain(client), tcp_info(client));
    if let Some((version, cipher)) = client.tls.as_deref().and_then(|tls| tls.split_once(' ')) {
        let _ = write!(value, "\r\n\t(using {version} with cipher {cipher})");
    }
    if let Some(login) = received.traced_login.as_deref().filter(|login| is_plain(login)) {
        let _ = write!(value, "\r\n\t(authenticated as {login})");
    }
    let protocol = received.protocol.as_str();
    let _ = write!(value, "\r\n\tby {hostname} with {protocol}\r\n\tid {}", received.id);
    // With several recipients each would learn of the others (RFC 5321 §7.2).
    if let [recipient] = received.envelope.recipients.as_slice() {
        let _ = write!(value, " for <{}>", recipient.path);
    }
    let _ = write!(value, ";\r\n\t{}", at.strftime("%a, %-d %b %Y %H:%M:%S %z"));
    value
}

/// How many `Received:` fields `message` begins with, up to and with the end of its header
/// section.
#[must_use]
pub fn count_hops(message: &[u8]) -> usize {
    const NAME: &[u8] = b"received:";
    let starts =
        |line: &[u8]| line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME));
    let mut rest = message;
    let mut hops = 0_usize;
    while !rest.is_empty() && !rest.starts_with(b"\r\n") && !rest.starts_with(b"\n") {
        hops = hops.saturating_add(usize::from(starts(rest)));
        let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end.saturating_add(1));
        rest = rest.get(end..).unwrap_or_default();
    }
    hops
}

/// What the client called itself, if it may stand in a field.
fn from_domain(client: &Client) -> String {
    match Domain::parse(&client.helo, Syntax::default()) {
        Ok(_) => client.helo.clone(),
        Err(_) => literal(client),
    }
}

/// Whether a login name may stand in a comment as it is.
fn is_plain(login: &str) -> bool {
    login.bytes().all(|byte| byte.is_ascii_graphic() && !b"()\\".contains(&byte))
}

/// Who it is as far as TCP and the DNS tell (RFC 5321 §4.4): the confirmed name, and the address.
fn tcp_info(client: &Client) -> String {
    let is_name =
        |name: &&String| matches!(Domain::parse(name, Syntax::default()), Ok(Domain::Name(_)));
    match client.name.as_ref().filter(is_name) {
        Some(name) => format!("{name} {}", literal(client)),
        None => literal(client),
    }
}

fn literal(client: &Client) -> String {
    Domain::Literal(client.ip.to_canonical()).to_string()
}

#[cfg(test)]
mod tests {
    use imss_core::envelope::{
        Envelope, ForwardPath, MailParameters, RcptParameters, Recipient, ReversePath,
    };
    use imss_core::ids::QueueId;

    use super::super::{Mode, Protocol};
    use super::*;
    use crate::spool::body::Body;

    fn received(helo: &str, tls: Option<&str>, recipients: &[&str]) -> Received {
        let recipient = |text: &&str| Recipient {
            path: ForwardPath::parse(text, Syntax::LAX).unwrap(),
            parameters: RcptParameters::default(),
        };
        let client = Client {
            helo: helo.to_owned(),
            tls: tls.map(str::to_owned),
            ..Client::new("192.0.2.1".parse().unwrap())
        };
        Received {
            id: QueueId::new(0, 0, 0),
            envelope: Envelope {
                client,
                reverse_path: ReversePath::Null,
                parameters: MailParameters::default(),
                recipients: recipients.iter().map(recipient).collect(),
            },
            body: Body::Memory(bytes::Bytes::new()),
            received_at_unix_millis: 0,
            protocol: if tls.is_some() { Protocol::Esmtps } else { Protocol::Smtp },
            mode: Mode::Edge,
            hostname: "us.example".to_owned(),
            traced_login: None,
        }
    }

    #[test]
    fn field_values() {
        let at: Zoned = "2026-03-01T04:05:06+09:00[Asia/Tokyo]".parse().unwrap();
        let date = "Sun, 1 Mar 2026 04:05:06 +0900";
        let id = "0000000000000000";
        let mut named = received("other.example", None, &[]);
        named.envelope.client.name = Some("mx.example".to_owned());
        let mut forged = received("other.example", None, &[]);
        forged.envelope.client.name = Some("mx) (.example".to_owned());
        let rest = format!("\r\n\tby us.example with SMTP\r\n\tid {id};\r\n\t{date}");
        let cases = [
            (
                "the confirmed name",
                named,
                format!("from other.example (mx.example [192.0.2.1]){rest}"),
            ),
            ("what is no name", forged, format!("from other.example ([192.0.2.1]){rest}")),
            (
                "one recipient is named",
                received("mx.example", None, &["a@b.example"]),
                format!(
                    "from mx.example ([192.0.2.1])\r\n\tby us.example with SMTP\r\n\tid {id} for \
                     <a@b.example>;\r\n\t{date}"
                ),
            ),
            (
                "two are not; TLS is told",
                received("[192.0.2.9]", Some("TLSv1.3 X"), &["a@b.example", "c@b.example"]),
                format!(
                    "from [192.0.2.9] ([192.0.2.1])\r\n\t(using TLSv1.3 with cipher X)\r\n\tby \
                     us.example with ESMTPS\r\n\tid {id};\r\n\t{date}"
                ),
            ),
            (
                "a name that is none is left out",
                received("a)(;b", None, &[]),
                format!(
                    "from [192.0.2.1] ([192.0.2.1])\r\n\tby us.example with SMTP\r\n\tid \
                     {id};\r\n\t{date}"
                ),
            ),
        ];
        for (name, received, expected) in cases {
            assert_eq!(received_field(&received, &at), expected, "{name}");
        }
    }

    #[test]
    fn hops() {
        let cases: [(&str, &[u8], usize); 6] = [
            ("none", b"Subject: x\r\n\r\n", 0),
            ("any case", b"RECEIVED: a\r\n\tb\r\nreceived: c\r\n\r\nReceived: body\r\n", 2),
            ("a longer name", b"Received-SPF: x\r\n\r\n", 0),
            ("no body", b"Received: a", 1),
            ("body only", b"\r\nReceived: a\r\n", 0),
            ("empty", b"", 0),
        ];
        for (name, message, expected) in cases {
            assert_eq!(count_hops(message), expected, "{name}");
        }
    }
}
