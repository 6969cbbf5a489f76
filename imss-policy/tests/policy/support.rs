//! Messages, envelopes and findings, put together by hand.

use imss_core::entity::Entities;
use imss_core::envelope::{
    Client, Envelope, ForwardPath, MailParameters, RcptParameters, Recipient, ReversePath, Syntax,
};
use imss_core::finding::{Finding, FindingKind, Findings, Gap, GapReason};
use imss_core::ids::EntityId;
use imss_core::limits::{Limits, StopFlag};
use imss_core::message::Message;
use imss_core::verdict::Score;
use imss_policy::apply::{Applied, Stamp, apply};
use imss_policy::{Decisions, Facts, Origin, Policy};

/// A message with two attachments, `a.exe` (entity named so) and `b.txt`.
pub(crate) const MESSAGE: &str = "From: Taro <taro@outside.example>\r\n\
To: hanako@example.com\r\n\
Subject: hello\r\n\
MIME-Version: 1.0\r\n\
Content-Type: multipart/mixed; boundary=\"b\"\r\n\
\r\n\
--b\r\n\
Content-Type: text/plain\r\n\
\r\n\
Good morning.\r\n\
--b\r\n\
Content-Type: application/octet-stream; name=\"a.exe\"\r\n\
Content-Disposition: attachment; filename=\"a.exe\"\r\n\
Content-Transfer-Encoding: base64\r\n\
\r\n\
AAECAwQF\r\n\
--b\r\n\
Content-Type: text/plain; name=\"b.txt\"\r\n\
Content-Disposition: attachment; filename=\"b.txt\"\r\n\
\r\n\
Harmless.\r\n\
--b--\r\n";

/// One message on its way through a policy.
pub(crate) struct Case {
    pub(crate) policy: Policy,
    pub(crate) envelope: Envelope,
    pub(crate) message: Message,
    pub(crate) entities: Entities,
    pub(crate) findings: Findings,
}

impl Case {
    /// From outside to `hanako@example.com`, with nothing found.
    pub(crate) fn new(source: &str) -> Self {
        let policy = Policy::parse(source, &Origin::text("test.toml"))
            .unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let limits = Limits::default();
        let message = Message::parse(MESSAGE.into(), &limits);
        let entities = Entities::extract(&message, &limits, &StopFlag::new());
        let envelope = envelope("taro@outside.example", &["hanako@example.com"]);
        Self { policy, envelope, message, entities, findings: Findings::default() }
    }

    pub(crate) fn mail(mut self, from: &str, to: &[&str]) -> Self {
        self.envelope = envelope(from, to);
        self
    }

    /// Answers the first question whose words begin with `question`, about the entity of that
    /// name, or about the message.
    pub(crate) fn answer(mut self, question: &str, entity: &str) -> Self {
        let plan = std::sync::Arc::clone(self.policy.plan());
        let (query, _) = plan
            .queries()
            .find(|(id, _)| self.policy.question(*id).is_some_and(|q| q.starts_with(question)))
            .unwrap_or_else(|| panic!("nobody asks {question}"));
        let finding = Finding { query: Some(query), ..finding(FindingKind::Attachment, 0) };
        self.findings.found.push(Finding { entity: self.entity(entity), ..finding });
        self
    }

    pub(crate) fn found(mut self, kind: FindingKind, points: i32, entity: &str) -> Self {
        let entity = self.entity(entity);
        self.findings.found.push(Finding { entity, ..finding(kind, points) });
        self
    }

    pub(crate) fn gap(mut self, reason: GapReason, engine: &'static str, entity: &str) -> Self {
        let (engine, entity) = (engine.into(), self.entity(entity));
        self.findings.gaps.push(Gap { reason, entity, engine, detail: "why".to_owned() });
        self
    }

    /// The entity of that name; the message if the name is empty.
    pub(crate) fn entity(&self, name: &str) -> EntityId {
        if name.is_empty() {
            return EntityId::MESSAGE;
        }
        let named = self.entities.iter().find(|entity| entity.name() == name);
        named.unwrap_or_else(|| panic!("no entity is called {name}")).id
    }

    pub(crate) fn decide(&self) -> Decisions {
        let routes = self.policy.routes(&self.envelope);
        let facts =
            Facts { envelope: &self.envelope, message: &self.message, entities: &self.entities };
        self.policy.decide(&routes, &facts, &self.findings)
    }

    pub(crate) fn apply(&self, decisions: &Decisions) -> Applied {
        apply(&self.message, &self.entities, &self.envelope, decisions, &stamp())
    }

    /// The bytes of each copy.
    pub(crate) fn texts(&self, applied: &Applied) -> Vec<String> {
        let bytes = |copy: &imss_policy::apply::Copy| copy.rope.to_bytes(self.message.raw());
        applied.copies.iter().map(|copy| String::from_utf8(bytes(copy)).unwrap()).collect()
    }

    /// The final action for each recipient, in a word.
    pub(crate) fn actions(&self) -> Vec<&'static str> {
        self.decide().recipients.iter().map(|decision| decision.action.as_str()).collect()
    }
}

pub(crate) fn stamp() -> Stamp {
    Stamp {
        queue_id: "01ARZ3NDEKTSV4RR".to_owned(),
        host: "mx.example.com".to_owned(),
        date: "Sun, 22 Nov 2026 10:00:00 +0900".to_owned(),
        trace: Vec::new(),
    }
}

pub(crate) fn envelope(from: &str, to: &[&str]) -> Envelope {
    let recipient = |path: &&str| Recipient {
        path: ForwardPath::parse(path, Syntax::LAX).unwrap(),
        parameters: RcptParameters::default(),
    };
    Envelope {
        client: Client::new("192.0.2.7".parse().unwrap()),
        reverse_path: ReversePath::parse(from, Syntax::LAX).unwrap(),
        parameters: MailParameters::default(),
        recipients: to.iter().map(recipient).collect(),
    }
}

fn finding(kind: FindingKind, points: i32) -> Finding {
    Finding {
        kind,
        name: "Test".to_owned(),
        engine: "test".into(),
        entity: EntityId::MESSAGE,
        detail: String::new(),
        score: Score::points(points),
        query: None,
        evidence: None,
    }
}
