//! Messages to scan, and the way through a scanner.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use imss_core::entity::Entities;
use imss_core::envelope::{
    Client, Envelope, ForwardPath, MailParameters, RcptParameters, Recipient, ReversePath, Syntax,
};
use imss_core::limits::{Limits, StopFlag};
use imss_core::message::Message;
use imss_core::plan::{Query, ScanPlan, Selection};
use imss_scan::{Answers, Input, Question, Scan, Scanner, Settings};

/// One message, read.
pub(crate) struct Mail {
    pub(crate) envelope: Envelope,
    pub(crate) message: Message,
    pub(crate) entities: Entities,
    pub(crate) stop: StopFlag,
}

impl Mail {
    pub(crate) fn new(raw: impl Into<Vec<u8>>) -> Self {
        Self::with_limits(raw, &Limits::small())
    }

    pub(crate) fn with_limits(raw: impl Into<Vec<u8>>, limits: &Limits) -> Self {
        let message = Message::parse(Bytes::from(raw.into()), limits);
        let stop = StopFlag::new();
        let entities = Entities::extract(&message, limits, &stop);
        Self { envelope: envelope("192.0.2.1"), message, entities, stop }
    }

    /// A message with attachments: name, content.
    pub(crate) fn with_attachments(body: &str, attachments: &[(&str, &[u8])]) -> Self {
        Self::new(multipart(body, attachments))
    }

    pub(crate) fn input<'a>(&'a self, wanted: &'a Selection) -> Input<'a> {
        Input {
            envelope: &self.envelope,
            message: &self.message,
            entities: &self.entities,
            wanted,
            stop: &self.stop,
        }
    }

    pub(crate) fn questions(&self, scanner: &Scanner, plan: &ScanPlan) -> Vec<Question> {
        scanner.questions(&self.input(&plan.all()))
    }

    pub(crate) fn scan(&self, scanner: &Scanner, plan: &ScanPlan, answers: &Answers) -> Scan {
        scanner.scan(&self.input(&plan.all()), answers)
    }

    /// Asks one query of the built-in engines.
    pub(crate) fn ask(&self, query: Query) -> Scan {
        let plan = plan([query]);
        let scanner = Scanner::new(Arc::clone(&plan), Settings::default()).unwrap();
        self.scan(&scanner, &plan, &Answers::new())
    }
}

pub(crate) fn plan(queries: impl IntoIterator<Item = Query>) -> Arc<ScanPlan> {
    let mut plan = ScanPlan::new();
    for query in queries {
        plan.ask(query);
    }
    Arc::new(plan)
}

pub(crate) fn envelope(client: &str) -> Envelope {
    let to = |address: &str| Recipient {
        path: ForwardPath::parse(address, Syntax::default()).unwrap(),
        parameters: RcptParameters::default(),
    };
    Envelope {
        client: Client {
            helo: "client.example".to_owned(),
            ..Client::new(client.parse().unwrap())
        },
        reverse_path: ReversePath::parse("from@example.net", Syntax::default()).unwrap(),
        parameters: MailParameters::default(),
        recipients: vec![to("one@example.com"), to("two@example.com")],
    }
}

pub(crate) fn multipart(body: &str, attachments: &[(&str, &[u8])]) -> Vec<u8> {
    let mut raw = Vec::new();
    raw.extend_from_slice(
        b"From: a@example.net\r\nTo: one@example.com\r\nSubject: A test\r\nMIME-Version: 1.0\r\n\
          Content-Type: multipart/mixed; boundary=\"=_b\"\r\n\r\n--=_b\r\n\
          Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
    );
    raw.extend_from_slice(body.as_bytes());
    for (name, content) in attachments {
        let head = format!(
            "\r\n--=_b\r\nContent-Type: application/octet-stream\r\n\
             Content-Disposition: attachment; filename=\"{name}\"\r\n\
             Content-Transfer-Encoding: base64\r\n\r\n{}",
            base64(content)
        );
        raw.extend_from_slice(head.as_bytes());
    }
    raw.extend_from_slice(b"\r\n--=_b--\r\n");
    raw
}

pub(crate) fn base64(content: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in content.chunks(3) {
        let [a, b, c] = [0, 1, 2].map(|at| u32::from(chunk.get(at).copied().unwrap_or(0)));
        let group = a << 16 | b << 8 | c;
        for at in 0..4 {
            let digit = DIGITS[usize::try_from(group >> (18 - 6 * at) & 63).unwrap()];
            text.push(if at <= chunk.len() { char::from(digit) } else { '=' });
        }
        if text.len() % 78 == 76 {
            text.push_str("\r\n");
        }
    }
    text
}

/// A zip archive of these members.
pub(crate) fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    zip_with(members, zip::write::SimpleFileOptions::default())
}

/// A zip archive with encrypted members.
pub(crate) fn encrypted_zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let options = zip::write::SimpleFileOptions::default();
    zip_with(members, options.with_aes_encryption(zip::AesMode::Aes256, "secret"))
}

fn zip_with(members: &[(&str, &[u8])], options: zip::write::SimpleFileOptions) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in members {
        archive.start_file(*name, options).unwrap();
        archive.write_all(content).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// The EICAR test file, put together in memory only.
pub(crate) fn eicar() -> Vec<u8> {
    let backwards = "*H+H$!ELIF-TSET-SURIVITNA-DRADNATS-RACIE$}7)CC7)^P(45XZP\\4[PA@%P!O5X";
    backwards.bytes().rev().collect()
}
