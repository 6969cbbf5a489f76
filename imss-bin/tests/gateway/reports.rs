//! Daily reports to the domains of others, whole: a session is counted, the day ends, the report arrives.
//! What is in it is read by Python's libraries, and the signature is verified by dkimpy.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex};

use hickory_server::proto::rr::rdata::{A, MX};
use hickory_server::proto::rr::{Name, RData};
use jiff::tz::TimeZone;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

use crate::authentication::{World, message, run};
use crate::sink::{Delivered, Sink};
use crate::support::{Gateway, wait_until};

/// The packed attachment of a report, unpacked; and its fields before that.
const UNPACK: &str = r#"
import sys, email, email.policy, gzip
m = email.message_from_binary_file(open(sys.argv[1], 'rb'), policy=email.policy.default)
for part in m.walk():
    if part.get_filename():
        print(part.get_content_type(), part.get_filename(), m['subject'])
        print(gzip.decompress(part.get_payload(decode=True)).decode())
"#;

/// The leaves of an XML document, one a line.
const LEAVES: &str = r#"
import sys, xml.etree.ElementTree as tree
for leaf in tree.parse(sys.argv[1]).getroot().iter():
    if len(leaf) == 0:
        print(leaf.tag.rsplit('}')[-1] + '=' + (leaf.text or ''))
"#;

/// Type and name of the attachment with the subject, and what it holds.
fn unpack(folder: &Path, mail: &Delivered) -> (String, String) {
    let (script, file) = (folder.join("unpack.py"), folder.join("report.eml"));
    fs::write(&script, UNPACK).unwrap();
    fs::write(&file, &mail.data).unwrap();
    let said = run("/usr/bin/python3", &[script.to_str().unwrap(), file.to_str().unwrap()]);
    let said = String::from_utf8(said).unwrap();
    let (first, rest) = said.split_once('\n').unwrap();
    (first.to_owned(), rest.trim().to_owned())
}

/// Makes today's events yesterday's.
fn end_the_day(folder: &Path, prefix: &str) {
    let yesterday = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24);
    let yesterday = yesterday.to_zoned(TimeZone::UTC).date();
    let files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "jsonl"))
        .collect();
    let [file] = files.as_slice() else { panic!("one file: {files:?}") };
    fs::rename(file, folder.join(format!("{prefix}-{yesterday}.jsonl"))).unwrap();
}

fn no_days_in(folder: &Path) -> bool {
    let mut entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    !entries.any(|path| path.extension().is_some_and(|ending| ending == "jsonl"))
}

/// Takes POST requests over TLS with a certificate that nobody knows; the first gets 503.
fn web() -> (u16, Arc<Mutex<Vec<Vec<u8>>>>) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let key = rcgen::generate_simple_self_signed(["elsewhere.example".to_owned()]).unwrap();
    let der = PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], der)
        .unwrap();
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    let taken = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&taken);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(connection, stream);
            let (mut request, mut block) = (Vec::new(), [0; 4096]);
            let whole = |request: &[u8]| {
                let text = String::from_utf8_lossy(request).to_lowercase();
                let (head, _) = text.split_once("\r\n\r\n")?;
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
                let length: usize = length.trim().parse().ok()?;
                (request.len() >= head.len() + 4 + length).then_some(head.len() + 4)
            };
            while whole(&request).is_none() {
                match stream.read(&mut block) {
                    Ok(count) if count > 0 => request.extend_from_slice(&block[..count]),
                    _ => break,
                }
            }
            let mut taken = keep.lock().unwrap();
            let answer = if taken.is_empty() { "503 Busy" } else { "201 Created" };
            taken.push(request);
            drop(taken);
            let head =
                format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(head.as_bytes());
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    (port, taken)
}

fn dkim(world: &World) -> String {
    format!(
        "[[dkim]]\ndomain = \"ours.example\"\nselector = \"new\"\nkey = \"{}\"\n",
        world.path("ours.pem")
    )
}

/// Two sessions without TLS, and nothing else.
fn has_two_failures(json: &str) {
    let json: Value = serde_json::from_str(json).unwrap();
    assert_eq!(json["organization-name"], "Ours");
    let policy = &json["policies"][0];
    assert_eq!(policy["policy"]["policy-type"], "no-policy-found");
    assert_eq!(policy["policy"]["policy-domain"], "theirs.example");
    assert_eq!(policy["summary"]["total-failure-session-count"], 2);
    assert_eq!(policy["summary"]["total-successful-session-count"], 0);
    let detail = &policy["failure-details"][0];
    assert_eq!(detail["result-type"], "starttls-not-supported");
    assert_eq!(detail["receiving-mx-hostname"], "mx.theirs.example");
    assert_eq!(detail["receiving-ip"], "127.0.0.1");
    assert_eq!(detail["failed-session-count"], 2);
}

