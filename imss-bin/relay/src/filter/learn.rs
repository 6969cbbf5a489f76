//! The profiler's ears: verdicts of messages, and recipients that were refused or accepted.
//!
//! In: what happened. Out: entries of the blocked list, made by the rule that was broken. Known hosts
//! and approved clients are not learned about; an entry an administrator made is never replaced.

use std::net::IpAddr;

use imss_core::envelope::{Client, Envelope};
use imss_core::verdict::Verdict;
use imss_scan::reputation::lists::{Entry, ListKind};
use imss_scan::reputation::profile::{Broken, Observation};
use imss_scan::reputation::subject::Subject;

use super::check::is_stranger;
use super::record::{Record, time_of};
use super::{Active, Filter, Part, State, known};
use crate::inbound::SessionEvent;

/// Who adds the profiler's entries.
const PROFILER: &str = "profiler";

impl Filter {
    /// Learns from a message that was judged. `envelope` names the effective client.
    pub fn learn(&self, envelope: &Envelope, verdict: Verdict) {
        // Who logs in is not judged by an address.
        if envelope.client.login.is_some() {
            return;
        }
        let seen = Observation {
            spam: Some(matches!(verdict, Verdict::Spam | Verdict::Phish)),
            virus: Some(verdict == Verdict::Infected),
            harvest: None,
            bounce: Some(envelope.reverse_path.is_null()),
        };
        self.observe_source(&envelope.client, seen, "message");
    }

    /// Who handed a message to the first of our own relays, if `peer` is one of them: the address,
    /// and the name in EHLO.
    #[must_use]
    pub fn client_of(&self, message: &[u8], peer: IpAddr) -> Option<(IpAddr, String)> {
        let active = self.active.load();
        let (ip, helo) = known::client(message, peer, &active.settings.known_hosts)?;
        let is_name = helo.len() <= 255 && helo.bytes().all(|byte| byte.is_ascii_graphic());
        Some((ip, if is_name { helo } else { String::new() }))
    }

    /// Learns from what happened in a session: each recipient counts once, when it has its reply.
    pub fn observe(&self, event: &SessionEvent<'_>) {
        let active = self.active.load();
        let (client, role, is_guess) = match *event {
            SessionEvent::RecipientRefused { client, role, reply, .. } => {
                // 5.1.x: no such mailbox, no such domain. Everything else is no search for mailboxes.
                let class = reply.enhanced.map(|(class, subject, _)| (class, subject));
                if class != Some((5, 1)) {
                    return;
                }
                (client, role, true)
            }
            // One beyond many in the same message counts as a search, though it exists.
            SessionEvent::RecipientAccepted { client, role, before } => {
                (client, role, before >= active.settings.profiler.max_recipients)
            }
            _ => return,
        };
        if is_stranger(&active, role, client.ip) {
            let seen = Observation { harvest: Some(is_guess), ..Observation::default() };
            drop(active);
            self.observe_source(client, seen, "rcpt");
        }
    }

    fn observe_source(&self, client: &Client, seen: Observation, stage: &str) {
        let ip = client.ip;
        let active = self.active.load();
        let rules = &active.settings.profiler.rules;
        let state = active.states.of(Part::Profiler);
        let is_ours = active.is_known(ip) || self.around.relaying.trusts(ip);
        if state == State::Off || rules.is_empty() || is_ours {
            return;
        }
        let now = self.now();
        let broken = self.source(active.key(ip), |source| source.profile.learn(rules, seen, now));
        if let Some(broken) = broken {
            self.block(&active, client, broken, stage);
        }
    }

    fn block(&self, active: &Active, client: &Client, broken: Broken, stage: &str) {
        let (ip, now) = (client.ip, self.now());
        let rule = broken.rule;
        let hours = rule.window_secs.div_ceil(3_600);
        let note =
            format!("{}: {} of {} in {hours} h", rule.kind.as_str(), broken.hits, broken.volume);
        let until_secs = rule.block_secs.map(|secs| now.saturating_add(secs));
        let prefix = if ip.to_canonical().is_ipv4() { 32 } else { active.settings.ipv6_prefix };
        let Some(subject) = Subject::network(ip, prefix) else { return };
        let is_shadow = active.states.of(Part::Profiler) == State::Shadow;
        // An approved client goes on, and what an administrator wrote stays.
        let covered = self.entry(active, ip, client.name.as_deref(), now);
        if covered.is_some_and(|entry| entry.list == ListKind::Approved || &*entry.by != PROFILER) {
            return;
        }
        self.write(Record {
            shadow: is_shadow,
            stage: stage.to_owned(),
            client: Some(ip.to_canonical()),
            detail: note.clone(),
            until: until_secs.map(time_of),
            ..Record::new(Part::Profiler, rule.kind.as_str(), "blocked")
        });
        if !is_shadow {
            self.put(Entry {
                list: ListKind::Blocked,
                subject,
                added_secs: now,
                until_secs,
                note: note.into(),
                by: PROFILER.into(),
                is_transient: rule.is_transient,
            });
        }
    }
}
