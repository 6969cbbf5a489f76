//! Against a real name server on loopback, in this process.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_server::Server;
use hickory_server::net::runtime::TokioRuntimeProvider;
use hickory_server::proto::rr::rdata::{A, SOA};
use hickory_server::proto::rr::{LowerName, Name, RData, Record};
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, ZoneType};
use imss_core::finding::GapReason;
use imss_core::plan::{DnsList, Query};
use imss_core::verdict::Score;
use imss_scan::lookup::Lookups;
use imss_scan::reputation::dns::{Client, ClientSettings};
use imss_scan::{Answer, LookupError, Scan, Scanner, Settings};
use tokio::net::UdpSocket;

use crate::mail::{Mail, plan};

const TTL: u32 = 300;

/// A zone with these addresses by name.
fn zone(origin: &str, names: &[(&str, [u8; 4])]) -> (LowerName, InMemoryZoneHandler) {
    let name = |text: &str| Name::from_ascii(text).unwrap();
    let origin = name(origin);
    let mut zone: InMemoryZoneHandler<TokioRuntimeProvider> =
        InMemoryZoneHandler::empty(origin.clone(), ZoneType::Primary, AxfrPolicy::Deny);
    let soa = SOA::new(name("ns.example."), name("h.example."), 1, 60, 60, 60, TTL);
    zone.upsert_mut(Record::from_rdata(origin.clone(), TTL, RData::SOA(soa)), 0);
    for (label, address) in names {
        let owner = name(label).append_domain(&origin).unwrap();
        let data = RData::A(A(Ipv4Addr::from(*address)));
        zone.upsert_mut(Record::from_rdata(owner, TTL, data), 0);
    }
    (LowerName::new(&origin), zone)
}

/// A name server with a well-run list, a hijacked, a wildcarded and a quota-limited one.
async fn server() -> (Server<Catalog>, SocketAddr) {
    let zones = [
        zone(
            "bl.example.",
            &[
                ("1.2.0.192", [127, 0, 0, 2]),
                ("3.2.0.192", [127, 0, 0, 9]),
                ("2.0.0.127", [127, 0, 0, 2]),
            ],
        ),
        zone("hijacked.example.", &[("*", [198, 51, 100, 7])]),
        zone("wild.example.", &[("*", [127, 0, 0, 2])]),
        zone("quota.example.", &[("*", [127, 255, 255, 254])]),
    ];
    let mut catalog = Catalog::new();
    for (origin, zone) in zones {
        catalog.upsert(origin, vec![Arc::new(zone)]);
    }
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let mut server = Server::new(catalog);
    server.register_socket(socket);
    (server, address)
}

fn client(server: SocketAddr) -> Client {
    Client::new(&ClientSettings { servers: vec![server], ..ClientSettings::default() }).unwrap()
}

async fn scan(dns: Client, zone: &str, from: &str) -> Scan {
    let list = DnsList {
        name: "list".to_owned(),
        zone: zone.to_owned(),
        codes: vec![(IpAddr::from([127, 0, 0, 2]), Score::points(5))],
    };
    let plan = plan([Query::DnsList(Arc::new(list))]);
    let scanner = Scanner::new(Arc::clone(&plan), Settings::default()).unwrap();
    let mut mail = Mail::new("Subject: x\r\n\r\ntext\r\n");
    mail.envelope.client.ip = from.parse().unwrap();
    let lookups = Lookups { dns: Some(dns), ..Lookups::default() };
    let answers = lookups.answer(mail.questions(&scanner, &plan)).await;
    mail.scan(&scanner, &plan, &answers)
}

#[tokio::test]
async fn lists_say_listed_not_listed_or_nothing() {
    let (_server, address) = server().await;
    let dns = client(address);
    let cases = [
        ("listed", "bl.example", "192.0.2.1", Some(true)),
        ("listed, as an IPv4-mapped address", "bl.example", "::ffff:192.0.2.1", Some(true)),
        ("not listed", "bl.example", "192.0.2.2", Some(false)),
        ("IPv6, not listed", "bl.example", "2001:db8::1", Some(false)),
        ("a code that is not declared", "bl.example", "192.0.2.3", Some(false)),
        ("a hijacked zone", "hijacked.example", "192.0.2.1", None),
        ("a wildcard", "wild.example", "192.0.2.1", None),
        ("over quota", "quota.example", "192.0.2.1", None),
        ("a zone the server refuses", "elsewhere.example", "192.0.2.1", None),
    ];
    for (name, zone, from, expected) in cases {
        let scan = scan(dns.clone(), zone, from).await;
        let known = match (&scan.findings.found[..], &scan.findings.gaps[..]) {
            ([_], []) => Some(true),
            ([], []) => Some(false),
            ([], [gap]) if gap.reason == GapReason::Engine => None,
            _ => panic!("{name}: {scan:?}"),
        };
        assert_eq!(known, expected, "{name}: {scan:?}");
        assert_eq!(scan.findings.score(), Score::points(if known == Some(true) { 5 } else { 0 }));
    }
}

#[tokio::test]
async fn errors_are_told_apart() {
    let (_server, address) = server().await;
    let dns = client(address);
    assert_eq!(dns.addresses("a.elsewhere.example").await, Err(LookupError::Refused));
    let unknown = dns.addresses("9.2.0.192.bl.example").await;
    assert_eq!(unknown, Ok(Answer::Addresses(Vec::new())));
}

#[tokio::test]
async fn a_silent_server_ends_in_time() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let servers = vec![socket.local_addr().unwrap()];
    let timeout = Duration::from_millis(50);
    let dns = Client::new(&ClientSettings { servers, timeout, ..ClientSettings::default() });
    let dns = dns.unwrap();
    assert_eq!(dns.addresses("1.2.0.192.bl.example").await, Err(LookupError::TimedOut));
    let scan = scan(dns, "bl.example", "192.0.2.1").await;
    assert_eq!(scan.findings.gaps.len(), 1, "{scan:?}");
}

#[tokio::test]
async fn answers_are_kept() {
    let (mut server, address) = server().await;
    let dns = client(address);
    let names = ["1.2.0.192.bl.example", "2.2.0.192.bl.example"];
    let ask = async || [dns.addresses(names[0]).await, dns.addresses(names[1]).await];
    let before = ask().await;
    assert!(before.iter().all(Result::is_ok), "{before:?}");
    server.shutdown_gracefully().await.unwrap();
    drop(server);
    assert_eq!(ask().await, before, "both the listing and the absence");
}
