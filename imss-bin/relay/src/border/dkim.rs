//! One `DKIM-Signature` field (RFC 6376 §3.5, §5).

use base64_simd::STANDARD;
use bytes::Bytes;

use super::header::{Sections, folded, folded_names, push_relaxed};
use super::{SignError, SigningKey};

const NAME: &str = "DKIM-Signature";

/// The field, with its line end.
pub(super) fn field(key: &SigningKey, sections: &Sections, now: u64) -> Result<Bytes, SignError> {
    let (names, mut data) = sections.signed(&[]);
    let value = format!(
        " v=1; a={}; c=relaxed/simple; d={};\r\n\ts={}; t={now};\r\n\th={};\r\n\tbh={};\r\n\tb=",
        key.key.algorithm(),
        key.domain,
        key.selector,
        folded_names(&names),
        sections.body_hash(),
    );
    push_relaxed(&mut data, NAME.as_bytes(), value.as_bytes());
    // The signature's own field is signed without its line end (§3.7).
    data.truncate(data.len().saturating_sub(2));
    let signature = STANDARD.encode_to_string(key.key.sign(&data)?);
    Ok(format!("{NAME}:{value}{}\r\n", folded(&signature)).into())
}
