//! Sender rewriting for forwarded mail (SRS): the reverse-path becomes an address of ours, so that SPF
//! holds at the next host, and bounces to that address find their way back.
//!
//! In: a reverse-path, or a recipient. Out: `SRS0=hash=day=domain=local@ours` (`SRS1=…` for what somebody
//! else rewrote before), or the address that stands in one. Only addresses that a key of ours signed in
//! the last weeks are turned back: nobody can make us relay by inventing one. Keys are changed by putting
//! a new one before the old: the first signs, all are believed.

use aws_lc_rs::hmac;
use imss_core::envelope::{Domain, ForwardPath, Mailbox, ReversePath, Syntax};

use crate::inbound::relaying::DomainSet;

/// Days for which a rewritten address is turned back.
pub const DEFAULT_DAYS: u64 = 21;
/// Days after which the day in an address begins anew: two letters of 32.
const CYCLE: u64 = 1_024;
const DAY_MILLIS: u64 = 24 * 3_600 * 1_000;
const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// Letters of a hash, five bits each.
const HASH_LETTERS: usize = 8;

/// Rewrites and turns back.
#[derive(Debug, Clone)]
pub struct Srs {
    domain: String,
    keys: Vec<hmac::Key>,
    days: u64,
    /// Domains whose mail is ours to send: nothing is rewritten for them.
    local: DomainSet,
}

/// Why an address is not turned back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an address that was rewritten here, or too old")]
pub struct Forged;

impl Srs {
    /// Rewrites to addresses in `domain`, signed with the first of `keys`.
    #[must_use]
    pub fn new(domain: String, keys: &[Vec<u8>], days: u64, local: DomainSet) -> Self {
        let keys = keys.iter().map(|key| hmac::Key::new(hmac::HMAC_SHA256, key)).collect();
        Self { domain: domain.to_ascii_lowercase(), keys, days, local }
    }

    /// The reverse-path for forwarding a message to `recipient`; `None` if it stays as it is: it is
    /// null, or ours, or the recipient is ours.
    #[must_use]
    pub fn forward(
        &self,
        reverse_path: &ReversePath,
        recipient: &ForwardPath,
        now_unix_millis: u64,
    ) -> Option<ReversePath> {
        let sender = reverse_path.mailbox()?;
        let is_ours = |domain: &Domain| self.local.contains(domain) || self.is_ours(domain);
        if is_ours(sender.domain()) || recipient.mailbox().is_none_or(|one| is_ours(one.domain())) {
            return None;
        }
        let domain = sender.domain().ascii_name()?;
        let local_part = sender.local_part();
        let (tag, rest) = match tagged(local_part) {
            // What was rewritten elsewhere goes back to whoever did it first.
            Some((0, rest)) => (1, format!("{domain}={rest}")),
            Some((_, rest)) => (1, rest.split_once('=').map_or(rest, |(_, rest)| rest).to_owned()),
            None => {
                let day = day_letters(now_unix_millis / DAY_MILLIS);
                (0, format!("{day}={domain}={local_part}"))
            }
        };
        let hash = hash(self.keys.first()?, &rest);
        let text = format!("SRS{tag}={hash}={rest}@{}", self.domain);
        // An address can be too long for this; then it stays.
        ReversePath::parse(&text, Syntax::LAX).ok()
    }

    /// The address that stands in a rewritten one; `None` if `path` is not of that kind at all.
    ///
    /// # Errors
    ///
    /// [`Forged`]: nobody may send there.
    pub fn reverse(
        &self,
        path: &ForwardPath,
        now_unix_millis: u64,
    ) -> Result<Option<ForwardPath>, Forged> {
        let Some(mailbox) = path.mailbox().filter(|one| self.is_ours(one.domain())) else {
            return Ok(None);
        };
        let Some((tag, rest)) = tagged(mailbox.local_part()) else { return Ok(None) };
        let (given, rest) = rest.split_once('=').ok_or(Forged)?;
        let is_ours = |key| same(given.as_bytes(), hash(key, rest).as_bytes());
        if !self.keys.iter().any(is_ours) {
            return Err(Forged);
        }
        let text = if tag == 0 {
            let (day, rest) = rest.split_once('=').ok_or(Forged)?;
            self.check_day(day, now_unix_millis / DAY_MILLIS)?;
            let (domain, local_part) = rest.split_once('=').ok_or(Forged)?;
            format!("{local_part}@{domain}")
        } else {
            let (domain, rest) = rest.split_once('=').ok_or(Forged)?;
            format!("SRS0={rest}@{domain}")
        };
        let mailbox = Mailbox::parse(&text, Syntax::LAX).map_err(|_| Forged)?;
        Ok(Some(ForwardPath::Mailbox(mailbox)))
    }

    fn is_ours(&self, domain: &Domain) -> bool {
        domain.ascii_name().is_some_and(|name| name.eq_ignore_ascii_case(&self.domain))
    }

    fn check_day(&self, letters: &str, today: u64) -> Result<(), Forged> {
        let age = (0..=self.days.min(CYCLE / 2)).find(|age| {
            today
                .checked_sub(*age)
                .is_some_and(|day| letters.eq_ignore_ascii_case(&day_letters(day)))
        });
        age.map(|_| ()).ok_or(Forged)
    }
}

