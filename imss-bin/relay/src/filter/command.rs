//! What administrators ask of the filter and order it to do, by `imss filter` or the console.
//!
//! In: a [`FilterOrder`]. Out: a [`FilterAnswer`]. Every change is in the files before it is
//! answered, is logged with who ordered it, and is undone by one other order.

use std::net::IpAddr;

use imss_scan::reputation::lists::{Entry, ListKind, Place};
use imss_scan::reputation::source::SourceKey;
use imss_scan::reputation::subject::Subject;
use serde::{Deserialize, Serialize};

use super::record::{Record, time_of};
use super::store::Change;
use super::zones::Health;
use super::{Active, Filter, Part, State, lock, set};

/// What can be asked of a filter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FilterOrder {
    /// How the parts do.
    Status,
    /// The entries of a list, those of the settings first.
    Entries(ListKind),
    /// Who is put off by greylisting.
    Waiting,
    /// Who is throttled.
    Throttled,
    /// Everything known of an address.
    Show(IpAddr),
    /// Adds an entry, which begins now.
    Add {
        /// The list.
        list: ListKind,
        /// Whom.
        subject: Subject,
        /// How long, in seconds; `None` is for good.
        secs: Option<u32>,
        /// Why.
        note: String,
        /// Whether a blocked one reads 4yz.
        is_transient: bool,
        /// Who orders it.
        by: String,
    },
    /// Removes an entry.
    Remove {
        /// The list.
        list: ListKind,
        /// Whom.
        subject: Subject,
        /// Who orders it.
        by: String,
    },
    /// Lets an address or a sender go on at once, whatever held it.
    Release {
        /// An IP address or a mailbox.
        who: String,
        /// Who orders it.
        by: String,
    },
    /// Switches a part; `None` goes back to what the settings say.
    Switch {
        /// The part.
        part: Part,
        /// To what.
        state: Option<State>,
        /// Who orders it.
        by: String,
    },
}

/// What the filter says to an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FilterAnswer {
    /// How the parts do.
    Status(Status),
    /// Entries.
    Entries(Vec<Entry>),
    /// Who is put off.
    Waiting(Vec<WaitingSender>),
    /// Who is throttled.
    Throttled(Vec<Throttled>),
    /// An address.
    Source(Box<SourceView>),
    /// What was done, in words.
    Done(String),
    /// Why nothing was done.
    Refused(String),
}

/// How a filter does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its parts.
    pub parts: Vec<PartStatus>,
    /// Entries of the approved list.
    pub approved: usize,
    /// Entries of the blocked list.
    pub blocked: usize,
    /// Sources that are remembered.
    pub sources: usize,
    /// Octets they take.
    pub source_bytes: usize,
    /// Reverse-paths that are remembered.
    pub senders: usize,
    /// Triplets that are remembered.
    pub triplets: usize,
    /// DNS lists.
    pub zones: Vec<ZoneStatus>,
}

/// One part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartStatus {
    /// Which.
    pub part: Part,
    /// Its state.
    pub state: State,
    /// Whether a command switched it.
    pub is_switched: bool,
}

/// One DNS list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneStatus {
    /// Its name.
    pub zone: String,
    /// How it does.
    #[serde(flatten)]
    pub health: Health,
}

/// A sender that is put off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingSender {
    /// The source.
    pub source: IpAddr,
    /// The reverse-path.
    pub sender: String,
    /// The forward-path.
    pub recipient: String,
    /// The first try.
    pub first_secs: u32,
    /// From when on it passes.
    pub passes_secs: u32,
}

/// One who sent too much.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Throttled {
    /// An address, or a mailbox.
    pub who: String,
    /// Until when.
    pub until_secs: u32,
}

