//! The same message gets the same verdict, rules, action and findings, whichever door it comes through:
//! edge, before-queue proxy, after-queue filter, Postfix and a bare mail server over milter, HTTP, and
//! `imss scan`.

use std::fs;
use std::process::Command;

use imss_relay::record::VerdictRecord;
use imss_relay::report::Report;
use serde_json::Value;

use crate::held::{eicar, gtube, with_attachment, zip};
use crate::http_scan::post;
use crate::milter::{POLICY, example};
use crate::milter_peer::Peer;
use crate::postfix::{Postfix, free_address};
use crate::sink::Sink;
use crate::support::{Client, Gateway, Home, Setup, letter, wait_until};

const FROM: &str = "alice@elsewhere.example";
const TO: &str = "bob@ours.example";

/// A way to send one message.
type Door<'a> = Box<dyn Fn(&[u8]) + 'a>;

/// What must not depend on the door.
fn judged(mut report: Value) -> Value {
    for other in ["path", "elapsed_us"] {
        report.as_object_mut().unwrap().remove(other);
    }
    report
}

/// The verdict records so far.
fn records(home: &Home) -> Vec<Value> {
    let logs = fs::read_dir(home.data().join("log")).unwrap().map(|entry| entry.unwrap().path());
    let records = logs.filter(|path| path.display().to_string().contains("/records-"));
    let text: String = records.map(|path| fs::read_to_string(path).unwrap()).collect();
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    whole
        .map(|line| serde_json::from_str::<VerdictRecord>(line).unwrap())
        .map(|record| serde_json::to_value(Report::of_record(String::new(), &record)).unwrap())
        .map(judged)
        .collect()
}

fn samples() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let archive = zip("invoice.txt", &eicar());
    let japanese = "=?UTF-8?B?5Lya6K2w44Gu44GU5qGI5YaF?=";
    let pages = "会議の資料です。".as_bytes();
    vec![
        (
            "EICAR in a zip",
            with_attachment("order", "application/zip", "order.zip", &archive),
            "infected",
        ),
        ("GTUBE", letter("spam", &gtube()), "spam"),
        ("clean, in Japanese", with_attachment(japanese, "text/plain", "a.txt", pages), "clean"),
        ("tagged by policy", letter("newsletter", "Read this."), "policy"),
    ]
}

#[test]
fn every_door_says_the_same() {
    let sink = Sink::start();
    let back = free_address();
    let spam = "\n[quarantine.spam]\n[[rule]]\nname = \"Spam\"\nwhen = { verdict = \"spam\" }\nthen = [{ quarantine = \"spam\" }]\n";
    let home = Home::new(&Setup {
        next_hop: &sink.url(),
        root: "policy = \"policy.toml\"",
        tables: "scan = true\n[[listen]]\naddress = \"127.0.0.1:0\"\nmode = \"proxy\"\n\
                 [[listen]]\naddress = \"127.0.0.1:0\"\nmode = \"milter\"\n",
        ..Setup::default()
    });
    home.write("policy.toml", POLICY.to_owned() + spam);
    let gateway = Gateway::start(&home);
    let http = gateway.http();
    let (milter, proxy) = (gateway.address("milter on "), gateway.address("SMTP (proxy) on "));
    let main = example("postfix/milter.cf", &[("127.0.0.1:8891", milter)]);
    let asking = Postfix::configured(free_address(), sink.address(), &main, "");
    let main = example("postfix/content-filter.cf", &[])
        .replace("[127.0.0.1]:10025", &format!("[127.0.0.1]:{}", gateway.smtp().port()));
    let services = example("postfix/content-filter-master.cf", &[("127.0.0.1:10026", back)]);
    let filtering = Postfix::configured(free_address(), sink.address(), &main, &services);

    let smtp = |address| {
        move |content: &[u8]| {
            Client::connect(address).unwrap().mail(FROM, &[TO], content).unwrap();
        }
    };
    let doors: [(&str, Door<'_>); 6] = [
        ("edge", Box::new(smtp(gateway.smtp()))),
        ("proxy", Box::new(smtp(proxy))),
        ("Postfix asks", Box::new(smtp(asking.address()))),
        ("Postfix hands on", Box::new(smtp(filtering.address()))),
        (
            "milter",
            Box::new(move |content| {
                Peer::for_client(milter, "127.0.0.1").whole(&[TO], content);
            }),
        ),
        (
            "HTTP",
            Box::new(|content| {
                let target = format!("/v1/scan?from={FROM}&to={TO}&client=127.0.0.1");
                let report = post(http, &target, &[("Content-Type", "message/rfc822")], content);
                assert_eq!(report.status, 200);
            }),
        ),
    ];
    for (name, content, verdict) in samples() {
        home.write("message.eml", &content);
        let output = Command::new(env!("CARGO_BIN_EXE_imss"))
            .args(["scan", "--jsonl", "--policy", "policy.toml", "--mail-from", FROM, "--rcpt", TO])
            .args(["--client", "127.0.0.1", "message.eml"])
            .current_dir(home.path())
            .output()
            .unwrap();
        let expected = judged(serde_json::from_slice(&output.stdout).unwrap());
        assert_eq!(expected["verdict"], verdict, "{name}: {expected:#}");
        for (door, send) in &doors {
            let before = records(&home).len();
            send(&content);
            wait_until(&format!("{name} came through {door}"), || records(&home).len() > before);
            let all = records(&home);
            assert_eq!(all.len(), before + 1, "{name}, {door}: once");
            assert_eq!(all[before], expected, "{name}, {door}");
        }
        let answer = post(
            http,
            &format!("/v1/scan?from={FROM}&to={TO}"),
            &[("Content-Type", "message/rfc822")],
            &content,
        );
        assert_eq!(judged(answer.json()), expected, "{name}: the HTTP report itself");
    }
    gateway.stop();
}
