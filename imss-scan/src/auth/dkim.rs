//! DKIM signatures and the ARC chain of one message, on mail-auth.
//!
//! In: the message. Out of [`read`]: what must be looked up; then, with the keys, [`verify`] gives the
//! facts. Both compute and never wait. At most ten signatures are looked at, from the top, so that
//! the digests of the body are bounded; what is malformed counts among them, and what is more than
//! that is never parsed ([`super::bounds`]) but told as a fact of its own.
//!
//! `Deviation:` from mail-auth: digests of bodies are our own (its relaxed form is wrong for bodies that end in
//! lines of blanks), `l=` is followed but never aligned, `rsa-sha1` and RSA keys below 1024 bits are
//! not accepted (RFC 8301).

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::hash::Hash;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use hickory_resolver::TokioResolver;
use imss_core::authentication::body::{BodyDigest, BodyHasher, Canon};
use imss_core::authentication::{ArcFact, AuthResult, DkimFact, domain_of, tidy};
use imss_core::limits::Limits;
use imss_core::message::Message;
use mail_auth::common::cache::NoCache;
use mail_auth::common::crypto::{Algorithm, HashAlgorithm};
use mail_auth::common::parse::TxtRecordParser;
use mail_auth::common::verify::{DomainKey, VerifySignature};
use mail_auth::dkim::{Canonicalization, Signature};
use mail_auth::{
    AuthenticatedMessage, DkimResult, DnsError, Error, MessageAuthenticator, Parameters,
    ResolverCache, Txt,
};

use super::bounds::{Bounded, MAX_SETS, MAX_SIGNATURES, split, split_at_empty_line, with_crlf};
use super::names::{Names, NoAnswer};
use crate::report;

/// RSA keys shorter than this are worth nothing (RFC 8301 §3.2).
const MIN_RSA_BITS: usize = 1024;

/// A message, ready for its keys.
pub(super) struct Read {
    header: Bounded,
    hashes: Vec<(Canonicalization, HashAlgorithm, u64, Vec<u8>)>,
    body_lengths: BTreeMap<bool, u64>,
    /// The names of the keys it needs.
    pub(super) keys: BTreeSet<Box<str>>,
    /// The author's domain: none, one, or why there is none.
    pub(super) author: Result<Option<String>, &'static str>,
}

/// Keys by name. What is not in it was not found out, which is a temporary error.
pub(super) struct Keys {
    found: BTreeMap<Box<str>, Txt>,
    weak: BTreeSet<Box<str>>,
}

/// Reads the signatures and digests the body as they ask.
pub(super) fn read(raw: Bytes) -> Read {
    let raw = with_crlf(raw);
    let (header, body) = split(&raw);
    let mut read = Read {
        header: Bounded::new(raw.slice_ref(header)),
        hashes: Vec::new(),
        body_lengths: BTreeMap::new(),
        keys: BTreeSet::new(),
        author: Ok(None),
    };
    let (whole, _) = split_at_empty_line(&raw);
    read.author = if header.len() < whole.len() {
        Err("a header section that is too long")
    } else {
        author(&raw.slice_ref(header), read.header.parse().as_ref())
    };
    let Some(message) = read.header.parse() else { return read };
    let (mut hashes, mut body_lengths) = (Vec::new(), BTreeMap::new());
    let mut keys: BTreeSet<Box<str>> = BTreeSet::new();
    let mut wanted: Vec<(Canonicalization, HashAlgorithm, u64)> = Vec::new();
    for found in &message.dkim_headers {
        let signature = &found.header;
        keys.insert(signature.domain_key().into());
        wanted.push((signature.cb, signature.a.into(), signature.l));
    }
    // A chain that is too long is not verified, and its keys are not asked for.
    let has_chain = !read.header.leaves_sets_out;
    for found in message.as_headers.iter().filter(|_| has_chain) {
        keys.insert(found.header.domain_key().into());
    }
    if let Some(last) = message.ams_headers.last().filter(|_| has_chain) {
        let signature = &last.header;
        keys.insert(signature.domain_key().into());
        wanted.push((signature.cb, signature.a.into(), signature.l));
    }
    for (canon, algorithm, limit) in wanted {
        let known = |one: &&(Canonicalization, HashAlgorithm, u64, Vec<u8>)| {
            (one.0, one.1, one.2) == (canon, algorithm, limit)
        };
        if hashes.iter().find(known).is_none() {
            let (digest, length) = hash(body, canon, algorithm, limit);
            hashes.push((canon, algorithm, limit, digest));
            body_lengths.insert(canon == Canonicalization::Relaxed, length);
        }
    }
    drop(message);
    (read.hashes, read.body_lengths, read.keys) = (hashes, body_lengths, keys);
    read
}

