//! Named shapes of mail, made in code, and what every bench does with them first.

#![allow(dead_code, reason = "each bench uses its part")]

use std::net::Ipv4Addr;
use std::sync::Arc;

use imss_core::entity::Entities;
use imss_core::envelope::{
    Client, Envelope, ForwardPath, MailParameters, RcptParameters, Recipient, ReversePath, Syntax,
};
use imss_core::limits::{Limits, StopFlag};
use imss_core::message::Message;
use imss_policy::Policy;
use imss_scan::auth::AuthSettings;
use imss_scan::{Scanner, Settings};

/// The shapes: a short text, a newsletter, an attachment, mail in mail, many parts, and one built to
/// hurt: thousands of lines that nearly are a boundary, inside headers that fold and fold.
pub const SHAPES: [&str; 6] = ["text", "html", "attachment", "forwarded", "parts", "hostile"];

/// The message of a shape.
pub fn message(shape: &str) -> Vec<u8> {
    let head = "From: Taro <taro@example.net>\r\nTo: hanako@example.com\r\n\
                Subject: =?UTF-8?B?5Lya6K2w44Gu44GK55+l44KJ44Gb?=\r\n\
                Date: Sun, 22 Nov 2026 10:00:00 +0900\r\nMessage-ID: <1@example.net>\r\n\
                MIME-Version: 1.0\r\n";
    let line = "The quick brown fox jumps over the lazy dog, again and again.\r\n";
    let text = |lines: usize| format!("Content-Type: text/plain\r\n\r\n{}", line.repeat(lines));
    let base64 = |lines: usize| {
        let mut value = 7_u32;
        let mut next = || {
            value = value.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
                [usize::try_from(value >> 26).unwrap_or(0)] as char
        };
        (0..lines).map(|_| (0..76).map(|_| next()).collect::<String>() + "\r\n").collect::<String>()
    };
    let mixed = |parts: Vec<String>| {
        let parts: String = parts.iter().map(|part| format!("--b\r\n{part}\r\n")).collect();
        format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{parts}--b--\r\n")
    };
    let attachment = |lines| {
        format!(
            "Content-Type: application/octet-stream; name=report.bin\r\n\
             Content-Transfer-Encoding: base64\r\n\r\n{}",
            base64(lines)
        )
    };
    let rest = match shape {
        "text" => text(30),
        "html" => {
            let row = "<p>Offer <a href=\"https://shop.example/item?id=1&x=2\">now</a></p>\r\n";
            let html = format!("Content-Type: text/html\r\n\r\n<html>{}</html>", row.repeat(400));
            mixed(vec![text(100), html])
        }
        "attachment" => mixed(vec![text(20), attachment(4_000)]),
        "forwarded" => (0..5).fold(text(50), |inner, _| {
            mixed(vec![text(5), format!("Content-Type: message/rfc822\r\n\r\n{head}{inner}")])
        }),
        "parts" => mixed((0..200).map(|_| text(3)).collect()),
        _ => {
            let folded = format!("X-Long: a\r\n{}", "\tb; c=\"d\r\n".repeat(2_000));
            format!("{folded}{}", mixed(vec![format!("\r\n{}", "--b-\r\n--\r\n".repeat(5_000))]))
        }
    };
    format!("{head}{rest}").into_bytes()
}

/// How many entities the shape has at least: what a bench proves before it measures.
pub fn least_entities(shape: &str) -> usize {
    match shape {
        "text" => 1,
        "html" | "attachment" => 3,
        "forwarded" => 11,
        "parts" => 200,
        _ => 2,
    }
}

/// A shape, read and unpacked.
pub struct Opened {
    pub envelope: Envelope,
    pub message: Message,
    pub entities: Entities,
    pub stop: StopFlag,
}

pub fn open(shape: &str) -> Opened {
    let (limits, stop) = (Limits::default(), StopFlag::new());
    let message = Message::parse(message(shape).into(), &limits);
    let entities = Entities::extract(&message, &limits, &stop);
    assert!(entities.len() >= least_entities(shape), "{shape}: {} entities", entities.len());
    Opened { envelope: envelope(), message, entities, stop }
}

/// From outside to inside.
pub fn envelope() -> Envelope {
    let path = |text| ForwardPath::parse(text, Syntax::default()).expect("valid");
    Envelope {
        client: Client { helo: "a.example".to_owned(), ..Client::new(Ipv4Addr::LOCALHOST.into()) },
        reverse_path: ReversePath::parse("taro@example.net", Syntax::default()).expect("valid"),
        parameters: MailParameters::default(),
        recipients: vec![Recipient {
            path: path("hanako@example.com"),
            parameters: RcptParameters::default(),
        }],
    }
}

/// The built-in policy and its scanner, which asks nobody, as for a file: who sent it is not asked.
pub fn builtin() -> (Policy, Scanner) {
    let policy = Policy::builtin();
    let auth = AuthSettings { no_client: true, ..AuthSettings::default() };
    let settings = Settings { auth, ..Settings::default() };
    let scanner = Scanner::new(Arc::clone(policy.plan()), settings).expect("the plan compiles");
    (policy, scanner)
}
