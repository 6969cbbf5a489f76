//! What each part says at each stage, in this order: lists, throttles, DNS lists, names, slow start,
//! greylisting. The first refusal is the reply.

use std::net::IpAddr;
use std::time::Duration;

use imss_core::envelope::{Client, ForwardPath, ReversePath};
use imss_scan::reputation::greylist::Tried;
use imss_scan::reputation::lists::{Entry, ListKind, Lists, Place};
use imss_scan::reputation::source::SourceKey;
use imss_scan::reputation::subject::Subject;
use imss_scan::reputation::throttle::Exceeded;
use sha2::{Digest, Sha256};

use super::checks::{self, Sign};
use super::counter::Waiting;
use super::record::{Record, time_of};
use super::settings::{Action, DnsClass, Weight};
use super::template::Template;
use super::zones::Listing;
use super::{Active, Filter, Part, State, lock};
use crate::inbound::{Leave, Mode, Reply, Role, Stage};

/// One client at one stage.
struct Caller<'a> {
    active: &'a Active,
    client: &'a Client,
    /// Its name, if that has its address.
    host: Option<&'a str>,
    stage: &'static str,
    reverse_path: Option<&'a ReversePath>,
    recipient: Option<&'a ForwardPath>,
    key: SourceKey,
    now: u32,
}

/// Why a client is refused.
struct Refusal<'a> {
    part: Part,
    rule: String,
    action: Action,
    text: &'a Template,
    zone: String,
    codes: String,
    detail: String,
    until_secs: Option<u32>,
}

/// What the DNS says of an address.
enum Reverse {
    /// Nobody asked, or nobody answered.
    Unknown,
    /// It has no name, or none that is its own.
    Wrong(Sign),
    /// A name that has this address.
    Confirmed(String),
}

impl Filter {
    /// Whether the session may go on at `stage`.
    ///
    /// # Errors
    ///
    /// What the client reads instead.
    pub async fn check(&self, stage: Stage<'_>) -> Result<Leave, Reply> {
        let role = stage.role();
        let has_entries = || !self.read_lists(|lists| lists.is_empty());
        let active = self.active.load();
        if role.mode.is_loopback_only() || (active.is_idle() && !has_entries()) {
            return Ok(Leave::default());
        }
        drop(active);
        let active = self.active.load_full();
        let (name, reverse_path, recipient) = match stage {
            Stage::Connect { .. } => ("connect", None, None),
            Stage::Hello { .. } => return Ok(Leave::default()),
            Stage::Mail { reverse_path, .. } => ("mail", Some(reverse_path), None),
            Stage::Rcpt { reverse_path, recipient, .. } => {
                ("rcpt", Some(reverse_path), Some(recipient))
            }
        };
        let client = stage.client();
        let client_name = match stage {
            // Who connected before an entry was made is asked for at the next message.
            Stage::Connect { .. } | Stage::Mail { .. } => {
                self.listed_name(&active, client, role).await
            }
            Stage::Hello { .. } | Stage::Rcpt { .. } => None,
        };
        let (key, now) = (active.key(client.ip), self.now());
        let host = client_name.as_deref().or(client.name.as_deref());
        let caller = Caller {
            active: &active,
            client,
            host,
            stage: name,
            reverse_path,
            recipient,
            key,
            now,
        };
        let mut leave = Leave { client_name: client_name.clone(), ..Leave::default() };
        if self.is_listed(&caller)? {
            return Ok(leave);
        }
        let is_ours = role.is_trusted || active.is_known(client.ip);
        match stage {
            Stage::Hello { .. } => {}
            Stage::Connect { is_early, .. } => {
                self.throttle_connection(&caller)?;
                // Who is about to log in may do so from anywhere.
                let waits = role.mode == Mode::Submission;
                if !is_ours && !waits {
                    self.is_early(&caller, is_early)?;
                    self.dns_lists(&caller).await?;
                }
            }
            Stage::Mail { reverse_path, is_early, .. } => {
                self.throttle_message(&caller, reverse_path)?;
                if !is_ours {
                    if role.mode == Mode::Submission {
                        self.dns_lists(&caller).await?;
                    }
                    let found = self.signs(&caller, is_early).await?;
                    leave.client_name = leave.client_name.or(found);
                    self.slow_start(&caller)?;
                }
            }
            Stage::Rcpt { reverse_path, recipient, .. } => {
                if !is_ours {
                    self.greylist(&caller, reverse_path, recipient)?;
                }
            }
        }
        Ok(leave)
    }

