//! Submission (RFC 6409): users are added, log in with the mechanisms their programs speak, and send
//! anywhere; nobody else does. Swaks, msmtp, Python's smtplib and openssl as clients.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::clients::{succeed, write_certificate};
use crate::sink::Sink;
use crate::support::{Gateway, Home, Setup};

const LISTENERS: &str = "
[tls]
certificate = \"certificate.pem\"
key = \"key.pem\"
[auth]
mechanisms = [\"SCRAM-SHA-256-PLUS\", \"SCRAM-SHA-256\", \"PLAIN\", \"LOGIN\", \"CRAM-MD5\"]
failure-delay = \"0 s\"
own-senders = true
trace-login = true
[[listen]]
address = \"127.0.0.1:0\"
mode = \"submission\"
tls = \"implicit\"
hostname = \"smtps.gate.example\"
[[listen]]
address = \"127.0.0.1:0\"
mode = \"edge\"
relay-domains = [\"elsewhere.example\"]
trusted-networks = []
";

fn home(sink: &Sink) -> Home {
    let home = Home::new(&Setup {
        next_hop: &sink.url(),
        mode: "submission",
        tables: LISTENERS,
        ..Setup::default()
    });
    write_certificate(&home);
    home
}

/// Runs `imss user …` with a password on standard input: exit code and output.
fn user(home: &Home, arguments: &[&str], password: &str) -> (i32, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_imss"))
        .arg("user")
        .args(arguments)
        .args(["--config", "imss.toml"])
        .current_dir(home.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A command that refuses at once does not read its input.
    let _ = writeln!(stdin, "{password}");
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8(text).unwrap())
}

fn add(home: &Home, name: &str, more: &[&str], password: &str) {
    let arguments = [&["add", name, "--password-stdin"], more].concat();
    let (code, said) = user(home, &arguments, password);
    assert_eq!(code, 0, "{said}");
}

fn swaks(port: &str, more: &[&str]) -> (bool, String) {
    let output = Command::new("swaks")
        .args(["--server", "127.0.0.1", "--port", port, "--ehlo", "swaks.example"])
        .args(["--from", "alice@ours.example", "--to", "bob@elsewhere.example"])
        .args(more)
        .output()
        .expect("swaks");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn swaks_logs_in() {
    let sink = Sink::start();
    let home = home(&sink);
    add(&home, "alice@ours.example", &["--cram-md5", "--sender", "*@lists.example"], "sésame");
    let gateway = Gateway::start(&home);
    let [starttls, implicit, edge] = &gateway.listening();
    let (alice, lists) = ("alice@ours.example", "news@lists.example");
    let right = ["--auth-user", alice, "--auth-password", "sésame"];
    let wrong = ["--auth-user", alice, "--auth-password", "open"];
    /// Name, port, how, who, and why not.
    type Case<'a> = (&'a str, &'a String, &'a [&'a str], &'a [&'a str], Option<&'a str>);
    let cases: &[Case<'_>] = &[
        ("PLAIN", starttls, &["--tls", "--auth", "PLAIN"], &right, None),
        ("LOGIN", starttls, &["--tls", "--auth", "LOGIN"], &right, None),
        ("CRAM-MD5", starttls, &["--tls", "--auth", "CRAM-MD5"], &right, None),
        ("implicit TLS", implicit, &["--tlsc", "--auth", "PLAIN"], &right, None),
        ("another address", starttls, &["--tls", "--auth", "PLAIN", "--from", lists], &right, None),
        ("wrong", starttls, &["--tls", "--auth", "PLAIN"], &wrong, Some("535 5.7.8")),
        ("wrong CRAM-MD5", starttls, &["--tls", "--auth", "CRAM-MD5"], &wrong, Some("535 5.7.8")),
        ("no login", starttls, &["--tls"], &[], Some("530 5.7.0 Authentication required")),
        ("no TLS", starttls, &[], &[], Some("530 5.7.0 Must issue a STARTTLS")),
        ("not offered without TLS", starttls, &["--auth", "PLAIN"], &right, Some("not offered")),
        (
            "not hers",
            implicit,
            &["--tlsc", "--auth", "PLAIN", "--from", "x@y.example"],
            &right,
            Some("553 5.7.1"),
        ),
        ("the edge takes its domains", edge, &[], &[], None),
        ("and no others", edge, &["--to", "x@y.example"], &[], Some("550 5.7.1")),
        ("and offers no login", edge, &["--tls", "--auth", "PLAIN"], &right, Some("not offered")),
    ];
    let mut sent = 0;
    for (name, port, how, who, refused) in cases {
        let (done, said) = swaks(port, &[*how, *who].concat());
        match refused {
            None => {
                assert!(done, "{name}\n{said}");
                sent += 1;
            }
            Some(reason) => {
                assert!(!done, "{name}\n{said}");
                let is_told = said.contains(reason)
                    || (*reason == "not offered"
                        && !said.contains("235 ")
                        && !said.contains("AUTH "));
                assert!(is_told, "{name}\n{said}");
            }
        }
    }
    let all = sink.wait_for(sent);
    let text = |part: &str| {
        let found = all.iter().map(|message| message.text()).find(|text| text.contains(part));
        found.unwrap_or_else(|| panic!("no message with {part}"))
    };
    assert!(text("by gate.example with ESMTPSA").contains("(authenticated as alice@ours.example)"));
    text("by smtps.gate.example with ESMTPSA");
    gateway.stop();
}

#[test]
fn msmtp_logs_in_with_scram() {
    let sink = Sink::start();
    let home = home(&sink);
    add(&home, "alice@ours.example", &[], "open");
    let gateway = Gateway::start(&home);
    let ports: [String; 3] = gateway.listening();
    let send = |port: &str, method: &str, password: &str, tls: &str| {
        home.write("password", password);
        let mut child = Command::new("msmtp")
            .args(["--file=/dev/null", "--host=127.0.0.1", &format!("--port={port}"), tls])
            .args(["--tls=on", "--tls-trust-file=", "--tls-certcheck=off"])
            .args([&format!("--auth={method}"), "--user=alice@ours.example"])
            .args(["--passwordeval=cat password", "--from=alice@ours.example"])
            .args(["--domain=msmtp.example", "bob@elsewhere.example"])
            .current_dir(home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("msmtp");
        let message = format!("Subject: {method}\n\nHello\n");
        child.stdin.take().unwrap().write_all(message.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let cases = [
        ("scram-sha-256", &ports[0], "--tls-starttls=on"),
        ("scram-sha-256", &ports[1], "--tls-starttls=off"),
        ("plain", &ports[0], "--tls-starttls=on"),
        ("login", &ports[1], "--tls-starttls=off"),
    ];
    for (number, (method, port, tls)) in cases.iter().enumerate() {
        succeed(&send(port, method, "open", tls));
        let text = sink.wait_for(number + 1)[number].text();
        assert!(text.contains("with ESMTPSA") && text.contains(&format!("Subject: {method}")));
    }
    let refused = send(&ports[0], "scram-sha-256", "shut", "--tls-starttls=on");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("535"), "{said}");
    gateway.stop();
}

#[test]
fn openssl_sees_the_certificate_on_both_ports() {
    let sink = Sink::start();
    let home = home(&sink);
    let gateway = Gateway::start(&home);
    for (port, more) in gateway.listening::<3>().iter().zip([&["-starttls", "smtp"][..], &[]]) {
        let mut child = Command::new("openssl")
            .args(["s_client", "-connect", &format!("127.0.0.1:{port}"), "-quiet"])
            .args(["-CAfile", "certificate.pem", "-verify_return_error", "-crlf"])
            .args(["-servername", "localhost", "-verify_hostname", "localhost"])
            .args(more)
            .current_dir(home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("openssl");
        child.stdin.take().unwrap().write_all(b"EHLO openssl.example\nQUIT\n").unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN"), "{said}\n{errors}");
        assert!(!said.contains("STARTTLS"), "{said}");
        assert!(said.contains("221 2.0.0"), "{said}\n{errors}");
    }
    gateway.stop();
}

#[test]
fn users_come_and_go_without_a_restart() {
    let sink = Sink::start();
    let home = home(&sink);
    let gateway = Gateway::start(&home);
    let ports: [String; 3] = gateway.listening();
    let login = |password: &str| {
        let who = ["--auth-user", "alice@ours.example", "--auth-password", password];
        swaks(&ports[1], &[&["--tlsc", "--auth", "PLAIN"][..], &who].concat()).0
    };
    assert!(!login("one"));
    add(&home, "alice@ours.example", &[], "one");
    assert!(login("one") && !login("two"));
    let (code, said) = user(&home, &["passwd", "ALICE@ours.example", "--password-stdin"], "two");
    assert_eq!((code, said.as_str()), (0, "changed; in use now\n"));
    assert!(login("two") && !login("one"));
    assert_eq!(user(&home, &["add", "alice@ours.example", "--password-stdin"], "x").0, 1);
    assert_eq!(user(&home, &["add", "a b", "--password-stdin"], "x").0, 2);
    assert_eq!(user(&home, &["passwd", "nobody", "--password-stdin"], "x").0, 1);
    let list = home.json(&["user", "list", "--json"]);
    assert_eq!(list[0]["name"], "alice@ours.example");
    assert_eq!(list.as_array().unwrap().len(), 1);
    let file = std::fs::read_to_string(home.data().join("users")).unwrap();
    assert!(!file.contains("two"), "{file}");
    assert_eq!(user(&home, &["delete", "alice@ours.example"], "").0, 0);
    assert!(!login("two"));
    sink.wait_for(2);
    gateway.stop();
}

/// Users are read before anything else: who was taken away does not log in until somebody mends a mistake in
/// the policy.
#[test]
fn a_user_is_gone_though_the_policy_has_a_mistake() {
    let sink = Sink::start();
    let home = home(&sink);
    let alice = "alice@ours.example";
    add(&home, alice, &[], "sesame");
    add(&home, "carol@ours.example", &[], "sesame");
    let config = std::fs::read_to_string(home.path().join("imss.toml")).unwrap();
    home.write("imss.toml", format!("policy = \"policy.toml\"\n{config}"));
    let policy = include_str!("../../../imss-policy/src/builtin.toml");
    home.write("policy.toml", policy);
    let gateway = Gateway::start(&home);
    let [port, _, _] = &gateway.listening();
    let login = |name: &str| {
        let who = ["--tls", "--auth", "PLAIN", "--auth-password", "sesame", "--auth-user", name];
        swaks(port, &[&who[..], &["--from", name]].concat())
    };
    assert!(login(alice).0, "{}", login(alice).1);
    home.write("policy.toml", format!("{policy}\n[[rule]]\nnam = \"x\"\n"));
    let (code, said) = user(&home, &["delete", alice], "");
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("deleted, but the gateway did not reload"), "{said}");
    let (_, said) = login(alice);
    assert!(said.contains("535 5.7.8"), "{said}");
    let (sent, said) = login("carol@ours.example");
    assert!(sent, "{said}");
    gateway.stop();
}
