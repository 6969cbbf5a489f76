//! The arguments of XCLIENT and XFORWARD, as Postfix documents them.
//!
//! In: what follows the verb, from a client that may say so. Out: what it says of another client.
//! Values are xtext (RFC 3461 §4); one that breaks its form spoils the whole command, and an
//! attribute that was not offered does too.

use std::net::IpAddr;

use imss_core::envelope::{Domain, Syntax};

/// Octets of a name, decoded.
const MAX_NAME_BYTES: usize = 255;

/// What XCLIENT takes, as announced in the reply to EHLO.
pub(super) const XCLIENT_OFFER: &str = "XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT";
/// What XFORWARD takes.
pub(super) const XFORWARD_OFFER: &str = "XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE";

/// What is said of another client; `None` where nothing is said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Attributes {
    /// `ADDR`; the inner `None` is `[UNAVAILABLE]`.
    pub(super) address: Option<Option<IpAddr>>,
    /// `NAME`: what whoever says it has confirmed.
    pub(super) name: Option<Option<String>>,
    /// `HELO`.
    pub(super) helo: Option<Option<String>>,
    /// `LOGIN`.
    pub(super) login: Option<Option<String>>,
}

/// The command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Client,
    Forward,
}

impl Attributes {
    /// Reads the arguments; `None` if they are wrong.
    pub(super) fn parse(kind: Kind, arguments: &str) -> Option<Self> {
        let mut all = Self::default();
        let mut count = 0_usize;
        for word in arguments.split_ascii_whitespace() {
            let (name, value) = word.split_once('=')?;
            count = count.saturating_add(1);
            let value = match value {
                "[UNAVAILABLE]" | "[TEMPUNAVAIL]" => None,
                text => Some(xtext(text)?),
            };
            match (name.to_ascii_uppercase().as_str(), kind) {
                ("ADDR", _) => all.address = Some(known(value, address)?),
                ("HELO", _) => all.helo = Some(known(value, host)?),
                ("LOGIN", Kind::Client) => all.login = Some(value),
                ("DESTADDR", Kind::Client) => {
                    known(value, address)?;
                }
                ("PORT", _) | ("DESTPORT", Kind::Client) => {
                    value.map(|text| text.parse::<u16>()).transpose().ok()?;
                }
                ("PROTO", _) => match value.as_deref() {
                    None => {}
                    Some(proto)
                        if ["SMTP", "ESMTP"].iter().any(|p| p.eq_ignore_ascii_case(proto)) => {}
                    Some(_) => return None,
                },
                ("NAME", _) => all.name = Some(value.filter(|text| is_name(text))),
                ("IDENT" | "SOURCE", Kind::Forward) => {}
                _ => return None,
            }
        }
        (count > 0).then_some(all)
    }
}

/// What `read` makes of a value that is available; outside, `None` if it is wrong.
fn known<T>(value: Option<String>, read: impl FnOnce(String) -> Option<T>) -> Option<Option<T>> {
    match value {
        None => Some(None),
        Some(text) => read(text).map(Some),
    }
}

/// `192.0.2.1` or `IPV6:2001:db8::1`.
fn address(text: String) -> Option<IpAddr> {
    match text.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("IPV6:") => {
            text.get(5..)?.parse().ok().map(|ip| IpAddr::V6(ip).to_canonical())
        }
        _ => text.parse().ok().map(IpAddr::V4),
    }
}

/// Whether it is a full domain; what is not is as good as unknown.
fn is_name(text: &str) -> bool {
    text.contains('.') && matches!(Domain::parse(text, Syntax::default()), Ok(Domain::Name(_)))
}

fn host(text: String) -> Option<String> {
    text.bytes().all(|byte| byte.is_ascii_graphic()).then_some(text)
}

/// Decodes xtext of printable characters.
fn xtext(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let hex = |byte: Option<u8>| char::from(byte?).to_digit(16);
        decoded.push(match byte {
            b'+' => {
                let (high, low) = (hex(bytes.next())?, hex(bytes.next())?);
                u8::try_from(high.checked_mul(16)?.checked_add(low)?).ok()?
            }
            byte if byte.is_ascii_graphic() => byte,
            _ => return None,
        });
    }
    let text = String::from_utf8(decoded).ok()?;
    let fits = (1..=MAX_NAME_BYTES).contains(&text.len());
    (fits && !text.contains(char::is_control)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments() {
        let none = Attributes::default;
        let at = |ip: &str| Some(Attributes { address: Some(Some(ip.parse().unwrap())), ..none() });
        let named = |helo: &str| Some(Attributes { helo: Some(Some(helo.to_owned())), ..none() });
        let name =
            |name: Option<&str>| Some(Attributes { name: Some(name.map(str::to_owned)), ..none() });
        let (client, forward) = (Kind::Client, Kind::Forward);
        let cases = [
            ("address", client, "ADDR=192.0.2.1", at("192.0.2.1")),
            ("any case", forward, "addr=192.0.2.1 proto=esmtp", at("192.0.2.1")),
            ("IPv6", client, "ADDR=IPV6:2001:db8::1", at("2001:db8::1")),
            ("IPv6 without its tag", client, "ADDR=2001:db8::1", None),
            ("mapped", client, "ADDR=ipv6:::ffff:192.0.2.1", at("192.0.2.1")),
            (
                "everything else",
                client,
                "NAME=a PORT=1 DESTADDR=192.0.2.1 DESTPORT=25",
                Some(Attributes { name: Some(None), ..none() }),
            ),
            ("a name", client, "NAME=mx.example", name(Some("mx.example"))),
            ("a name that is none", forward, "NAME=mx+28.example", name(None)),
            ("no name", client, "NAME=[UNAVAILABLE]", name(None)),
            ("xtext", client, "HELO=a+2Bb", named("a+b")),
            ("broken xtext", client, "HELO=a+2", None),
            ("control characters", client, "HELO=a+0D+0AMAIL", None),
            ("blank in a name", client, "HELO=a+20b", None),
            ("not UTF-8", client, "LOGIN=+FF", None),
            (
                "unavailable",
                client,
                "ADDR=[UNAVAILABLE] HELO=[TEMPUNAVAIL] LOGIN=[UNAVAILABLE]",
                Some(Attributes {
                    address: Some(None),
                    helo: Some(None),
                    login: Some(None),
                    ..none()
                }),
            ),
            ("empty value", client, "HELO=", None),
            ("no value", client, "HELO", None),
            ("port out of range", client, "PORT=65536", None),
            ("no protocol", client, "PROTO=HTTP", None),
            ("not of this command", forward, "LOGIN=a", None),
            ("of the other", client, "IDENT=a", None),
            ("of this one", forward, "IDENT=a SOURCE=LOCAL", Some(none())),
            ("unknown", client, "X=1", None),
            ("nothing", client, "", None),
        ];
        for (name, kind, arguments, expected) in cases {
            assert_eq!(Attributes::parse(kind, arguments), expected, "{name}");
        }
        let long = format!("HELO={}", "a".repeat(256));
        assert_eq!(Attributes::parse(client, &long), None);
    }
}
