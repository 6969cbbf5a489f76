//! Who sent a message, and what we sign, with dkimpy and OpenDKIM on the other side: they sign and we
//! verify, we sign and they verify. The name server is a real one in this process.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use hickory_server::Server;
use hickory_server::net::runtime::TokioRuntimeProvider;
use hickory_server::proto::rr::rdata::{A, SOA, TXT};
use hickory_server::proto::rr::{LowerName, Name, RData, Record};
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, ZoneType};
use tokio::net::UdpSocket;
use tokio::runtime::Runtime;

use crate::sink::Sink;
use crate::support::{Gateway, Home, Setup};

const TO: &[&str] = &["bob@ours.example"];
/// Signs, verifies and checks chains with dkimpy; keys come from a file instead of the DNS.
const PEER: &str = r#"
import sys, dkim
what, keys, message = sys.argv[1], dict(l.rstrip('\n').split(' ', 1) for l in open(sys.argv[2])), open(sys.argv[3], 'rb').read()
def dns(name, timeout=5):
    return keys.get(name.decode().rstrip('.'), '').encode()
if what == 'sign':
    selector, domain, key = sys.argv[4:7]
    algorithm = b'ed25519-sha256' if selector.startswith('ed') else b'rsa-sha256'
    sys.stdout.buffer.write(dkim.sign(message, selector.encode(), domain.encode(), open(key, 'rb').read(), signature_algorithm=algorithm))
elif what == 'verify':
    d = dkim.DKIM(message)
    for idx in range(int(sys.argv[4])):
        print(d.verify(idx=idx, dnsfunc=dns))
elif what == 'arc':
    status, _, reason = dkim.arc_verify(message, dnsfunc=dns)
    print(status.decode() if status else reason)
"#;

/// A folder with keys, their records, and a name server that has them.
pub(crate) struct World {
    folder: tempfile::TempDir,
    records: Vec<(String, String)>,
    dns: SocketAddr,
    _server: Server<Catalog>,
    _runtime: Runtime,
}

pub(crate) fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}; see .ci/test.sh"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    output.stdout
}

fn base64(octets: &[u8]) -> String {
    base64_simd::STANDARD.encode_to_string(octets)
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(&[], Vec::new())
    }

    /// With more texts, and records of other kinds.
    pub(crate) fn with(texts: &[(&str, &str)], others: Vec<(&str, RData)>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let rsa = |name: &str| {
            run("openssl", &["genpkey", "-algorithm", "RSA", "-out", &path(name)]);
            base64(&run("openssl", &["pkey", "-in", &path(name), "-pubout", "-outform", "DER"]))
        };
        let ours = format!("v=DKIM1; k=rsa; p={}", rsa("ours.pem"));
        let theirs = format!("v=DKIM1; k=rsa; p={}", rsa("theirs.pem"));
        run("openssl", &["genpkey", "-algorithm", "ED25519", "-out", &path("ed.pem")]);
        let der = run("openssl", &["pkey", "-in", &path("ed.pem"), "-pubout", "-outform", "DER"]);
        let ed = format!("v=DKIM1; k=ed25519; p={}", base64(&der[der.len() - 32..]));
        let records = [
            ("new._domainkey.ours.example", ours.as_str()),
            ("ed._domainkey.ours.example", &ed),
            ("seal._domainkey.ours.example", &ours),
            ("s._domainkey.theirs.example", &theirs),
            ("_dmarc.theirs.example", "v=DMARC1; p=reject"),
            ("_dmarc.careful.example", "v=DMARC1; p=quarantine"),
            ("theirs.example", "v=spf1 -all"),
            ("careful.example", "v=spf1 -all"),
            ("friend.example", "v=spf1 ip4:127.0.0.0/8 -all"),
            ("_dmarc.friend.example", "v=DMARC1; p=reject"),
        ];
        let records = records.iter().chain(texts);
        let records: Vec<_> = records.map(|(n, t)| ((*n).to_owned(), (*t).to_owned())).collect();
        let lines: String = records.iter().map(|(name, text)| format!("{name} {text}\n")).collect();
        fs::write(folder.path().join("keys"), lines).unwrap();
        fs::write(folder.path().join("peer.py"), PEER).unwrap();
        let runtime = Runtime::new().unwrap();
        let (server, dns) = runtime.block_on(serve(&records, others));
        Self { folder, records, dns, _server: server, _runtime: runtime }
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// What dkimpy makes of `message`.
    pub(crate) fn dkimpy(&self, what: &str, message: &[u8], more: &[&str]) -> String {
        fs::write(self.path("message"), message).unwrap();
        let (script, keys, file) = (self.path("peer.py"), self.path("keys"), self.path("message"));
        let arguments = [&[script.as_str(), what, &keys, &file], more].concat();
        // Debian's interpreter, which has Debian's dkimpy.
        String::from_utf8(run("/usr/bin/python3", &arguments)).unwrap()
    }

    /// What OpenDKIM makes of `message`.
    fn opendkim(&self, message: &[u8]) -> String {
        fs::write(self.path("message"), message).unwrap();
        let settings = format!(
            "TestPublicKeys {}\nMode v\nSocket inet:0@127.0.0.1\nBackground no\n",
            self.path("keys")
        );
        fs::write(self.path("opendkim.conf"), settings).unwrap();
        let said = run(
            "/usr/sbin/opendkim",
            &["-x", &self.path("opendkim.conf"), "-t", &self.path("message")],
        );
        String::from_utf8(said).unwrap()
    }

    /// A gateway that asks our name server. `trusted` says whether loopback is ours.
    pub(crate) fn home(&self, sink: &Sink, trusted: bool, tables: &str) -> Home {
        let networks = if trusted {
            "relay-domains = [\"ours.example\"]\n"
        } else {
            "relay-domains = [\"ours.example\"]\ntrusted-networks = []\n"
        };
        let tables = format!("[dns]\nservers = [\"{}\"]\n{tables}", self.dns);
        Home::new(&Setup {
            next_hop: &sink.url(),
            root: networks,
            tables: &tables,
            ..Setup::default()
        })
    }
}