/// Asks for the keys of a message, all at once; what is not there after `time` is unknown.
pub(super) async fn keys<N: Names>(names: &N, read: &Read, time: Duration) -> Keys {
    let mut keys = Keys { found: BTreeMap::new(), weak: BTreeSet::new() };
    let asks = read.keys.iter().map(|name| async move {
        let asked = tokio::time::timeout(time, names.txt(name)).await;
        (name, asked.unwrap_or(Err(NoAnswer::Temporary)))
    });
    for (name, texts) in all(asks).await {
        let found = match texts {
            Ok(texts) => {
                let parsed = texts.iter().map(|text| DomainKey::parse(text));
                let mut result = Err(Error::Dns(DnsError::InvalidRecordType));
                for one in parsed.take(MAX_SIGNATURES) {
                    result = one;
                    if result.is_ok() {
                        break;
                    }
                }
                if result.as_ref().is_ok_and(|key| key.p.public_key_bits() < MIN_RSA_BITS)
                    && !texts.iter().any(|text| is_ed25519(text))
                {
                    keys.weak.insert(name.clone());
                }
                result
            }
            Err(NoAnswer::NoName) => Err(Error::Dns(DnsError::InvalidRecordType)),
            Err(NoAnswer::Temporary) => Err(unknown()),
        };
        keys.found.insert(name.clone(), found.into());
    }
    keys
}