    /// Whether the client is approved.
    fn is_listed(&self, caller: &Caller<'_>) -> Result<bool, Reply> {
        let active = caller.active;
        if active.states.of(Part::Lists) == State::Off {
            return Ok(false);
        }
        let Some(entry) = self.entry(active, caller.client.ip, caller.host, caller.now) else {
            return Ok(false);
        };
        if entry.list == ListKind::Approved {
            return Ok(true);
        }
        let action = if entry.is_transient { Action::Defer } else { Action::Reject };
        let named = match (&entry.subject, caller.host) {
            (Subject::Name(_), Some(host)) => format!("; the client is {host}"),
            _ => String::new(),
        };
        let refusal = Refusal {
            detail: format!("{} ({}){named}", entry.note, entry.by),
            until_secs: entry.until_secs,
            ..Refusal::new(
                Part::Lists,
                entry.subject.to_string(),
                action,
                &active.settings.blocked_text,
            )
        };
        self.refuse(caller, refusal)?;
        Ok(false)
    }

    /// The confirmed name of a client whose name nobody knows yet, if a list has entries for names and no
    /// entry approves the address. Our own clients are not asked about: a name server that is slow to name
    /// them must not delay them. Nobody answers in time: no name, and no entry for names covers the client.
    async fn listed_name(&self, active: &Active, client: &Client, role: Role) -> Option<String> {
        let is_asked = client.name.is_none()
            && active.states.of(Part::Lists) != State::Off
            && (active.fixed.has_names() || self.read_lists(Lists::has_names))
            && !role.is_trusted
            && !active.is_known(client.ip);
        let is_approved = |entry: Entry| entry.list == ListKind::Approved;
        if !is_asked || self.entry(active, client.ip, None, self.now()).is_some_and(is_approved) {
            return None;
        }
        let asked = tokio::time::timeout(active.settings.dns.timeout, self.reverse(client.ip));
        match asked.await {
            Ok(Reverse::Confirmed(name)) => Some(name),
            Ok(Reverse::Unknown | Reverse::Wrong(_)) | Err(_) => None,
        }
    }

    /// The entry that covers `ip`, whose confirmed name is `host`: an approved one first, those of commands
    /// before the settings'.
    pub(super) fn entry(
        &self,
        active: &Active,
        ip: IpAddr,
        host: Option<&str>,
        now: u32,
    ) -> Option<Entry> {
        let place = Place { name: host, ..active.geo.place(ip) };
        let found = self.read_lists(|lists| lists.find(ip, place, now).cloned());
        let fixed = active.fixed.find(ip, place, now);
        match (found, fixed) {
            (Some(found), Some(fixed)) if found.list == ListKind::Blocked => {
                Some(if fixed.list == ListKind::Approved { fixed.clone() } else { found })
            }
            (Some(found), _) => Some(found),
            (None, fixed) => fixed.cloned(),
        }
    }

    fn throttle_connection(&self, caller: &Caller<'_>) -> Result<(), Reply> {
        let throttle = &caller.active.settings.throttle;
        let Some(allowed) = throttle.client else { return Ok(()) };
        if caller.active.states.of(Part::Throttle) == State::Off {
            return Ok(());
        }
        let counted =
            self.source(caller.key, |source| source.throttle.connection(&allowed, caller.now));
        match counted {
            // Whose sender is excepted shows at MAIL FROM.
            Err(exceeded) if throttle.except_senders.is_empty() => {
                self.refuse(caller, Refusal::throttled(caller.active, "client", exceeded))
            }
            _ => Ok(()),
        }
    }

