//! AUTH at the next hop: every mechanism, refusals, and servers that must not see the password.

use imss_relay::outbound::sasl::{Credentials, Secret};
use imss_relay::outbound::{Deliverer, Outbound, Tls, TlsLevel};

use crate::support::Step::{Data, Reply, Say};
use crate::support::{MESSAGE, Scripted, Step, job, resolver, settings, short};

async fn deliver(steps: Vec<Step>, level: TlsLevel) -> (Vec<String>, Vec<String>) {
    let server = Scripted::start(vec![steps]).await;
    let mut settings = settings(&server.hop("smtp"));
    settings.credentials = vec![Credentials {
        host: "127.0.0.1".to_owned(),
        port: Some(server.port),
        user: "tim".to_owned(),
        password: Secret::new("tanstaaftanstaaf".to_owned()),
    }];
    let mut tls = Tls::unverified(TlsLevel::Off).expect("TLS");
    tls.set_level("127.0.0.1", level);
    let client = Outbound::new(settings, resolver(), tls);
    let attempts = client.deliver(job(&["u@example.com"], MESSAGE)).await;
    (short(&attempts), server.seen())
}

#[tokio::test]
async fn logged_in_before_the_mail() {
    let ok = "250 ok\r\n";
    let challenge = "334 PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+\r\n";
    let (attempts, seen) = deliver(
        vec![
            Say("220 x\r\n"),
            Reply("250-x\r\n250 AUTH PLAIN LOGIN CRAM-MD5\r\n"),
            Reply(challenge),
            Reply("235 2.7.0 welcome\r\n"),
            Reply(ok),
            Reply(ok),
            Reply("354 go\r\n"),
            Data(ok),
        ],
        TlsLevel::Off,
    )
    .await;
    assert_eq!(attempts, ["ok Relayed"]);
    assert_eq!(seen[1], "AUTH CRAM-MD5", "PLAIN would show the password");
    assert_eq!(seen[2], "dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw", "as in RFC 2195");
}

#[tokio::test]
async fn mail_waits_when_there_is_no_login() {
    let hello = |line: &'static str| vec![Say("220 x\r\n"), Reply(line)];
    let with = |mut steps: Vec<Step>, more: &[&'static str]| {
        steps.extend(more.iter().map(|line| Reply(line)));
        steps
    };
    let md5 = "250-x\r\n250 AUTH CRAM-MD5\r\n";
    let scram = "250-x\r\n250 AUTH SCRAM-SHA-256\r\n";
    let cases = [
        ("nothing offered", hello("250 x\r\n"), "later 4.7.8"),
        ("only in clear", hello("250-x\r\n250 AUTH PLAIN LOGIN\r\n"), "later 4.7.8"),
        ("refused", with(hello(md5), &["334 YQ==\r\n", "535 5.7.8 no\r\n"]), "later 4.7.8"),
        ("no base64", with(hello(md5), &["334 ***\r\n"]), "later 4.7.8"),
        ("asks on", with(hello(md5), &["334 YQ==\r\n", "334 YQ==\r\n"]), "later 4.7.8"),
        ("success without a proof", with(hello(scram), &["235 ok\r\n"]), "later 4.7.8"),
    ];
    for (name, steps, expected) in cases {
        let (attempts, seen) = deliver(steps, TlsLevel::Off).await;
        assert_eq!(attempts, [expected], "{name}");
        assert!(seen.iter().all(|line| !line.starts_with("MAIL")), "{name}: {seen:?}");
    }
}

#[tokio::test]
async fn by_default_the_server_must_prove_its_name() {
    let server =
        Scripted::start(vec![vec![Say("220 x\r\n"), Reply("250-x\r\n250 AUTH PLAIN\r\n")]]).await;
    let mut settings = settings(&server.hop("smtp"));
    let password = Secret::new("secret".to_owned());
    let (host, user) = ("127.0.0.1".to_owned(), "tim".to_owned());
    settings.credentials = vec![Credentials { host, port: None, user, password }];
    let tls = Tls::unverified(TlsLevel::Opportunistic).expect("TLS");
    let client = Outbound::new(settings, resolver(), tls);
    let attempts = client.deliver(job(&["u@example.com"], MESSAGE)).await;
    assert_eq!(short(&attempts), ["later 4.7.4"]);
    assert_eq!(server.seen().len(), 1, "only EHLO: {:?}", server.seen());
}
