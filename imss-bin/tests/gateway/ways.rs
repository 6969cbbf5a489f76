//! The ways to sit in a mail system, with Postfix and Exim configured by the files of `docs/examples`.

use std::net::SocketAddr;

use crate::exim::Exim;
use crate::held::eicar;
use crate::milter::example;
use crate::postfix::{Postfix, free_address};
use crate::sink::Sink;
use crate::support::{Client, Gateway, Home, Setup, letter, wait_until};

const FROM: &str = "alice@elsewhere.example";
const TO: &[&str] = &["bob@ours.example"];

fn gateway(next_hop: &str, mode: &str) -> (Home, Gateway) {
    let home = Home::new(&Setup { next_hop, mode, ..Setup::default() });
    let gateway = Gateway::start(&home);
    (home, gateway)
}

fn virus() -> Vec<u8> {
    letter("virus", &String::from_utf8(eicar()).unwrap())
}

/// Clean mail arrives once, having passed us; malware does not.
fn passes_and_holds(entry: SocketAddr, sink: &Sink, home: &Home) {
    let mut client = Client::connect(entry).unwrap();
    let clean = letter("clean", "Hello.");
    let said = client.mail(FROM, TO, &clean).unwrap();
    assert!(said.starts_with("250 "), "{said}");
    let text = sink.wait_for(1)[0].text();
    assert_eq!(text.matches("by gate.example with ").count(), 1, "{text}");
    assert!(text.ends_with(&String::from_utf8(clean).unwrap()), "{text}");
    let said = client.mail(FROM, TO, &virus()).unwrap();
    assert!(said.starts_with("250 "), "{said}");
    wait_until("malware is held", || home.quarantine().len() == 1);
    home.wait_for_empty_queue();
    assert_eq!(sink.count(), 1);
}

#[test]
fn edge_before_postfix() {
    let sink = Sink::start();
    let main = example("postfix/behind-edge.cf", &[]);
    let postfix = Postfix::start(sink.address(), &main);
    let (home, gateway) = gateway(&postfix.url(), "edge");
    passes_and_holds(gateway.smtp(), &sink, &home);
    gateway.stop();
}

#[test]
fn content_filter_behind_postfix() {
    let sink = Sink::start();
    let back = free_address();
    let (home, gateway) = gateway(&format!("smtp://{back}"), "edge");
    let to_us = format!("[127.0.0.1]:{}", gateway.smtp().port());
    let main = example("postfix/content-filter.cf", &[]);
    assert!(main.contains("[127.0.0.1]:10025"));
    let main = main.replace("[127.0.0.1]:10025", &to_us);
    let services = example("postfix/content-filter-master.cf", &[("127.0.0.1:10026", back)]);
    let postfix = Postfix::configured(free_address(), sink.address(), &main, &services);
    passes_and_holds(postfix.address(), &sink, &home);

    // While we are gone mail waits there, and nothing passes unseen.
    gateway.stop();
    let mut client = Client::connect(postfix.address()).unwrap();
    assert!(client.mail(FROM, TO, &letter("later", "x")).unwrap().starts_with("250 "));
    wait_until("Postfix keeps it", || postfix.log().contains("status=deferred"));
    assert_eq!(sink.count(), 1);
}

#[test]
fn proxy_filter_before_postfixs_queue() {
    let sink = Sink::start();
    let back = free_address();
    let (home, gateway) = gateway(&format!("smtp://{back}"), "proxy");
    let addresses = [("127.0.0.1:10025", gateway.smtp()), ("127.0.0.1:10026", back)];
    let services = example("postfix/proxy-filter-master.cf", &addresses);
    // The first lines of the file go on with the listener's; a comment between would end it.
    let services: String = services
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| format!("{line}\n"))
        .collect();
    let postfix = Postfix::configured(free_address(), sink.address(), "", services.trim_end());
    passes_and_holds(postfix.address(), &sink, &home);

    gateway.stop();
    let mut client = Client::connect(postfix.address()).unwrap();
    let said = client.mail(FROM, TO, &letter("later", "x")).unwrap();
    assert!(said.starts_with('4'), "{said}");
    assert_eq!(sink.count(), 1);
}

#[test]
fn smarthost_of_postfix() {
    let sink = Sink::start();
    let (home, gateway) = gateway(&sink.url(), "edge");
    let main = example("postfix/smarthost.cf", &[]);
    let main = main.replace("[127.0.0.1]:10025", &format!("[127.0.0.1]:{}", gateway.smtp().port()));
    let postfix = Postfix::start(sink.address(), &main);
    passes_and_holds(postfix.address(), &sink, &home);
    gateway.stop();
}

#[test]
fn filter_behind_exim() {
    let sink = Sink::start();
    let (entry, back) = (free_address(), free_address());
    let (home, gateway) = gateway(&format!("smtp://{back}"), "edge");
    let port = |address: SocketAddr| address.port().to_string();
    let configuration = example("exim/filter.conf", &[])
        .replace("25 : 10026", &format!("{} : {}", port(entry), port(back)))
        .replace("{10026}", &format!("{{{}}}", port(back)))
        .replace("port = 10025", &format!("port = {}", port(gateway.smtp())))
        .replace("port = 24", &format!("port = {}", port(sink.address())));
    let exim = Exim::start([entry, back], &configuration);
    passes_and_holds(entry, &sink, &home);
    assert!(exim.log().contains("R=to_imss T=to_imss"), "{}", exim.log());
    gateway.stop();
}

/// The files for imss itself are read and say what the pages say.
#[test]
fn our_own_examples_are_right() {
    let home = Home::new(&Setup { next_hop: "maildir", ..Setup::default() });
    home.write("policy.toml", "internal = [\"ours.example\"]\n");
    for name in ["edge", "content-filter", "proxy-filter", "milter", "smarthost"] {
        home.write("imss.toml", example(&format!("{name}.toml"), &[]));
        home.done(&["check"]);
    }
}
