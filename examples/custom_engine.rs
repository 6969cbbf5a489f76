//! An engine of your own beside the built-in ones: it finds messages that shout.
//!
//! `cargo run -p imss-examples --example custom_engine`

use std::net::Ipv4Addr;
use std::sync::Arc;

use imss_core::entity::Entities;
use imss_core::envelope::{Client, Envelope, MailParameters, ReversePath};
use imss_core::finding::{Finding, FindingKind};
use imss_core::ids::EntityId;
use imss_core::limits::{Limits, StopFlag};
use imss_core::message::Message;
use imss_core::plan::{ScanPlan, Selection};
use imss_core::verdict::Score;
use imss_scan::{Answers, Engine, Input, Outcome, Scanner, Settings};

/// Finds subjects without a small letter.
struct Shouting;

impl Engine for Shouting {
    fn name(&self) -> &'static str {
        "shouting"
    }

    fn version(&self) -> String {
        "1".to_owned()
    }

    fn wants(&self, _: &Selection) -> bool {
        true
    }

    fn scan(&self, input: &Input<'_>, _: &Answers) -> Outcome {
        let subject = input.message.subject();
        if subject.len() < 8 || subject.chars().any(char::is_lowercase) {
            return Outcome::Clean;
        }
        Outcome::Found(vec![Finding {
            kind: FindingKind::Spam,
            name: "shouting".to_owned(),
            engine: self.name().into(),
            entity: EntityId::MESSAGE,
            detail: "the subject has no small letter".to_owned(),
            score: Score::points(2),
            query: None,
            evidence: None,
        }])
    }
}

fn main() -> anyhow::Result<()> {
    let plan = Arc::new(ScanPlan::new());
    let scanner = Scanner::new(plan, Settings::default())?.with_engine(Box::new(Shouting));
    let (limits, stop) = (Limits::default(), StopFlag::new());
    let message = Message::parse("Subject: BUY NOW, BUY CHEAP\r\n\r\n".into(), &limits);
    let entities = Entities::extract(&message, &limits, &stop);
    let envelope = Envelope {
        client: Client::new(Ipv4Addr::LOCALHOST.into()),
        reverse_path: ReversePath::Null,
        parameters: MailParameters::default(),
        recipients: Vec::new(),
    };
    let wanted = Selection::none();
    let input = Input {
        envelope: &envelope,
        message: &message,
        entities: &entities,
        wanted: &wanted,
        stop: &stop,
    };
    let scan = scanner.scan(&input, &Answers::default());
    for finding in &scan.findings.found {
        println!("{}: {} ({} points)", finding.engine, finding.detail, finding.score);
    }
    anyhow::ensure!(scan.findings.found.len() == 1, "the engine ran");
    Ok(())
}