/// Everything known of an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceView {
    /// The address.
    pub ip: IpAddr,
    /// Its country, if a file knows it.
    pub country: Option<String>,
    /// Its autonomous system.
    pub asn: Option<u32>,
    /// Whether it is a known host.
    pub is_known_host: bool,
    /// The entry that decides.
    pub decides: Option<Entry>,
    /// All entries that cover it.
    pub entries: Vec<Entry>,
    /// Each rule of the profiler: its name, volume and hits in its window.
    pub profile: Vec<(String, u32, u32)>,
    /// Throttled until then.
    pub throttled_until_secs: Option<u32>,
    /// First seen by slow start.
    pub first_seen_secs: Option<u32>,
    /// Approved by greylisting until then.
    pub greylist_approved_until_secs: Option<u32>,
    /// Triplets that passed.
    pub greylist_passes: u16,
}

impl Filter {
    /// Carries out one order.
    pub fn operate(&self, order: FilterOrder) -> FilterAnswer {
        let active = self.active.load_full();
        match order {
            FilterOrder::Status => FilterAnswer::Status(self.status(&active)),
            FilterOrder::Entries(list) => FilterAnswer::Entries(self.entries(&active, list)),
            FilterOrder::Waiting => FilterAnswer::Waiting(self.waiting(&active)),
            FilterOrder::Throttled => FilterAnswer::Throttled(self.throttled()),
            FilterOrder::Show(ip) => FilterAnswer::Source(Box::new(self.show(&active, ip))),
            FilterOrder::Add { list, subject, secs, note, is_transient, by } => {
                let added_secs = self.now();
                let until_secs = secs.map(|secs| added_secs.saturating_add(secs));
                let (note, by) = (cut(&note), cut(&by));
                self.add(Entry { list, subject, added_secs, until_secs, note, by, is_transient })
            }
            FilterOrder::Remove { list, subject, by } => self.remove(&active, list, subject, &by),
            FilterOrder::Release { who, by } => match who.parse::<IpAddr>() {
                Ok(ip) => self.release_source(&active, ip, &by),
                Err(_) if who.contains('@') => self.release_sender(&who, &by),
                Err(_) => {
                    FilterAnswer::Refused(format!("{who} is neither an address nor a mailbox"))
                }
            },
            FilterOrder::Switch { part, state, by } => self.switch(part, state, &by),
        }
    }

    fn status(&self, active: &Active) -> Status {
        let switched = Part::ALL.into_iter().zip(active.switched);
        let (sources, source_bytes) = self.memory.sources.iter().map(lock).fold(
            (0_usize, 0_usize),
            |(count, bytes), shard| {
                (count.saturating_add(shard.len()), bytes.saturating_add(shard.bytes()))
            },
        );
        let count = |list| {
            let fixed = active.fixed.len(list);
            self.read_lists(|lists| lists.len(list)).saturating_add(fixed)
        };
        Status {
            parts: switched
                .map(|(part, switch)| PartStatus {
                    part,
                    state: active.states.of(part),
                    is_switched: switch.is_some(),
                })
                .collect(),
            approved: count(ListKind::Approved),
            blocked: count(ListKind::Blocked),
            sources,
            source_bytes,
            senders: lock(&self.memory.senders).len(),
            triplets: lock(&self.memory.triplets).len(),
            zones: active
                .settings
                .dns
                .zones
                .iter()
                .map(|one| ZoneStatus {
                    zone: one.zone.name.clone(),
                    health: self.zones.health(&one.zone.name),
                })
                .collect(),
        }
    }

    fn entries(&self, active: &Active, list: ListKind) -> Vec<Entry> {
        let mut entries: Vec<Entry> = active.fixed.iter(list).cloned().collect();
        self.read_lists(|lists| entries.extend(lists.iter(list).cloned()));
        entries
    }

    fn waiting(&self, active: &Active) -> Vec<WaitingSender> {
        let times = active.settings.greylist.times;
        let triplets = lock(&self.memory.triplets);
        let mut waiting: Vec<_> = triplets
            .iter()
            .filter_map(|(_, known)| {
                let waiting = known.waiting.as_ref()?;
                Some(WaitingSender {
                    source: SourceKey::from_number(waiting.source).address(),
                    sender: waiting.sender.to_string(),
                    recipient: waiting.recipient.to_string(),
                    first_secs: known.triplet.first_secs,
                    passes_secs: known.triplet.first_secs.saturating_add(times.delay_secs),
                })
            })
            .collect();
        drop(triplets);
        let now = self.now();
        // Whoever did not come again in time begins anew.
        waiting.retain(|one| {
            now.saturating_sub(one.first_secs) <= times.retry_secs
                && !self.source_of(SourceKey::new(one.source, 64)).standing.is_approved(now)
        });
        waiting
    }