/// Which kind of rewritten address it is, and what follows the separator.
fn tagged(local_part: &str) -> Option<(u8, &str)> {
    let (head, rest) = local_part.split_at_checked(5)?;
    let head = head.to_ascii_uppercase();
    let separated = matches!(head.as_bytes().last(), Some(b'=' | b'+' | b'-'));
    match head.get(..4).filter(|_| separated)? {
        "SRS0" => Some((0, rest)),
        "SRS1" => Some((1, rest)),
        _ => None,
    }
}

/// Case does not count: some hosts change it.
fn hash(key: &hmac::Key, text: &str) -> String {
    let tag = hmac::sign(key, text.to_ascii_lowercase().as_bytes());
    let letter = |octet: &u8| letter(u64::from(*octet));
    tag.as_ref().iter().take(HASH_LETTERS).map(letter).collect()
}

fn same(given: &[u8], expected: &[u8]) -> bool {
    // The time it takes says nothing about where the difference is.
    let differences = given.iter().zip(expected).map(|(a, b)| a.to_ascii_uppercase() ^ b);
    given.len() == expected.len() && differences.fold(0, |all, one| all | one) == 0
}

fn day_letters(day: u64) -> String {
    let day = day % CYCLE;
    [day / 32, day].into_iter().map(letter).collect()
}

fn letter(number: u64) -> char {
    let place = usize::try_from(number % 32).unwrap_or(0);
    LETTERS.get(place).map_or('A', |octet| char::from(*octet))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    fn srs(keys: &[&str]) -> Srs {
        let mut local = DomainSet::default();
        local.insert("ours.example").unwrap();
        let keys: Vec<Vec<u8>> = keys.iter().map(|key| key.as_bytes().to_vec()).collect();
        Srs::new("fwd.example".to_owned(), &keys, DEFAULT_DAYS, local)
    }

    fn to(text: &str) -> ForwardPath {
        ForwardPath::parse(text, Syntax::LAX).unwrap()
    }

    fn forward(srs: &Srs, from: &str, recipient: &str) -> Option<String> {
        let from = ReversePath::parse(from, Syntax::LAX).unwrap();
        srs.forward(&from, &to(recipient), NOW).map(|path| path.to_string())
    }

    #[test]
    fn only_what_is_forwarded() {
        let srs = srs(&["a key of ours"]);
        let cases = [
            ("from elsewhere to elsewhere", "a@b.example", "c@d.example", true),
            ("from us", "a@ours.example", "c@d.example", false),
            ("to us", "a@b.example", "c@ours.example", false),
            ("a bounce", "", "c@d.example", false),
            ("rewritten already", "SRS0=x@fwd.example", "c@d.example", false),
            ("a literal", "a@[192.0.2.1]", "c@d.example", false),
        ];
        for (name, from, recipient, expected) in cases {
            assert_eq!(forward(&srs, from, recipient).is_some(), expected, "{name}");
        }
    }

    #[test]
    fn there_and_back() {
        let ours = srs(&["a key of ours"]);
        for (name, from) in [
            ("plain", "alice@b.example"),
            ("with separators", "a=b+c-d@b.example"),
            ("rewritten elsewhere", "SRS0=AAAA=BB=o.example=alice@b.example"),
        ] {
            let there = forward(&ours, from, "c@d.example").expect(name);
            let back = ours.reverse(&to(&there), NOW).expect(name).expect(name);
            assert_eq!(back.to_string(), from, "{name}: {there}");
            let lower = ours.reverse(&to(&there.to_lowercase()), NOW).expect(name).expect(name);
            assert!(lower.to_string().eq_ignore_ascii_case(from), "{name}");
        }
        // What somebody rewrote a second time goes back to the first.
        let there =
            forward(&ours, "SRS1=HHHH=b.example=AAAA=BB=o.example=al@x.example", "c@d.example");
        let back = ours.reverse(&to(&there.unwrap()), NOW).unwrap().unwrap();
        assert_eq!(back.to_string(), "SRS0=AAAA=BB=o.example=al@b.example");
    }

    #[test]
    fn forged_and_old_addresses() {
        let ours = srs(&["a key of ours"]);
        let there = forward(&ours, "alice@b.example", "c@d.example").unwrap();
        let days = |days: u64| NOW + days * DAY_MILLIS;
        let turned =
            |srs: &Srs, text: &str, at| srs.reverse(&to(text), at).map(|one| one.is_some());
        assert_eq!(turned(&ours, &there, days(DEFAULT_DAYS)), Ok(true), "the last day");
        assert_eq!(turned(&ours, &there, days(DEFAULT_DAYS + 1)), Err(Forged), "too old");
        assert_eq!(turned(&ours, &there, days(CYCLE * 50)), Ok(true), "a whole cycle");
        assert_eq!(turned(&ours, &there.replace("alice", "bob"), NOW), Err(Forged), "another name");
        assert_eq!(turned(&ours, "SRS0=AAAAAAAA=BB=b.example=a@fwd.example", NOW), Err(Forged));
        assert_eq!(turned(&ours, "SRS0=@fwd.example", NOW), Err(Forged), "cut");
        assert_eq!(turned(&ours, "info@fwd.example", NOW), Ok(false), "not of that kind");
        assert_eq!(turned(&ours, &there.replace("fwd.", "other."), NOW), Ok(false), "not ours");
        let rotated = srs(&["a new key", "a key of ours"]);
        assert_eq!(turned(&rotated, &there, NOW), Ok(true), "the key before");
        assert_ne!(forward(&rotated, "alice@b.example", "c@d.example"), Some(there.clone()));
        assert_eq!(turned(&srs(&["a new key"]), &there, NOW), Err(Forged), "a key that is gone");
    }
}