    fn throttle_message(&self, caller: &Caller<'_>, sender: &ReversePath) -> Result<(), Reply> {
        let throttle = &caller.active.settings.throttle;
        let address = sender.to_string().to_lowercase();
        let is_off = caller.active.states.of(Part::Throttle) == State::Off;
        if is_off || is_excepted(&throttle.except_senders, &address) {
            return Ok(());
        }
        if let Some(allowed) = throttle.client {
            let counted =
                self.source(caller.key, |source| source.throttle.message(&allowed, caller.now));
            if let Err(exceeded) = counted {
                self.refuse(caller, Refusal::throttled(caller.active, "client", exceeded))?;
            }
        }
        // The null reverse-path is everybody's.
        if let Some(allowed) = throttle.sender.filter(|_| !sender.is_null()) {
            let counted = lock(&self.memory.senders).update(hash(&[&address]), |known| {
                let counted = known.throttle.message(&allowed, caller.now);
                known.address = counted.err().map(|_| address.as_str().into());
                counted
            });
            if let Err(exceeded) = counted {
                self.refuse(caller, Refusal::throttled(caller.active, "sender", exceeded))?;
            }
        }
        Ok(())
    }

    async fn dns_lists(&self, caller: &Caller<'_>) -> Result<(), Reply> {
        let dns = &caller.active.settings.dns;
        let Some(client) = &self.around.dns else { return Ok(()) };
        if caller.active.states.of(Part::Dns) == State::Off || dns.zones.is_empty() {
            return Ok(());
        }
        let (listings, records) = self.zones.ask(dns, client, caller.client.ip, caller.now).await;
        records.into_iter().for_each(|record| self.write(record));
        for (class, is_dynamic) in [(&dns.standard, false), (&dns.dynamic, true)] {
            let of_class: Vec<&Listing> =
                listings.iter().filter(|listing| listing.is_dynamic == is_dynamic).collect();
            let weight = of_class.iter().fold(0_u32, |sum, one| sum.saturating_add(one.weight));
            if !of_class.is_empty() && weight >= class.threshold {
                self.refuse(caller, Refusal::listed(class, &of_class, weight))?;
            }
        }
        Ok(())
    }

    /// How long to listen whether this client speaks before its greeting.
    pub(crate) fn listens_first(&self, client: &Client, role: Role) -> Option<Duration> {
        let active = self.active.load();
        let checks = &active.settings.checks;
        let is_asked = active.states.of(Part::Checks) != State::Off
            && checks.early_talker.is_some()
            && role.mode != Mode::Submission
            && is_stranger(&active, role, client.ip);
        is_asked.then_some(checks.early_talker_wait)
    }

    /// Where speaking first is enough by itself, the client need not go on.
    fn is_early(&self, caller: &Caller<'_>, is_early: bool) -> Result<(), Reply> {
        let checks = &caller.active.settings.checks;
        match checks.early_talker {
            Some(Weight::Act(action))
                if is_early && caller.active.states.of(Part::Checks) != State::Off =>
            {
                self.refuse(caller, Refusal::named(&[Sign::EarlyTalker], action, &checks.text))
            }
            _ => Ok(()),
        }
    }

    /// Adds up what is wrong with the client. Gives its name, if it was asked for and is its own.
    async fn signs(&self, caller: &Caller<'_>, is_early: bool) -> Result<Option<String>, Reply> {
        let (settings, is_off) =
            (&caller.active.settings, caller.active.states.of(Part::Checks) == State::Off);
        let checks = &settings.checks;
        let is_checked = checks.no_reverse.is_some() || checks.reverse_mismatch.is_some();
        let asks_dns = settings.client_names || (is_checked && !is_off);
        let reverse = match caller.host {
            // Found out before, or by a relay that we believe.
            Some(_) => Reverse::Unknown,
            None if asks_dns => self.reverse(caller.client.ip).await,
            None => Reverse::Unknown,
        };
        let (name, reverse) = match reverse {
            Reverse::Unknown => (None, None),
            Reverse::Wrong(sign) => (None, Some(sign)),
            Reverse::Confirmed(name) => (Some(name), None),
        };
        if is_off {
            return Ok(name);
        }
        let mut score = 0_u32;
        let mut signs = Vec::new();
        let (around, client) = (&self.around, caller.client);
        let helo =
            checks::helo(&client.helo, client.ip, &around.hostname, &around.relaying.domains);
        let early = is_early.then_some(Sign::EarlyTalker);
        for sign in [helo, reverse, early].into_iter().flatten() {
            let weight = match sign {
                Sign::HeloInvalid => checks.helo_invalid,
                Sign::HeloOurs => checks.helo_ours,
                Sign::HeloLiteral => checks.helo_literal,
                Sign::NoReverse => checks.no_reverse,
                Sign::ReverseMismatch => checks.reverse_mismatch,
                Sign::EarlyTalker => checks.early_talker,
            };
            match weight {
                None => continue,
                // Told before the greeting.
                Some(Weight::Act(_)) if sign == Sign::EarlyTalker => continue,
                Some(Weight::Act(action)) => {
                    self.refuse(caller, Refusal::named(&[sign], action, &checks.text))?;
                }
                Some(Weight::Score(points)) => score = score.saturating_add(points),
            }
            signs.push(sign);
        }
        if !signs.is_empty() && score >= checks.threshold {
            self.refuse(caller, Refusal::named(&signs, checks.action, &checks.text))?;
        }
        Ok(name)
    }

