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
