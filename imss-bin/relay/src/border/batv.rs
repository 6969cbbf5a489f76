//! Tagged reverse-paths (BATV, draft-levine-smtp-batv): a bounce of mail that we did not send is known.
//!
//! In: the reverse-path of mail that leaves, and the recipients of mail that comes. Out: `prvs=KDDDSSSSSS=`
//! and the mailbox: the key's number, the day it ends (modulo 1000), and 24 bits of an HMAC-SHA1 over
//! both and the mailbox. Every key checks, the one that began last tags, so keys can change.
//!
//! A bounce to a wrong tag is refused at `RCPT TO`. One without a tag is refused as
//! soon as its content begins: until then it looks like a server that asks whether a mailbox exists, which
//! is done with the null reverse-path and goes no further than `RCPT TO`. A secondary MX that was told "no"
//! then would refuse mail that is no bounce at all. Since the reply to the content is for all recipients,
//! they are either all without a tag or all fine: the others get 452, and come in a transaction of theirs.

use aws_lc_rs::hmac;
use imss_core::authentication::{DomainPattern, domain_of};
use imss_core::envelope::{ForwardPath, Mailbox, ReversePath, Syntax};

use super::KeyError;
use crate::config::BatvSettings;

const PREFIX: &str = "prvs=";
/// Octets of a local-part at most (RFC 5321 §4.5.3.1.1), less those of a tag.
const MAX_LOCAL: usize = 64 - 16;
/// Days after which the count starts again.
const CYCLE: u64 = 1_000;

/// Keys for tags.
pub(crate) struct Batv {
    domains: Vec<DomainPattern>,
    days: u64,
    refuse: bool,
    keys: Vec<TagKey>,
}

struct TagKey {
    number: u8,
    key: hmac::Key,
    not_before: u64,
}

/// What a recipient of mail from outside is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Untagged {
    /// Nothing to do with tags.
    Plain,
    /// Ours, and valid: the mailbox behind it.
    Valid(ForwardPath),
    /// A bounce to a tag of ours that is forged or too old.
    Invalid,
    /// A bounce to a mailbox of ours whose mail never leaves without a tag.
    Missing,
}

impl Batv {
    /// Loads the keys.
    ///
    /// # Errors
    ///
    /// [`KeyError`]: a file that cannot be read, or with fewer than 16 octets.
    pub(crate) fn new(settings: &BatvSettings) -> Result<Self, KeyError> {
        let load = |one: &crate::config::TagKeySettings| {
            let secret = std::fs::read(&one.file).map_err(|error| KeyError::Secret {
                path: one.file.clone(),
                reason: error.to_string(),
            })?;
            let secret = secret.trim_ascii();
            if secret.len() < 16 {
                let reason = "fewer than 16 octets".to_owned();
                return Err(KeyError::Secret { path: one.file.clone(), reason });
            }
            let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
            Ok(TagKey { number: one.number, key, not_before: one.not_before.unwrap_or(0) })
        };
        let keys: Result<Vec<_>, _> = settings.keys.iter().map(load).collect();
        let (domains, days) = (settings.domains.clone(), u64::from(settings.days));
        Ok(Self { domains, days, refuse: settings.refuse, keys: keys? })
    }

    /// The reverse-path with a tag, if it is one of ours without.
    pub(crate) fn tagged(&self, path: &ReversePath, now: u64) -> Option<ReversePath> {
        let mailbox = path.mailbox()?.to_string();
        let (local, _) = mailbox.rsplit_once('@')?;
        let plain = local.len() <= MAX_LOCAL && !local.starts_with(['"', '<']);
        if !plain || local.starts_with(PREFIX) || !self.is_ours(&mailbox) {
            return None;
        }
        let begun = self.keys.iter().filter(|key| key.not_before <= now);
        let key = begun.max_by_key(|key| key.not_before)?;
        let day = day(now).saturating_add(self.days) % CYCLE;
        let tag = tag(key, day, &mailbox);
        ReversePath::parse(&format!("{PREFIX}{tag}={mailbox}"), Syntax::LAX).ok()
    }

    /// What a recipient is; `is_bounce` says whether the reverse-path is null.
    pub(crate) fn untagged(&self, path: &ForwardPath, is_bounce: bool, now: u64) -> Untagged {
        let Some(mailbox) = path.mailbox().map(ToString::to_string) else { return Untagged::Plain };
        if !self.is_ours(&mailbox) {
            return Untagged::Plain;
        }
        let Some((tag_found, bare)) = split(&mailbox) else {
            return if is_bounce && self.refuse { Untagged::Missing } else { Untagged::Plain };
        };
        let valid = self.keys.iter().any(|key| {
            let days = (0..=self.days).map(|ahead| day(now).saturating_add(ahead) % CYCLE);
            days.map(|day| tag(key, day, bare)).any(|tag| tag.eq_ignore_ascii_case(tag_found))
        });
        match ForwardPath::parse(bare, Syntax::LAX) {
            Ok(path) if valid => Untagged::Valid(path),
            _ if is_bounce && self.refuse => Untagged::Invalid,
            _ => Untagged::Plain,
        }
    }

    /// A reverse-path that we tagged, as it was: for notices of our own.
    pub(crate) fn bare(&self, path: &ReversePath) -> Option<ReversePath> {
        ReversePath::parse(&self.without_tag(path.mailbox()?)?, Syntax::LAX).ok()
    }

    /// A recipient that is tagged, as it was.
    pub(crate) fn bare_recipient(&self, path: &ForwardPath) -> Option<ForwardPath> {
        ForwardPath::parse(&self.without_tag(path.mailbox()?)?, Syntax::LAX).ok()
    }

    fn without_tag(&self, mailbox: &Mailbox) -> Option<String> {
        let mailbox = mailbox.to_string();
        let (_, bare) = split(&mailbox).filter(|_| self.is_ours(&mailbox))?;
        Some(bare.to_owned())
    }

    fn is_ours(&self, mailbox: &str) -> bool {
        let domain = domain_of(mailbox);
        domain.is_some_and(|domain| self.domains.iter().any(|one| one.matches(&domain)))
    }
}

fn day(now: u64) -> u64 {
    now / 86_400
}

/// `KDDDSSSSSS`.
fn tag(key: &TagKey, day: u64, mailbox: &str) -> String {
    let start = format!("{}{day:03}", key.number);
    // Domains are the same in any case, local-parts are not.
    let mailbox = match mailbox.rsplit_once('@') {
        Some((local, domain)) => format!("{local}@{}", domain.to_ascii_lowercase()),
        None => mailbox.to_owned(),
    };
    let digest = hmac::sign(&key.key, format!("{start}{mailbox}").as_bytes());
    let signature: String =
        digest.as_ref().iter().take(3).map(|octet| format!("{octet:02x}")).collect();
    start + &signature
}

/// The tag and the mailbox of a tagged one.
fn split(mailbox: &str) -> Option<(&str, &str)> {
    let (prefix, rest) = mailbox.split_at_checked(PREFIX.len())?;
    let (tag, bare) = rest.split_once('=')?;
    let is_tag = tag.len() == 10 && tag.bytes().all(|b| b.is_ascii_hexdigit());
    (prefix.eq_ignore_ascii_case(PREFIX) && is_tag).then_some((tag, bare))
}
