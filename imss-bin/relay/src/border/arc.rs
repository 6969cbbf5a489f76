//! The next ARC set (RFC 8617 §5.1): our results, a signature of the message, a seal of the chain.
//!
//! Who finds a chain broken seals that once with `cv=fail`, a seal of its own set alone (§5.1.2). A chain
//! that says so already, is too long, or could not be checked gets no set; nor do fields of which none has
//! an instance, since the first set cannot say `fail` (§4.1.3).

use std::collections::BTreeMap;

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
    let Some((status, instance, mut data)) = state(sections, chain) else { return Ok(Vec::new()) };
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

/// Whether there is a next set.
pub(super) fn goes_on(sections: &Sections, chain: &ArcFact) -> bool {
    state(sections, chain).is_some()
}

/// `cv=` and `i=` of the next set, and what its seal covers besides it; `None` if there is none.
fn state(sections: &Sections, chain: &ArcFact) -> Option<(&'static str, u32, Vec<u8>)> {
    let fields = sections.fields();
    let sets = Sets::new(&fields);
    let next = sets.highest().saturating_add(1);
    match chain.result {
        AuthResult::None if chain.sets == 0 => Some(("none", 1, Vec::new())),
        AuthResult::Pass if (1..MAX_SETS).contains(&chain.sets) => {
            Some(("pass", chain.sets.saturating_add(1), sets.canonical(chain.sets)?))
        }
        AuthResult::Fail
            if (2..=MAX_SETS).contains(&next) && !chain.out_of_bounds && !sets.says_fail() =>
        {
            Some(("fail", next, Vec::new()))
        }
        _ => None,
    }
}

/// The fields of a chain, by instance and in the order of the seal (§5.1.1); of several alike the first.
struct Sets<'a>(BTreeMap<(u32, usize), Field<'a>>);

/// Name and value.
type Field<'a> = (&'a [u8], &'a [u8]);

impl<'a> Sets<'a> {
    fn new(fields: &[Field<'a>]) -> Self {
        let mut sets = BTreeMap::new();
        for (name, value) in fields {
            let is_it = |kind: &str| name.trim_ascii_end().eq_ignore_ascii_case(kind.as_bytes());
            let place = [RESULTS, SIGNATURE, SEAL].iter().position(|kind| is_it(kind));
            if let (Some(place), Some(instance)) = (place, instance(value)) {
                sets.entry((instance, place)).or_insert((*name, *value));
            }
        }
        Self(sets)
    }

    /// The last instance; 0 if there is none.
    fn highest(&self) -> u32 {
        self.0.keys().next_back().map_or(0, |(instance, _)| *instance)
    }

    /// Whether the last seal ended the chain.
    fn says_fail(&self) -> bool {
        let seals = self.0.iter().rev().filter(|((_, place), _)| *place == 2);
        let cv = seals.map(|(_, (_, value))| tag(value, b"cv")).next().flatten();
        cv.is_some_and(|cv| cv.eq_ignore_ascii_case(b"fail"))
    }

    /// The canonical forms of the first `count` sets.
    fn canonical(&self, count: u32) -> Option<Vec<u8>> {
        let mut data = Vec::new();
        for instance in 1..=count {
            for place in 0..3 {
                let (name, value) = self.0.get(&(instance, place))?;
                push_relaxed(&mut data, name, value);
            }
        }
        Some(data)
    }
}

/// `i=` of a field.
fn instance(value: &[u8]) -> Option<u32> {
    let number = std::str::from_utf8(tag(value, b"i")?).ok()?.parse().ok()?;
    (1..=MAX_SETS).contains(&number).then_some(number)
}

/// A tag's value.
fn tag<'a>(value: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    let mut tags = value.split(|octet| *octet == b';').filter_map(|tag| {
        let at = memchr::memchr(b'=', tag)?;
        let (name, value) = tag.split_at_checked(at)?;
        (name.trim_ascii() == wanted).then(|| value.get(1..).unwrap_or_default().trim_ascii())
    });
    tags.next()
}
