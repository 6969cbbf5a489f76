//! Judges a message by a policy and shows what happens to each recipient's copy, and why.
//!
//! `cargo run -p imss-examples --example decide [POLICY [FILE]]`

use std::net::Ipv4Addr;
use std::sync::Arc;

use imss_core::entity::Entities;
use imss_core::envelope::{
    Client, Envelope, ForwardPath, MailParameters, RcptParameters, Recipient, ReversePath, Syntax,
};
use imss_core::limits::{Limits, StopFlag};
use imss_core::message::Message;
use imss_policy::source::Origin;
use imss_policy::{Facts, Policy, explain};
use imss_scan::{Answers, Input, Scanner, Settings};

const POLICY: &str = r#"
internal = ["example.com"]

[keywords.secret]
threshold = 10
entries = [{ text = "project falcon", score = 10 }]

[unknown]
limit = "deliver"
encrypted = "deliver"
malformed = "deliver"
ambiguous = "deliver"
unsupported = "deliver"
engine = "deliver"
crash = "deliver"

[[rule]]
name = "Secrets"
when = { keywords = "secret", in = ["subject", "body"] }
then = [{ tag-subject = "[secret]" }]
"#;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let text = arguments.next().map_or_else(|| Ok(POLICY.to_owned()), std::fs::read_to_string)?;
    let sample = || Ok(b"Subject: Project  FALCON\r\n\r\nsoon\r\n".to_vec());
    let raw = arguments.next().map_or_else(sample, std::fs::read)?;
    let policy = Policy::parse(&text, &Origin::text("policy.toml"))?;
    let scanner = Scanner::new(Arc::clone(policy.plan()), Settings::default())?;

    let (limits, stop) = (Limits::default(), StopFlag::new());
    let message = Message::parse(raw.into(), &limits);
    let entities = Entities::extract(&message, &limits, &stop);
    let envelope = Envelope {
        client: Client::new(Ipv4Addr::LOCALHOST.into()),
        reverse_path: ReversePath::parse("a@example.net", Syntax::default())?,
        parameters: MailParameters::default(),
        recipients: vec![Recipient {
            path: ForwardPath::parse("b@example.com", Syntax::default())?,
            parameters: RcptParameters::default(),
        }],
    };
    // The routes say which rules concern whom, and so which questions the scan must answer.
    let routes = policy.routes(&envelope);
    let input = Input {
        envelope: &envelope,
        message: &message,
        entities: &entities,
        wanted: routes.selection(),
        stop: &stop,
    };
    let scan = scanner.scan(&input, &Answers::default());
    let facts = Facts { envelope: &envelope, message: &message, entities: &entities };
    let decisions = policy.decide(&routes, &facts, &scan.findings);
    print!("{}", explain::text(&decisions, &envelope, &scan.findings));
    Ok(())
}