async fn serve(
    records: &[(String, String)],
    others: Vec<(&str, RData)>,
) -> (Server<Catalog>, SocketAddr) {
    let name = |text: &str| Name::from_ascii(format!("{text}.")).unwrap();
    let root = name("example");
    let mut zone: InMemoryZoneHandler<TokioRuntimeProvider> =
        InMemoryZoneHandler::empty(root.clone(), ZoneType::Primary, AxfrPolicy::Deny);
    let soa = SOA::new(name("ns.example"), name("h.example"), 1, 60, 60, 60, 60);
    zone.upsert_mut(Record::from_rdata(root.clone(), 60, RData::SOA(soa)), 0);
    for (owner, text) in records {
        let strings = text.as_bytes().chunks(200);
        let strings = strings.map(|s| String::from_utf8_lossy(s).into_owned()).collect();
        let record = Record::from_rdata(name(owner), 60, RData::TXT(TXT::new(strings)));
        zone.upsert_mut(record, 0);
    }
    for (owner, data) in others {
        zone.upsert_mut(Record::from_rdata(name(owner), 60, data), 0);
    }
    let address = RData::A(A(Ipv4Addr::LOCALHOST));
    zone.upsert_mut(Record::from_rdata(name("client.example"), 60, address), 0);
    let mut catalog = Catalog::new();
    catalog.upsert(LowerName::new(&root), vec![Arc::new(zone)]);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let mut server = Server::new(catalog);
    server.register_socket(socket);
    (server, address)
}

pub(crate) fn message(from: &str, text: &str) -> Vec<u8> {
    format!(
        "From: A <{from}>\r\nTo: bob@ours.example\r\nSubject: a  test\r\n\
         Date: Sun, 22 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@theirs.example>\r\n\r\n{text}\r\n"
    )
    .into_bytes()
}

fn results(delivered: &str) -> &str {
    let start = delivered.find("Authentication-Results: ").expect("results are written");
    let rest = &delivered[start..];
    &rest[..rest.find("\r\nReceived: ").unwrap()]
}

#[test]
fn others_sign_and_we_verify() {
    let (world, sink) = (World::new(), Sink::start());
    let home = world.home(&sink, false, "");
    let gateway = Gateway::start(&home);
    let key = world.path("theirs.pem");
    let plain = message("a@theirs.example", "Hello.\r\n \r\n\t\r\n");
    let field = world.dkimpy("sign", &plain, &["s", "theirs.example", &key]);
    let mut client = gateway.connect();

    let signed = [field.as_bytes(), plain.as_slice()].concat();
    client.accepted("a@theirs.example", TO, &signed);
    let delivered = sink.wait_for(1)[0].text();
    let found = results(&delivered);
    for expected in [
        "spf=fail (theirs.example does not designate 127.0.0.1) smtp.mailfrom=a@theirs.example",
        "dkim=pass header.d=theirs.example",
        "dmarc=pass (p=reject) header.from=theirs.example",
        "arc=none",
    ] {
        assert!(found.contains(expected), "{expected} in {found}");
    }

    let changed = [field.as_bytes(), &message("a@theirs.example", "Changed.")].concat();
    let reply = client.mail("a@theirs.example", TO, &changed).unwrap();
    assert!(reply.starts_with("550 5.7.1 Refused by the DMARC policy"), "{reply}");

    client.accepted("a@careful.example", TO, &message("a@careful.example", "Hello."));
    crate::support::wait_until("it is held", || home.quarantine().len() == 1);

    client.accepted("a@friend.example", TO, &message("a@friend.example", "Hello."));
    let delivered = sink.wait_for(2)[1].text();
    assert!(results(&delivered).contains("dmarc=pass"), "{delivered}");
}