/// Waits for all of them at once; the answers are in the order of the questions.
async fn all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut waiting: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    poll_fn(|context| {
        let mut is_ready = true;
        for (future, output) in waiting.iter_mut().filter(|(_, output)| output.is_none()) {
            match future.as_mut().poll(context) {
                Poll::Ready(answer) => *output = Some(answer),
                Poll::Pending => is_ready = false,
            }
        }
        if is_ready { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    waiting.into_iter().filter_map(|(_, output)| output).collect()
}

/// Verifies signatures and chain. `resolver` is never asked: all keys are in `keys`.
pub(super) async fn verify(
    read: &Read,
    keys: &Keys,
    resolver: &TokioResolver,
) -> (Vec<DkimFact>, u32, ArcFact) {
    let Some(mut message) = read.header.parse() else {
        return (Vec::new(), 0, ArcFact::default());
    };
    let left_out = read.header.signatures_left_out;
    message.body_hashes.clone_from(&read.hashes);
    let authenticator = MessageAuthenticator(resolver.clone());
    let parameters = |params| Parameters {
        params,
        cache_txt: Some(keys),
        cache_mx: None::<&NoCache<_, _>>,
        cache_ptr: None::<&NoCache<_, _>>,
        cache_ipv4: None::<&NoCache<_, _>>,
        cache_ipv6: None::<&NoCache<_, _>>,
    };
    let outputs = authenticator.verify_dkim(parameters(&message)).await;
    let mut facts: Vec<DkimFact> = outputs
        .iter()
        .map(|output| fact(read, keys, &message, output.result(), output.signature()))
        .collect();
    if left_out > 0 {
        let reason = format!("{left_out} signatures were not looked at: too many, or too long");
        facts.push(DkimFact { result: AuthResult::PermError, reason, ..DkimFact::default() });
    }
    let arc = arc(read, keys, &message, &authenticator).await;
    (facts, u32::try_from(left_out).unwrap_or(u32::MAX), arc)
}

fn fact(
    read: &Read,
    keys: &Keys,
    message: &AuthenticatedMessage<'_>,
    result: &DkimResult,
    signature: Option<&Signature>,
) -> DkimFact {
    let (mut word, mut reason) = described(result);
    let Some(signature) = signature else {
        return DkimFact { result: word, reason, ..DkimFact::default() };
    };
    let key: Box<str> = signature.domain_key().into();
    if signature.a == Algorithm::RsaSha1 {
        (word, reason) = (AuthResult::PermError, "rsa-sha1 is not accepted (RFC 8301)".to_owned());
    } else if message.dkim_headers.iter().any(|found| {
        std::ptr::eq(&raw const found.header, signature)
            && !is_tag_list(found.value, &[b"v", b"a", b"b", b"bh", b"d", b"h", b"s"])
    }) {
        (word, reason) = (AuthResult::PermError, "not a tag list with all its tags".to_owned());
    } else if !signature.h.iter().any(|name| name.eq_ignore_ascii_case("from")) {
        (word, reason) = (AuthResult::PermError, "From is not signed".to_owned());
    } else if word == AuthResult::Pass && keys.weak.contains(&key) {
        (word, reason) = (AuthResult::Policy, "the key is shorter than 1024 bits".to_owned());
    }
    let length = read.body_lengths.get(&(signature.cb == Canonicalization::Relaxed));
    DkimFact {
        result: word,
        domain: tidy(&signature.d),
        selector: report::escaped(&signature.s),
        identity: report::escaped(&signature.i),
        algorithm: signature.a.name().to_owned(),
        b: first_octets(&signature.b),
        reason,
        partial: signature.l > 0 && length.is_none_or(|length| signature.l < *length),
        aligned: false,
        oversigned: oversigned(&signature.h, message),
        recipients_seen: 0,
    }
}

/// Fields that are named once more than they occur.
fn oversigned(signed: &[String], message: &AuthenticatedMessage<'_>) -> Vec<String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for name in signed.iter().take(200) {
        let count = counts.entry(name.to_ascii_lowercase()).or_default();
        *count = count.saturating_add(1);
    }
    let is_over = |(name, count): &(String, usize)| {
        let occurs = |field: &&(&[u8], &[u8])| field.0.eq_ignore_ascii_case(name.as_bytes());
        message.headers.iter().filter(occurs).count() < *count
    };
    let over = counts.into_iter().filter(is_over).map(|(name, _)| report::escaped(&name));
    over.take(32).collect()
}

async fn arc(
    read: &Read,
    keys: &Keys,
    message: &AuthenticatedMessage<'_>,
    authenticator: &MessageAuthenticator,
) -> ArcFact {
    let sets = read.header.sets;
    let mut fact = ArcFact { sets: u32::try_from(sets).unwrap_or(u32::MAX), ..ArcFact::default() };
    if let Some(last) = message.as_headers.last() {
        fact.sealer = tidy(&last.header.d);
    }
    let broken = |fact: ArcFact, reason: &str| ArcFact {
        result: AuthResult::Fail,
        reason: reason.to_owned(),
        ..fact
    };
    if sets > MAX_SETS {
        return broken(fact, "more than 50 sets");
    }
    if read.header.leaves_sets_out {
        let fact = ArcFact { out_of_bounds: true, ..fact };
        return broken(fact, "a field of the chain is too long");
    }
    if message.has_arc_errors {
        return broken(fact, "a field of the chain is malformed");
    }
    if sets == 0 {
        return fact;
    }
    if let Some(reason) = objection(read, keys, message) {
        return broken(fact, reason);
    }
    let parameters = Parameters {
        params: message,
        cache_txt: Some(keys),
        cache_mx: None::<&NoCache<_, _>>,
        cache_ptr: None::<&NoCache<_, _>>,
        cache_ipv4: None::<&NoCache<_, _>>,
        cache_ipv6: None::<&NoCache<_, _>>,
    };
    let output = authenticator.verify_arc(parameters).await;
    (fact.result, fact.reason) = described(output.result());
    // RFC 8617 §4.4: a chain passes, fails, or there is none.
    if !matches!(fact.result, AuthResult::Pass | AuthResult::None | AuthResult::TempError) {
        fact.result = AuthResult::Fail;
    }
    fact
}

/// What the library lets pass and RFC 8617 does not.
fn objection(read: &Read, keys: &Keys, message: &AuthenticatedMessage<'_>) -> Option<&'static str> {
    let sets = message.as_headers.len();
    if sets != message.ams_headers.len() || sets != message.aar_headers.len() {
        return Some("a set is not complete");
    }
    for set in &message.as_headers {
        let seal = &set.header;
        if seal.a == Algorithm::RsaSha1 {
            return Some("rsa-sha1 is not accepted (RFC 8301)");
        }
        if keys.weak.contains(seal.domain_key().as_str()) {
            return Some("a key is shorter than 1024 bits");
        }
        if !is_tag_list(set.value, &[b"i", b"a", b"b", b"cv", b"d", b"s"]) {
            return Some("a seal is malformed");
        }
    }
    for set in &message.ams_headers {
        if !is_tag_list(set.value, &[b"i", b"a", b"b", b"bh", b"d", b"h", b"s"]) {
            return Some("a message signature is malformed");
        }
        if set.header.a == Algorithm::RsaSha1 {
            return Some("rsa-sha1 is not accepted (RFC 8301)");
        }
        if set.header.h.iter().any(|name| name.eq_ignore_ascii_case("arc-seal")) {
            return Some("a message signature that signs a seal");
        }
    }
    let last = &message.ams_headers.last()?.header;
    let length = read.body_lengths.get(&(last.cb == Canonicalization::Relaxed));
    if last.l > 0 && length.is_none_or(|length| last.l < *length) {
        return Some("the last signature leaves a part of the body unsigned");
    }
    None
}

/// The tags of a tag list (RFC 6376 §3.2), white space taken out of the names.
fn tags(value: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    value.split(|octet| *octet == b';').filter_map(|tag| {
        let at = tag.iter().position(|octet| *octet == b'=')?;
        let (name, value) = tag.split_at_checked(at)?;
        Some((name.trim_ascii(), value.get(1..)?.trim_ascii()))
    })
}

/// Whether it is a tag list (RFC 6376 §3.2) with these tags and none twice.
fn is_tag_list(value: &[u8], needed: &[&[u8]]) -> bool {
    let value = value.trim_ascii();
    let value = value.strip_suffix(b";").unwrap_or(value);
    let mut known: BTreeSet<&[u8]> = BTreeSet::new();
    for tag in value.split(|octet| *octet == b';') {
        let Some(at) = tag.iter().position(|octet| *octet == b'=') else { return false };
        let name = tag.get(..at).unwrap_or_default().trim_ascii();
        let mut octets = name.iter();
        let is_name = octets.next().is_some_and(u8::is_ascii_alphabetic)
            && octets.all(|octet| octet.is_ascii_alphanumeric() || *octet == b'_');
        if !is_name || !known.insert(name) {
            return false;
        }
    }
    needed.iter().all(|name| known.contains(name))
}

/// A result of the library in our words.
fn described(result: &DkimResult) -> (AuthResult, String) {
    let (word, error) = match result {
        DkimResult::Pass => return (AuthResult::Pass, String::new()),
        DkimResult::None => return (AuthResult::None, String::new()),
        DkimResult::TempError(error) => (AuthResult::TempError, error),
        DkimResult::PermError(error) => (AuthResult::PermError, error),
        DkimResult::Fail(error) => (AuthResult::Fail, error),
        DkimResult::Neutral(error) => match error {
            // Understood and wrong is a fail; neutral is what could not be understood.
            Error::Dkim(
                mail_auth::dkim::DkimError::FailedBodyHashMatch
                | mail_auth::dkim::DkimError::SignatureExpired,
            ) => (AuthResult::Fail, error),
            _ => (AuthResult::Neutral, error),
        },
    };
    (word, report::escaped(&error.to_string()))
}

/// The domain of the author, if there is exactly one (RFC 9989 §5.3.1).
///
/// Where the library stops at a line that is no field, mail programs may read on: what either of
/// the readings shows counts.
fn author(
    header: &Bytes,
    parsed: Option<&AuthenticatedMessage<'_>>,
) -> Result<Option<String>, &'static str> {
    let ours = Message::parse(from_first_field(header), &Limits::default());
    let is_from = |name: &[u8]| name.trim_ascii_end().eq_ignore_ascii_case(b"from");
    let here = ours.fields().filter(|(name, _)| is_from(name.as_bytes())).count();
    let there =
        parsed.map_or(0, |message| message.headers.iter().filter(|one| is_from(one.0)).count());
    if here.max(there) > 1 {
        return Err("more than one From field");
    }
    let addresses = ours.addresses("From");
    let mut domains: BTreeSet<String> =
        addresses.iter().filter_map(|author| domain_of(&author.address)).collect();
    let seen = parsed.into_iter().flat_map(|message| &message.from);
    domains.extend(seen.filter_map(|from| domain_of(from)));
    if domains.len() > 1 {
        return Err("authors of more than one domain");
    }
    Ok(domains.into_iter().next())
}

/// A header section without lines before its first field, which some mail programs skip.
fn from_first_field(header: &Bytes) -> Bytes {
    let is_field = |line: &[u8]| {
        let name = memchr::memchr(b':', line).and_then(|end| line.get(..end));
        name.is_some_and(|name| !name.is_empty() && name.iter().all(u8::is_ascii_graphic))
    };
    let lines = header.split_inclusive(|octet| *octet == b'\n');
    let skipped = lines.take_while(|line| !is_field(line)).map(<[u8]>::len).sum::<usize>();
    header.slice(skipped.min(header.len())..)
}

fn hash(
    body: &[u8],
    canon: Canonicalization,
    algorithm: HashAlgorithm,
    limit: u64,
) -> (Vec<u8>, u64) {
    let canon = match canon {
        Canonicalization::Relaxed => Canon::Relaxed,
        Canonicalization::Simple => Canon::Simple,
    };
    let digest = match algorithm {
        HashAlgorithm::Sha1 => BodyDigest::Sha1,
        HashAlgorithm::Sha256 => BodyDigest::Sha256,
    };
    let mut hasher = BodyHasher::new(canon, digest, (limit > 0).then_some(limit));
    hasher.update(body);
    hasher.finish()
}

fn is_ed25519(text: &[u8]) -> bool {
    tags(text).any(|(name, value)| name == b"k" && value.eq_ignore_ascii_case(b"ed25519"))
}

/// The start of a signature in base64, as `header.b` shows it (RFC 6008).
fn first_octets(signature: &[u8]) -> String {
    base64(signature.get(..6).unwrap_or(signature))
}

fn base64(octets: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in octets.chunks(3) {
        let at = |place: usize| u32::from(group.get(place).copied().unwrap_or(0));
        let bits = (at(0) << 16) | (at(1) << 8) | at(2);
        for shift in [18, 12, 6, 0].into_iter().take(group.len().saturating_add(1)) {
            let digit = usize::try_from((bits >> shift) & 63).unwrap_or(0);
            out.push(char::from(DIGITS.get(digit).copied().unwrap_or(b'A')));
        }
    }
    out
}

fn unknown() -> Error {
    Error::Dns(DnsError::Resolver("no answer".to_owned()))
}

/// The library asks this first, and finds an answer for everything.
impl ResolverCache<Box<str>, Txt> for Keys {
    fn get<Q>(&self, name: &Q) -> Option<Txt>
    where
        Box<str>: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let found = self.found.iter().find(|(known, _)| {
            let known: &Q = std::borrow::Borrow::borrow(*known);
            known == name
        });
        Some(found.map_or_else(|| Txt::Error(unknown()), |(_, text)| text.clone()))
    }

    fn remove<Q>(&self, _name: &Q) -> Option<Txt>
    where
        Box<str>: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        None
    }

    fn insert(&self, _key: Box<str>, _value: Txt, _valid_until: std::time::Instant) {}
}

