//! The next ARC set (RFC 8617 §5.1): our results, a signature of the message, a seal of the chain.
//!
//! A chain that is broken or too long gets no set: it cannot become whole again, and a set would only
//! say so. `Deviation:` §5.1.2 would seal a first failure with `cv=fail`.

use base64_simd::STANDARD;
use bytes::Bytes;
use imss_core::authentication::{ArcFact, AuthResult};

use super::header::{Sections, folded, folded_names, push_relaxed};
use super::{SignError, SigningKey};

const RESULTS: &str = "ARC-Authentication-Results";
const SIGNATURE: &str = "ARC-Message-Signature";
const SEAL: &str = "ARC-Seal";
/// Sets in a chain (§5.1.1.2).
const MAX_SETS: u32 = 50;

/// The fields of the next set, the seal first; none if the chain cannot go on.
pub(super) fn fields(
    key: &SigningKey,
    sections: &Sections,
    chain: &ArcFact,
    results: &str,
    now: u64,
) -> Result<Vec<Bytes>, SignError> {
    let status = match (chain.result, chain.sets) {
        (AuthResult::None, 0) => "none",
        (AuthResult::Pass, 1..MAX_SETS) => "pass",
        _ => return Ok(Vec::new()),
    };
    let Some(mut data) = earlier(sections, chain.sets) else { return Ok(Vec::new()) };
    let instance = chain.sets.saturating_add(1);
    let (algorithm, domain, selector) = (key.key.algorithm(), &key.domain, &key.selector);
    let results = format!(" i={instance}; {results}");
    let (names, mut signed) = sections.signed(&["dkim-signature"]);
    let unsigned = format!(
        " i={instance}; a={algorithm}; c=relaxed/simple; d={domain};\r\n\ts={selector}; t={now};\
         \r\n\th={};\r\n\tbh={};\r\n\tb=",
        folded_names(&names),
        sections.body_hash(),
    );
    push_relaxed(&mut signed, SIGNATURE.as_bytes(), unsigned.as_bytes());
    signed.truncate(signed.len().saturating_sub(2));
    let signature =
        format!("{unsigned}{}", folded(&STANDARD.encode_to_string(key.key.sign(&signed)?)));
    let unsealed = format!(
        " i={instance}; a={algorithm}; t={now}; cv={status};\r\n\td={domain}; s={selector};\r\n\tb="
    );
    push_relaxed(&mut data, RESULTS.as_bytes(), results.as_bytes());
    push_relaxed(&mut data, SIGNATURE.as_bytes(), signature.as_bytes());
    push_relaxed(&mut data, SEAL.as_bytes(), unsealed.as_bytes());
    data.truncate(data.len().saturating_sub(2));
    let seal = folded(&STANDARD.encode_to_string(key.key.sign(&data)?));
    Ok(vec![
        format!("{SEAL}:{unsealed}{seal}\r\n").into(),
        format!("{SIGNATURE}:{signature}\r\n").into(),
        format!("{RESULTS}:{results}\r\n").into(),
    ])
}

/// The canonical forms of the sets before ours, in the order of the seal (§5.1.1).
fn earlier(sections: &Sections, sets: u32) -> Option<Vec<u8>> {
    let fields = sections.fields();
    let mut data = Vec::new();
    for instance in 1..=sets {
        for wanted in [RESULTS, SIGNATURE, SEAL] {
            let is_it = |(name, value): &&(&[u8], &[u8])| {
                name.trim_ascii_end().eq_ignore_ascii_case(wanted.as_bytes())
                    && number(value) == Some(instance)
            };
            let (name, value) = fields.iter().find(is_it)?;
            push_relaxed(&mut data, name, value);
        }
    }
    Some(data)
}

/// `i=` of a field.
fn number(value: &[u8]) -> Option<u32> {
    let mut tags = value.split(|octet| *octet == b';').filter_map(|tag| {
        let at = memchr::memchr(b'=', tag)?;
        let (name, value) = tag.split_at_checked(at)?;
        (name.trim_ascii() == b"i").then(|| value.get(1..).unwrap_or_default().trim_ascii())
    });
    std::str::from_utf8(tags.next()?).ok()?.parse().ok()
}
