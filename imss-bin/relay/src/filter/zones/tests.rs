//! Zones of a real name server in this process.

use std::net::Ipv4Addr;
use std::sync::Arc;

use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::rdata::{A, PTR, SOA};
use hickory_resolver::proto::rr::{LowerName, Name, RData, Record as DnsRecord};
use hickory_server::Server;
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, ZoneType};
use imss_scan::reputation::dns::ClientSettings;
use tokio::net::UdpSocket;

use imss_core::envelope::{ForwardPath, MailParameters, ReversePath, Syntax};
use imss_scan::reputation::lists::ListKind;

use super::super::command::FilterOrder;
use super::super::settings::Settings;
use super::super::{Filter, Surroundings};
use super::*;
use crate::inbound::{Mode, Role, Stage};

const NOW: u32 = 1_795_000_000;
const LISTED: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// A name server with one zone of lists below `example`.
async fn name_server(records: &[(&str, [u8; 4])]) -> (Server<Catalog>, Client) {
    let origin = Name::from_ascii("example.").unwrap();
    let mut zone: InMemoryZoneHandler<TokioRuntimeProvider> =
        InMemoryZoneHandler::empty(origin.clone(), ZoneType::Primary, AxfrPolicy::Deny);
    let host = || Name::from_ascii("ns.example.").unwrap();
    let soa = RData::SOA(SOA::new(host(), host(), 1, 60, 60, 60, 60));
    zone.upsert_mut(DnsRecord::from_rdata(origin.clone(), 60, soa), 0);
    for (name, address) in records {
        let name = Name::from_ascii(format!("{name}.example.")).unwrap();
        zone.upsert_mut(DnsRecord::from_rdata(name, 60, RData::A(A(Ipv4Addr::from(*address)))), 0);
    }
    let mut catalog = Catalog::new();
    catalog.upsert(LowerName::new(&origin), vec![Arc::new(zone)]);
    let origin = Name::from_ascii("192.in-addr.arpa.").unwrap();
    let mut zone: InMemoryZoneHandler<TokioRuntimeProvider> =
        InMemoryZoneHandler::empty(origin.clone(), ZoneType::Primary, AxfrPolicy::Deny);
    let soa = RData::SOA(SOA::new(host(), host(), 1, 60, 60, 60, 60));
    zone.upsert_mut(DnsRecord::from_rdata(origin.clone(), 60, soa), 0);
    for (owner, name) in [("1", "mx"), ("2", "elsewhere")] {
        let owner = Name::from_ascii(format!("{owner}.2.0.192.in-addr.arpa.")).unwrap();
        let name = RData::PTR(PTR(Name::from_ascii(format!("{name}.example.")).unwrap()));
        zone.upsert_mut(DnsRecord::from_rdata(owner, 60, name), 0);
    }
    catalog.upsert(LowerName::new(&origin), vec![Arc::new(zone)]);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let servers = vec![socket.local_addr().unwrap()];
    let mut server = Server::new(catalog);
    server.register_socket(socket);
    let settings = ClientSettings { servers, ..ClientSettings::default() };
    (server, Client::new(&settings).unwrap())
}

fn dns(zones: &[&str]) -> Dns {
    let code = |last| Ipv4Addr::new(127, 0, 0, last);
    let one = |zone: &&str| DnsZone {
        zone: Zone { name: (*zone).to_owned(), codes: vec![(code(2), code(2), 7)] },
        is_dynamic: zone.starts_with("dynamic"),
        has_test_points: true,
    };
    Dns { zones: zones.iter().map(one).collect(), ..Settings::default().dns }
}

fn words(records: &[Record]) -> Vec<String> {
    let mut words: Vec<_> =
        records.iter().map(|record| format!("{} {}", record.rule, record.action)).collect();
    words.sort();
    words
}

