//! What is known about who sent a message: the results of SPF (RFC 7208), DKIM (RFC 6376), DMARC
//! (RFC 9989) and ARC (RFC 8617), as plain facts.
//!
//! In: nothing; these are words that the crates share. Out: values that serialise, so that a verdict
//! can be replayed without asking anybody again. A name server that did not answer is
//! [`AuthResult::TempError`], never a pass.

use std::fmt;

use serde::{Deserialize, Serialize};

pub mod body;
mod domains;

pub use domains::{DomainPattern, domain_of, is_within, tidy};

/// A result, in the words of RFC 8601 §2.7.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum AuthResult {
    /// There is nothing to check.
    #[default]
    None,
    /// Checked, and it is so.
    Pass,
    /// Checked, and it is not so.
    Fail,
    /// Probably not so (SPF).
    SoftFail,
    /// The domain says nothing about it, or it cannot be understood.
    Neutral,
    /// Valid, but not accepted by our rules.
    Policy,
    /// A name server did not answer: nobody knows.
    TempError,
    /// What the domain publishes is wrong.
    PermError,
}

impl AuthResult {
    /// All results, in the order of RFC 8601.
    pub const ALL: [Self; 8] = [
        Self::None,
        Self::Pass,
        Self::Fail,
        Self::SoftFail,
        Self::Neutral,
        Self::Policy,
        Self::TempError,
        Self::PermError,
    ];

    /// The word of RFC 8601.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::SoftFail => "softfail",
            Self::Neutral => "neutral",
            Self::Policy => "policy",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

impl fmt::Display for AuthResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Everything the outside world says about who sent a message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthFacts {
    /// SPF of the name in HELO or EHLO.
    #[serde(default)]
    pub helo: SpfFact,
    /// SPF of the reverse-path; [`AuthResult::None`] and no domain if it is null.
    #[serde(default)]
    pub mail_from: SpfFact,
    /// One per signature, from the top, at most ten; one more if others were left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dkim: Vec<DkimFact>,
    /// Signatures that were not looked at, because there are more than ten or one is too long.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dkim_left_out: u32,
    /// DMARC of the author's domain.
    #[serde(default)]
    pub dmarc: DmarcFact,
    /// The ARC chain.
    #[serde(default)]
    pub arc: ArcFact,
}

/// What SPF says about one identity.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpfFact {
    /// The result.
    pub result: AuthResult,
    /// Whose record it is, in lower case.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// What the domain wants refused clients to be told; printable ASCII, at most 200 octets.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub explanation: String,
}

/// What one DKIM signature is worth.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DkimFact {
    /// The result.
    pub result: AuthResult,
    /// `d=`, in lower case.
    #[serde(default)]
    pub domain: String,
    /// `s=`.
    #[serde(default)]
    pub selector: String,
    /// `i=`; empty if it is not there.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub identity: String,
    /// `a=`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub algorithm: String,
    /// The start of `b=`, which tells signatures apart (RFC 6008).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub b: String,
    /// Why it is not a pass.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// `l=` leaves a part of the body unsigned: the signature is never aligned.
    #[serde(default, skip_serializing_if = "is_false")]
    pub partial: bool,
    /// It is valid, signs the whole body, and its domain matches the author's (RFC 9989).
    #[serde(default, skip_serializing_if = "is_false")]
    pub aligned: bool,
    /// Fields that were signed once more than they occur, so that nobody can add one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub oversigned: Vec<String>,
    /// Recipients that this signature was seen for so far, this message's included, as far as is
    /// remembered. A signed message can be sent again to anybody.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub recipients_seen: u32,
}

/// What DMARC says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DmarcFact {
    /// The result.
    pub result: AuthResult,
    /// The author's domain; empty if there is none or more than one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// The domain whose record applies.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub record_domain: String,
    /// What the record asks for if the result is a fail, test mode counted in.
    #[serde(default)]
    pub policy: DmarcPolicy,
    /// Whether the reverse-path's domain passed SPF and matches.
    #[serde(default)]
    pub spf_aligned: bool,
    /// Whether a valid signature's domain matches.
    #[serde(default)]
    pub dkim_aligned: bool,
    /// The record, as aggregate reports state it; none without a record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<DmarcRecord>,
    /// Why there is no result.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// What a domain wants done with mail that fails DMARC.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum DmarcPolicy {
    /// Nothing.
    #[default]
    None,
    /// Treat it as suspicious.
    Quarantine,
    /// Refuse it.
    Reject,
}

impl DmarcPolicy {
    /// The word in the record.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Quarantine => "quarantine",
            Self::Reject => "reject",
        }
    }
}

/// A DMARC record (RFC 9989 §4.7), as far as reports need it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DmarcRecord {
    /// `adkim=s`.
    #[serde(default)]
    pub strict_dkim: bool,
    /// `aspf=s`.
    #[serde(default)]
    pub strict_spf: bool,
    /// `p=`.
    pub p: DmarcPolicy,
    /// `sp=`.
    pub sp: DmarcPolicy,
    /// `np=`.
    pub np: DmarcPolicy,
    /// `t=y`.
    #[serde(default)]
    pub testing: bool,
    /// `rua=`, at most ten.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rua: Vec<String>,
}

/// What the ARC chain is worth.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArcFact {
    /// The chain's validation status.
    pub result: AuthResult,
    /// Sets in the chain.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub sets: u32,
    /// Who sealed last, in lower case.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sealer: String,
    /// Why it is not a pass.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Whether it fails because of a bound of ours, and may be whole: then nobody is told in a seal that
    /// it is broken.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub out_of_bounds: bool,
}

impl AuthFacts {
    /// SPF of the reverse-path, or of HELO where the reverse-path is null.
    #[must_use]
    pub fn spf(&self) -> &SpfFact {
        if self.mail_from.domain.is_empty() { &self.helo } else { &self.mail_from }
    }

    /// The result of all signatures together: a pass if one passes; else that nobody knows; else why
    /// the first one does not pass.
    #[must_use]
    pub fn dkim_result(&self) -> AuthResult {
        let has = |wanted: AuthResult| self.dkim.iter().any(|fact| fact.result == wanted);
        if has(AuthResult::Pass) {
            AuthResult::Pass
        } else if has(AuthResult::TempError) {
            AuthResult::TempError
        } else if self.dkim_left_out > 0 {
            // One of them may have been valid.
            AuthResult::PermError
        } else {
            self.dkim.first().map_or(AuthResult::None, |fact| fact.result)
        }
    }
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
}