#[test]
fn forged_results_go() {
    let (world, sink) = (World::new(), Sink::start());
    let home = world.home(&sink, false, "[authentication]\nname = \"auth.ours.example\"\n");
    let gateway = Gateway::start(&home);
    let mail = [
        "Authentication-Results: auth.ours.example; dkim=pass header.d=bank.example\r\n",
        "X-Spam-Flag: NO\r\n",
        "Authentication-Results: elsewhere.example;\r\n dkim=pass\r\n",
    ]
    .concat();
    let mail = [mail.as_bytes(), &message("a@friend.example", "Hello.")].concat();
    gateway.connect().accepted("a@friend.example", TO, &mail);
    let delivered = sink.wait_for(1)[0].text();
    assert!(delivered.starts_with("Authentication-Results: auth.ours.example;"), "{delivered}");
    assert!(!delivered.contains("bank.example") && !delivered.contains("X-Spam"), "{delivered}");
    assert!(delivered.contains("elsewhere.example;\r\n dkim=pass\r\nFrom: A"), "{delivered}");
}

fn dkim_tables(folder: &Path) -> String {
    let key = |selector: &str, file: &str, from: &str| {
        let path = folder.join(file);
        format!(
            "[[dkim]]\ndomain = \"ours.example\"\nauthors = [\"ours.example\", \"*.ours.example\"]\n\
             selector = \"{selector}\"\nkey = \"{}\"\nnot-before = \"{from}\"\n",
            path.display()
        )
    };
    [
        key("old", "theirs.pem", "2020-01-01"),
        key("new", "ours.pem", "2024-01-01"),
        key("later", "theirs.pem", "2999-01-01"),
        key("ed", "ed.pem", "2024-01-01"),
    ]
    .concat()
}

#[test]
fn we_sign_and_others_verify() {
    let (world, sink) = (World::new(), Sink::start());
    let home = world.home(&sink, true, &dkim_tables(world.folder.path()));
    let gateway = Gateway::start(&home);
    let mut client = gateway.connect();
    let texts = ["Hello.\r\n \r\n\t\r\n", "", "\r\n\r\n", "a  b \t\r\n\r\nc"];
    let large = "0123456789 and so on, line after line\r\n".repeat(20_000);
    for (place, text) in texts.into_iter().chain([large.as_str()]).enumerate() {
        client.accepted("a@ours.example", TO, &message("a@sub.ours.example", text));
        let delivered = sink.wait_for(place + 1)[place].data.clone();
        let said = String::from_utf8_lossy(&delivered);
        let header = said.split("\r\n\r\n").next().unwrap();
        assert_eq!(header.matches("DKIM-Signature: v=1; ").count(), 2, "{header}");
        assert!(header.contains("s=new; ") && header.contains("s=ed; "), "{header}");
        assert!(!header.contains("Authentication-Results"), "our own mail: {header}");
        assert_eq!(world.dkimpy("verify", &delivered, &["2"]), "True\nTrue\n", "{header}");
        let judged = world.opendkim(&delivered);
        assert_eq!(judged.matches("succeeded").count(), 1, "{judged}");
        let added = [b"Subject: another\r\n".as_slice(), &delivered].concat();
        assert_eq!(world.dkimpy("verify", &added, &["2"]), "False\nFalse\n", "oversigned");
    }
    client.accepted("a@ours.example", TO, &message("a@elsewhere.example", "not our author"));
    let delivered = sink.wait_for(6)[5].text();
    assert!(!delivered.contains("DKIM-Signature"), "{delivered}");
}

