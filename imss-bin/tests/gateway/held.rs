//! What the policy holds, splits and lets through: quarantine, explanation, release, and copies for
//! recipients with different rules.

use std::fmt::Write as _;

use serde_json::Value;

use crate::sink::Sink;
use crate::support::{Gateway, Home, Setup, in_front, is_our_trace, letter, wait_until};

/// The EICAR test file, which is turned round in this source so that it is not one itself.
pub(crate) fn eicar() -> Vec<u8> {
    r"*H+H$!ELIF-TSET-SURIVITNA-DRADNATS-RACIE$}7)CC7)^P(45XZP\4[PA@%P!O5X".bytes().rev().collect()
}

/// A document without pages.
const PDF: &[u8] = b"%PDF-1.4\n1 0 obj\n<</Type/Catalog/Pages 2 0 R>>\nendobj\n2 0 obj\n\
    <</Type/Pages/Kids[]/Count 0>>\nendobj\ntrailer\n<</Root 1 0 R>>\n%%EOF\n";

/// The generic test for unsolicited bulk mail, in two halves.
pub(crate) fn gtube() -> String {
    ["XJS*C4JDBQADN1.NSBN3*2IDNEN*", "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"].concat()
}

/// A zip with one stored member.
pub(crate) fn zip(name: &str, content: &[u8]) -> Vec<u8> {
    let number = |value: usize, octets: usize| value.to_le_bytes()[..octets].to_vec();
    let crc = content.iter().fold(u32::MAX, |crc, octet| {
        let step = |crc: u32, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
        (0..8).fold(crc ^ u32::from(*octet), step)
    });
    let common = [
        &[20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0x5A][..],
        &(!crc).to_le_bytes(),
        &number(content.len(), 4),
        &number(content.len(), 4),
        &number(name.len(), 2),
        &[0, 0],
    ]
    .concat();
    let local = [&b"PK\x03\x04"[..], &common, name.as_bytes(), content].concat();
    let central = [&b"PK\x01\x02\x14\x00"[..], &common, &[0; 14], name.as_bytes()].concat();
    let end = [
        &b"PK\x05\x06\0\0\0\0\x01\0\x01\0"[..],
        &number(central.len(), 4),
        &number(local.len(), 4),
        &[0, 0],
    ]
    .concat();
    [local, central, end].concat()
}

fn base64(octets: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for (place, group) in octets.chunks(3).enumerate() {
        let value = (0..3)
            .fold(0_usize, |value, at| value << 8 | usize::from(*group.get(at).unwrap_or(&0)));
        for digit in 0..4 {
            let is_filler = digit > group.len();
            text.push(if is_filler { '=' } else { DIGITS[value >> (18 - 6 * digit) & 63].into() });
        }
        if place % 19 == 18 {
            text.push_str("\r\n");
        }
    }
    text
}

/// A message with one attachment, whose subject is `subject` as it stands in the header.
pub(crate) fn with_attachment(subject: &str, kind: &str, name: &str, octets: &[u8]) -> Vec<u8> {
    let mut text = String::from_utf8(letter("x", "x")).unwrap();
    text.truncate(text.find("Subject:").unwrap());
    let encoding = if kind == "message/rfc822" { "8bit" } else { "base64" };
    let _ = write!(
        text,
        "Subject: {subject}\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"=_{name}\"\r\n\r\n\
         --=_{name}\r\nContent-Type: text/plain\r\n\r\nSee the attachment.\r\n\
         --=_{name}\r\nContent-Type: {kind}; name=\"{name}\"\r\n\
         Content-Disposition: attachment; filename=\"{name}\"\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    );
    let octets = if encoding == "8bit" { octets.to_vec() } else { base64(octets).into_bytes() };
    [text.as_bytes(), &octets, format!("\r\n--=_{name}--\r\n").as_bytes()].concat()
}

/// 見積書 in ISO-2022-JP.
const JAPANESE: &str = "=?ISO-2022-JP?B?GyRCOCtAUT1xGyhC?=";

fn text_of<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} in {value:#}"))
}

fn wait_for_held(home: &Home, count: usize) -> Vec<Value> {
    wait_until(&format!("{count} items in the quarantine"), || home.quarantine().len() >= count);
    home.quarantine()
}

