//! How mail is read and with what: confined workers, also when they are killed, and signature sets that
//! are swapped while mail flows.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

use crate::held::eicar;
use crate::sink::Sink;
use crate::support::{Gateway, Home, Setup, letter, wait_until};

const TO: &[&str] = &["bob@ours.example"];

/// Processes that the gateway started.
fn workers(gateway: &Gateway) -> Vec<i32> {
    let pid = gateway.pid();
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let children =
        tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok());
    children
        .flat_map(|list| list.split(' ').filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

#[test]
fn a_jailed_gateway_judges_and_outlives_its_workers() {
    let sink = Sink::start();
    let next_hop = sink.url();
    let tables = "[scan]\njail = true\njail-messages = 3\n";
    let home = Home::new(&Setup { next_hop: &next_hop, tables, ..Setup::default() });
    let gateway = Gateway::start(&home);
    let eicar = String::from_utf8(eicar()).unwrap();
    for round in 1..=5 {
        assert!(!workers(&gateway).is_empty(), "a worker waits");
        let mut client = gateway.connect();
        client.accepted("alice@elsewhere.example", TO, &letter("clean", "Hello."));
        client.accepted("alice@elsewhere.example", TO, &letter("eicar", &eicar));
        sink.wait_for(round);
        wait_until("the virus is held", || home.quarantine().len() == round);
        for pid in workers(&gateway) {
            let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
        }
        // The next round's first message meets a dead worker, and has a new one.
        let mut client = gateway.connect();
        client.accepted("alice@elsewhere.example", TO, &letter("eicar", &eicar));
        wait_until("it is held too", || home.quarantine().len() == round + 1);
        let id = home.quarantine()[0]["id"].as_str().unwrap().to_owned();
        home.done(&["quarantine", "delete", &id]);
    }
    assert_eq!(sink.count(), 5, "clean mail only");
    gateway.stop();
}

#[test]
fn a_new_signature_set_counts_from_the_next_message_on() {
    let sink = Sink::start();
    let next_hop = sink.url();
    let home = Home::new(&Setup { next_hop: &next_hop, ..Setup::default() });
    let key = home.bare(&["bundle", "keygen", "key"]);
    let config = fs::read_to_string(home.path().join("imss.toml")).unwrap();
    home.write("imss.toml", format!("{config}[signatures]\nkeys = [\"{}\"]\n", key.trim()));
    let gateway = Gateway::start(&home);
    let send = |client: &mut crate::support::Client| {
        client.accepted("alice@elsewhere.example", TO, &letter("set", "harmless"));
    };
    // One session over all versions: nothing is closed for an update.
    let mut client = gateway.connect();
    send(&mut client);
    sink.wait_for(1);

    fs::create_dir(home.path().join("set")).unwrap();
    // SHA-256 of the body above: "harmless" and CR LF.
    let digest = "9d8a07c1fb91bb61ddbd4e4cf225e26f83038d445259654c40868b61de5d8c67";
    home.write("set/list.sha256", format!("{digest} Test.Harmless\n"));
    let sign = |version| {
        let sign =
            ["bundle", "sign", "set", "--key", "key", "--name", "base", "--set-version", version];
        home.bare(&sign);
    };
    sign("1.1");
    assert_eq!(home.done(&["update", "--from", "set"]), "base 1.1 is in use\n");
    send(&mut client);
    wait_until("it is held", || home.quarantine().len() == 1);

    home.write("set/list.sha256", format!("{} Test.Other\n", "0".repeat(64)));
    sign("1.2");
    assert_eq!(home.done(&["update", "--from", "set"]), "base 1.2 is in use, after 1.1\n");
    send(&mut client);
    sink.wait_for(2);

    home.write("set/list.sha256", "broken\n");
    sign("1.3");
    let (code, _, said) = home.imss(&["update", "--from", "set"]);
    assert_eq!(code, 1);
    assert!(said.contains("cannot be used, and 1.2 stays"), "{said}");
    assert_eq!(home.done(&["update", "--roll-back", "base"]), "base 1.1 is in use, after 1.2\n");
    send(&mut client);
    wait_until("it is held again", || home.quarantine().len() == 2);
    assert_eq!(sink.count(), 2);
    gateway.stop();
}
