//! Asks DNS lists about a client, and keeps an eye on the lists themselves.
//!
//! In: an address and the zones. Out: what each zone says, all asked at once under one time limit. A
//! zone that says nothing useful raises an alert and counts for nothing; one that failed several
//! times in a row is not asked for a while, so a dead server does not delay every client. Test
//! points (RFC 5782 §5) are looked at regularly: a zone that fails them is not used.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use imss_scan::reputation::dns::Client;
use imss_scan::reputation::zone::{Fault, Statement, Zone};
use imss_scan::{Answer, LookupError};
use metrics::{counter, gauge};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::record::Record;
use super::settings::{Dns, DnsZone, Part};

/// Failures in a row after which a zone is left alone …
const MAX_FAILURES: u32 = 5;
/// … for this long.
const PAUSE_SECS: u32 = 30;
/// An alert about the same fault is repeated after this.
const ALERT_SECS: u32 = 600;
/// A zone that failed its test points is tested again after this.
const RECHECK_SECS: u32 = 60;

/// How a zone does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Queries about clients.
    pub asked: u64,
    /// Clients it listed.
    pub listed: u64,
    /// Answers that were none.
    pub faults: u64,
    /// What was wrong the last time, if something was since it last did well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    /// When that began, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_secs: Option<u32>,
    /// Whether it is out of use: its test points failed.
    #[serde(default)]
    pub is_out: bool,
    /// Not asked until then.
    #[serde(default)]
    pub paused_until_secs: u32,
    #[serde(skip)]
    failures: u32,
    #[serde(skip)]
    alerted_secs: u32,
    #[serde(skip)]
    faulty_secs: u32,
    #[serde(skip)]
    checked_secs: u32,
}

/// The health of every zone that was asked.
#[derive(Debug, Default)]
pub(super) struct Zones(Mutex<HashMap<String, Health>>);

/// One listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listing {
    /// The zone.
    pub(super) zone: String,
    /// Whether it lists addresses that change hands.
    pub(super) is_dynamic: bool,
    /// The weight of its codes.
    pub(super) weight: u32,
    /// Its codes, for people.
    pub(super) codes: String,
}

impl Zones {
    /// The listings of `ip`. Takes at most [`Dns::timeout`].
    pub(super) async fn ask(
        &self,
        dns: &Dns,
        client: &Client,
        ip: IpAddr,
        now: u32,
    ) -> (Vec<Listing>, Vec<Record>) {
        let mut running = JoinSet::new();
        for (place, DnsZone { zone, .. }) in dns.zones.iter().enumerate() {
            if self.is_usable(&zone.name, now) {
                let (client, name) = (client.clone(), zone.query(ip));
                running.spawn(async move { (place, addresses(&client, &name).await) });
            }
        }
        let mut waiting: Vec<usize> = (0..dns.zones.len())
            .filter(|place| {
                dns.zones.get(*place).is_some_and(|one| self.is_usable(&one.zone.name, now))
            })
            .collect();
        let (mut listings, mut records) = (Vec::new(), Vec::new());
        let end = tokio::time::Instant::now() + dns.timeout;
        while let Ok(Some(ended)) = tokio::time::timeout_at(end, running.join_next()).await {
            let Ok((place, answer)) = ended else { continue };
            waiting.retain(|other| *other != place);
            let Some(one) = dns.zones.get(place) else { continue };
            let statement = one.zone.read(answer.as_deref());
            records.extend(self.note(&one.zone.name, &statement, now));
            if let Statement::Listed { weight, codes } = statement {
                let codes: Vec<_> = codes.iter().map(ToString::to_string).collect();
                listings.push(Listing {
                    zone: one.zone.name.clone(),
                    is_dynamic: one.is_dynamic,
                    weight,
                    codes: codes.join(" "),
                });
            }
        }
        for one in waiting.iter().filter_map(|place| dns.zones.get(*place)) {
            let late = Statement::Fault(Fault::Failed(LookupError::TimedOut.to_string()));
            records.extend(self.note(&one.zone.name, &late, now));
        }
        (listings, records)
    }

    /// Looks at the test points of every zone whose turn it is.
    pub(super) async fn check(&self, dns: &Dns, client: &Client, now: u32) -> Vec<Record> {
        let mut records = Vec::new();
        let every = u32::try_from(dns.check_every.as_secs()).unwrap_or(u32::MAX);
        for one in dns.zones.iter().filter(|one| one.has_test_points) {
            if self.is_due(&one.zone.name, every, now) {
                let result = test(&one.zone, client, dns.timeout).await;
                records.extend(self.tested(&one.zone.name, result, now));
            }
        }
        records
    }

