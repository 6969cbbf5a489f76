//! Clients that people use: swaks, and Python's smtplib with STARTTLS, SMTPUTF8 and 8BITMIME.

use std::process::{Command, Output};

use crate::sink::Sink;
use crate::support::{Gateway, Home, Setup, in_front, is_our_trace};

pub(crate) fn succeed(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    out
}

/// A gateway that offers STARTTLS with a certificate of its own, in `certificate.pem`.
fn home_with_tls(sink: &Sink) -> Home {
    let home = Home::new(&Setup {
        next_hop: &sink.url(),
        tables: "[tls]\ncertificate = \"certificate.pem\"\nkey = \"key.pem\"",
        ..Setup::default()
    });
    write_certificate(&home);
    home
}

pub(crate) fn write_certificate(home: &Home) -> Vec<u8> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    home.write("certificate.pem", made.cert.pem());
    home.write("key.pem", made.signing_key.serialize_pem());
    made.cert.der().to_vec()
}

#[test]
fn swaks_sends_with_and_without_tls() {
    let sink = Sink::start();
    let home = home_with_tls(&sink);
    let gateway = Gateway::start(&home);
    let port = gateway.smtp().port().to_string();
    for (number, more) in [&[][..], &["--tls"], &["--pipeline"]].iter().enumerate() {
        let output = Command::new("swaks")
            .args(["--server", "127.0.0.1", "--port", &port, "--ehlo", "swaks.example"])
            .args([
                "--from",
                "alice@elsewhere.example",
                "--to",
                "bob@ours.example,carol@ours.example",
            ])
            .args(["--header", &format!("Subject: swaks {number}"), "--body", "first\n.second\n"])
            .args(*more)
            .output()
            .expect("swaks");
        let out = succeed(&output);
        assert!(out.contains("queued as"), "{more:?}\n{out}");
        let text = sink.wait_for(number + 1)[number].text();
        let protocol = if more == &["--tls"] { "with ESMTPS" } else { "with ESMTP\r\n" };
        assert!(text.contains(protocol), "{more:?}\n{text}");
        assert!(text.contains(&format!("Subject: swaks {number}\r\n")), "{text}");
        assert!(text.contains("\r\nfirst\r\n.second\r\n"), "{text}");
    }
    gateway.stop();
}

/// Prints the leaf certificate in hexadecimal, then sends one plain and one international message.
const SMTPLIB: &str = r#"
import smtplib, ssl, sys
port = int(sys.argv[1])
context = ssl.create_default_context(cafile="certificate.pem")
with smtplib.SMTP("localhost", port, local_hostname="python.example", timeout=60) as client:
    client.ehlo()
    assert client.has_extn("starttls") and client.has_extn("smtputf8") and client.has_extn("8bitmime")
    client.starttls(context=context)
    client.ehlo()
    assert not client.has_extn("starttls"), "STARTTLS is offered again"
    print(client.sock.getpeercert(binary_form=True).hex(), client.sock.version())
    plain = "From: a@elsewhere.example\r\nSubject: 8 bits\r\n\r\n\u65e5\u672c\u8a9e\r\n.\r\n".encode()
    client.sendmail("a@elsewhere.example", ["bob@ours.example"], plain, mail_options=["BODY=8BITMIME"])
    utf8 = "From: \u592a\u90ce@elsewhere.example\r\nSubject: \u4ef6\u540d\r\n\r\nbody\r\n".encode()
    client.sendmail("\u592a\u90ce@elsewhere.example", ["\u82b1\u5b50@ours.example"], utf8,
                    mail_options=["SMTPUTF8", "BODY=8BITMIME"])
    try:
        client.sendmail("a@elsewhere.example", ["\u82b1\u5b50@ours.example"], plain)
        sys.exit("accepted without SMTPUTF8")
    except (smtplib.SMTPRecipientsRefused, UnicodeEncodeError):
        client.rset()
    client.sendmail("a@elsewhere.example", ["bob@ours.example"], plain)
"#;

fn run_smtplib(home: &Home, gateway: &Gateway) -> String {
    let port = gateway.smtp().port().to_string();
    let output = Command::new("python3")
        .args(["-c", SMTPLIB, &port])
        .current_dir(home.path())
        .output()
        .expect("python3");
    succeed(&output)
}

#[test]
fn smtplib_sends_over_tls_and_in_japanese() {
    let sink = Sink::start();
    let home = home_with_tls(&sink);
    let gateway = Gateway::start(&home);
    let shown = run_smtplib(&home, &gateway);
    assert!(shown.contains("TLSv1.3"), "{shown}");
    let delivered = sink.wait_for(3);
    let plain = "From: a@elsewhere.example\r\nSubject: 8 bits\r\n\r\n日本語\r\n.\r\n".as_bytes();
    let utf8 = "From: 太郎@elsewhere.example\r\nSubject: 件名\r\n\r\nbody\r\n".as_bytes();
    let of = |from: &'static str| delivered.iter().filter(move |message| message.from == from);
    assert_eq!(of("a@elsewhere.example").count(), 2);
    for message in of("a@elsewhere.example") {
        assert!(in_front(&message.data, plain).is_some_and(is_our_trace), "{}", message.text());
    }
    let japanese = of("太郎@elsewhere.example").next().expect("the international message");
    assert_eq!(japanese.to, ["花子@ours.example"]);
    let head = in_front(&japanese.data, utf8).expect("unchanged");
    assert!(head.contains("with UTF8SMTPS"), "{head}");

    // Another certificate: read at SIGHUP, used from the next handshake on.
    let second = write_certificate(&home);
    gateway.signal(rustix::process::Signal::HUP);
    crate::support::wait_until("the certificate is read", || {
        gateway.said().contains("were read again")
    });
    let shown = run_smtplib(&home, &gateway);
    let hex: String = second.iter().map(|octet| format!("{octet:02x}")).collect();
    assert!(shown.starts_with(&hex), "the old certificate is still shown");
    sink.wait_for(6);
    gateway.stop();
}

/// Postfix's load generator: several sessions at once, one message or many on a connection.
#[test]
fn smtp_source_is_served_in_parallel() {
    let sink = Sink::start();
    let home = Home::new(&Setup { next_hop: &sink.url(), ..Setup::default() });
    let gateway = Gateway::start(&home);
    let server = format!("inet:127.0.0.1:{}", gateway.smtp().port());
    // Options, messages, recipients of each.
    let cases: [(&[&str], usize, usize); 4] = [
        (&["-s", "8"], 80, 1),
        (&["-s", "8", "-d"], 80, 1),
        (&["-s", "4", "-r", "5", "-l", "50000"], 20, 5),
        (&["-s", "2", "-M", "[127.0.0.1]", "-S", "a subject", "-A"], 10, 1),
    ];
    let mut sent = 0;
    for (options, messages, recipients) in cases {
        let output = Command::new("smtp-source")
            .args(options)
            .args(["-m", &messages.to_string(), "-f", "alice@elsewhere.example"])
            .args(["-t", "bob@ours.example", &server])
            .output()
            .expect("smtp-source runs: install the package postfix");
        succeed(&output);
        let delivered = sink.wait_for(sent + messages);
        for message in &delivered[sent..] {
            assert_eq!(message.to.len(), recipients, "{options:?}");
            assert!(message.data.ends_with(b"\r\n") && !message.data.contains(&0), "{options:?}");
        }
        sent += messages;
    }
    home.wait_for_empty_queue();
    assert_eq!(sink.count(), sent);
    gateway.stop();
}
