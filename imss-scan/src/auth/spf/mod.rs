//! `check_host()` of RFC 7208 §4: may this client send mail of that domain?
//!
//! In: the client's address, the identity, and somebody who answers for the DNS. Out: a [`SpfFact`].
//! Work is bounded as §4.6.4 says: ten terms that look something up, two answers without records, ten
//! exchangers per `mx`, ten names per `ptr`; beyond that the result is `permerror`.

mod macros;
mod record;

use std::net::IpAddr;
use std::pin::Pin;

use imss_core::authentication::{AuthResult, SpfFact, tidy};

use self::macros::{Letters, Template};
use self::record::{Mechanism, Prefixes, Record, is_record};
use super::names::{Names, NoAnswer, Records};

/// Terms that may look something up (§4.6.4).
const MAX_LOOKUPS: u32 = 10;
/// Answers without records (§4.6.4).
const MAX_VOID: u32 = 2;
/// Exchangers of one `mx`, names of one `ptr` (§4.6.4).
const MAX_HOSTS: usize = 10;
/// Octets of an explanation that are kept.
const MAX_EXPLANATION: usize = 200;

/// Whom to check.
#[derive(Debug, Clone, Copy)]
pub struct Identity<'a> {
    /// The client's address.
    pub ip: IpAddr,
    /// The name in HELO or EHLO.
    pub helo: &'a str,
    /// The mailbox in MAIL FROM; empty checks the HELO identity.
    pub sender: &'a str,
    /// Our name.
    pub receiver: &'a str,
    /// The time, in seconds since 1970.
    pub unix_seconds: u64,
}

/// Checks one identity.
pub async fn check<N: Names>(names: &N, who: Identity<'_>) -> SpfFact {
    let postmaster = format!("postmaster@{}", who.helo);
    let sender = match who.sender {
        "" => postmaster,
        // Without a local-part it is the postmaster's (§4.3).
        mailbox if mailbox.starts_with('@') => format!("postmaster{mailbox}"),
        mailbox => mailbox.to_owned(),
    };
    let domain = sender.rsplit_once('@').map(|(_, domain)| tidy(domain)).unwrap_or_default();
    let mut check = Check {
        names,
        ip: who.ip.to_canonical(),
        who,
        sender: &sender,
        lookups: 0,
        void: 0,
        validated: None,
    };
    let (result, explanation) = match check.host(&domain, true).await {
        Ok(done) => done,
        Err(Stop::Temporary) => (AuthResult::TempError, String::new()),
        Err(Stop::Permanent) => (AuthResult::PermError, String::new()),
    };
    SpfFact { result, domain, explanation }
}

/// Why a check ends without a match.
enum Stop {
    Temporary,
    Permanent,
}

struct Check<'a, N> {
    names: &'a N,
    ip: IpAddr,
    who: Identity<'a>,
    sender: &'a str,
    lookups: u32,
    void: u32,
    /// The client's validated name, once somebody asked.
    validated: Option<String>,
}

type Checked = Result<(AuthResult, String), Stop>;