/// Lines are made legal before signing, and seven bits where that is asked for: a server that takes less
/// than we got has no reason to change what is signed.
#[test]
fn what_is_signed_is_what_leaves() {
    let (world, sink) = (World::new(), Sink::start());
    sink.script(|line| line.starts_with("EHLO").then(|| "250 sink.example".to_owned()));
    let tables =
        format!("[authentication]\nsign-seven-bit = true\n{}", dkim_tables(world.folder.path()));
    let home = world.home(&sink, true, &tables);
    let gateway = Gateway::start(&home);
    let mut client = gateway.connect();
    let long = "word ".repeat(1_000);
    let both = format!("Voilà\r\n{long}");
    for (place, text) in [long.as_str(), "Voilà", &both].into_iter().enumerate() {
        client.accepted("a@ours.example", TO, &message("a@ours.example", text));
        let delivered = sink.wait_for(place + 1)[place].data.clone();
        let said = String::from_utf8_lossy(&delivered);
        assert!(delivered.is_ascii() && said.lines().all(|line| line.len() <= 998), "{said}");
        assert!(said.contains("Content-Transfer-Encoding: quoted-printable"), "{said}");
        assert_eq!(world.dkimpy("verify", &delivered, &["2"]), "True\nTrue\n", "{said}");
    }
    assert!(!gateway.said().contains("encoded anew"), "{}", gateway.said());
}

/// What the gateway itself writes is signed as well.
#[test]
fn notifications_are_signed() {
    let (world, sink) = (World::new(), Sink::start());
    sink.script(|line| line.starts_with("RCPT TO:<x@").then(|| "550 5.1.1 Who?".to_owned()));
    let tables = dkim_tables(world.folder.path());
    let home = world.home(&sink, true, &tables);
    let text = fs::read_to_string(home.path().join("imss.toml")).unwrap();
    home.write("imss.toml", text.replace("\"gate.example\"", "\"gate.ours.example\""));
    let gateway = Gateway::start(&home);
    let mail = message("a@ours.example", "Voilà");
    gateway.connect().accepted("a@ours.example", &["x@far.example"], &mail);
    let notice = sink.wait_for(1).pop().unwrap();
    let said = notice.text();
    assert_eq!((notice.from.as_str(), notice.to[0].as_str()), ("", "a@ours.example"));
    assert!(said.contains("From: ") && said.contains("MAILER-DAEMON@gate.ours.example"), "{said}");
    assert!(notice.data.is_ascii(), "{said}");
    assert_eq!(world.dkimpy("verify", &notice.data, &["2"]), "True\nTrue\n", "{said}");
}

#[test]
fn mail_from_outside_is_sealed() {
    let (world, sink) = (World::new(), Sink::start());
    let tables = format!(
        "[arc]\ndomain = \"ours.example\"\nselector = \"seal\"\nkey = \"{}\"\n",
        world.path("ours.pem")
    );
    let home = world.home(&sink, false, &tables);
    let gateway = Gateway::start(&home);
    let mut client = gateway.connect();
    let mut mail = message("a@friend.example", "Hello.  \r\n\r\n");
    for round in 1..=3 {
        client.accepted("a@friend.example", TO, &mail);
        mail.clone_from(&sink.wait_for(round)[round - 1].data);
        let text = String::from_utf8_lossy(&mail).into_owned();
        let top = format!("ARC-Seal: i={round}; a=rsa-sha256; t=");
        assert!(text.starts_with(&top), "{text}");
        assert_eq!(world.dkimpy("arc", &mail, &[]), "pass\n", "{text}");
        // What we read next time is what they read now.
        let chain = if round == 1 { "arc=none" } else { "arc=pass" };
        assert!(results(&text).contains(chain), "{text}");
    }
    let broken = String::from_utf8(mail).unwrap().replace("Hello.", "Hallo.");
    client.accepted("a@friend.example", TO, broken.as_bytes());
    let mail = sink.wait_for(4)[3].data.clone();
    let text = String::from_utf8(mail.clone()).unwrap();
    assert!(results(&text).contains("arc=fail"), "{text}");
    let seal = text.split("\r\nARC-Message-Signature").next().unwrap();
    assert!(seal.starts_with("ARC-Seal: i=4;") && seal.contains("cv=fail;"), "{text}");
    let judged = world.dkimpy("arc", &mail, &[]);
    assert!(judged.contains("ARC-Seal[4] reported failure"), "{judged}\n{text}");
    // Whoever sees that needs no second one.
    client.accepted("a@friend.example", TO, &mail);
    let text = sink.wait_for(5)[4].text();
    assert!(text.starts_with("Authentication-Results: "), "the chain has ended: {text}");
}