#[tokio::test]
async fn only_declared_codes_of_zones_in_order_count() {
    let two = [127, 0, 0, 2];
    let (_server, client) = name_server(&[
        ("2.0.0.127.good", two),
        ("1.2.0.192.good", two),
        ("2.0.0.127.dynamic", two),
        ("1.2.0.192.dynamic", two),
        ("2.0.0.127.clean", two),
        ("2.0.0.127.changed", two),
        ("1.2.0.192.changed", [127, 0, 0, 9]),
        ("2.0.0.127.angry", two),
        ("1.2.0.192.angry", [127, 255, 255, 254]),
        ("2.0.0.127.parked", two),
        ("1.2.0.192.parked", [198, 51, 100, 80]),
        ("*.wild", two),
        ("1.2.0.192.dead", two),
    ])
    .await;
    let names = [
        "good.example",
        "dynamic.example",
        "clean.example",
        "changed.example",
        "angry.example",
        "parked.example",
        "wild.example",
        "dead.example",
        "refused.test",
    ];
    let (dns, zones) = (dns(&names), Zones::default());
    let tested = words(&zones.check(&dns, &client, NOW).await);
    // A zone whose server refuses us is not proven wrong: it is asked again.
    assert_eq!(tested, ["dead.example alert", "refused.test alert", "wild.example alert"]);
    assert!(zones.health("wild.example").is_out && zones.health("dead.example").is_out);
    assert!(!zones.health("refused.test").is_out);

    let (mut listings, records) = zones.ask(&dns, &client, LISTED.into(), NOW).await;
    listings.sort_by(|one, other| one.zone.cmp(&other.zone));
    let listed: Vec<_> =
        listings.iter().map(|one| (one.zone.as_str(), one.is_dynamic, one.weight)).collect();
    assert_eq!(listed, [("dynamic.example", true, 7), ("good.example", false, 7)]);
    let alerts = words(&records);
    assert_eq!(alerts, ["angry.example alert", "changed.example alert", "parked.example alert"]);
    let (_, again) = zones.ask(&dns, &client, LISTED.into(), NOW + 1).await;
    assert!(again.is_empty(), "an alert is not repeated at once: {again:?}");
    let health = zones.health("changed.example");
    assert_eq!(health.fault.map(|fault| fault.word()), Some("undeclared-code"));
    let other: IpAddr = Ipv4Addr::new(192, 0, 2, 9).into();
    let (listings, _) = zones.ask(&dns, &client, other, NOW).await;
    assert!(listings.is_empty());
}

#[tokio::test]
async fn a_dead_server_costs_the_bound_and_is_then_left_alone() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let servers = vec![silent.local_addr().unwrap()];
    let settings =
        ClientSettings { servers, timeout: Duration::from_secs(60), ..ClientSettings::default() };
    let client = Client::new(&settings).unwrap();
    let dns = Dns { timeout: Duration::from_millis(50), ..dns(&["silent.example"]) };
    let zones = Zones::default();
    for _ in 0..MAX_FAILURES {
        let asked = zones.ask(&dns, &client, LISTED.into(), NOW);
        // The server itself would be waited for much longer.
        let in_time = tokio::time::timeout(Duration::from_secs(20), asked).await;
        assert!(in_time.unwrap().0.is_empty(), "neither listed nor clean");
    }
    let health = zones.health("silent.example");
    assert_eq!((health.faults, health.paused_until_secs), (5, NOW + PAUSE_SECS));
    zones.ask(&dns, &client, LISTED.into(), NOW + 1).await;
    assert_eq!(zones.health("silent.example").asked, 5, "it is not asked while it pauses");
    zones.ask(&dns, &client, LISTED.into(), NOW + PAUSE_SECS).await;
    assert_eq!(zones.health("silent.example").asked, 6);
}

const SETTINGS: &str = r#"
[filter.dns]
[[filter.dns.zone]]
name = "good.example"
codes = { "127.0.0.2" = 1 }
[[filter.dns.zone]]
name = "also.example"
codes = { "127.0.0.2" = 1 }
[[filter.dns.zone]]
name = "dynamic.example"
class = "dynamic"
codes = { "127.0.0.2" = 1 }
[filter.dns.standard]
threshold = 2
text = "%CLIENT_IP% is in %RBL_CHECK_DOMAIN% (%RBL_CODES%)"
[filter.checks]
no-reverse = "defer"
reverse-mismatch = 6
helo-invalid = 4
threshold = 10
action = "reject"
"#;

