//! The approved and the blocked list.
//!
//! In: entries, and addresses with their time. Out: the entry that covers an address. Whatever is
//! approved is not blocked. An entry with an end is no longer there from then on, whether or not
//! somebody removed it. A look-up costs one step per prefix length in use, however many entries
//! there are, and one per label of the host's name if an entry names hosts.
//!
//! A name counts only if whoever gives it has confirmed that it has the address: anybody can let their
//! address tree say `mx.bank.example`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use imss_core::authentication::tidy;
use serde::{Deserialize, Serialize};

use super::subject::{Subject, mask, number};

/// Which list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ListKind {
    /// Those who pass every part of the filter.
    Approved,
    /// Those who are refused.
    Blocked,
}

impl ListKind {
    /// The word in commands and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Blocked => "blocked",
        }
    }
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Which list it is in.
    pub list: ListKind,
    /// What it is about.
    pub subject: Subject,
    /// When it was added, in seconds since 1970.
    pub added_secs: u32,
    /// When it ends; `None` is never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_secs: Option<u32>,
    /// Why.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub note: Box<str>,
    /// Who added it: an administrator's name, or the rule that did.
    pub by: Box<str>,
    /// Whether a blocked one reads 4yz and may come again, or 5yz.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_transient: bool,
}

/// What is known of an address besides the address itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place<'a> {
    /// Its country.
    pub country: Option<[u8; 2]>,
    /// Its autonomous system.
    pub asn: Option<u32>,
    /// Its name, if that name has the address.
    pub name: Option<&'a str>,
}

/// Both lists.
#[derive(Debug, Default)]
pub struct Lists {
    approved: List,
    blocked: List,
}

impl Lists {
    /// Adds an entry, in place of one about the same subject in the same list.
    pub fn put(&mut self, entry: Entry) {
        self.list_mut(entry.list).put(entry);
    }

    /// Removes the entry about `subject`.
    pub fn remove(&mut self, list: ListKind, subject: &Subject) -> Option<Entry> {
        self.list_mut(list).remove(subject)
    }

    /// The entry that covers an address at `now_secs`; an approved one if there is one.
    #[must_use]
    pub fn find(&self, ip: IpAddr, place: Place<'_>, now_secs: u32) -> Option<&Entry> {
        self.approved.find(ip, place, now_secs).or_else(|| self.blocked.find(ip, place, now_secs))
    }

    /// Every entry of a list that covers an address, the narrowest first, places last.
    #[must_use]
    pub fn covering(
        &self,
        list: ListKind,
        ip: IpAddr,
        place: Place<'_>,
        now_secs: u32,
    ) -> Vec<&Entry> {
        self.list(list).covering(ip, place).filter(|entry| entry.is_valid(now_secs)).collect()
    }

    /// Removes and returns what has ended.
    pub fn expire(&mut self, now_secs: u32) -> Vec<Entry> {
        let mut ended = self.approved.expire(now_secs);
        ended.append(&mut self.blocked.expire(now_secs));
        ended
    }

    /// The entries of a list, by subject.
    pub fn iter(&self, list: ListKind) -> impl Iterator<Item = &Entry> {
        self.list(list).entries.values()
    }

    /// Whether an entry names hosts.
    #[must_use]
    pub fn has_names(&self) -> bool {
        self.approved.names > 0 || self.blocked.names > 0
    }

    /// The entries of a list.
    #[must_use]
    pub fn len(&self, list: ListKind) -> usize {
        self.list(list).entries.len()
    }

    /// Whether both lists are empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.approved.entries.is_empty() && self.blocked.entries.is_empty()
    }

    fn list(&self, kind: ListKind) -> &List {
        match kind {
            ListKind::Approved => &self.approved,
            ListKind::Blocked => &self.blocked,
        }
    }

    fn list_mut(&mut self, kind: ListKind) -> &mut List {
        match kind {
            ListKind::Approved => &mut self.approved,
            ListKind::Blocked => &mut self.blocked,
        }
    }
}

impl Entry {
    fn is_valid(&self, now_secs: u32) -> bool {
        self.until_secs.is_none_or(|until| until > now_secs)
    }
}

#[derive(Debug, Default)]
struct List {
    entries: BTreeMap<Subject, Entry>,
    /// Networks of entries that are more than one address, and how many there are of each length.
    networks: BTreeSet<(u8, u128, Subject)>,
    lengths: BTreeMap<u8, usize>,
    /// How many entries name hosts.
    names: usize,
    /// Entries by their end.
    ends: BTreeSet<(u32, Subject)>,
}

impl List {
    fn put(&mut self, entry: Entry) {
        self.remove(&entry.subject);
        if let Some(until) = entry.until_secs {
            self.ends.insert((until, entry.subject.clone()));
        }
        if !is_single(&entry.subject) {
            for (bits, network) in entry.subject.networks() {
                self.networks.insert((bits, network, entry.subject.clone()));
                let count = self.lengths.entry(bits).or_default();
                *count = count.saturating_add(1);
            }
        }
        if matches!(entry.subject, Subject::Name(_)) {
            self.names = self.names.saturating_add(1);
        }
        self.entries.insert(entry.subject.clone(), entry);
    }

