//! A table that answers for the DNS.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use imss_scan::auth::names::{Names, NoAnswer, Records};
use serde_json::Value;

/// Records by lower-case name.
#[derive(Clone, Default)]
pub(super) struct Table(Arc<HashMap<String, Vec<Record>>>);

#[derive(Clone, Debug)]
pub(super) enum Record {
    Txt(Vec<u8>),
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    Mx(u16, String),
    Ptr(String),
    Alias(String),
    /// Whoever asks gets no answer.
    Silence,
}

impl Table {
    pub(super) fn new(records: impl IntoIterator<Item = (String, Record)>) -> Self {
        let mut table: HashMap<String, Vec<Record>> = HashMap::new();
        for (name, record) in records {
            let name = name.trim_end_matches('.').to_lowercase();
            table.entry(name).or_default().push(record);
        }
        Self(Arc::new(table))
    }

    /// TXT records: name and text.
    pub(super) fn of_texts(texts: &[(&str, &str)]) -> Self {
        let record = |(name, text): &(&str, &str)| {
            ((*name).to_owned(), Record::Txt(text.as_bytes().to_vec()))
        };
        Self::new(texts.iter().map(record))
    }

    /// `zonedata` of the SPF suite. Records of type SPF stand for TXT where there is no TXT.
    pub(super) fn of_zone(zone: &Value) -> Self {
        let mut records = Vec::new();
        for (name, list) in zone.as_object().unwrap() {
            let list = list.as_array().unwrap();
            let has_txt = list.iter().any(|record| record.get("TXT").is_some());
            for record in list {
                records.extend(read(record, has_txt).map(|record| (name.clone(), record)));
            }
        }
        Self::new(records)
    }

    fn all<T>(&self, name: &str, read: impl Fn(&Record) -> Option<T>) -> Records<T> {
        let mut name = name.trim_end_matches('.').to_lowercase();
        for _ in 0..8 {
            let Some(records) = self.0.get(&name) else { return Err(NoAnswer::NoName) };
            if let Some(Record::Alias(to)) = records.iter().find(|r| matches!(r, Record::Alias(_)))
            {
                name = to.to_lowercase();
                continue;
            }
            let found: Vec<T> = records.iter().filter_map(&read).collect();
            // What there is is answered; only the rest is silence.
            let silent = records.iter().any(|record| matches!(record, Record::Silence));
            return if found.is_empty() && silent { Err(NoAnswer::Temporary) } else { Ok(found) };
        }
        Err(NoAnswer::Temporary)
    }
}

fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect()
}

fn read(record: &Value, has_txt: bool) -> Option<Record> {
    if record == "TIMEOUT" {
        return Some(Record::Silence);
    }
    let (kind, value) = record.as_object()?.iter().next()?;
    let text = || value.as_str().unwrap_or_default().to_owned();
    let joined = || match value {
        Value::Array(strings) => {
            strings.iter().filter_map(Value::as_str).flat_map(latin1).collect()
        }
        other => latin1(other.as_str().unwrap_or_default()),
    };
    Some(match kind.as_str() {
        "TXT" if value == "NONE" => return None,
        "TXT" => Record::Txt(joined()),
        "SPF" if has_txt => return None,
        "SPF" if value == "TIMEOUT" => Record::Silence,
        "SPF" => Record::Txt(joined()),
        "A" => Record::A(text().parse().unwrap()),
        "AAAA" => Record::Aaaa(text().parse().unwrap()),
        "MX" => Record::Mx(
            u16::try_from(value[0].as_u64().unwrap()).unwrap(),
            value[1].as_str().unwrap().to_owned(),
        ),
        "PTR" => Record::Ptr(text()),
        "CNAME" => Record::Alias(text()),
        other => panic!("unknown record {other}"),
    })
}

impl Names for Table {
    async fn txt(&self, name: &str) -> Records<Vec<u8>> {
        self.all(name, |r| if let Record::Txt(text) = r { Some(text.clone()) } else { None })
    }

    async fn a(&self, name: &str) -> Records<Ipv4Addr> {
        self.all(name, |r| if let Record::A(ip) = r { Some(*ip) } else { None })
    }

    async fn aaaa(&self, name: &str) -> Records<Ipv6Addr> {
        self.all(name, |r| if let Record::Aaaa(ip) = r { Some(*ip) } else { None })
    }

    async fn mx(&self, name: &str) -> Records<(u16, String)> {
        self.all(name, |r| if let Record::Mx(n, to) = r { Some((*n, to.clone())) } else { None })
    }

    async fn ptr(&self, address: IpAddr) -> Records<String> {
        let name = match address {
            IpAddr::V4(v4) => {
                let [a, b, c, d] = v4.octets();
                format!("{d}.{c}.{b}.{a}.in-addr.arpa")
            }
            IpAddr::V6(v6) => {
                let nibbles: Vec<String> = v6
                    .octets()
                    .iter()
                    .rev()
                    .flat_map(|o| [format!("{:x}", o & 15), format!("{:x}", o >> 4)])
                    .collect();
                format!("{}.ip6.arpa", nibbles.join("."))
            }
        };
        self.all(&name, |r| if let Record::Ptr(to) = r { Some(to.clone()) } else { None })
    }
}