    fn throttled(&self) -> Vec<Throttled> {
        let now = self.now();
        let mut all = Vec::new();
        for shard in &self.memory.sources {
            for (key, source) in lock(shard).iter() {
                if let Err(exceeded) = source.throttle.refused(now) {
                    let who = SourceKey::from_number(key).to_string();
                    all.push(Throttled { who, until_secs: exceeded.until_secs });
                }
            }
        }
        for (_, sender) in lock(&self.memory.senders).iter() {
            if let (Err(exceeded), Some(address)) = (sender.throttle.refused(now), &sender.address)
            {
                all.push(Throttled { who: address.to_string(), until_secs: exceeded.until_secs });
            }
        }
        all
    }

    fn show(&self, active: &Active, ip: IpAddr) -> SourceView {
        let now = self.now();
        let place: Place<'_> = active.geo.place(ip);
        let source = self.source_of(active.key(ip));
        let mut entries = Vec::new();
        for list in [ListKind::Approved, ListKind::Blocked] {
            entries.extend(active.fixed.covering(list, ip, place, now).into_iter().cloned());
            self.read_lists(|lists| {
                entries.extend(lists.covering(list, ip, place, now).into_iter().cloned());
            });
        }
        let rules = active.settings.profiler.rules.iter();
        SourceView {
            ip,
            country: place.country.map(|code| String::from_utf8_lossy(&code).into_owned()),
            asn: place.asn,
            is_known_host: active.is_known(ip),
            decides: self.entry(active, ip, None, now),
            entries,
            profile: rules
                .map(|rule| {
                    let (volume, hits) = source.profile.counts(rule, now);
                    (rule.kind.as_str().to_owned(), volume, hits)
                })
                .collect(),
            throttled_until_secs: source.throttle.refused(now).err().map(|why| why.until_secs),
            first_seen_secs: Some(source.slow_start.first_secs).filter(|secs| *secs > 0),
            greylist_approved_until_secs: Some(source.standing.approved_until_secs)
                .filter(|until| *until > now),
            greylist_passes: source.standing.passes,
        }
    }

    fn add(&self, entry: Entry) -> FilterAnswer {
        let until = entry.until_secs.map(time_of);
        let end =
            until.as_ref().map_or_else(|| "for good".to_owned(), |end| format!("until {end}"));
        let text = format!("{} is {} {end}", entry.subject, entry.list.as_str());
        self.write(Record {
            detail: format!("{}: {}", entry.list.as_str(), entry.note),
            by: entry.by.to_string(),
            until,
            ..Record::new(Part::Lists, entry.subject.to_string(), "added")
        });
        self.put(entry);
        self.stored(self.store.sync());
        FilterAnswer::Done(text)
    }

    fn remove(&self, active: &Active, list: ListKind, subject: Subject, by: &str) -> FilterAnswer {
        if self.write_lists(|lists| lists.remove(list, &subject)).is_some() {
            self.keep(&Change::Removed(list, subject.clone()));
            self.stored(self.store.sync());
            self.write(Record {
                detail: list.as_str().to_owned(),
                by: by.to_owned(),
                ..Record::new(Part::Lists, subject.to_string(), "removed")
            });
            return FilterAnswer::Done(format!("{subject} is no longer {}", list.as_str()));
        }
        let remedy = if active.fixed.iter(list).any(|entry| entry.subject == subject) {
            "stands in the settings; remove it there and reload"
        } else {
            "is not in this list"
        };
        FilterAnswer::Refused(format!("{subject} {remedy}"))
    }