    fn remove(&mut self, subject: &Subject) -> Option<Entry> {
        let entry = self.entries.remove(subject)?;
        if let Some(until) = entry.until_secs {
            self.ends.remove(&(until, subject.clone()));
        }
        if matches!(subject, Subject::Name(_)) {
            self.names = self.names.saturating_sub(1);
        }
        if !is_single(subject) {
            for (bits, network) in subject.networks() {
                self.networks.remove(&(bits, network, subject.clone()));
                let left = self.lengths.get(&bits).map_or(0, |count| count.saturating_sub(1));
                if left == 0 {
                    self.lengths.remove(&bits);
                } else {
                    self.lengths.insert(bits, left);
                }
            }
        }
        Some(entry)
    }

    fn find(&self, ip: IpAddr, place: Place<'_>, now_secs: u32) -> Option<&Entry> {
        if self.entries.is_empty() {
            return None;
        }
        self.covering(ip, place).find(|entry| entry.is_valid(now_secs))
    }

    fn covering(&self, ip: IpAddr, place: Place<'_>) -> impl Iterator<Item = &Entry> {
        let address = number(ip);
        let in_networks = self.lengths.keys().rev().flat_map(move |bits| {
            let network = address & !mask(*bits).unwrap_or(0);
            self.networks
                .range((*bits, network, Subject::Range(0, 0))..)
                .take_while(move |(length, start, _)| (*length, *start) == (*bits, network))
                .filter_map(|(_, _, subject)| self.entries.get(subject))
        });
        let names = if self.names > 0 { place.name.map(subjects_of) } else { None };
        let places = [place.asn.map(Subject::Asn), place.country.map(Subject::Country)];
        let others = names.into_iter().flatten().chain(places.into_iter().flatten());
        let own = self.entries.get(&Subject::address(ip));
        own.into_iter()
            .chain(in_networks)
            .chain(others.filter_map(|subject| self.entries.get(&subject)))
    }

    fn expire(&mut self, now_secs: u32) -> Vec<Entry> {
        let mut ended = Vec::new();
        while let Some((until, _)) = self.ends.first()
            && *until <= now_secs
            && let Some((_, subject)) = self.ends.pop_first()
        {
            ended.extend(self.remove(&subject));
        }
        ended
    }
}

/// What may stand in a list for a host: its name, then everything below each domain it is in, the nearest
/// first. A name has at most 127 labels (RFC 1035 §2.3.4); of a longer text the first ones count.
fn subjects_of(name: &str) -> Vec<Subject> {
    let name = tidy(name);
    let dots = name.match_indices('.').take(127);
    let above = dots.filter_map(|(dot, _)| name.get(dot.saturating_add(1)..));
    let above = above.map(|domain| Subject::Name(format!("*.{domain}").into()));
    std::iter::once(Subject::Name(name.as_str().into())).chain(above).collect()
}