#[test]
fn a_name_server_that_is_away_is_no_pass() {
    let (world, sink) = (World::new(), Sink::start());
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let tables =
        format!("[dns]\nservers = [\"{}\"]\ntimeout = \"200 ms\"\n", silent.local_addr().unwrap());
    let home = Home::new(&Setup {
        next_hop: &sink.url(),
        root: "relay-domains = [\"ours.example\"]\ntrusted-networks = []\n",
        tables: &tables,
        ..Setup::default()
    });
    let gateway = Gateway::start(&home);
    gateway.connect().accepted("a@theirs.example", TO, &message("a@theirs.example", "Hello."));
    let text = sink.wait_for(1)[0].text();
    let found = results(&text);
    for expected in ["spf=temperror", "dmarc=temperror"] {
        assert!(found.contains(expected), "{expected} in {found}");
    }
    assert!(!found.contains("pass"), "{found}");
    drop(world);
}

#[test]
fn scan_tells_who_sent_a_file() {
    let world = World::new();
    let file = world.path("mail.eml");
    fs::write(&file, message("a@theirs.example", "Hello.")).unwrap();
    let dns = world.dns.to_string();
    let scan = |more: &[&str]| {
        let imss = assert_cmd::cargo::cargo_bin!("imss");
        let arguments = [&["scan", "--jsonl", &file][..], more].concat();
        let output = Command::new(imss).args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let from = ["--mail-from", "a@theirs.example", "--dns", &dns];
    let judged = scan(&[&["--client", "192.0.2.1"][..], &from].concat());
    assert!(judged.contains("dmarc=fail for theirs.example"), "{judged}");
    assert!(judged.contains("\"action\":\"reject\""), "{judged}");
    let nobody = scan(&from);
    assert!(nobody.contains("\"action\":\"deliver\""), "without a client: {nobody}");
    assert!(!world.records.is_empty());
}

#[test]
fn bounces_of_others_mail_are_refused() {
    let (world, sink) = (World::new(), Sink::start());
    fs::write(world.path("batv.key"), "not a secret of anybody").unwrap();
    let tables = format!(
        "[batv]\ndomains = [\"ours.example\"]\nkeys = [{{ number = 3, file = \"{}\" }}]\n",
        world.path("batv.key")
    );
    let out = world.home(&sink, true, &tables);
    let sending = Gateway::start(&out);
    sending.connect().accepted(
        "carol@ours.example",
        &["x@else.example"],
        &message("c@ours.example", "Hello."),
    );
    let tagged = sink.wait_for(1)[0].from.clone();
    let tagged = tagged.trim_matches(['<', '>']);
    assert!(tagged.starts_with("prvs=3") && tagged.ends_with("=carol@ours.example"), "{tagged}");

    let inward = world.home(&sink, false, &tables);
    let receiving = Gateway::start(&inward);
    let mut client = receiving.connect();
    client.accepted("", &[tagged], &message("mailer-daemon@else.example", "It bounced."));
    let delivered = &sink.wait_for(2)[1];
    assert_eq!(delivered.to.len(), 1);
    assert!(delivered.to[0].contains("carol@ours.example"), "{:?}", delivered.to);
    assert!(!delivered.to[0].contains("prvs"), "{:?}", delivered.to);
    let forged = tagged.replace("carol", "dave");
    // Who asks whether a mailbox exists does so with the null path, and hears that it does.
    let refused = "550 5.7.1 This is a bounce";
    for (command, expected) in [
        ("MAIL FROM:<>".to_owned(), "250"),
        (format!("RCPT TO:<{forged}>"), refused),
        ("DATA".to_owned(), "554"),
        ("RCPT TO:<carol@ours.example>".to_owned(), "250"),
        ("DATA".to_owned(), refused),
        ("RSET".to_owned(), "250"),
        ("MAIL FROM:<>".to_owned(), "250"),
        (format!("RCPT TO:<{tagged}>"), "250"),
        ("RCPT TO:<carol@ours.example>".to_owned(), "452 4.5.3"),
        ("RSET".to_owned(), "250"),
        ("MAIL FROM:<>".to_owned(), "250"),
        ("RCPT TO:<carol@ours.example>".to_owned(), "250"),
        ("BDAT 2 LAST\r\n".to_owned(), refused),
        ("RSET".to_owned(), "250"),
    ] {
        let reply = client.say(&command).unwrap();
        assert!(reply.starts_with(expected), "{command}: {reply}");
    }
    client.accepted(
        "a@friend.example",
        &["carol@ours.example"],
        &message("a@friend.example", "Hi."),
    );
}