    /// The names of an address; unknown if nobody answers.
    async fn reverse(&self, ip: IpAddr) -> Reverse {
        let Some(dns) = &self.around.dns else { return Reverse::Unknown };
        let Ok(names) = dns.reverse_names(ip).await else { return Reverse::Unknown };
        if names.is_empty() {
            return Reverse::Wrong(Sign::NoReverse);
        }
        for name in names {
            match dns.has_address(&name, ip).await {
                Ok(true) => return Reverse::Confirmed(name),
                Ok(false) => {}
                Err(_) => return Reverse::Unknown,
            }
        }
        Reverse::Wrong(Sign::ReverseMismatch)
    }

    fn slow_start(&self, caller: &Caller<'_>) -> Result<(), Reply> {
        let settings = &caller.active.settings;
        if caller.active.states.of(Part::SlowStart) == State::Off {
            return Ok(());
        }
        let counted = self.source(caller.key, |source| {
            source.slow_start.message(&settings.slow_start, caller.now)
        });
        let Err(until) = counted else { return Ok(()) };
        let refusal = Refusal {
            until_secs: Some(until),
            ..Refusal::new(
                Part::SlowStart,
                "new source".to_owned(),
                Action::Defer,
                &settings.slow_start_text,
            )
        };
        self.refuse(caller, refusal)
    }

    fn greylist(
        &self,
        caller: &Caller<'_>,
        sender: &ReversePath,
        recipient: &ForwardPath,
    ) -> Result<(), Reply> {
        let settings = &caller.active.settings.greylist;
        if caller.active.states.of(Part::Greylist) == State::Off {
            return Ok(());
        }
        let (sender, recipient) =
            (sender.to_string().to_lowercase(), recipient.to_string().to_lowercase());
        let key = hash(&[&caller.key.number().to_string(), &sender, &recipient]);
        let tried = self.source(caller.key, |source| {
            lock(&self.memory.triplets).update(key, |known| {
                let tried =
                    source.standing.attempt(&mut known.triplet, &settings.times, caller.now);
                known.waiting = matches!(tried, Tried::Wait { .. }).then(|| {
                    Box::new(Waiting {
                        source: caller.key.number(),
                        sender: sender.as_str().into(),
                        recipient: recipient.as_str().into(),
                    })
                });
                tried
            })
        });
        match tried {
            Tried::Approved | Tried::Known => Ok(()),
            Tried::Passed => {
                self.write(caller.record(Part::Greylist, "triplet", "passed"));
                Ok(())
            }
            Tried::Wait { until_secs, is_first } => {
                let rule = if is_first { "first try" } else { "too soon" };
                let refusal = Refusal {
                    until_secs: Some(until_secs),
                    ..Refusal::new(Part::Greylist, rule.to_owned(), Action::Defer, &settings.text)
                };
                self.refuse(caller, refusal)
            }
        }
    }

