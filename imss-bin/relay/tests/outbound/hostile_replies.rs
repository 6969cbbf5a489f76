//! A scripted server says all kinds of things; nothing counts as delivered that was not.

use imss_core::envelope::{DsnReturn, Notify};
use imss_relay::outbound::{Attempt, Deliverer};

use crate::support::Step::{Close, Data, DataThenClose, Hang, Reply, Say};
use crate::support::{MESSAGE, Scripted, Step, client, job, settings, short};

const EHLO: &str = "250-mx.example\r\n250 PIPELINING\r\n";
const OK: &str = "250 2.0.0 ok\r\n";
const GO: &str = "354 go\r\n";

async fn attempts(script: Vec<Step>, recipients: &[&str]) -> (Vec<String>, Vec<String>) {
    let server = Scripted::start(vec![script]).await;
    let attempts = client(settings(&server.hop("smtp"))).deliver(job(recipients, MESSAGE)).await;
    (short(&attempts), server.seen())
}

fn after_ehlo(rest: &[Step]) -> Vec<Step> {
    [Say("220 mx.example\r\n"), Reply(EHLO)].iter().chain(rest).cloned().collect()
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one table")]
async fn what_counts_as_delivered() {
    let endless: &'static str = Box::leak("250-x\r\n".repeat(1_000).into_boxed_str());
    let long: &'static str = Box::leak(format!("250 {}\r\n", "x".repeat(70_000)).into_boxed_str());
    let cases: Vec<(&str, Vec<Step>, &str)> = vec![
        ("all well", after_ehlo(&[Reply(OK), Reply(OK), Reply(GO), Data(OK)]), "ok Relayed"),
        ("closed before the greeting", vec![Close], "later 4.4.2"),
        ("HTTP instead of a greeting", vec![Say("HTTP/1.1 400 x\r\n")], "later 4.5.0"),
        ("554 greeting", vec![Say("554 no\r\n")], "later 4.3.2"),
        ("421 greeting", vec![Say("421 4.7.0 busy\r\n")], "later 4.7.0"),
        ("521 greeting", vec![Say("521 no mail here\r\n")], "never 5.3.2"),
        ("endless greeting line", vec![Say(long)], "later 4.5.0"),
        ("endless EHLO", vec![Say("220 x\r\n"), Reply(endless)], "later 4.5.0"),
        ("EHLO mixes codes", vec![Say("220 x\r\n"), Reply("250-x\r\n550 x\r\n")], "later 4.5.0"),
        (
            "MAIL refused",
            after_ehlo(&[Reply("550 5.7.1 no\r\n"), Reply(OK), Reply("503 x\r\n")]),
            "never 5.7.1",
        ),
        (
            "MAIL put off",
            after_ehlo(&[Reply("451 4.7.1 wait\r\n"), Reply(OK), Reply("503 x\r\n")]),
            "later 4.7.1",
        ),
        (
            "RCPT refused",
            after_ehlo(&[Reply(OK), Reply("550 5.1.1 who\r\n"), Reply("554 x\r\n"), Reply(OK)]),
            "never 5.1.1",
        ),
        (
            "RCPT refused, DATA taken",
            after_ehlo(&[Reply(OK), Reply("550 5.1.1 who\r\n"), Reply(GO)]),
            "never 5.1.1",
        ),
        (
            "552 at RCPT is transient",
            after_ehlo(&[Reply(OK), Reply("552 many\r\n"), Reply("554 x\r\n"), Reply(OK)]),
            "later 4.0.0",
        ),
        (
            "DATA refused",
            after_ehlo(&[Reply(OK), Reply(OK), Reply("554 5.7.0 no\r\n"), Reply(OK)]),
            "never 5.7.0",
        ),
        (
            "250 instead of 354",
            after_ehlo(&[Reply(OK), Reply(OK), Reply(OK), Reply(OK)]),
            "later 4.0.0",
        ),
        (
            "250 comes with the 354",
            after_ehlo(&[Reply(OK), Reply(OK), Reply("354 go\r\n250 ok\r\n")]),
            "later 4.4.2",
        ),
        (
            "354 after the data",
            after_ehlo(&[Reply(OK), Reply(OK), Reply(GO), Data("354 more\r\n")]),
            "later 4.0.0",
        ),
        (
            "data refused",
            after_ehlo(&[Reply(OK), Reply(OK), Reply(GO), Data("550 5.7.1 spam\r\n")]),
            "never 5.7.1",
        ),
        (
            "data put off",
            after_ehlo(&[Reply(OK), Reply(OK), Reply(GO), Data("452 4.3.1 full\r\n")]),
            "later 4.3.1",
        ),
        (
            "garbage after the data",
            after_ehlo(&[Reply(OK), Reply(OK), Reply(GO), Data("ok\r\n")]),
            "later 4.4.2",
        ),
        (
            "status of another class",
            after_ehlo(&[Reply(OK), Reply(OK), Reply(GO), Data("550 2.0.0 x\r\n")]),
            "never 5.0.0",
        ),
        (
            "closed after the data",
            after_ehlo(&[Reply(OK), Reply(OK), Reply(GO), DataThenClose]),
            "later 4.4.2",
        ),
        ("closed at MAIL", after_ehlo(&[Close]), "later 4.4.2"),
        (
            "LF line ends",
            vec![
                Say("220 x\n"),
                Reply("250-x\n250 PIPELINING\n"),
                Reply("250 ok\n"),
                Reply("250 ok\n"),
                Reply("354 go\n"),
                Data("250 ok\n"),
            ],
            "ok Relayed",
        ),
    ];
    for (name, script, expected) in cases {
        let (attempts, _) = attempts(script, &["u@example.com"]).await;
        assert_eq!(attempts, [expected], "{name}");
    }
}

#[tokio::test]
async fn commands_and_data_as_sent() {
    let script = after_ehlo(&[Reply(OK), Reply(OK), Reply(GO), Data(OK)]);
    let (_, seen) = attempts(script, &["u@example.com"]).await;
    let expected = [
        "EHLO own.example",
        "MAIL FROM:<sender@example.net>",
        "RCPT TO:<u@example.com>",
        "DATA",
        "Subject: test",
        "",
        "Hello",
        "..dot",
        ".",
    ];
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn helo_when_ehlo_is_unknown() {
    let script = vec![
        Say("220 old\r\n"),
        Reply("502 what\r\n"),
        Reply("250 old\r\n"),
        Reply(OK),
        Reply(OK),
        Reply(GO),
        Data(OK),
    ];
    let (attempts, seen) = attempts(script, &["u@example.com"]).await;
    assert_eq!(attempts, ["ok Relayed"]);
    assert_eq!(seen[1], "HELO own.example");
}

#[tokio::test]
async fn some_recipients_are_refused() {
    let script = after_ehlo(&[
        Reply(OK),
        Reply(OK),
        Reply("550 5.1.1 who\r\n"),
        Reply("450 4.2.0 grey\r\n"),
        Reply(GO),
        Data(OK),
    ]);
    let (attempts, _) = attempts(script, &["a@x.example", "b@x.example", "c@x.example"]).await;
    assert_eq!(attempts, ["ok Relayed", "never 5.1.1", "later 4.2.0"]);
}

#[tokio::test]
async fn too_many_recipients_go_in_the_next_transaction() {
    let many = "452 4.5.3 too many\r\n";
    let rest = [Reply(OK), Reply(OK), Reply(many), Reply(GO), Data(OK)];
    let again = [Reply(OK), Reply(OK), Reply(GO), Data(OK)];
    let script = after_ehlo(&[&rest[..], &again[..]].concat());
    let (attempts, seen) = attempts(script, &["a@x.example", "b@x.example"]).await;
    assert_eq!(attempts, ["ok Relayed", "ok Relayed"]);
    assert_eq!(seen.iter().filter(|line| line.starts_with("EHLO")).count(), 1);
}

#[tokio::test]
async fn lmtp_replies_per_recipient() {
    let script = vec![
        Say("220 x\r\n"),
        Reply(EHLO),
        Reply(OK),
        Reply(OK),
        Reply("550 5.1.1 who\r\n"),
        Reply(OK),
        Reply(GO),
        Data("250 ok\r\n552 5.2.2 full\r\n"),
    ];
    let server = Scripted::start(vec![script]).await;
    let job = job(&["a@x.example", "b@x.example", "c@x.example"], MESSAGE);
    let attempts = client(settings(&server.hop("lmtp"))).deliver(job).await;
    assert_eq!(short(&attempts), ["ok Final", "never 5.1.1", "never 5.2.2"]);
    assert_eq!(server.seen()[0], "LHLO own.example");
}

#[tokio::test]
async fn a_connection_closed_while_idle_costs_nothing() {
    let good = after_ehlo(&[Reply(OK), Reply(OK), Reply(GO), Data(OK), Hang, Close]);
    let late =
        after_ehlo(&[Reply(OK), Reply(OK), Reply(GO), Data(OK), Reply("421 bye\r\n"), Close]);
    for (name, first) in [("silence", good.clone()), ("421", late)] {
        let first = match name {
            // Ends right after the first message: the client finds it closed.
            "silence" => first[..first.len() - 2].iter().cloned().chain([Close]).collect(),
            _ => first,
        };
        let server = Scripted::start(vec![first, good.clone()]).await;
        let client = client(settings(&server.hop("smtp")));
        for _ in 0..2 {
            let attempts = client.deliver(job(&["u@example.com"], MESSAGE)).await;
            assert_eq!(short(&attempts), ["ok Relayed"], "{name}");
        }
    }
}

#[tokio::test]
async fn one_connection_for_many_messages() {
    let message = [Reply(OK), Reply(OK), Reply(GO), Data(OK)];
    let script = after_ehlo(&std::iter::repeat_n(message, 10).flatten().collect::<Vec<_>>());
    let server = Scripted::start(vec![script]).await;
    let client = client(settings(&server.hop("smtp")));
    for _ in 0..10 {
        let attempts = client.deliver(job(&["u@example.com"], MESSAGE)).await;
        assert_eq!(short(&attempts), ["ok Relayed"]);
    }
    let seen = server.seen();
    assert_eq!(seen.iter().filter(|line| line.starts_with("EHLO")).count(), 1);
    assert!(!seen.iter().any(|line| line == "RSET"));
}

#[tokio::test]
async fn a_connection_is_not_used_for_ever() {
    let message = [Reply(OK), Reply(OK), Reply(GO), Data(OK)];
    let twice = after_ehlo(&[&message[..], &message[..], &[Reply("221 bye\r\n")]].concat());
    let server = Scripted::start(vec![twice]).await;
    let mut settings = settings(&server.hop("smtp"));
    settings.pool.max_messages = 2;
    let client = client(settings);
    for _ in 0..4 {
        let attempts = client.deliver(job(&["u@example.com"], MESSAGE)).await;
        assert_eq!(short(&attempts), ["ok Relayed"]);
    }
    assert_eq!(server.seen().iter().filter(|line| line.starts_with("EHLO")).count(), 2);
}

#[tokio::test]
async fn one_connection_at_a_time_where_so_set() {
    let message = [Reply(OK), Reply(OK), Reply(GO), Data(OK)];
    let script = after_ehlo(&std::iter::repeat_n(message, 5).flatten().collect::<Vec<_>>());
    let server = Scripted::start(vec![script]).await;
    let mut settings = settings(&server.hop("smtp"));
    settings.pool.max_per_server = 1;
    let client = client(settings);
    let deliver = || client.deliver(job(&["u@example.com"], MESSAGE));
    let (a, b, c, d, e) = tokio::join!(deliver(), deliver(), deliver(), deliver(), deliver());
    for attempts in [a, b, c, d, e] {
        assert_eq!(short(&attempts), ["ok Relayed"]);
    }
    assert_eq!(server.seen().iter().filter(|line| line.starts_with("EHLO")).count(), 1);
}

#[tokio::test]
async fn close_says_goodbye() {
    let script =
        after_ehlo(&[Reply(OK), Reply(OK), Reply(GO), Data(OK), Reply("221 bye\r\n"), Close]);
    let server = Scripted::start(vec![script]).await;
    let client = client(settings(&server.hop("smtp")));
    let attempts = client.deliver(job(&["u@example.com"], MESSAGE)).await;
    assert_eq!(short(&attempts), ["ok Relayed"]);
    client.close().await;
    assert_eq!(server.seen().last().map(String::as_str), Some("QUIT"));
}

#[tokio::test]
async fn the_next_server_is_tried() {
    let closed = Scripted::start(vec![vec![Close]]).await;
    let grey = after_ehlo(&[Reply(OK), Reply("450 4.2.0 grey\r\n"), Reply("554 x\r\n"), Reply(OK)]);
    let grey = Scripted::start(vec![grey]).await;
    let good = after_ehlo(&[Reply(OK), Reply(OK), Reply(GO), Data(OK)]);
    let good = Scripted::start(vec![good]).await;
    let hop =
        format!("smtp://127.0.0.1:{},127.0.0.1:{},127.0.0.1:{}", closed.port, grey.port, good.port);
    let attempts = client(settings(&hop)).deliver(job(&["u@example.com"], MESSAGE)).await;
    assert_eq!(short(&attempts), ["ok Relayed"]);
    assert!(grey.seen().contains(&"RSET".to_owned()));
}

#[tokio::test]
async fn a_lost_reply_after_the_data_is_not_tried_elsewhere() {
    let lost = after_ehlo(&[Reply(OK), Reply(OK), Reply(GO), DataThenClose]);
    let lost = Scripted::start(vec![lost]).await;
    let other = Scripted::start(vec![vec![Close]]).await;
    let hop = format!("smtp://127.0.0.1:{},127.0.0.1:{}", lost.port, other.port);
    let attempts = client(settings(&hop)).deliver(job(&["u@example.com"], MESSAGE)).await;
    assert_eq!(short(&attempts), ["later 4.4.2"]);
}

#[tokio::test]
async fn parameters_go_where_they_are_known() {
    let mut job = job(&["u@example.com"], MESSAGE);
    job.parameters.ret = Some(DsnReturn::Headers);
    job.parameters.envid = Some("QQ+2B1".to_owned());
    let parameters = &mut job.recipients[0].parameters;
    parameters.notify = Some(Notify { success: true, failure: true, delay: false });
    parameters.orcpt = Some("rfc822;u@example.com\r\nRCPT TO:<x@y>".to_owned());
    let size = MESSAGE.len();
    let cases = [
        (
            "250 mx\r\n".to_owned(),
            "MAIL FROM:<sender@example.net>".to_owned(),
            "RCPT TO:<u@example.com>",
        ),
        (
            "250-mx\r\n250-SIZE\r\n250 DSN\r\n".to_owned(),
            format!("MAIL FROM:<sender@example.net> SIZE={size} RET=HDRS ENVID=QQ+2B1"),
            "RCPT TO:<u@example.com> NOTIFY=SUCCESS,FAILURE",
        ),
    ];
    for (ehlo, mail, rcpt) in cases {
        let ehlo: &'static str = Box::leak(ehlo.into_boxed_str());
        let script = vec![Say("220 x\r\n"), Reply(ehlo), Reply(OK), Reply(OK), Reply(GO), Data(OK)];
        let server = Scripted::start(vec![script]).await;
        let _ = client(settings(&server.hop("smtp"))).deliver(job.clone()).await;
        assert_eq!(server.seen()[1..3], [mail, rcpt.to_owned()]);
    }
}

#[tokio::test]
async fn what_the_server_cannot_take() {
    let cases = [
        ("too large", "250 SIZE 10\r\n", "u@x.example", "never 5.3.4"),
        ("UTF-8 address", "250 PIPELINING\r\n", "あ@x.example", "never 5.6.7"),
    ];
    for (name, line, recipient, expected) in cases {
        let ehlo: &'static str = Box::leak(format!("250-mx\r\n{line}").into_boxed_str());
        let script = vec![Say("220 x\r\n"), Reply(ehlo)];
        let (attempts, _) = attempts(script, &[recipient]).await;
        assert_eq!(attempts, [expected], "{name}");
    }
}

#[tokio::test]
async fn a_utf8_domain_alone_needs_no_smtputf8() {
    let script = after_ehlo(&[Reply(OK), Reply(OK), Reply(GO), Data(OK)]);
    let (attempts, seen) = attempts(script, &["u@例え.example"]).await;
    assert_eq!(attempts, ["ok Relayed"]);
    assert_eq!(seen[2], "RCPT TO:<u@xn--r8jz45g.example>");
}

#[tokio::test]
async fn replies_pass_through_for_the_proxy() {
    let script = after_ehlo(&[
        Reply(OK),
        Reply(OK),
        Reply("550 5.1.1 who\r\n"),
        Reply(GO),
        Data("554-5.7.1 spam\r\n554 5.7.1 \x1b[1mreally\r\n"),
    ]);
    let server = Scripted::start(vec![script]).await;
    let job = job(&["a@x.example", "b@x.example"], MESSAGE);
    let transaction =
        client(settings(&server.hop("smtp"))).transaction(job).await.expect("replies");
    let replies: Vec<_> = transaction.recipients.iter().map(ToString::to_string).collect();
    assert_eq!(replies, ["554 5.7.1 spam \\x1B[1mreally", "550 5.1.1 who"]);
    let nobody = client(settings("smtp://127.0.0.1:1")).transaction(self::job_for_nobody()).await;
    assert_eq!(nobody.expect_err("no server").enhanced, (4, 4, 1));
}

fn job_for_nobody() -> imss_relay::outbound::Job {
    job(&["a@x.example"], MESSAGE)
}

#[tokio::test]
async fn a_maildir_takes_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let client = client(settings(&format!("maildir:{}", dir.path().display())));
    let attempts = client.deliver(job(&["a@x.example", "b@x.example"], MESSAGE)).await;
    assert_eq!(short(&attempts), ["ok Final", "ok Final"]);
    let lost = settings("maildir:/proc/none");
    let attempts = crate::support::client(lost).deliver(job(&["a@x.example"], MESSAGE)).await;
    assert!(matches!(&attempts[..], [Attempt::Transient(_)]));
}