    /// The health of a zone.
    #[must_use]
    pub(super) fn health(&self, zone: &str) -> Health {
        self.lock().get(zone).cloned().unwrap_or_default()
    }

    fn is_usable(&self, zone: &str, now: u32) -> bool {
        let zones = self.lock();
        zones.get(zone).is_none_or(|health| !health.is_out && health.paused_until_secs <= now)
    }

    fn is_due(&self, zone: &str, every: u32, now: u32) -> bool {
        let mut zones = self.lock();
        let health = zones.entry(zone.to_owned()).or_default();
        let every = if health.is_out { every.min(RECHECK_SECS) } else { every };
        let is_due = health.checked_secs == 0 || now.saturating_sub(health.checked_secs) >= every;
        if is_due {
            health.checked_secs = now;
        }
        is_due
    }

    /// Keeps what an answer says of the zone itself; the record of an alert, if it is time for one.
    fn note(&self, zone: &str, statement: &Statement, now: u32) -> Option<Record> {
        let mut zones = self.lock();
        let health = zones.entry(zone.to_owned()).or_default();
        health.asked = health.asked.saturating_add(1);
        let Statement::Fault(fault) = statement else {
            health.listed =
                health.listed.saturating_add(u64::from(*statement != Statement::NotListed));
            health.failures = 0;
            return health.recovered(zone, now);
        };
        health.faults = health.faults.saturating_add(1);
        if let Fault::Failed(_) = fault {
            health.failures = health.failures.saturating_add(1);
            if health.failures >= MAX_FAILURES {
                health.failures = 0;
                health.paused_until_secs = now.saturating_add(PAUSE_SECS);
            }
        }
        health.alert(zone, fault, now)
    }

    fn tested(&self, zone: &str, result: Result<(), Fault>, now: u32) -> Option<Record> {
        let mut zones = self.lock();
        let health = zones.entry(zone.to_owned()).or_default();
        // A server that is away for a moment says nothing about the list.
        health.is_out = result.as_ref().is_err_and(|fault| !matches!(fault, Fault::Failed(_)));
        match result {
            Ok(()) => health.recovered(zone, now),
            Err(fault) => health.alert(zone, &fault, now),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Health>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Health {
    fn alert(&mut self, zone: &str, fault: &Fault, now: u32) -> Option<Record> {
        let labels = [("zone", zone.to_owned()), ("fault", fault.word().to_owned())];
        counter!("imss_filter_zone_alerts_total", &labels).increment(1);
        gauge!("imss_filter_zone_well", "zone" => zone.to_owned()).set(0.0);
        let is_new = self.fault.as_ref().map(Fault::word) != Some(fault.word());
        if is_new {
            self.since_secs = Some(now);
        }
        self.fault = Some(fault.clone());
        self.faulty_secs = now;
        if !is_new && now.saturating_sub(self.alerted_secs) < ALERT_SECS {
            return None;
        }
        self.alerted_secs = now;
        tracing::warn!(zone, %fault, "a DNS list is not in order: it counts neither for nor against");
        Some(Record { detail: fault.to_string(), ..Record::new(Part::Dns, zone, "alert") })
    }

    fn recovered(&mut self, zone: &str, now: u32) -> Option<Record> {
        // One good answer does not make up for a code that nobody declared.
        let is_fresh = now.saturating_sub(self.faulty_secs) < ALERT_SECS;
        let lasts = matches!(
            self.fault,
            Some(Fault::Undeclared(_) | Fault::ErrorCode(_) | Fault::Foreign(_))
        );
        if self.is_out || (lasts && is_fresh) {
            return None;
        }
        gauge!("imss_filter_zone_well", "zone" => zone.to_owned()).set(1.0);
        self.since_secs = None;
        self.fault.take()?;
        tracing::info!(zone, "a DNS list is in order again");
        Some(Record::new(Part::Dns, zone, "recovered"))
    }
}

async fn test(zone: &Zone, client: &Client, limit: Duration) -> Result<(), Fault> {
    let [must_not, must] = zone.test_points();
    let both = async { tokio::join!(addresses(client, &must_not), addresses(client, &must)) };
    match tokio::time::timeout(limit, both).await {
        Ok((must_not, must)) => zone.check(must_not.as_deref(), must.as_deref()),
        Err(_) => Err(Fault::Failed(LookupError::TimedOut.to_string())),
    }
}

async fn addresses(client: &Client, name: &str) -> Result<Vec<IpAddr>, LookupError> {
    match client.addresses(name).await? {
        Answer::Addresses(addresses) => Ok(addresses),
        _ => Err(LookupError::Garbage("an answer to another question".to_owned())),
    }
}

#[cfg(test)]
mod tests;