#[test]
fn tls_sessions_are_reported() {
    let (port, taken) = web();
    let rua =
        format!("v=TLSRPTv1; rua=mailto:tls@collector.example,https://post.example:{port}/v1/tls");
    let mx = RData::MX(MX::new(10, Name::from_ascii("mx.theirs.example.").unwrap()));
    let here = || RData::A(A(Ipv4Addr::LOCALHOST));
    let world = World::with(
        &[("_smtp._tls.theirs.example", &rua)],
        vec![
            ("theirs.example", mx.clone()),
            ("quiet.example", mx),
            ("mx.theirs.example", here()),
            ("post.example", here()),
        ],
    );
    // The sink knows no STARTTLS.
    let sink = Sink::start();
    let tables = format!(
        "[[route]]\nto = [\"theirs.example\", \"quiet.example\"]\nnext-hop = \"mx\"\n\
         [outbound]\nmx-port = {}\nidle = \"0 seconds\"\n\
         [tls-reports]\nfrom = \"tls@ours.example\"\norganisation = \"Ours\"\n\
         post-to-private = true\n{}",
        sink.address().port(),
        dkim(&world)
    );
    let home = world.home(&sink, true, &tables);
    let gateway = Gateway::start(&home);
    let mut client = gateway.connect();
    for (place, to) in
        ["a@theirs.example", "b@theirs.example", "c@quiet.example"].iter().enumerate()
    {
        client.accepted("x@friend.example", &[to], &message("x@friend.example", "Hello."));
        sink.wait_for(place + 1);
    }
    home.wait_for_empty_queue();
    gateway.stop();
    let counted = home.data().join("tls");
    end_the_day(&counted, "session");

    let gateway = Gateway::start(&home);
    let report = sink.wait_for(4).pop().unwrap();
    assert_eq!(
        (report.from.as_str(), report.to.as_slice()),
        ("", &["tls@collector.example".to_owned()][..])
    );
    let text = report.text();
    for expected in [
        "TLS-Report-Domain: theirs.example\r\n",
        "TLS-Report-Submitter: gate.example\r\n",
        "TLS-Required: No\r\n",
        "multipart/report",
        "report-type=\"tlsrpt\"",
        "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/simple; d=ours.example",
    ] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    assert_eq!(world.dkimpy("verify", &report.data, &["1"]), "True\n", "{text}");
    let (name, json) = unpack(home.path(), &report);
    assert!(name.starts_with("application/tlsrpt+gzip gate.example!theirs.example!"), "{name}");
    let subject = "Report Domain: theirs.example Submitter: gate.example Report-ID: <";
    assert!(name.contains(subject), "{name}");
    has_two_failures(&json);

    // The web server is busy first: what it did not take waits, also over a restart.
    wait_until("the web server was asked", || taken.lock().unwrap().len() == 1);
    wait_until("the day is done", || no_days_in(&counted));
    gateway.stop();
    let _gateway = Gateway::start(&home);
    wait_until("it was asked again", || taken.lock().unwrap().len() == 2);
    let waiting = || fs::read_dir(counted.join("post")).unwrap().count();
    wait_until("nothing waits", || waiting() == 0);
    let posted = taken.lock().unwrap().pop().unwrap();
    let head = String::from_utf8_lossy(&posted).to_lowercase();
    assert!(head.starts_with("post /v1/tls http/1.1\r\n"), "{head}");
    assert!(head.contains("content-type: application/tlsrpt+gzip\r\n"), "{head}");
    assert_eq!(sink.count(), 4, "the quiet domain asked for nothing");
}

#[test]
fn dmarc_failures_are_reported() {
    let rua = "v=DMARC1; p=reject; adkim=s; \
               rua=mailto:agg@asks.example,mailto:agg@consents.example,mailto:agg@silent.example";
    let world = World::with(
        &[
            ("_dmarc.asks.example", rua),
            ("asks.example", "v=spf1 -all"),
            ("asks.example._report._dmarc.consents.example", "v=DMARC1"),
        ],
        Vec::new(),
    );
    let sink = Sink::start();
    let tables = format!(
        "[dmarc-reports]\nfrom = \"dmarc@ours.example\"\norganisation = \"Ours\"\n{}",
        dkim(&world)
    );
    let home = world.home(&sink, false, &tables);
    let gateway = Gateway::start(&home);
    let mut client = gateway.connect();
    let forged = message("a@asks.example", "Hello.");
    for _ in 0..2 {
        let reply = client.mail("a@asks.example", &["bob@ours.example"], &forged).unwrap();
        assert!(reply.starts_with("550 5.7.1 Refused by the DMARC policy"), "{reply}");
    }
    gateway.stop();
    end_the_day(&home.data().join("dmarc"), "seen");

    let _gateway = Gateway::start(&home);
    let report = sink.wait_for(1).pop().unwrap();
    assert_eq!(report.from, "");
    let mut to: Vec<String> = sink.delivered().into_iter().flat_map(|one| one.to).collect();
    to.sort();
    assert_eq!(to, ["agg@asks.example", "agg@consents.example"], "who is silent gets nothing");
    let text = report.text();
    assert!(text.contains("d=ours.example"), "{text}");
    assert_eq!(world.dkimpy("verify", &report.data, &["1"]), "True\n", "{text}");
    let (name, xml) = unpack(home.path(), &report);
    assert!(name.starts_with("application/gzip gate.example!asks.example!"), "{name}");
    home.write("report.xml", &xml);
    home.write("leaves.py", LEAVES);
    let path = |name: &str| home.path().join(name).display().to_string();
    let leaves = run("/usr/bin/python3", &[&path("leaves.py"), &path("report.xml")]);
    let leaves = String::from_utf8(leaves).unwrap();
    for expected in [
        "org_name=Ours",
        "email=dmarc@ours.example",
        "domain=asks.example",
        "adkim=s",
        "p=reject",
        "source_ip=127.0.0.1",
        "count=2",
        "disposition=reject",
        "header_from=asks.example",
        "envelope_from=asks.example",
    ] {
        assert!(leaves.lines().any(|line| line == expected), "{expected} in {leaves}");
    }
    wait_until("the day is done", || no_days_in(&home.data().join("dmarc")));
}