    /// Logs a refusal; the reply, unless the part is in shadow.
    fn refuse(&self, caller: &Caller<'_>, refusal: Refusal<'_>) -> Result<(), Reply> {
        let text = refusal.text.fill(|name| match name {
            "CLIENT_IP" => caller.client.ip.to_canonical().to_string(),
            "RBL_CHECK_DOMAIN" => refusal.zone.clone(),
            "RBL_CODES" => refusal.codes.clone(),
            "HOSTNAME" => self.around.hostname.clone(),
            "POSTMASTER" => format!("postmaster@{}", self.around.hostname),
            "REASON" => refusal.rule.clone(),
            "UNTIL" => refusal.until_secs.map(time_of).unwrap_or_default(),
            _ => String::new(),
        });
        let is_connect = caller.stage == "connect";
        let reply = match (refusal.action, is_connect) {
            (Action::Reject, true) => Reply::new(554, (5, 7, 1), text),
            (Action::Reject, false) => Reply::new(550, (5, 7, 1), text),
            (Action::Defer, true) => Reply::new(421, (4, 7, 1), text),
            (Action::Defer, false) => Reply::new(450, (4, 7, 1), text),
        };
        let is_shadow = caller.active.states.of(refusal.part) == State::Shadow;
        let word = if refusal.action == Action::Reject { "rejected" } else { "deferred" };
        self.write(Record {
            shadow: is_shadow,
            reply: reply.to_string(),
            detail: refusal.detail,
            until: refusal.until_secs.map(time_of),
            ..caller.record(refusal.part, &refusal.rule, word)
        });
        if is_shadow { Ok(()) } else { Err(reply) }
    }
}

impl Active {
    fn is_idle(&self) -> bool {
        let others = Part::ALL.iter().filter(|part| **part != Part::Lists);
        let all_off = others.into_iter().all(|part| self.states.of(*part) == State::Off);
        all_off
            && !self.settings.client_names
            && (self.fixed.is_empty() || self.states.of(Part::Lists) == State::Off)
    }
}

impl Caller<'_> {
    fn record(&self, part: Part, rule: &str, action: &str) -> Record {
        Record {
            stage: self.stage.to_owned(),
            client: Some(self.client.ip.to_canonical()),
            helo: self.client.helo.clone(),
            reverse_path: self.reverse_path.map(ToString::to_string),
            recipient: self.recipient.map(ToString::to_string),
            ..Record::new(part, rule, action)
        }
    }
}

impl<'a> Refusal<'a> {
    fn new(part: Part, rule: String, action: Action, text: &'a Template) -> Self {
        let (zone, codes, detail) = (String::new(), String::new(), String::new());
        Self { part, rule, action, text, zone, codes, detail, until_secs: None }
    }

    fn throttled(active: &'a Active, rule: &str, exceeded: Exceeded) -> Self {
        let detail =
            if exceeded.is_new { "the limit was reached" } else { "within the block time" };
        Self {
            detail: detail.to_owned(),
            until_secs: Some(exceeded.until_secs),
            ..Self::new(
                Part::Throttle,
                rule.to_owned(),
                Action::Defer,
                &active.settings.throttle.text,
            )
        }
    }

    fn listed(class: &'a DnsClass, listings: &[&Listing], weight: u32) -> Self {
        let zones: Vec<_> = listings.iter().map(|one| one.zone.as_str()).collect();
        let codes: Vec<_> = listings.iter().map(|one| one.codes.as_str()).collect();
        let (zone, codes) = (zones.join(", "), codes.join(", "));
        Self {
            detail: format!("{codes}; weight {weight} of {}", class.threshold),
            codes,
            zone: zone.clone(),
            ..Self::new(Part::Dns, zone, class.action, &class.text)
        }
    }

    fn named(signs: &[Sign], action: Action, text: &'a Template) -> Self {
        let words: Vec<_> = signs.iter().map(|sign| sign.as_str()).collect();
        Self::new(Part::Checks, words.join(", "), action, text)
    }
}

/// Whether an address is one of `patterns`, or in a domain of them.
fn is_excepted(patterns: &[String], address: &str) -> bool {
    let domain = address.rsplit_once('@').map_or("", |(_, domain)| domain);
    patterns.iter().any(|pattern| match pattern.strip_prefix('@') {
        Some(whole) => whole == domain,
        None => pattern == address,
    })
}

/// A key that stays the same over restarts and that nobody finds a second text for.
pub(super) fn hash(texts: &[&str]) -> u64 {
    let mut digest = Sha256::new();
    for text in texts {
        digest.update(text.as_bytes());
        digest.update([0]);
    }
    let digest = digest.finalize();
    digest.first_chunk().copied().map_or(0, u64::from_le_bytes)
}

/// Whether a client's own doings are counted against it.
pub(super) fn is_stranger(active: &Active, role: Role, ip: IpAddr) -> bool {
    !role.mode.is_loopback_only() && !role.is_trusted && !active.is_known(ip)
}
