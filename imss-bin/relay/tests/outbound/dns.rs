//! Delivery by MX, with a real name server on loopback in this process.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::rdata::{A, CNAME, MX, SOA};
use hickory_resolver::proto::rr::{LowerName, Name, RData, Record};
use hickory_server::Server;
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, ZoneType};
use imss_relay::outbound::{Deliverer, Outbound, Tls, TlsLevel};
use tokio::net::UdpSocket;

use crate::support::Step::{Data, Reply, Say};
use crate::support::{MESSAGE, Scripted, job, settings, short};

const ORIGIN: &str = "zone.example.";
const TTL: u32 = 300;
const HERE: [u8; 4] = [127, 0, 0, 1];
/// Nothing listens there.
const NOWHERE: [u8; 4] = [127, 0, 0, 9];

fn name(text: &str) -> Name {
    Name::from_ascii(text).expect(text)
}

fn records() -> Vec<(String, RData)> {
    let mx = |owner: &str, preference, host: &str| {
        (format!("{owner}.{ORIGIN}"), RData::MX(MX::new(preference, name(host))))
    };
    let a =
        |owner: &str, ip: [u8; 4]| (format!("{owner}.{ORIGIN}"), RData::A(A(Ipv4Addr::from(ip))));
    let mut all = vec![
        mx("plain", 10, "good.zone.example."),
        mx("null", 0, "."),
        mx("own", 10, "own.example."),
        mx("gone", 10, "nothing.zone.example."),
        mx("first-down", 10, "down0.zone.example."),
        mx("first-down", 20, "good.zone.example."),
        mx("below-us", 10, "good.zone.example."),
        mx("below-us", 20, "own.example."),
        mx("many-down", 99, "good.zone.example."),
        a("good", HERE),
        a("address-only", HERE),
        a("below.empty", HERE),
    ];
    for number in 0..5 {
        all.push(a(&format!("down{number}"), NOWHERE));
        all.push(mx("many-down", number, &format!("down{number}.zone.example.")));
    }
    let alias = RData::CNAME(CNAME(name("plain.zone.example.")));
    all.push((format!("alias.{ORIGIN}"), alias));
    all
}

async fn name_server() -> (Server<Catalog>, TokioResolver) {
    let origin = name(ORIGIN);
    let mut zone: InMemoryZoneHandler<TokioRuntimeProvider> =
        InMemoryZoneHandler::empty(origin.clone(), ZoneType::Primary, AxfrPolicy::Deny);
    let soa = SOA::new(name("ns.zone.example."), name("h.zone.example."), 1, 60, 60, 60, TTL);
    zone.upsert_mut(Record::from_rdata(origin.clone(), TTL, RData::SOA(soa)), 0);
    for (owner, data) in records() {
        zone.upsert_mut(Record::from_rdata(name(&owner), TTL, data), 0);
    }
    let mut catalog = Catalog::new();
    catalog.upsert(LowerName::new(&origin), vec![Arc::new(zone)]);
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let port = socket.local_addr().expect("an address").port();
    let mut server = Server::new(catalog);
    server.register_socket(socket);
    let mut config = NameServerConfig::udp(IpAddr::from(HERE));
    config.connections.iter_mut().for_each(|connection| connection.port = port);
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![config]);
    let mut resolver = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    // A refusal is asked for again and again otherwise.
    resolver.options_mut().timeout = Duration::from_secs(1);
    resolver.options_mut().attempts = 1;
    (server, resolver.build().expect("a resolver"))
}

async fn mail_host() -> Scripted {
    let ok = "250 2.0.0 ok\r\n";
    let script =
        vec![Say("220 x\r\n"), Reply(ok), Reply(ok), Reply(ok), Reply("354 go\r\n"), Data(ok)];
    Scripted::start(vec![script]).await
}

#[tokio::test]
async fn where_mail_goes() {
    let (_name_server, resolver) = name_server().await;
    let host = mail_host().await;
    let mut settings = settings("mx");
    settings.mx_port = host.port;
    // The scripted host takes one message per connection.
    settings.pool.idle = Duration::ZERO;
    let tls = Tls::unverified(TlsLevel::Off).expect("TLS");
    let client = Outbound::new(settings, resolver, tls);
    let cases = [
        ("by MX", "u@plain.zone.example", "ok Relayed"),
        ("by MX of the CNAME's target", "u@alias.zone.example", "ok Relayed"),
        ("no MX, but an address", "u@address-only.zone.example", "ok Relayed"),
        ("the second MX when the first is down", "u@first-down.zone.example", "ok Relayed"),
        ("better than us", "u@below-us.zone.example", "ok Relayed"),
        ("a literal", "u@[127.0.0.1]", "ok Relayed"),
        ("null MX", "u@null.zone.example", "never 5.1.10"),
        ("no such domain", "u@none.zone.example", "never 5.1.2"),
        ("neither MX nor address", "u@empty.zone.example", "never 5.1.2"),
        ("we are the best MX", "u@own.zone.example", "never 5.4.6"),
        ("an MX without an address", "u@gone.zone.example", "never 5.4.4"),
        ("only five hosts are tried", "u@many-down.zone.example", "later 4.4.1"),
        ("the name server refuses", "u@other.example", "later 4.4.3"),
        ("no domain at all", "postmaster", "never 5.1.2"),
    ];
    for (name, recipient, expected) in cases {
        let attempts = client.deliver(job(&[recipient], MESSAGE)).await;
        assert_eq!(short(&attempts), [expected], "{name}: {attempts:?}");
    }
}

#[tokio::test]
async fn recipients_of_several_domains() {
    let (_name_server, resolver) = name_server().await;
    let host = mail_host().await;
    let mut settings = settings("mx");
    settings.mx_port = host.port;
    // The scripted host takes one message per connection.
    settings.pool.idle = Duration::ZERO;
    let tls = Tls::unverified(TlsLevel::Off).expect("TLS");
    let client = Outbound::new(settings, resolver, tls);
    let job = job(&["a@null.zone.example", "b@plain.zone.example"], MESSAGE);
    let keys: Vec<_> = job
        .recipients
        .iter()
        .map(|recipient| client.destination(&job.reverse_path, &recipient.path).to_string())
        .collect();
    assert_eq!(keys, ["mx:null.zone.example", "mx:plain.zone.example"]);
    let attempts = client.deliver(job).await;
    assert_eq!(short(&attempts), ["never 5.1.10", "ok Relayed"]);
}
