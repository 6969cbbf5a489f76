//! Unpacks a message and runs the built-in engines over everything inside.
//!
//! `cargo run -p imss-examples --example scan [FILE]`

use std::net::Ipv4Addr;
use std::sync::Arc;

use imss_core::entity::Entities;
use imss_core::envelope::{Client, Envelope, MailParameters, ReversePath};
use imss_core::limits::{Limits, StopFlag};
use imss_core::message::Message;
use imss_core::plan::{Query, ScanPlan};
use imss_scan::{Answers, Input, Scanner, Settings};

/// The EICAR test file, turned round so that this source is not one itself.
const RICAE: &str = r"*H+H$!ELIF-TSET-SURIVITNA-DRADNATS-RACIE$}7)CC7)^P(45XZP\4[PA@%P!O5X";

fn main() -> anyhow::Result<()> {
    let raw = match std::env::args_os().nth(1) {
        Some(path) => std::fs::read(path)?,
        None => {
            let eicar: String = RICAE.chars().rev().collect();
            format!("Subject: test\r\n\r\n{eicar}\r\n").into_bytes()
        }
    };
    // A plan says what is asked for. Policies make one; here it is one question.
    let mut plan = ScanPlan::new();
    plan.ask(Query::Malware);
    let wanted = plan.all();
    let scanner = Scanner::new(Arc::new(plan), Settings::default())?;

    let (limits, stop) = (Limits::default(), StopFlag::new());
    let message = Message::parse(raw.into(), &limits);
    let entities = Entities::extract(&message, &limits, &stop);
    let envelope = Envelope {
        client: Client::new(Ipv4Addr::LOCALHOST.into()),
        reverse_path: ReversePath::Null,
        parameters: MailParameters::default(),
        recipients: Vec::new(),
    };
    let input = Input {
        envelope: &envelope,
        message: &message,
        entities: &entities,
        wanted: &wanted,
        stop: &stop,
    };
    let scan = scanner.scan(&input, &Answers::default());
    for finding in &scan.findings.found {
        println!("{:?} {} in {}", finding.kind, finding.name, entities.path(finding.entity));
    }
    for gap in &scan.findings.gaps {
        println!("not looked at ({}): {}", gap.reason.as_str(), entities.path(gap.entity));
    }
    Ok(())
}