#[tokio::test]
async fn listed_and_nameless_clients_are_refused() {
    let two = [127, 0, 0, 2];
    let (_server, dns) = name_server(&[
        ("9.2.0.192.good", two),
        ("9.2.0.192.also", two),
        ("8.2.0.192.good", two),
        ("7.2.0.192.dynamic", two),
        ("mx", [192, 0, 2, 1]),
        ("elsewhere", [192, 0, 2, 99]),
    ])
    .await;
    let folder = tempfile::tempdir().unwrap();
    let settings = crate::config::parse(SETTINGS, "imss.toml", folder.path()).unwrap().filter;
    let around = Surroundings { dns: Some(dns), ..Surroundings::default() };
    let filter = Filter::open(folder.path(), settings, around).unwrap();
    let role = Role { mode: Mode::Edge, is_trusted: false };
    let client = |ip: &str, helo: &str| -> imss_core::envelope::Client {
        serde_json::from_value(serde_json::json!({ "ip": ip, "helo": helo })).unwrap()
    };
    let cases = [
        ("by both", "192.0.2.9", "554 5.7.1 192.0.2.9 is in "),
        ("below the threshold", "192.0.2.8", ""),
        ("dynamic", "192.0.2.7", "421 4.7.1 192.0.2.7 is listed by dynamic.example"),
        ("nowhere", "192.0.2.1", ""),
    ];
    for (name, ip, expected) in cases {
        let client = client(ip, "");
        let said = filter.check(Stage::Connect { client: &client, role, is_early: false }).await;
        let said = said.err().map(|reply| reply.to_string()).unwrap_or_default();
        assert!(
            said.starts_with(expected) && said.is_empty() == expected.is_empty(),
            "{name}: {said}"
        );
    }
    let cases = [
        ("a mail server", "192.0.2.1", "mx.example", ""),
        ("no full name in EHLO alone", "192.0.2.1", "localhost", ""),
        ("no name", "192.0.2.3", "mx.example", "450 4.7.1"),
        ("another's name alone", "192.0.2.2", "mx.example", ""),
        ("both signs together", "192.0.2.2", "localhost", "550 5.7.1"),
    ];
    let (reverse_path, parameters) = (ReversePath::Null, MailParameters::default());
    for (name, ip, helo, expected) in cases {
        let client = client(ip, helo);
        let (reverse_path, parameters) = (&reverse_path, &parameters);
        let stage =
            Stage::Mail { client: &client, role, is_early: false, reverse_path, parameters };
        let said = filter.check(stage).await.err().map(|reply| reply.to_string());
        let said = said.unwrap_or_default();
        assert!(
            said.starts_with(expected) && said.is_empty() == expected.is_empty(),
            "{name}: {said}"
        );
    }
}

/// A name that has its address is told where somebody asks for it, and nobody is asked otherwise.
#[tokio::test]
async fn confirmed_names() {
    let records = [("mx", [192, 0, 2, 1]), ("elsewhere", [192, 0, 2, 99])];
    let (_server, dns) = name_server(&records).await;
    let checks = "[filter.checks]\nreverse-mismatch = 1\n";
    let off = "[filter.checks]\nstate = \"off\"\nreverse-mismatch = 1\n";
    let always = "[filter]\nclient-names = true\n";
    let cases = [
        ("for a check", checks, "192.0.2.1", None, Some("mx.example")),
        ("always", always, "192.0.2.1", None, Some("mx.example")),
        ("a name that has another address", always, "192.0.2.2", None, None),
        ("no name", always, "192.0.2.3", None, None),
        ("a check that is off", off, "192.0.2.1", None, None),
        ("a check of something else", "[filter.checks]\nhelo-ours = 1\n", "192.0.2.1", None, None),
        ("nobody asks", "", "192.0.2.1", None, None),
        ("known before", always, "192.0.2.1", Some("relay.example"), None),
    ];
    let (reverse_path, parameters) = (ReversePath::Null, MailParameters::default());
    for (name, text, ip, known, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        let settings = crate::config::parse(text, "imss.toml", folder.path()).unwrap().filter;
        let around = Surroundings { dns: Some(dns.clone()), ..Surroundings::default() };
        let filter = Filter::open(folder.path(), settings, around).unwrap();
        let client = imss_core::envelope::Client {
            name: known.map(str::to_owned),
            helo: "mx.example".to_owned(),
            ..imss_core::envelope::Client::new(ip.parse().unwrap())
        };
        let role = Role { mode: Mode::Edge, is_trusted: false };
        let (client, reverse_path, parameters) = (&client, &reverse_path, &parameters);
        let stage = Stage::Mail { client, role, is_early: false, reverse_path, parameters };
        let leave = filter.check(stage).await.unwrap();
        assert_eq!(leave.client_name.as_deref(), expected, "{name}");
    }
}

