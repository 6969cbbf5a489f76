//! Levels of TLS against real certificates, a BIND with signed, unsigned and forged zones (DANE), and a
//! web server with a policy (MTA-STS).

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, TcpListener as StdListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::dnssec::TrustAnchors;
use imss_relay::outbound::tls::seen::{SeenSession, TlsObserver};
use imss_relay::outbound::tls::sts::Sts;
use imss_relay::outbound::{Deliverer, Outbound, Tls, TlsLevel, TlsPolicy};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::support::{MESSAGE, job, resolver, settings, short};
use crate::tls::{serve, upgrade};

/// What was told for TLS reports.
#[derive(Default)]
struct Told(Mutex<Vec<SeenSession>>);

impl TlsObserver for Told {
    fn session(&self, seen: SeenSession) {
        self.0.lock().expect("no panic").push(seen);
    }
}

impl Told {
    /// All since the last call, in short: `sts ok`, `tlsa certificate-not-trusted`.
    fn take(&self) -> Vec<String> {
        let all = std::mem::take(&mut *self.0.lock().expect("no panic"));
        let word = |value: serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let one = |seen: &SeenSession| {
            let policy = word(serde_json::to_value(seen.policy.kind).expect("a word"));
            let trouble = seen.failure.as_ref().map_or("ok".to_owned(), |failure| {
                word(serde_json::to_value(failure.trouble.kind).expect("a word"))
            });
            format!("{policy} {trouble}")
        };
        all.iter().map(one).collect()
    }
}

/// An authority of our own.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

/// A server's certificate with its key.
struct Leaf {
    certificate: CertificateDer<'static>,
    key: KeyPair,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate").der().clone();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    fn leaf(&self, names: &[&str]) -> Leaf {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(names).expect("names");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Leaf { certificate: certificate.der().clone(), key }
    }

    fn acceptor(&self, leaf: &Leaf) -> TlsAcceptor {
        let key = PrivateKeyDer::try_from(leaf.key.serialize_der()).expect("a key");
        let chain = vec![leaf.certificate.clone(), self.certificate.clone()];
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a certificate and its key");
        TlsAcceptor::from(Arc::new(config))
    }
}

/// A mail server that offers STARTTLS.
async fn mail_server(acceptor: TlsAcceptor) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let stream = upgrade(stream, "").await;
                if let Ok(stream) = acceptor.accept(stream).await {
                    serve(stream).await;
                }
            });
        }
    });
    port
}

/// A web server with one page, and how often it was asked.
async fn web_server(acceptor: TlsAcceptor, page: &'static str) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let _ = stream.read(&mut [0; 4096]).await;
            count.fetch_add(1, Ordering::SeqCst);
            let length = page.len();
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close";
            let answer = format!("{head}\r\nContent-Length: {length}\r\n\r\n{page}");
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    (port, asked)
}

/// A BIND that is the root, and two zones below it.
struct Bind {
    server: Child,
    port: u16,
    dir: TempDir,
}

