//! The DNS client as authentication asks it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_resolver::proto::rr::{Name, RData, RecordType};

use super::names::{Names, Records};
use crate::reputation::dns::Client;

impl Client {
    async fn all<T>(
        &self,
        name: &str,
        kind: RecordType,
        read: impl Fn(&RData) -> Option<T>,
    ) -> Records<T> {
        // What is no name has no records. The dot keeps the system's search domains out of it.
        let bare = name.strip_suffix('.').unwrap_or(name);
        let Ok(name) = Name::from_ascii(format!("{bare}.")) else { return Ok(Vec::new()) };
        let found = self.records(name, kind).await?;
        Ok(found.iter().filter_map(read).collect())
    }
}

impl Names for Client {
    async fn txt(&self, name: &str) -> Records<Vec<u8>> {
        let read = |data: &RData| match data {
            RData::TXT(txt) => Some(txt.txt_data.iter().flat_map(|s| s.iter().copied()).collect()),
            _ => None,
        };
        self.all(name, RecordType::TXT, read).await
    }

    async fn a(&self, name: &str) -> Records<Ipv4Addr> {
        let read = |data: &RData| if let RData::A(a) = data { Some(a.0) } else { None };
        self.all(name, RecordType::A, read).await
    }

    async fn aaaa(&self, name: &str) -> Records<Ipv6Addr> {
        let read = |data: &RData| if let RData::AAAA(a) = data { Some(a.0) } else { None };
        self.all(name, RecordType::AAAA, read).await
    }

    async fn mx(&self, name: &str) -> Records<(u16, String)> {
        let read = |data: &RData| match data {
            RData::MX(mx) => Some((mx.preference, mx.exchange.to_lowercase().to_ascii())),
            _ => None,
        };
        self.all(name, RecordType::MX, read).await
    }

    async fn ptr(&self, address: IpAddr) -> Records<String> {
        let read = |data: &RData| match data {
            RData::PTR(name) => Some(name.0.to_lowercase().to_ascii()),
            _ => None,
        };
        let name = Name::from(address).to_ascii();
        self.all(&name, RecordType::PTR, read).await
    }
}