    fn release_source(&self, active: &Active, ip: IpAddr, by: &str) -> FilterAnswer {
        let now = self.now();
        let own = [128, 64, active.settings.ipv6_prefix].into_iter();
        let own = own.filter_map(|bits| {
            let bits = if ip.to_canonical().is_ipv4() { 32 } else { bits };
            Subject::network(ip, bits)
        });
        for subject in own {
            if self.write_lists(|lists| lists.remove(ListKind::Blocked, &subject)).is_some() {
                self.keep(&Change::Removed(ListKind::Blocked, subject));
            }
        }
        self.source(active.key(ip), |source| {
            source.profile = Default::default();
            source.throttle.release();
            source.standing.approve(&active.settings.greylist.times, now);
            let growth = &active.settings.slow_start;
            let known = growth.period_secs.saturating_mul(growth.periods);
            source.slow_start.first_secs = now.saturating_sub(known).max(1);
        });
        self.released(&ip.to_string(), by);
        let entry = self.entry(active, ip, None, now);
        match entry.filter(|entry| entry.list == ListKind::Blocked) {
            Some(entry) => FilterAnswer::Done(format!(
                "{ip} is released, but {} is blocked ({}): remove that entry, or approve {ip}",
                entry.subject, entry.by
            )),
            None => FilterAnswer::Done(format!("{ip} is released")),
        }
    }

    fn release_sender(&self, who: &str, by: &str) -> FilterAnswer {
        let address = who.trim_matches(['<', '>']).to_lowercase();
        let mut senders = lock(&self.memory.senders);
        let key = super::check::hash(&[&address]);
        let mut count = usize::from(senders.get(key).is_some_and(|one| one.address.is_some()));
        if count > 0 {
            senders.update(key, |sender| *sender = Default::default());
        }
        drop(senders);
        let now = self.now();
        let mut triplets = lock(&self.memory.triplets);
        let of_sender = |known: &super::counter::Known| {
            known.waiting.as_ref().is_some_and(|waiting| *waiting.sender == *address)
        };
        let keys: Vec<u64> =
            triplets.iter().filter(|(_, known)| of_sender(known)).map(|(key, _)| key).collect();
        count = count.saturating_add(keys.len());
        for key in keys {
            triplets.update(key, |known| {
                known.triplet.has_passed = true;
                known.triplet.last_secs = now;
                known.waiting = None;
            });
        }
        drop(triplets);
        if count == 0 {
            return FilterAnswer::Refused(format!("{address} is neither throttled nor greylisted"));
        }
        self.released(&address, by);
        FilterAnswer::Done(format!("{address} is released"))
    }

    fn released(&self, who: &str, by: &str) {
        for counters in self.memory.changed() {
            self.stored(self.store.count(&counters));
        }
        self.stored(self.store.sync());
        self.write(Record { by: by.to_owned(), ..Record::new(Part::Lists, who, "released") });
    }

    fn switch(&self, part: Part, state: Option<State>, by: &str) -> FilterAnswer {
        let old = self.active.load_full();
        let mut switched = old.switched;
        set(&mut switched, part, state);
        match Active::new(old.settings.clone(), switched) {
            Ok(active) => {
                let word = active.states.of(part).as_str();
                // Under the lock: see `put`.
                self.write_lists(|_| {
                    self.active.store(std::sync::Arc::new(active));
                    self.keep(&Change::Switched(part, state));
                });
                self.stored(self.store.sync());
                let by = by.to_owned();
                self.write(Record { by, ..Record::new(part, word, "switched") });
                FilterAnswer::Done(format!("{} is {word}", part.as_str()))
            }
            Err(error) => FilterAnswer::Refused(error.to_string()),
        }
    }

    fn source_of(&self, key: SourceKey) -> imss_scan::reputation::source::Source {
        let shard = self.memory.shard(key);
        shard.and_then(|shard| shard.get(key.number()).copied()).unwrap_or_default()
    }
}

/// At most 500 characters: notes are for people.
fn cut(text: &str) -> Box<str> {
    text.chars().take(500).collect::<String>().into()
}
