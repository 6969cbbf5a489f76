//! Where a domain wants its TLS reports: the TXT record at `_smtp._tls` (RFC 8460 §3).
//!
//! In: a domain. Out: mailboxes and HTTPS addresses, none if it does not ask for reports. Several
//! records, or one that does not follow the grammar, ask for none.

use hickory_resolver::TokioResolver;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use imss_core::envelope::ForwardPath;

use crate::reports::daily::mailbox;

/// Mailboxes that get a report.
const MAX_MAIL: usize = 10;
/// HTTPS addresses that get a report.
const MAX_HTTPS: usize = 2;

/// Where reports go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) mail: Vec<ForwardPath>,
    pub(crate) https: Vec<String>,
}

/// What `domain` says; `None` if that cannot be found out now.
pub(crate) async fn look(resolver: &TokioResolver, domain: &str) -> Option<Places> {
    let Ok(name) = Name::from_ascii(format!("_smtp._tls.{domain}.")) else {
        return Some(Places::default());
    };
    let lookup = match resolver.lookup(name, RecordType::TXT).await {
        Ok(lookup) => lookup,
        Err(NetError::Dns(DnsError::NoRecordsFound(none)))
            if matches!(none.response_code, ResponseCode::NXDomain | ResponseCode::NoError) =>
        {
            return Some(Places::default());
        }
        Err(_) => return None,
    };
    let texts = lookup.answers().iter().filter_map(|record| match &record.data {
        RData::TXT(txt) => Some(txt.txt_data.concat()),
        _ => None,
    });
    let mut ours = texts.filter(|text| is_ours(text));
    let first = ours.next().filter(|_| ours.next().is_none());
    Some(first.and_then(|text| parse(&text)).unwrap_or_default())
}

fn is_ours(text: &[u8]) -> bool {
    let rest = text.strip_prefix(b"v=TLSRPTv1").map(<[u8]>::trim_ascii_start);
    rest.is_some_and(|rest| rest.first() == Some(&b';'))
}

/// The places that a record names.
fn parse(text: &[u8]) -> Option<Places> {
    let text = std::str::from_utf8(text).ok()?;
    let fields = text.split(';').skip(1);
    let rua = fields.filter_map(|field| field.split_once('=')).find(|(key, _)| key.trim() == "rua");
    let mut places = Places::default();
    for uri in rua?.1.split(',').map(str::trim) {
        let scheme = uri.split(':').next().unwrap_or_default();
        if scheme.eq_ignore_ascii_case("mailto") {
            let path = uri.get(7..).and_then(mailbox);
            places.mail.extend(path.filter(|path| !places.mail.contains(path)));
        } else if scheme.eq_ignore_ascii_case("https") {
            let fine = uri.len() <= 1_000 && uri.bytes().all(|octet| octet.is_ascii_graphic());
            if fine && !places.https.iter().any(|known| known == uri) {
                places.https.push(uri.to_owned());
            }
        }
    }
    places.mail.truncate(MAX_MAIL);
    places.https.truncate(MAX_HTTPS);
    Some(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records() {
        type Row<'a> = (&'a str, &'a str, &'a [&'a str], &'a [&'a str]);
        let cases: [Row<'_>; 10] = [
            ("mail", "v=TLSRPTv1; rua=mailto:r@example.com", &["r@example.com"], &[]),
            ("no spaces", "v=TLSRPTv1;rua=mailto:r@example.com;", &["r@example.com"], &[]),
            ("https", "v=TLSRPTv1; rua=https://r.example/v1", &[], &["https://r.example/v1"]),
            (
                "both, and one twice",
                "v=TLSRPTv1; rua=mailto:a@x.example, https://y.example/,MAILTO:a@x.example",
                &["a@x.example"],
                &["https://y.example/"],
            ),
            (
                "more than are followed",
                "v=TLSRPTv1; rua=https://a.example/,https://b.example/,https://c.example/",
                &[],
                &["https://a.example/", "https://b.example/"],
            ),
            ("clear text", "v=TLSRPTv1; rua=http://r.example/", &[], &[]),
            ("another scheme", "v=TLSRPTv1; rua=ftp://r.example/", &[], &[]),
            ("no address", "v=TLSRPTv1; rua=mailto:", &[], &[]),
            ("a line end", "v=TLSRPTv1; rua=mailto:a@x.example\r\nBcc: y", &[], &[]),
            (
                "an unknown key first",
                "v=TLSRPTv1; x=y; rua=mailto:a@b.example",
                &["a@b.example"],
                &[],
            ),
        ];
        for (name, text, mail, https) in cases {
            assert!(is_ours(text.as_bytes()), "{name}");
            let places = parse(text.as_bytes()).unwrap_or_default();
            let found: Vec<String> = places.mail.iter().map(ToString::to_string).collect();
            assert_eq!(
                (found.as_slice(), places.https.as_slice()),
                (
                    mail.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>().as_slice(),
                    https.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>().as_slice(),
                ),
                "{name}"
            );
        }
    }

    #[test]
    fn what_is_no_record() {
        for text in
            ["v=TLSRPTv1", "v=TLSRPTv2; rua=mailto:a@b", "v=TLSRPTv11; x", "v=spf1 -all", ""]
        {
            assert!(!is_ours(text.as_bytes()), "{text}");
        }
        assert_eq!(parse(b"v=TLSRPTv1; ruf=mailto:a@b.example"), None);
    }
}