/// By the built-in policy.
#[test]
fn a_page_that_sends_a_password_to_others_is_held_and_can_be_released() {
    let sink = Sink::start();
    let home = Home::new(&Setup { next_hop: &sink.url(), ..Setup::default() });
    let gateway = Gateway::start(&home);
    let page = |host: &str| {
        let form = format!(
            "<form action=\"https://{host}/take\"><input name=\"user\">\
             <input type=\"password\" name=\"secret\"></form>"
        );
        let text = String::from_utf8(letter("account", &form)).unwrap();
        let kind = "Subject: account\r\nMIME-Version: 1.0\r\nContent-Type: text/html\r\n";
        text.replace("Subject: account\r\n", kind).into_bytes()
    };
    let mut client = gateway.connect();
    let to = ["bob@ours.example"];
    client.accepted("alice@elsewhere.example", &to, &page("www.elsewhere.example"));
    sink.wait_for(1);
    let id = client.accepted("alice@elsewhere.example", &to, &page("collect.example.net"));
    let items = wait_for_held(&home, 1);
    let item = &items[0];
    assert_eq!((text_of(item, "id"), text_of(item, "area")), (id.as_str(), "phish"));
    for expected in ["\"verdict\":\"phish\"", "\"rule\":\"Phishing\"", "Page.ForeignPasswordForm"] {
        assert!(item.to_string().contains(expected), "{expected} in {item:#}");
    }
    home.done(&["quarantine", "release", &id]);
    assert!(sink.wait_for(2)[1].text().contains("collect.example.net"));
    gateway.stop();
}

#[test]
fn malware_in_an_archive_in_an_attached_message_is_held() {
    let sink = Sink::start();
    let home = Home::new(&Setup { next_hop: &sink.url(), ..Setup::default() });
    let gateway = Gateway::start(&home);
    let inner =
        with_attachment("inner", "application/zip", "order.zip", &zip("invoice.txt", &eicar()));
    let content = with_attachment(JAPANESE, "message/rfc822", "forwarded.eml", &inner);
    let mut client = gateway.connect();
    let id = client.accepted("alice@elsewhere.example", &["bob@ours.example"], &content);
    let items = wait_for_held(&home, 1);
    let item = &items[0];
    assert_eq!((text_of(item, "id"), text_of(item, "area")), (id.as_str(), "malware"));
    assert_eq!(text_of(&item["summary"], "subject"), "見積書");
    assert_eq!(text_of(&item["summary"], "verdict"), "infected");
    assert_eq!(text_of(&item["summary"], "rule"), "Malware");
    assert!(home.done(&["quarantine", "list"]).contains("見積書"));
    let told = home.done(&["explain", &id]);
    for part in [
        "malware",
        "EICAR",
        "\"order.zip\" / \"invoice.txt\"",
        "Malware",
        "quarantined in \"malware\"",
    ] {
        assert!(told.to_lowercase().contains(&part.to_lowercase()), "{part:?} is not in\n{told}");
    }
    let record = home.json(&["explain", &id, "--json"]);
    assert_eq!(text_of(&record, "subject"), "見積書");
    let paths: Vec<_> = record["entities"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entity| text_of(entity, "path"))
        .collect();
    assert!(
        paths.iter().any(|path| path.ends_with("\"order.zip\" / \"invoice.txt\"")),
        "{paths:?}"
    );
    home.wait_for_empty_queue();
    assert_eq!(sink.count(), 0, "held mail was delivered");

    let (code, raw, _) = home.imss(&["quarantine", "show", "--message", &id]);
    assert_eq!(code, 0);
    let head = in_front(raw.as_bytes(), &content).expect("what is held is what came");
    assert!(is_our_trace(head), "{head}");
    assert_eq!(home.done(&["quarantine", "release", &id]), "released: 1\n");
    let delivered = sink.wait_for(1);
    let head = in_front(&delivered[0].data, &content).expect("released as it came");
    assert!(head.starts_with("Received: ") && head.contains(&id), "{head}");
    assert_eq!(delivered[0].to, ["bob@ours.example"]);
    assert!(home.quarantine().is_empty());
    home.wait_for_empty_queue();
    gateway.stop();
    assert_eq!(sink.count(), 1);
}