/// Entries for names cover whom a name confirms, and nobody who only claims one.
#[tokio::test]
async fn names_in_lists() {
    let records = [("mx", [192, 0, 2, 1]), ("elsewhere", [192, 0, 2, 99])];
    let (_server, dns) = name_server(&records).await;
    let blocked = "[filter.lists]\nblocked = [\"name:mx.example\", \"name:elsewhere.example\"]\n";
    let approved = "[filter.lists]\nblocked = [\"192.0.2.0/24\"]\napproved = [\"name:.example\"]\n";
    let off = "[filter.lists]\nstate = \"off\"\nblocked = [\"name:mx.example\"]\n";
    let by_address =
        "[filter.lists]\nblocked = [\"name:mx.example\"]\napproved = [\"192.0.2.1\"]\n";
    let (mx, ours) = (Some("mx.example"), true);
    // The settings, the client, whether it is ours; how the reply begins, and its name.
    let cases = [
        ("confirmed and blocked", blocked, "192.0.2.1", !ours, "554 5.7.1", None),
        ("only claimed", blocked, "192.0.2.2", !ours, "", None),
        ("no name", blocked, "192.0.2.3", !ours, "", None),
        ("confirmed and approved", approved, "192.0.2.1", !ours, "", mx),
        ("claimed, which approves nobody", approved, "192.0.2.2", !ours, "554 5.7.1", None),
        ("no name, which approves nobody", approved, "192.0.2.3", !ours, "554 5.7.1", None),
        ("approved by address, nobody asks", by_address, "192.0.2.1", !ours, "", None),
        ("ours, nobody asks", blocked, "192.0.2.1", ours, "", None),
        ("the part is off, nobody asks", off, "192.0.2.1", !ours, "", None),
    ];
    for (name, text, ip, is_trusted, expected, host) in cases {
        let folder = tempfile::tempdir().unwrap();
        let settings = crate::config::parse(text, "imss.toml", folder.path()).unwrap().filter;
        let around = Surroundings { dns: Some(dns.clone()), ..Surroundings::default() };
        let filter = Filter::open(folder.path(), settings, around).unwrap();
        let client = imss_core::envelope::Client::new(ip.parse().unwrap());
        let role = Role { mode: Mode::Edge, is_trusted };
        let said = filter.check(Stage::Connect { client: &client, role, is_early: false }).await;
        let (said, found) = match said {
            Ok(leave) => (String::new(), leave.client_name),
            Err(reply) => (reply.to_string(), None),
        };
        assert!(said.starts_with(expected), "{name}: {said}");
        assert_eq!(said.is_empty(), expected.is_empty(), "{name}: {said}");
        assert_eq!(found.as_deref(), host, "{name}");
    }
}

/// An entry made while a session is open holds from its next message on, and the log says whom it met.
#[tokio::test]
async fn names_in_lists_at_run_time() {
    let (_server, dns) = name_server(&[("mx", [192, 0, 2, 1])]).await;
    let folder = tempfile::tempdir().unwrap();
    let settings = crate::config::parse("", "imss.toml", folder.path()).unwrap().filter;
    let log_dir = Some(folder.path().join("log"));
    let around = Surroundings { dns: Some(dns), log_dir, ..Surroundings::default() };
    let filter = Filter::open(&folder.path().join("filter"), settings, around).unwrap();
    let role = Role { mode: Mode::Edge, is_trusted: false };
    let mut client = imss_core::envelope::Client::new("192.0.2.1".parse().unwrap());
    let connected = filter.check(Stage::Connect { client: &client, role, is_early: false }).await;
    assert_eq!(connected.unwrap().client_name, None, "nobody asks without an entry");
    let subject: imss_scan::reputation::subject::Subject = "name:*.Example".parse().unwrap();
    let by = || "taro".to_owned();
    let add = |list| FilterOrder::Add {
        list,
        subject: subject.clone(),
        secs: None,
        note: "a note".to_owned(),
        is_transient: false,
        by: by(),
    };
    let (reverse_path, parameters) = (ReversePath::Null, MailParameters::default());
    let mail = async |client: &imss_core::envelope::Client| {
        let (reverse_path, parameters) = (&reverse_path, &parameters);
        let stage = Stage::Mail { client, role, is_early: false, reverse_path, parameters };
        filter.check(stage).await
    };
    filter.operate(add(ListKind::Blocked));
    assert_eq!(mail(&client).await.unwrap_err().code, 550);
    filter.operate(add(ListKind::Approved));
    client.name = mail(&client).await.unwrap().client_name;
    assert_eq!(client.name.as_deref(), Some("mx.example"));
    let remove =
        FilterOrder::Remove { list: ListKind::Approved, subject: subject.clone(), by: by() };
    filter.operate(remove);
    let recipient = ForwardPath::parse("b@ours.example", Syntax::LAX).unwrap();
    let stage = Stage::Rcpt {
        client: &client,
        role,
        reverse_path: &reverse_path,
        recipient: &recipient,
        accepted: 0,
        first: None,
    };
    assert_eq!(filter.check(stage).await.unwrap_err().code, 550, "the session knows the name");
    filter.log.as_ref().unwrap().sync();
    let files = std::fs::read_dir(folder.path().join("log")).unwrap();
    let log: String =
        files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    for expected in ["\"rule\":\"name:*.example\"", "a note (taro); the client is mx.example"] {
        assert!(log.contains(expected), "{expected} in {log}");
    }
}
