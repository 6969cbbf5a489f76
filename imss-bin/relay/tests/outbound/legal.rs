//! What leaves is legal: long lines, and a server that takes only seven bits.

use imss_relay::outbound::{Deliverer, Recode};

use crate::support::Step::{Data, Reply, Say};
use crate::support::{Scripted, client, job, settings, short};

fn script(hello: &'static str) -> Vec<crate::support::Step> {
    let ok = "250 ok\r\n";
    vec![Say("220 x\r\n"), Reply(hello), Reply(ok), Reply(ok), Reply("354 go\r\n"), Data(ok)]
}

const TEXT: &str = "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nVoilà\r\n";

#[tokio::test]
async fn eight_bits_only_where_they_are_taken() {
    let cases = [
        ("offered", "250-x\r\n250 8BITMIME\r\n", "Voilà", true),
        ("not offered", "250 x\r\n", "Voil=C3=A0", false),
    ];
    for (name, hello, line, declared) in cases {
        let server = Scripted::start(vec![script(hello)]).await;
        let client = client(settings(&server.hop("smtp")));
        let attempts = client.deliver(job(&["u@example.com"], TEXT)).await;
        assert_eq!(short(&attempts), ["ok Relayed"], "{name}");
        let seen = server.seen();
        assert!(seen.iter().any(|one| one == line), "{name}: {seen:?}");
        assert_eq!(seen[1].contains("BODY=8BITMIME"), declared, "{name}: {}", seen[1]);
    }
}

#[tokio::test]
async fn utf8_in_fields_only_where_it_is_taken() {
    let raw = "From: René <r@x.example>\r\nSubject: Voilà\r\nMIME-Version: 1.0\r\n\
        Content-Type: text/plain; charset=utf-8\r\n\r\nVoilà\r\n";
    let named = "From: René <rené@x.example>\r\nSubject: x\r\n\r\nHello.\r\n";
    let (from, subject) =
        ("From: =?UTF-8?B?UmVuw6k=?= <r@x.example>", "Subject: =?UTF-8?B?Vm9pbMOg?=");
    let all = "250-x\r\n250-SMTPUTF8\r\n250 8BITMIME\r\n";
    let eight = "250-x\r\n250 8BITMIME\r\n";
    let cases = [
        ("taken", all, raw, false, "ok Relayed", "From: René <r@x.example>", "Voilà"),
        ("not taken", eight, raw, false, "ok Relayed", from, "Voilà"),
        ("not taken, and declared", eight, raw, true, "ok Relayed", subject, "Voilà"),
        ("seven bits", "250 x\r\n", raw, true, "ok Relayed", subject, "Voil=C3=A0"),
        ("an address that is declared", eight, named, true, "never 5.6.7", "", ""),
        (
            "an address that is not",
            eight,
            named,
            false,
            "ok Relayed",
            "From: René <rené@x.example>",
            "Hello.",
        ),
    ];
    for (name, hello, raw, declared, expected, field, line) in cases {
        let server = Scripted::start(vec![script(hello)]).await;
        let mut job = job(&["u@example.com"], raw);
        job.parameters.smtputf8 = declared;
        let attempts = client(settings(&server.hop("smtp"))).deliver(job).await;
        assert_eq!(short(&attempts), [expected], "{name}: {attempts:?}");
        let seen = server.seen();
        for wanted in [field, line].iter().filter(|wanted| !wanted.is_empty()) {
            assert!(seen.iter().any(|one| one == wanted), "{name}: {wanted} in {seen:?}");
        }
    }
}

#[tokio::test]
async fn lines_are_never_too_long() {
    let long = format!("Subject: a\r\n\r\n{}\r\n", "word ".repeat(1_000));
    let server = Scripted::start(vec![script("250 x\r\n")]).await;
    let client = client(settings(&server.hop("smtp")));
    let attempts = client.deliver(job(&["u@example.com"], long)).await;
    assert_eq!(short(&attempts), ["ok Relayed"]);
    let seen = server.seen();
    assert!(seen.iter().all(|line| line.len() <= 998));
    assert!(seen.iter().any(|line| line == "Content-Transfer-Encoding: quoted-printable"));
}

#[tokio::test]
async fn signed_parts_pass_or_are_refused() {
    let long = "x".repeat(2_000);
    let raw = format!(
        "MIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n{long}\r\n\
         --b\r\nContent-Type: application/pgp-signature\r\n\r\nsig\r\n--b--\r\n"
    );
    for (recode, expected) in [
        (Recode::PassSigned, "ok Relayed"),
        (Recode::RefuseSigned, "never 5.6.3"),
        (Recode::Never, "ok Relayed"),
    ] {
        let server = Scripted::start(vec![script("250 x\r\n")]).await;
        let mut settings = settings(&server.hop("smtp"));
        settings.recode = recode;
        let attempts = client(settings).deliver(job(&["u@example.com"], raw.clone())).await;
        assert_eq!(short(&attempts), [expected], "{recode:?}");
    }
}