impl<N: Names> Check<'_, N> {
    /// `check_host()`. Recursion is as deep as look-ups are allowed.
    fn host<'b>(
        &'b mut self,
        domain: &'b str,
        outermost: bool,
    ) -> Pin<Box<dyn Future<Output = Checked> + Send + 'b>> {
        Box::pin(async move {
            if !is_name(domain) {
                return Ok((AuthResult::None, String::new()));
            }
            let Some(record) = self.record(domain).await? else {
                return Ok((AuthResult::None, String::new()));
            };
            for directive in &record.directives {
                if self.matches(&directive.mechanism, domain).await? {
                    let failed = directive.result == AuthResult::Fail && outermost;
                    let explanation = match &record.explanation {
                        Some(template) if failed => self.explanation(template, domain).await,
                        _ => String::new(),
                    };
                    return Ok((directive.result, explanation));
                }
            }
            let Some(redirect) = &record.redirect else {
                return Ok((AuthResult::Neutral, String::new()));
            };
            self.count()?;
            let target = self.name(redirect, domain).await;
            match self.host(&target, outermost).await? {
                (AuthResult::None, _) => Err(Stop::Permanent),
                done => Ok(done),
            }
        })
    }

    /// The one record of `domain` (§4.4, §4.5).
    async fn record(&self, domain: &str) -> Result<Option<Record>, Stop> {
        let texts = match self.names.txt(domain).await {
            Ok(texts) => texts,
            Err(NoAnswer::NoName) => return Ok(None),
            Err(NoAnswer::Temporary) => return Err(Stop::Temporary),
        };
        let mut records = texts.iter().filter(|text| is_record(text));
        let Some(text) = records.next() else { return Ok(None) };
        if records.next().is_some() {
            return Err(Stop::Permanent);
        }
        Record::parse(text).map(Some).ok_or(Stop::Permanent)
    }

    async fn matches(&mut self, mechanism: &Mechanism, domain: &str) -> Result<bool, Stop> {
        match mechanism {
            Mechanism::All => Ok(true),
            Mechanism::Ip4(network, length) => Ok(
                matches!(self.ip, IpAddr::V4(ip) if same(&ip.octets(), &network.octets(), *length)),
            ),
            Mechanism::Ip6(network, length) => Ok(
                matches!(self.ip, IpAddr::V6(ip) if same(&ip.octets(), &network.octets(), *length)),
            ),
            Mechanism::Include(target) => {
                self.count()?;
                let target = self.name(target, domain).await;
                match self.host(&target, false).await?.0 {
                    AuthResult::Pass => Ok(true),
                    AuthResult::None => Err(Stop::Permanent),
                    _ => Ok(false),
                }
            }
            Mechanism::A(target, prefixes) => {
                self.count()?;
                let target = self.target(target.as_ref(), domain).await;
                self.has_address(&target, *prefixes, true).await
            }
            Mechanism::Mx(target, prefixes) => {
                self.count()?;
                let target = self.target(target.as_ref(), domain).await;
                self.is_exchanger(&target, *prefixes).await
            }
            Mechanism::Ptr(target) => {
                self.count()?;
                let target = tidy(&self.target(target.as_ref(), domain).await);
                let named = self.validated_names().await;
                Ok(named.iter().any(|name| imss_core::authentication::is_within(name, &target)))
            }
            Mechanism::Exists(target) => {
                self.count()?;
                let target = self.name(target, domain).await;
                if !is_askable(&target) {
                    return Ok(false);
                }
                let answer = self.names.a(&target).await;
                Ok(!self.counted(answer)?.is_empty())
            }
        }
    }

    async fn is_exchanger(&mut self, target: &str, prefixes: Prefixes) -> Result<bool, Stop> {
        if !is_askable(target) {
            return Ok(false);
        }
        let answer = self.names.mx(target).await;
        let mut exchangers = self.counted(answer)?;
        if exchangers.len() > MAX_HOSTS {
            return Err(Stop::Permanent);
        }
        exchangers.sort();
        for (_, exchanger) in &exchangers {
            // The hosts of one term are bounded above; they do not count as terms.
            if self.has_address(exchanger, prefixes, false).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn has_address(
        &mut self,
        name: &str,
        prefixes: Prefixes,
        count_void: bool,
    ) -> Result<bool, Stop> {
        if !is_askable(name) {
            return Ok(false);
        }
        match self.ip {
            IpAddr::V4(ip) => {
                let answer = self.names.a(name).await;
                let found = if count_void { self.counted(answer)? } else { plain(answer)? };
                Ok(found.iter().any(|one| same(&ip.octets(), &one.octets(), prefixes.v4)))
            }
            IpAddr::V6(ip) => {
                let answer = self.names.aaaa(name).await;
                let found = if count_void { self.counted(answer)? } else { plain(answer)? };
                Ok(found.iter().any(|one| same(&ip.octets(), &one.octets(), prefixes.v6)))
            }
        }
    }

    /// The names of the client that lead back to its address (§5.5). Failures are no names.
    async fn validated_names(&mut self) -> Vec<String> {
        let mut validated = Vec::new();
        for name in self.names.ptr(self.ip).await.unwrap_or_default().iter().take(MAX_HOSTS) {
            let leads_back = match self.ip {
                IpAddr::V4(ip) => self.names.a(name).await.is_ok_and(|all| all.contains(&ip)),
                IpAddr::V6(ip) => self.names.aaaa(name).await.is_ok_and(|all| all.contains(&ip)),
            };
            if leads_back {
                validated.push(tidy(name));
            }
        }
        validated
    }

    /// The name for `%{p}`: the domain itself, else one below it, else any (§7.3).
    async fn validate(&mut self, domain: &str) {
        if self.validated.is_some() {
            return;
        }
        let names = self.validated_names().await;
        let below = |name: &&String| imss_core::authentication::is_within(name, domain);
        let best = names.iter().find(|name| *name == domain).or_else(|| names.iter().find(below));
        let best = best.or(names.first()).cloned();
        self.validated = Some(best.unwrap_or_else(|| "unknown".to_owned()));
    }

    async fn target(&mut self, template: Option<&Template>, domain: &str) -> String {
        match template {
            Some(template) => self.name(template, domain).await,
            None => domain.to_owned(),
        }
    }

    async fn name(&mut self, template: &Template, domain: &str) -> String {
        if template.asks_for_name() {
            self.validate(domain).await;
        }
        template.name(&self.letters(domain))
    }

    /// What the domain wants the client to be told (§6.2). Whatever goes wrong, there is none.
    async fn explanation(&mut self, template: &Template, domain: &str) -> String {
        let name = self.name(template, domain).await;
        let Ok([text]) = <[Vec<u8>; 1]>::try_from(self.names.txt(&name).await.unwrap_or_default())
        else {
            return String::new();
        };
        let text = std::str::from_utf8(&text).ok().filter(|text| text.is_ascii());
        let Some(template) = text.and_then(|text| Template::parse(text, true)) else {
            return String::new();
        };
        if template.asks_for_name() {
            self.validate(domain).await;
        }
        let told = template.text(&self.letters(domain));
        let visible = |c: &char| c.is_ascii_graphic() || *c == ' ';
        told.chars().filter(visible).take(MAX_EXPLANATION).collect()
    }

    fn letters<'b>(&'b self, domain: &'b str) -> Letters<'b> {
        Letters {
            ip: self.ip,
            sender: self.sender,
            helo: self.who.helo,
            domain,
            validated: self.validated.as_deref().unwrap_or("unknown"),
            receiver: self.who.receiver,
            unix_seconds: self.who.unix_seconds,
        }
    }

    fn count(&mut self) -> Result<(), Stop> {
        self.lookups = self.lookups.saturating_add(1);
        if self.lookups > MAX_LOOKUPS { Err(Stop::Permanent) } else { Ok(()) }
    }

    /// The records of a term; too many terms without any end the check.
    fn counted<T>(&mut self, answer: Records<T>) -> Result<Vec<T>, Stop> {
        let found = plain(answer)?;
        if found.is_empty() {
            self.void = self.void.saturating_add(1);
            if self.void > MAX_VOID {
                return Err(Stop::Permanent);
            }
        }
        Ok(found)
    }
}

fn plain<T>(answer: Records<T>) -> Result<Vec<T>, Stop> {
    match answer {
        Ok(found) => Ok(found),
        Err(NoAnswer::NoName) => Ok(Vec::new()),
        Err(NoAnswer::Temporary) => Err(Stop::Temporary),
    }
}

/// Whether two addresses agree in their first `length` bits.
fn same(one: &[u8], other: &[u8], length: u32) -> bool {
    let mut left = length;
    for (a, b) in one.iter().zip(other) {
        if left == 0 {
            return true;
        }
        let bits = left.min(8);
        let mask = u8::MAX.checked_shl(8_u32.saturating_sub(bits)).unwrap_or(0);
        if (a ^ b) & mask != 0 {
            return false;
        }
        left = left.saturating_sub(bits);
    }
    true
}

/// Whether it can be the name of a sending domain: labels, more than one (§4.3).
fn is_name(domain: &str) -> bool {
    domain.contains('.') && is_askable(domain)
}

/// Whether the DNS can be asked for it.
fn is_askable(name: &str) -> bool {
    let bare = name.strip_suffix('.').unwrap_or(name);
    bare.len() <= 253 && bare.split('.').all(|label| (1..=63).contains(&label.len()))
}