fn is_single(subject: &Subject) -> bool {
    matches!(subject, Subject::Range(first, last) if first == last)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u32 = 1_795_000_000;

    fn entry(list: ListKind, subject: &str, until_secs: Option<u32>) -> Entry {
        Entry {
            list,
            subject: subject.parse().unwrap(),
            added_secs: NOW,
            until_secs,
            note: "why".into(),
            by: "taro".into(),
            is_transient: false,
        }
    }

    fn lists() -> Lists {
        let mut lists = Lists::default();
        for (list, subject, until) in [
            (ListKind::Blocked, "192.0.2.0/24", None),
            (ListKind::Blocked, "192.0.2.7", Some(NOW + 10)),
            (ListKind::Approved, "192.0.2.16-192.0.2.40", None),
            (ListKind::Approved, "198.51.100.1", Some(NOW + 10)),
            (ListKind::Blocked, "198.51.100.0-198.51.101.255", None),
            (ListKind::Blocked, "198.51.100.0-198.51.102.255", None),
            (ListKind::Blocked, "2001:db8::/32", None),
            (ListKind::Blocked, "country:XX", None),
            (ListKind::Approved, "AS64496", None),
            (ListKind::Approved, "name:*.out.example", None),
            (ListKind::Blocked, "name:mx.bad.example", None),
            (ListKind::Blocked, "name:*.bad.example", Some(NOW + 10)),
            (ListKind::Blocked, "name:*.bücher.example", None),
        ] {
            lists.put(entry(list, subject, until));
        }
        lists
    }

    #[test]
    fn who_is_covered_by_what() {
        let lists = lists();
        let nowhere = Place::default();
        let in_country = Place { country: Some(*b"XX"), ..nowhere };
        let in_system = Place { country: Some(*b"XX"), asn: Some(64_496), name: None };
        let named = |name| Place { name: Some(name), ..nowhere };
        let (big, other) = (named("a.b.Out.Example."), named("badout.example"));
        let idn = named("mx.bücher.example");
        let cases = [
            ("network", "192.0.2.1", nowhere, 0, Some("192.0.2.0/24")),
            ("one address is narrower", "192.0.2.7", nowhere, 0, Some("192.0.2.7")),
            ("and ends", "192.0.2.7", nowhere, 10, Some("192.0.2.0/24")),
            ("approved wins", "192.0.2.17", nowhere, 0, Some("192.0.2.16-192.0.2.40")),
            ("mapped", "::ffff:192.0.2.17", nowhere, 0, Some("192.0.2.16-192.0.2.40")),
            ("an approval that ended", "198.51.100.1", nowhere, 10, Some("198.51.100.0/23")),
            ("overlapping ranges", "198.51.102.1", nowhere, 0, Some("198.51.100.0-198.51.102.255")),
            ("IPv6", "2001:db8:9::1", nowhere, 0, Some("2001:db8::/32")),
            ("country", "203.0.113.1", in_country, 0, Some("country:XX")),
            ("approved system in a blocked country", "203.0.113.1", in_system, 0, Some("AS64496")),
            ("below a name", "203.0.113.1", big, 0, Some("name:*.out.example")),
            ("in a blocked network", "192.0.2.1", big, 0, Some("name:*.out.example")),
            ("the domain itself", "203.0.113.1", named("out.example"), 0, None),
            ("an end alike", "203.0.113.1", other, 0, None),
            ("the name", "203.0.113.1", named("MX.bad.example"), 0, Some("name:mx.bad.example")),
            ("another", "203.0.113.1", named("x.bad.example"), 0, Some("name:*.bad.example")),
            ("names end", "203.0.113.1", named("x.bad.example"), 10, None),
            ("in another script", "203.0.113.1", idn, 0, Some("name:*.xn--bcher-kva.example")),
            ("empty", "203.0.113.1", named(""), 0, None),
            ("dots", "203.0.113.1", named(".."), 0, None),
            ("nobody", "203.0.113.1", nowhere, 0, None),
        ];
        for (name, ip, place, later, expected) in cases {
            let found = lists.find(ip.parse().unwrap(), place, NOW + later);
            let found = found.map(|entry| entry.subject.to_string());
            assert_eq!(found.as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn entries_end_and_go() {
        let mut lists = lists();
        let ended = |lists: &mut Lists, now| {
            let ended = lists.expire(now);
            ended.iter().map(|entry| entry.subject.to_string()).collect::<Vec<_>>()
        };
        assert!(ended(&mut lists, NOW + 9).is_empty());
        let at_ten = ["198.51.100.1", "192.0.2.7", "name:*.bad.example"];
        assert_eq!(ended(&mut lists, NOW + 10), at_ten);
        let subject = "198.51.100.0/23".parse().unwrap();
        assert!(lists.remove(ListKind::Blocked, &subject).is_some());
        assert!(lists.remove(ListKind::Blocked, &subject).is_none());
        let is_left = ["name:mx.bad.example", "name:*.xn--bcher-kva.example", "name:.out.example"];
        for (list, name) in
            [ListKind::Blocked, ListKind::Blocked, ListKind::Approved].into_iter().zip(is_left)
        {
            assert!(lists.has_names(), "{name}");
            assert!(lists.remove(list, &name.parse().unwrap()).is_some(), "{name}");
        }
        assert!(!lists.has_names());
        let left = lists.find("198.51.100.9".parse().unwrap(), Place::default(), NOW);
        assert_eq!(left.unwrap().subject.to_string(), "198.51.100.0-198.51.102.255");
        lists.put(entry(ListKind::Blocked, "192.0.2.0/24", Some(NOW + 1)));
        assert_eq!(ended(&mut lists, NOW + 2), ["192.0.2.0/24"], "the newer entry holds");
    }

    proptest! {
        #[test]
        fn as_going_through_all_entries(
            ranges in prop::collection::vec((any::<u32>(), 0_u32..70_000), 0..40),
            removed in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
            near in any::<prop::sample::Index>(),
            step in 0_u32..140_000,
        ) {
            let mut lists = Lists::default();
            let mut all = Vec::new();
            let subject = |(first, length): (u32, u32)| {
                let last = first.saturating_add(length);
                Subject::Range(0xffff_0000_0000 | u128::from(first), 0xffff_0000_0000 | u128::from(last))
            };
            for range in &ranges {
                let subject = subject(*range);
                lists.put(Entry { subject: subject.clone(), ..entry(ListKind::Blocked, "::1", None) });
                all.push(subject);
            }
            for index in removed {
                if !all.is_empty() {
                    let subject = all[index.index(all.len())].clone();
                    lists.remove(ListKind::Blocked, &subject);
                    all.retain(|other| *other != subject);
                }
            }
            let start = if ranges.is_empty() { 0 } else { ranges[near.index(ranges.len())].0 };
            let ip = IpAddr::V4(start.saturating_sub(70_000).saturating_add(step).into());
            let found = lists.find(ip, Place::default(), NOW).is_some();
            prop_assert_eq!(found, all.iter().any(|subject| subject.contains(ip)));
        }
    }
}