#[test]
fn spam_goes_to_its_own_area_and_clean_mail_passes_unchanged() {
    let sink = Sink::start();
    let home = Home::new(&Setup { next_hop: &sink.url(), ..Setup::default() });
    let gateway = Gateway::start(&home);
    let mut client = gateway.connect();
    let spam =
        client.accepted("alice@elsewhere.example", &["bob@ours.example"], &letter("s", &gtube()));
    let mut odd = b"From: a@elsewhere.example\r\nSubject:  odd \t spacing \r\nX-Empty:\r\nreceived: by old\r\n\
        \r\n..dots\r\n.\r\n trailing space \r\n\xE3\x81\x82\xFF\xFE eight bits\r\n"
        .to_vec();
    odd.extend_from_slice(&b"\r\n".repeat(3));
    let clean = [
        ("plain", letter("plain", "Hello.")),
        ("odd", odd),
        ("no header", b"\r\nonly a body\r\n".to_vec()),
        ("attachment", with_attachment(JAPANESE, "application/pdf", "a.pdf", PDF)),
        (
            "large",
            letter("large", "seventy octets or so on every line\r\n".repeat(20_000).trim_end()),
        ),
    ];
    for (_, content) in &clean {
        client.accepted(
            "alice@elsewhere.example",
            &["bob@ours.example", "carol@ours.example"],
            content,
        );
    }
    let delivered = sink.wait_for(clean.len());
    for (name, content) in &clean {
        let same: Vec<_> =
            delivered.iter().filter_map(|message| in_front(&message.data, content)).collect();
        assert!(same.len() == 1 && is_our_trace(same[0]), "{name}: {same:?}");
    }
    assert!(
        delivered.iter().all(|message| message.to.len() == 2),
        "recipients were split for nothing"
    );
    let items = wait_for_held(&home, 1);
    assert_eq!(items.len(), 1);
    assert_eq!((text_of(&items[0], "id"), text_of(&items[0], "area")), (spam.as_str(), "spam"));
    assert!(home.done(&["explain", &spam]).contains("GTUBE"));
    assert_eq!(home.done(&["quarantine", "delete", &spam]), "deleted: 1\n");
    assert!(home.quarantine().is_empty());
    home.wait_for_empty_queue();
    assert_eq!(sink.count(), clean.len());
}

const POLICY: &str = r#"
internal = ["ours.example"]

[quarantine.secrets]
keep = "30 days"
end-user = false

[keywords.secret]
threshold = 1
entries = ["社外秘"]

[unknown]
limit = "deliver"
encrypted = "deliver"
malformed = "deliver"
ambiguous = "deliver"
unsupported = "deliver"
lookup = "deliver"
engine = "defer"
crash = "defer"

[[rule]]
name = "Carol gets a tag"
route = { to = "carol@ours.example" }
when = { keywords = "secret", in = ["subject", "body"] }
then = [{ tag-subject = "[secret]" }]

[[rule]]
name = "Dave does not get it"
route = { to = "dave@ours.example" }
when = { keywords = "secret", in = ["subject", "body"] }
then = [{ quarantine = "secrets" }]

[[rule]]
name = "Erin does not know"
route = { to = "erin@ours.example" }
when = { keywords = "secret", in = ["subject", "body"] }
then = ["delete"]
"#;

#[test]
fn recipients_are_split_only_where_decisions_differ() {
    let sink = Sink::start();
    let home = Home::new(&Setup {
        next_hop: &sink.url(),
        root: "policy = \"policy.toml\"",
        ..Setup::default()
    });
    home.write("policy.toml", POLICY);
    let gateway = Gateway::start(&home);
    let mut client = gateway.connect();
    let everybody: Vec<String> = ["amy", "bob", "carol", "dave", "erin"]
        .iter()
        .map(|name| format!("{name}@ours.example"))
        .collect();
    let everybody: Vec<&str> = everybody.iter().map(String::as_str).collect();
    let plain = letter("plain", "Nothing special.");
    client.accepted("alice@elsewhere.example", &everybody, &plain);
    let delivered = sink.wait_for(1);
    assert_eq!(delivered[0].to, everybody, "one copy for all");
    assert!(in_front(&delivered[0].data, &plain).is_some_and(is_our_trace));

    let secret = letter("secret", "これは社外秘です。");
    let id = client.accepted("alice@elsewhere.example", &everybody, &secret);
    let items = wait_for_held(&home, 1);
    home.wait_for_empty_queue();
    let delivered = &sink.delivered()[1..];
    assert_eq!(delivered.len(), 2, "{delivered:?}");
    let unchanged = delivered.iter().find(|message| message.to.len() == 2).expect("a copy for two");
    assert_eq!(unchanged.to, ["amy@ours.example", "bob@ours.example"]);
    assert!(in_front(&unchanged.data, &secret).is_some_and(is_our_trace));
    let tagged =
        delivered.iter().find(|message| message.to == ["carol@ours.example"]).expect("Carol's");
    assert!(tagged.text().contains("\r\nSubject: [secret] secret\r\n"), "{}", tagged.text());
    let untagged = tagged.text().replace("Subject: [secret] ", "Subject: ");
    assert!(
        in_front(untagged.as_bytes(), &secret).is_some_and(is_our_trace),
        "only the subject changed"
    );
    assert_eq!(text_of(&items[0], "area"), "secrets");
    assert_eq!(items[0]["recipients"][0]["path"], "dave@ours.example");
    let told = home.done(&["explain", &id]);
    for name in ["Carol gets a tag", "Dave does not get it", "Erin does not know"] {
        assert!(told.contains(name), "{told}");
    }
}
