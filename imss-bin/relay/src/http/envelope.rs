//! The envelope of a message that comes over HTTP: from the query and from header fields.
//!
//! In: `from`, `to` (once or more), `client`, `helo` and `name`, as `?from=…` with percent-encoding or
//! as `Imss-From: …`. Out: an [`Envelope`] and a name. What is missing has the values of `imss scan`:
//! this machine, the null reverse-path, the postmaster. What is wrong, or unknown, is refused with its
//! name: a judgement by another policy than was meant would look like any other.

use std::net::{IpAddr, Ipv4Addr};

use axum::http::{HeaderMap, Uri};
use imss_core::envelope::{
    Client, Envelope, ForwardPath, MailParameters, RcptParameters, Recipient, ReversePath, Syntax,
};

/// What header fields of ours begin with.
const PREFIX: &str = "imss-";
/// Longest value.
const MAX_VALUE_BYTES: usize = 1_024;

/// A request's envelope, and what the message is called.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) envelope: Envelope,
    pub(super) name: String,
}

/// Reads all of it; at most `max_recipients` of `to`.
pub(super) fn read(uri: &Uri, headers: &HeaderMap, max_recipients: usize) -> Result<Asked, String> {
    let mut asked = Reading::default();
    for pair in uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decoded(value).ok_or_else(|| format!("`{key}`: bad percent-encoding"))?;
        asked.take(key, &value, max_recipients)?;
    }
    for (field, value) in headers {
        let Some(key) = field.as_str().strip_prefix(PREFIX) else { continue };
        let value = std::str::from_utf8(value.as_bytes());
        asked.take(key, value.map_err(|_| format!("`{key}`: not UTF-8"))?, max_recipients)?;
    }
    Ok(asked.finish())
}

#[derive(Default)]
struct Reading {
    from: Option<ReversePath>,
    to: Vec<ForwardPath>,
    client: Option<IpAddr>,
    helo: Option<String>,
    name: Option<String>,
}

impl Reading {
    fn take(&mut self, key: &str, value: &str, max_recipients: usize) -> Result<(), String> {
        let wrong = |what: &str| Err(format!("`{key}`: {what}"));
        if value.len() > MAX_VALUE_BYTES || value.chars().any(char::is_control) {
            return wrong("too long, or not printable");
        }
        let inner = value.strip_prefix('<').and_then(|rest| rest.strip_suffix('>'));
        let path = inner.unwrap_or(value);
        match key {
            "from" => match ReversePath::parse(path, Syntax::LAX) {
                Ok(path) => once(&mut self.from, path, key),
                Err(_) => wrong("not an address"),
            },
            "to" if self.to.len() >= max_recipients => wrong("too many recipients"),
            "to" => match ForwardPath::parse(path, Syntax::LAX) {
                Ok(path) if self.to.contains(&path) => Ok(()),
                Ok(path) => {
                    self.to.push(path);
                    Ok(())
                }
                Err(_) => wrong("not an address"),
            },
            "client" => match value.parse() {
                Ok(ip) => once(&mut self.client, ip, key),
                Err(_) => wrong("not an IP address"),
            },
            "helo" if value.len() <= 255 && value.bytes().all(|b| b.is_ascii_graphic()) => {
                once(&mut self.helo, value.to_owned(), key)
            }
            "helo" => wrong("not a host name"),
            "name" => once(&mut self.name, value.to_owned(), key),
            _ => wrong("unknown; there are `from`, `to`, `client`, `helo` and `name`"),
        }
    }

    fn finish(self) -> Asked {
        let Self { from, mut to, client, helo, name } = self;
        if to.is_empty() {
            to.push(ForwardPath::Postmaster);
        }
        let recipient = |path| Recipient { path, parameters: RcptParameters::default() };
        let envelope = Envelope {
            client: Client {
                helo: helo.unwrap_or_default(),
                ..Client::new(client.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)).to_canonical())
            },
            reverse_path: from.unwrap_or(ReversePath::Null),
            parameters: MailParameters::default(),
            recipients: to.into_iter().map(recipient).collect(),
        };
        Asked { envelope, name: name.unwrap_or_else(|| "-".to_owned()) }
    }
}

fn once<T>(place: &mut Option<T>, value: T, key: &str) -> Result<(), String> {
    match place.replace(value) {
        Some(_) => Err(format!("`{key}`: given twice")),
        None => Ok(()),
    }
}

/// Undoes percent-encoding (RFC 3986 §2.1). A plus sign is one: addresses have it.
fn decoded(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            octets.push(first);
            continue;
        }
        let (digits, after) = after.split_first_chunk::<2>()?;
        rest = after;
        let digit = |octet: u8| char::from(octet).to_digit(16);
        let value = digit(digits[0])?.checked_mul(16)?.checked_add(digit(digits[1])?)?;
        octets.push(u8::try_from(value).ok()?);
    }
    String::from_utf8(octets).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(query: &str, fields: &[(&'static str, &str)]) -> Result<Asked, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        read(&query.parse().unwrap(), &headers, 2)
    }

    #[test]
    fn both_ways_are_one() {
        let query = "/v1/scan?from=a%40x.example&to=b+c@x.example&to=%3Cd@x.example%3E&\
                     client=192.0.2.1&helo=mx.example&name=%E6%97%A5.eml";
        let fields = [
            ("imss-from", "<a@x.example>"),
            ("imss-to", "b+c@x.example"),
            ("imss-to", "d@x.example"),
            ("imss-client", "::ffff:192.0.2.1"),
            ("imss-helo", "mx.example"),
            ("imss-name", "日.eml"),
            ("host", "other"),
        ];
        let by_query = asked(query, &[]).unwrap();
        assert_eq!(asked("/v1/scan", &fields).unwrap(), by_query);
        assert_eq!(by_query.envelope.recipients.len(), 2);
        assert_eq!(by_query.name, "日.eml");
    }

    #[test]
    fn what_is_missing() {
        let Asked { envelope, name } = asked("/v1/scan", &[]).unwrap();
        assert_eq!((envelope.client.ip.to_string().as_str(), name.as_str()), ("127.0.0.1", "-"));
        assert!(envelope.reverse_path.is_null());
        assert_eq!(envelope.recipients[0].path, ForwardPath::Postmaster);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (query, key) in [
            ("/v1/scan?from=nobody", "from"),
            ("/v1/scan?from=a@b&from=a@b", "from"),
            ("/v1/scan?to=a@b%0d%0a", "to"),
            ("/v1/scan?to=a@b&to=c@d&to=e@f", "to"),
            ("/v1/scan?to=%4", "to"),
            ("/v1/scan?to=%+1", "to"),
            ("/v1/scan?client=x", "client"),
            ("/v1/scan?helo=a%20b", "helo"),
            ("/v1/scan?rcpt=a@b", "rcpt"),
            ("/v1/scan?name=%FF", "name"),
        ] {
            let told = asked(query, &[]).unwrap_err();
            assert!(told.starts_with(&format!("`{key}`: ")), "{query}: {told}");
        }
    }
}