impl Drop for Bind {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn run(dir: &Path, program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(dir).output().expect(program);
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

fn key_pair(dir: &Path, zone: &str) -> String {
    run(dir, "dnssec-keygen", &["-q", "-a", "ECDSAP256SHA256", "-f", "KSK", zone])
}

const HEAD: &str = "$TTL 60\n@ SOA ns. h. 1 60 60 600 60\n@ NS ns.\n";

impl Bind {
    /// With these records in the root zone, those in `insecure.` and those in `forged.`.
    fn start(root: &str, insecure: &str, forged: &str) -> Self {
        let dir = TempDir::new().expect("a folder");
        let at = dir.path();
        let write = |name: &str, text: String| std::fs::write(at.join(name), text).expect(name);
        let forged_key = key_pair(at, "forged");
        let other_key = key_pair(at, "forged");
        let root_key = key_pair(at, ".");
        let read = |name: &str| std::fs::read_to_string(at.join(name)).expect(name);
        write("insecure", format!("{HEAD}{insecure}"));
        write("forged", format!("{HEAD}{forged}{}", read(&format!("{forged_key}.key"))));
        // The parent vouches for a key that is not the zone's.
        let wrong = run(at, "dnssec-dsfromkey", &["-2", &format!("{other_key}.key")]);
        let below = format!("ns. A 127.0.0.1\ninsecure. NS ns.\nforged. NS ns.\n{wrong}\n");
        let key = read(&format!("{root_key}.key"));
        write("root", format!("{HEAD}{below}{root}{key}"));
        run(at, "dnssec-signzone", &["-z", "-o", ".", "-k", &root_key, "root", &root_key]);
        run(
            at,
            "dnssec-signzone",
            &["-z", "-o", "forged", "-k", &forged_key, "forged", &forged_key],
        );
        let anchor: Vec<&str> = key.lines().filter(|line| !line.starts_with(';')).collect();
        write("anchor", format!("{}\n", anchor.join("\n")));
        let port = free_port();
        let mut conf = format!(
            "options {{ directory \"{0}\"; listen-on port {port} {{ 127.0.0.1; }}; \
             listen-on-v6 {{ none; }}; recursion no; pid-file none; \
             session-keyfile \"{0}/session\"; }};\ncontrols {{ }};\n",
            at.display()
        );
        for (zone, file) in
            [(".", "root.signed"), ("insecure", "insecure"), ("forged", "forged.signed")]
        {
            let _ = writeln!(conf, "zone \"{zone}\" {{ type primary; file \"{file}\"; }};");
        }
        write("named.conf", conf);
        let log = std::fs::File::create(at.join("log")).expect("a log");
        let server = Command::new("named")
            .args(["-g", "-n", "1", "-c", "named.conf"])
            .current_dir(at)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("named");
        Self { server, port, dir }
    }

    fn resolver(&self, validate: bool) -> TokioResolver {
        let mut config = NameServerConfig::udp_and_tcp(IpAddr::from(Ipv4Addr::LOCALHOST));
        config.connections.iter_mut().for_each(|connection| connection.port = self.port);
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![config]);
        let provider = TokioRuntimeProvider::default();
        let mut builder = TokioResolver::builder_with_config(config, provider);
        builder.options_mut().timeout = Duration::from_secs(2);
        if validate {
            builder.options_mut().validate = true;
            builder.options_mut().edns0 = true;
            let anchor = self.dir.path().join("anchor");
            let anchors = TrustAnchors::from_file(&anchor).expect("the root's key");
            builder = builder.with_trust_anchor(Arc::new(anchors));
        }
        builder.build().expect("a resolver")
    }

    /// Waits until it answers.
    async fn ready(&self) {
        let resolver = self.resolver(false);
        for _ in 0..300 {
            if resolver.lookup_ip("ns.").await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        panic!("BIND does not answer: {log}");
    }
}

/// A port that is free for TCP and UDP at this moment.
fn free_port() -> u16 {
    for _ in 0..100 {
        let listener = StdListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn policy(default: TlsLevel) -> TlsPolicy {
    TlsPolicy { default, ..TlsPolicy::default() }
}

#[tokio::test]
async fn certificates_of_known_authorities() {
    let (ours, other) = (Authority::new(), Authority::new());
    let good = mail_server(ours.acceptor(&ours.leaf(&["localhost"]))).await;
    let misnamed = mail_server(ours.acceptor(&ours.leaf(&["mx.example"]))).await;
    let unknown = mail_server(other.acceptor(&other.leaf(&["localhost"]))).await;
    let cases = [
        ("the right name by a known authority", good, TlsLevel::Verified, "ok Relayed"),
        ("another name", misnamed, TlsLevel::Verified, "later 4.7.5"),
        ("an unknown authority", unknown, TlsLevel::Verified, "later 4.7.5"),
        ("any will do", unknown, TlsLevel::Required, "ok Relayed"),
    ];
    for (name, port, level, expected) in cases {
        let tls = Tls::by_policy(policy(level), vec![ours.certificate.clone()]).expect("TLS");
        let settings = settings(&format!("smtp://localhost:{port}"));
        let client = Outbound::new(settings, resolver(), tls);
        let attempts = client.deliver(job(&["u@example.com"], MESSAGE)).await;
        assert_eq!(short(&attempts), [expected], "{name}: {attempts:?}");
    }
}

/// Domain, level, what becomes of mail, and what is told about the session.
const DANE: [(&str, &str, TlsLevel, &str, &str); 15] = [
    ("the server's certificate", "server.test", TlsLevel::Dane, "ok Relayed", "tlsa ok"),
    ("an alias of it", "alias.test", TlsLevel::DaneOnly, "ok Relayed", "tlsa ok"),
    ("the authority's certificate", "anchor.test", TlsLevel::DaneOnly, "ok Relayed", "tlsa ok"),
    (
        "the authority's, for another name",
        "misnamed.test",
        TlsLevel::Dane,
        "later 4.7.5",
        "tlsa certificate-host-mismatch",
    ),
    ("another key", "other.test", TlsLevel::Dane, "later 4.7.5", "tlsa certificate-not-trusted"),
    (
        "another key, at `auto`",
        "other.test",
        TlsLevel::Auto,
        "later 4.7.5",
        "tlsa certificate-not-trusted",
    ),
    (
        "another key, where DANE is not asked for",
        "other.test",
        TlsLevel::Required,
        "ok Relayed",
        "no-policy-found ok",
    ),
    (
        "records that cannot be used",
        "unusable.test",
        TlsLevel::Dane,
        "ok Relayed",
        "tlsa tlsa-invalid",
    ),
    ("no records", "plain.test", TlsLevel::Dane, "ok Relayed", "no-policy-found ok"),
    (
        "no records where they are demanded",
        "plain.test",
        TlsLevel::DaneOnly,
        "later 4.7.5",
        "tlsa dane-required",
    ),
    (
        "an unsigned zone has no DANE",
        "insecure",
        TlsLevel::Dane,
        "ok Relayed",
        "no-policy-found ok",
    ),
    (
        "an unsigned zone where it is demanded",
        "insecure",
        TlsLevel::DaneOnly,
        "later 4.7.5",
        "tlsa dane-required",
    ),
    ("a forged zone", "forged", TlsLevel::Dane, "later 4.4.3", "tlsa dnssec-invalid"),
    ("no such domain, proved", "none.test", TlsLevel::Dane, "never 5.1.2", ""),
    (
        "what is demanded here only is in no report",
        "plain.test",
        TlsLevel::Verified,
        "later 4.7.5",
        "",
    ),
];

#[tokio::test]
async fn dane_with_a_real_name_server() {
    let authority = Authority::new();
    // Names do not count for usage 3; for usage 2 they do.
    let leaf = authority.leaf(&["mx.anchor.test"]);
    let port = mail_server(authority.acceptor(&leaf)).await;
    let (server, anchor) = (hex(&leaf.certificate), hex(&authority.certificate));
    let mut root = String::new();
    for (domain, record) in [
        ("server", format!("3 0 0 {server}")),
        ("anchor", format!("2 0 0 {anchor}")),
        ("misnamed", format!("2 0 0 {anchor}")),
        ("other", format!("3 1 1 {}", "00".repeat(32))),
        ("unusable", format!("1 1 1 {}", "00".repeat(32))),
    ] {
        let host = format!("mx.{domain}.test.");
        let _ = writeln!(root, "{domain}.test. MX 10 {host}\n{host} A 127.0.0.1");
        let _ = writeln!(root, "_{port}._tcp.{host} TLSA {record}");
    }
    root.push_str("plain.test. MX 10 mx.plain.test.\nmx.plain.test. A 127.0.0.1\n");
    root.push_str("alias.test. MX 10 to.alias.test.\nto.alias.test. CNAME mx.server.test.\n");
    let wrong =
        format!("@ MX 10 mx\nmx A 127.0.0.1\n_{port}._tcp.mx TLSA 3 1 1 {}\n", "00".repeat(32));
    let bind = Bind::start(&root, &wrong, &wrong);
    bind.ready().await;
    let told = Arc::new(Told::default());
    for (name, domain, level, expected, seen) in DANE {
        let tls = Tls::by_policy(policy(level), Vec::new()).expect("TLS");
        let mut settings = settings("mx");
        settings.mx_port = port;
        let tls = tls.with_dane(bind.resolver(true));
        let client = Outbound::new(settings, bind.resolver(false), tls);
        let client = client.with_observer(Arc::clone(&told) as _);
        let attempts = client.deliver(job(&[&format!("u@{domain}")], MESSAGE)).await;
        assert_eq!(short(&attempts), [expected], "{name}: {attempts:?}");
        assert_eq!(told.take().concat(), seen, "{name}");
    }
}

const STS: &str =
    "version: STSv1\nmode: enforce\nmx: mx.listed.test\nmx: *.wild.test\nmax_age: 604800\n";

const TESTING: &str = "version: STSv1\nmode: testing\nmx: *.testing.test\nmax_age: 604800\n";

/// Web servers with policies, one for each kind.
struct Webs {
    good: (u16, Arc<AtomicUsize>),
    testing: u16,
    page: u16,
}

impl Webs {
    async fn start(authority: &Authority) -> Self {
        let hosts = |names: &[&str]| -> Vec<String> {
            names.iter().map(|name| format!("mta-sts.{name}.test")).collect()
        };
        let acceptor = |hosts: Vec<String>| {
            let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
            authority.acceptor(&authority.leaf(&hosts))
        };
        let good = acceptor(hosts(&["listed", "wild", "unlisted", "misnamed"]));
        let testing = acceptor(hosts(&["testing", "lax"]));
        Self {
            good: web_server(good, STS).await,
            testing: web_server(testing, TESTING).await.0,
            page: web_server(acceptor(hosts(&["page"])), "<html>").await.0,
        }
    }
}

/// Domains with policies, and their hosts.
fn sts_zone() -> String {
    let mut root = String::new();
    for (domain, host) in [
        ("listed", "mx.listed.test"),
        ("wild", "a.wild.test"),
        ("unlisted", "mx.unlisted.test"),
        ("misnamed", "b.wild.test"),
        ("noweb", "mx.unlisted.test"),
        ("page", "mx.unlisted.test"),
        ("testing", "mx.testing.test"),
        ("lax", "other.testing.test"),
        ("stray", "mx.unlisted.test"),
    ] {
        let _ = writeln!(root, "{domain}.test. MX 10 {host}.\n{host}. A 127.0.0.1");
        let _ = writeln!(root, "_mta-sts.{domain}.test. TXT \"v=STSv1; id=1;\"");
        let _ = writeln!(root, "mta-sts.{domain}.test. A 127.0.0.1");
    }
    root
}

#[tokio::test]
async fn mta_sts_with_a_real_web_server() {
    let authority = Authority::new();
    let hosts = ["mx.listed.test", "a.wild.test", "mx.unlisted.test", "mx.testing.test"];
    let port = mail_server(authority.acceptor(&authority.leaf(&hosts))).await;
    let webs = Webs::start(&authority).await;
    let (web, asked) = (webs.good.0, Arc::clone(&webs.good.1));
    let bind = Bind::start(&sts_zone(), "", "");
    bind.ready().await;
    let folder = TempDir::new().expect("a folder");
    let roots = vec![authority.certificate.clone()];
    let told = Arc::new(Told::default());
    let client = |web: u16| {
        let sts =
            Sts::new(bind.resolver(false), folder.path().to_owned(), &roots).expect("a client");
        let tls = Tls::by_policy(policy(TlsLevel::MtaSts), roots.clone()).expect("TLS");
        let mut settings = settings("mx");
        settings.mx_port = port;
        Outbound::new(settings, bind.resolver(false), tls.with_sts(Arc::new(sts.with_port(web))))
            .with_observer(Arc::clone(&told) as _)
    };
    let first = client(web);
    let (testing, page) = (client(webs.testing), client(webs.page));
    let nobody = client(free_port());
    let cases = [
        ("listed, with the right certificate", &first, "listed", "ok Relayed", "sts ok"),
        ("by a wildcard", &first, "wild", "ok Relayed", "sts ok"),
        ("a host that is not listed", &first, "unlisted", "later 4.7.5", "sts validation-failure"),
        (
            "listed, with a certificate for others",
            &first,
            "misnamed",
            "later 4.7.5",
            "sts certificate-host-mismatch",
        ),
        (
            "a web server whose certificate is for others gives no policy",
            &first,
            "noweb",
            "ok Relayed",
            "sts sts-webpki-invalid",
        ),
        ("a page that is no policy", &page, "page", "ok Relayed", "sts sts-policy-invalid"),
        ("no web server", &nobody, "stray", "ok Relayed", "sts sts-policy-fetch-error"),
        ("a policy on trial, kept", &testing, "testing", "ok Relayed", "sts ok"),
        (
            "a policy on trial, not kept",
            &testing,
            "lax",
            "ok Relayed",
            "sts certificate-host-mismatch",
        ),
    ];
    for (name, client, domain, expected, seen) in cases {
        let recipient = format!("u@{domain}.test");
        let attempts = client.deliver(job(&[&recipient], MESSAGE)).await;
        assert_eq!(short(&attempts), [expected], "{name}: {attempts:?}");
        assert_eq!(told.take().concat(), seen, "{name}");
    }
    // A report on broken TLS gets through in spite of it, and is in no report itself (RFC 8460 §3).
    let report = format!("TLS-Required: No\r\n{MESSAGE}");
    let attempts = first.deliver(job(&["u@unlisted.test"], report)).await;
    assert_eq!(short(&attempts), ["ok Relayed"], "{attempts:?}");
    assert_eq!(told.take().concat(), "");
    let before = asked.load(Ordering::SeqCst);
    let attempts = first.deliver(job(&["u@unlisted.test"], MESSAGE)).await;
    assert_eq!(short(&attempts), ["later 4.7.5"]);
    assert_eq!(asked.load(Ordering::SeqCst), before, "a policy is fetched once");
    // After a start without a web server the policy on the disk holds.
    let second = client(free_port());
    let attempts = second.deliver(job(&["u@unlisted.test"], MESSAGE)).await;
    assert_eq!(short(&attempts), ["later 4.7.5"], "{attempts:?}");
}