#[cfg(test)]
mod tests {
    use super::super::bounds::MAX_HEADER;
    use super::*;

    #[test]
    fn authors_as_any_reader_sees_them() {
        let ceo = "From: ceo@bank.example\r\n";
        let several = Err("more than one From field");
        let cases = [
            ("one", ceo.to_owned(), Ok(Some("bank.example"))),
            ("none", "To: a@b.example\r\n".to_owned(), Ok(None)),
            (
                "after a line that is no field",
                format!("X-A: b\r\njunk\r\n{ceo}"),
                Ok(Some("bank.example")),
            ),
            (
                "after junk at the start",
                format!("junk\r\nX-A: b\r\n{ceo}"),
                Ok(Some("bank.example")),
            ),
            (
                "a second one behind junk",
                format!("From: me@other.example\r\njunk\r\n{ceo}"),
                several,
            ),
            (
                "two in one",
                "From: a@bank.example, b@other.example\r\n".to_owned(),
                Err("authors of more than one domain"),
            ),
            (
                "behind more than is read",
                format!("X-A: {}\r\n{ceo}", "b\r\n ".repeat(MAX_HEADER / 4 + 1)),
                Err("a header section that is too long"),
            ),
        ];
        for (name, header, expected) in cases {
            let read = read(format!("{header}\r\nHello.\r\n").into());
            assert_eq!(read.author, expected.map(|domain| domain.map(str::to_owned)), "{name}");
        }
    }
}
