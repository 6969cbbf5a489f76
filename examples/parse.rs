//! Reads a message and shows its structure, its subject and its defects.
//!
//! `cargo run -p imss-examples --example parse [FILE]`

use imss_core::limits::Limits;
use imss_core::message::Message;

const SAMPLE: &[u8] = b"From: taro@example.com\r\n\
    Subject: =?UTF-8?B?6KuL5rGC5pu4?=\r\n\
    Content-Type: multipart/mixed; boundary=b\r\n\r\n\
    --b\r\n\r\nHello.\r\n\
    --b\r\nContent-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n\
    JVBERi0=\r\n";

fn main() -> anyhow::Result<()> {
    let raw = match std::env::args_os().nth(1) {
        Some(path) => std::fs::read(path)?,
        None => SAMPLE.to_vec(),
    };
    let message = Message::parse(raw.into(), &Limits::default());
    println!("subject: {}", message.subject());
    print!("{}", message.outline());
    for anomaly in message.anomalies() {
        println!("{:?} at octet {}", anomaly.kind, anomaly.offset);
    }
    Ok(())
}
