use imss_core::authentication::{ArcFact, AuthResult};

use super::*;
use crate::outbound::Recode;

fn key(selector: &str, file: &str, author: &str, not_before: u64) -> SigningKey {
    SigningKey {
        domain: "example.com".to_owned(),
        selector: selector.to_owned(),
        key: PrivateKey::load(&pem(file)).unwrap(),
        authors: vec![DomainPattern::parse(author).unwrap()],
        not_before,
    }
}

/// Keys made for these tests by rcgen, in a folder of the test run.
fn pem(name: &str) -> std::path::PathBuf {
    let folder = std::env::temp_dir().join(format!("imss-border-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    let algorithm = match name {
        "ed25519.pem" => &rcgen::PKCS_ED25519,
        "ecdsa.pem" => &rcgen::PKCS_ECDSA_P256_SHA256,
        _ => &rcgen::PKCS_RSA_SHA256,
    };
    if !path.exists() {
        let pair = rcgen::KeyPair::generate_for(algorithm).unwrap();
        // Whoever else makes it at the same time must not read half of it.
        let aside = tempfile::NamedTempFile::new_in(&folder).unwrap();
        std::fs::write(aside.path(), pair.serialize_pem()).unwrap();
        aside.persist(&path).unwrap();
    }
    path
}

#[test]
fn keys_take_turns() {
    let keys = [
        key("first", "rsa.pem", "example.com", 0),
        key("second", "rsa.pem", "example.com", 100),
        key("third", "rsa.pem", "example.com", 200),
        key("ed", "ed25519.pem", "example.com", 50),
        key("below", "rsa.pem", "*.example.com", 0),
    ];
    let cases: [(&str, &str, u64, &[&str]); 5] = [
        ("at first", "example.com", 10, &["first"]),
        ("one per algorithm", "example.com", 60, &["first", "ed"]),
        ("the second from its day on", "example.com", 100, &["second", "ed"]),
        ("names below have their own", "a.example.com", 300, &["below"]),
        ("others have none", "example.net", 300, &[]),
    ];
    for (name, author, now, expected) in cases {
        let found: Vec<_> = active(&keys, author, now).iter().map(|key| &*key.selector).collect();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn keys_that_cannot_sign_are_named() {
    let error = |path: &std::path::Path| PrivateKey::load(path).err().unwrap().to_string();
    assert!(error(&pem("ecdsa.pem")).contains("not an RSA key"));
    let text = std::env::temp_dir().join(format!("imss-border-{}.txt", std::process::id()));
    std::fs::write(&text, "no key").unwrap();
    assert!(error(&text).contains("no private key in PEM form"));
    std::fs::remove_file(text).unwrap();
}

#[test]
fn one_author() {
    let cases = [
        ("From: A <a@Example.COM>\r\n\r\n", Some("example.com")),
        ("From: a@example.com, b@example.com\r\n\r\n", Some("example.com")),
        ("From: a@example.com, b@example.net\r\n\r\n", None),
        ("Subject: nobody\r\n\r\n", None),
    ];
    for (header, expected) in cases {
        assert_eq!(author(header.as_bytes()).as_deref(), expected, "{header}");
    }
}

#[test]
fn relaxed_fields() {
    let mut out = Vec::new();
    header::push_relaxed(&mut out, b"SubJect ", b" a \t b\r\n\tc  \r\n");
    assert_eq!(out, b"subject:a b c\r\n");
    out.clear();
    header::push_relaxed(&mut out, b"X", b" \r\n");
    assert_eq!(out, b"x:\r\n");
}

fn sections(header: &str) -> header::Sections {
    let body = crate::spool::body::Body::Memory(Bytes::from(format!("{header}\r\nHello.\r\n")));
    let rope = Rope::original(body.len());
    header::Sections::read(&Content { body, rope }).unwrap()
}

/// A broken chain is sealed once, by a seal of its own set and nothing before it (RFC 8617 §5.1.2).
#[test]
fn broken_chains() {
    let set = |i: u32, cv: &str| {
        format!(
            "ARC-Seal: i={i}; a=rsa-sha256; cv={cv}; d=a.example; s=s; b=AA==\r\n\
             ARC-Message-Signature: i={i}; a=rsa-sha256; d=a.example; s=s; h=from; bh=AA==; b=AA==\r\n\
             ARC-Authentication-Results: i={i}; a.example; spf=pass\r\n"
        )
    };
    let from = "From: a@b.example\r\n";
    let (one, two) = (set(1, "none"), set(2, "pass"));
    // The header, what was found, sets; then the instance and the status of the next set.
    let cases: [(&str, String, AuthResult, u32, Option<&str>); 10] = [
        ("no chain", from.to_owned(), AuthResult::None, 0, Some("i=1; cv=none")),
        ("whole", format!("{two}{one}{from}"), AuthResult::Pass, 2, Some("i=3; cv=pass")),
        ("broken", format!("{two}{one}{from}"), AuthResult::Fail, 2, Some("i=3; cv=fail")),
        ("a set is missing", format!("{two}{from}"), AuthResult::Fail, 1, Some("i=3; cv=fail")),
        ("told already", format!("{}{one}{from}", set(2, "fail")), AuthResult::Fail, 2, None),
        ("malformed fields alone", format!("ARC-Seal: x\r\n{from}"), AuthResult::Fail, 1, None),
        ("out of our bounds", format!("{two}{one}{from}"), AuthResult::Fail, 2, None),
        ("not known", format!("{one}{from}"), AuthResult::TempError, 1, None),
        (
            "the last",
            format!("{}{from}", set(49, "pass")),
            AuthResult::Fail,
            49,
            Some("i=50; cv=fail"),
        ),
        ("no room", format!("{}{from}", set(50, "pass")), AuthResult::Fail, 50, None),
    ];
    let key = key("seal", "ed25519.pem", "example.com", 0);
    let pair =
        rcgen::KeyPair::from_pem(&std::fs::read_to_string(pem("ed25519.pem")).unwrap()).unwrap();
    let public = aws_lc_rs::signature::UnparsedPublicKey::new(
        &aws_lc_rs::signature::ED25519,
        pair.public_key_raw().to_vec(),
    );
    for (name, header, result, sets, expected) in cases {
        let out_of_bounds = name == "out of our bounds";
        let chain = ArcFact { result, sets, out_of_bounds, ..ArcFact::default() };
        let fields =
            arc::fields(&key, &sections(&header), &chain, "mx.example; arc=fail", 7).unwrap();
        let texts: Vec<String> =
            fields.iter().map(|field| String::from_utf8(field.to_vec()).unwrap()).collect();
        let Some(expected) = expected else {
            assert!(texts.is_empty(), "{name}: {texts:?}");
            continue;
        };
        let (i, cv) = expected.split_once("; ").unwrap();
        let [seal, signature, results] = texts.as_slice() else { panic!("{name}: {texts:?}") };
        assert!(texts.iter().all(|text| text.contains(i)) && seal.contains(cv), "{name}: {seal}");
        if cv != "cv=fail" {
            continue;
        }
        let mut data = Vec::new();
        for field in [results, signature] {
            let (name, value) = field.split_once(':').unwrap();
            header::push_relaxed(&mut data, name.as_bytes(), value.as_bytes());
        }
        let (unsealed, b) = seal.split_once("\tb=").unwrap();
        let (_, value) = unsealed.split_once(':').unwrap();
        header::push_relaxed(&mut data, b"ARC-Seal", format!("{value}\tb=").as_bytes());
        data.truncate(data.len() - 2);
        let b: String = b.split_ascii_whitespace().collect();
        let b = base64_simd::STANDARD.decode_to_vec(b).unwrap();
        let digest = <sha2::Sha256 as sha2::Digest>::digest(&data);
        public.verify(&digest, &b).unwrap_or_else(|_| panic!("{name}: {seal}"));
    }
}

/// Mail of others is encoded anew only if it is sealed, only for its lines, and only if it may be.
#[test]
fn others_mail_is_changed_only_for_a_seal() {
    let long = format!("From: a@b.example\r\n\r\nVoilà {}\r\n", "word ".repeat(500));
    let short = "From: a@b.example\r\nSubject: é\r\n\r\nVoilà\r\n".to_owned();
    let signed = format!(
        "MIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n{}\r\n--b--\r\n",
        "word ".repeat(500)
    );
    let (none, unknown) = (AuthResult::None, AuthResult::TempError);
    // The message, the chain; whether it is sealed and whether it is encoded anew.
    let cases = [
        ("long lines", &long, none, Recode::PassSigned, true, true),
        ("no set, no change", &long, unknown, Recode::PassSigned, false, false),
        ("nothing may change", &long, none, Recode::Never, true, false),
        ("never in seven bits", &short, none, Recode::PassSigned, true, false),
        ("what goes back stays", &signed, none, Recode::RefuseSigned, true, false),
    ];
    for (name, raw, result, recode, sealed, changed) in cases {
        let border = border(true, recode);
        let arc = ArcFact { result, ..ArcFact::default() };
        let facts = Some(AuthFacts { arc, ..AuthFacts::default() });
        let marks =
            Marks { results: Some("mx.example; arc=none".to_owned()), facts, remove: vec![] };
        let octets = Bytes::from(raw.clone());
        let rope = Rope::original(octets.len() as u64);
        let wire = border.lawful.for_others();
        let (body, mut room) = (Body::Memory(octets.clone()), Room::beside([].iter()));
        let made = border.sealed(&body, &rope, &marks, wire, &mut room).unwrap();
        let text = String::from_utf8(made.to_bytes(&octets)).unwrap();
        assert_eq!(text.starts_with("ARC-Seal: i=1;"), sealed, "{name}: {text}");
        assert_eq!(!text.ends_with(raw.as_str()), changed, "{name}: {text}");
    }
}

/// What is encoded anew lies in the message's record beside what the policy inserted. A copy for which
/// there is no room is signed as it is: too large a record would get no copy accepted.
#[test]
fn copies_that_do_not_fit_stay_as_they_are() {
    let long = format!("From: a@b.example\r\n\r\n{}\r\n", "word ".repeat(500));
    let marks = Marks {
        results: Some("mx.example; arc=none".to_owned()),
        facts: Some(AuthFacts::default()),
        remove: vec![],
    };
    let octets = Bytes::from(long.clone());
    let copy = |rope: Rope, destination: Destination| CopyRecord {
        reverse_path: ReversePath::Null,
        parameters: Default::default(),
        recipients: Vec::new(),
        rope,
        destination,
        summary: Default::default(),
    };
    let sign = Sign { seals: true, wire: Some(Wire::EightBit) };
    for (name, inserted, changed) in [("room", 100 << 20, true), ("no room", 200 << 20, false)] {
        // The octets are never looked at, so the system never gives memory for them.
        let kept = Rope { pieces: vec![Piece::Inserted(vec![0; inserted].into())] };
        let copies = vec![
            copy(kept, Destination::Archive { area: "all".to_owned() }),
            copy(Rope::original(octets.len() as u64), Destination::NextHop),
        ];
        let border = border(false, Recode::PassSigned);
        let body = Body::Memory(octets.clone());
        let made = border.sign_all(&body, copies, &marks, &sign, QueueId::new(1, 2, 3));
        let text = String::from_utf8(made[1].rope.to_bytes(&octets)).unwrap();
        assert!(text.starts_with("ARC-Seal: i=1;"), "{name}: {text}");
        assert_eq!(!text.ends_with(&long), changed, "{name}: {text}");
    }
}

/// A mail server that keeps the message cannot be told to encode it anew.
#[test]
fn what_others_keep_is_not_encoded() {
    let (plain, seven) = (border(false, Recode::PassSigned), border(true, Recode::PassSigned));
    let cases = [
        ("ours", &plain, false, false, Traced::ByUs, Some(Wire::AsciiHeader)),
        ("ours, declared", &plain, false, true, Traced::ByUs, Some(Wire::EightBit)),
        ("ours, in seven bits", &seven, false, false, Traced::ByUs, Some(Wire::SevenBit)),
        ("others'", &seven, true, false, Traced::ByUs, Some(Wire::EightBit)),
        ("ours, kept by a mail server", &seven, false, false, Traced::ByOther, None),
        ("others', kept by a mail server", &plain, true, false, Traced::ByOther, None),
    ];
    for (name, border, seals, smtputf8, traced, expected) in cases {
        assert_eq!(border.wire(seals, smtputf8, traced), expected, "{name}");
    }
}

fn border(seven_bit: bool, recode: Recode) -> Border {
    Border {
        host: "mx.example".to_owned(),
        results: true,
        remove: Vec::new(),
        srs: None,
        keys: Vec::new(),
        sealer: Some(key("seal", "ed25519.pem", "example.com", 0)),
        lawful: Lawful::new(seven_bit, recode),
        tags: None,
    }
}

const DAY: u64 = 86_400;

fn tags(folder: &std::path::Path, not_before: u64) -> batv::Batv {
    let secret = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let key = |number, file, not_before| crate::config::TagKeySettings {
        number,
        file,
        not_before: Some(not_before),
    };
    let settings = crate::config::BatvSettings {
        domains: vec![DomainPattern::parse("ours.example").unwrap()],
        days: 7,
        refuse: true,
        keys: vec![
            key(1, secret("one", "0123456789abcdef"), 0),
            key(2, secret("two", "fedcba9876543210"), not_before),
        ],
    };
    batv::Batv::new(&settings).unwrap()
}

#[test]
fn tags_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let lax = imss_core::envelope::Syntax::LAX;
    let path = |text: &str| ReversePath::parse(text, lax).unwrap();
    let to = |text: &str| imss_core::envelope::ForwardPath::parse(text, lax).unwrap();
    let tags = tags(folder.path(), 500 * DAY);
    let then = 499 * DAY;
    let tagged = tags.tagged(&path("Bob@Ours.Example"), then).unwrap();
    let text = tagged.to_string();
    let text = text.trim_matches(['<', '>']);
    assert!(text.starts_with("prvs=1506") && text.ends_with("=Bob@ours.example"), "{text}");
    assert_eq!(tags.bare(&tagged), Some(path("Bob@Ours.Example")));
    let later = tags.tagged(&path("bob@ours.example"), 500 * DAY).unwrap().to_string();
    assert!(later.contains("prvs=2507"), "the key changed: {later}");
    for (name, from) in [
        ("others'", "a@b.example"),
        ("null", ""),
        ("tagged already", text),
        ("quoted", "\"a b\"@ours.example"),
    ] {
        assert_eq!(tags.tagged(&path(from), then), None, "{name}");
    }
    let valid = Untagged::Valid(to("Bob@Ours.Example"));
    let forged = text.replace("Bob@", "eve@");
    let cases = [
        ("at once", text, true, then, &valid),
        ("on the last day, under another key by then", text, true, then + 7 * DAY, &valid),
        ("an answer that is no bounce", text, false, then, &valid),
        ("a day later", text, true, then + 8 * DAY, &Untagged::Invalid),
        ("forged", &forged, true, then, &Untagged::Invalid),
        ("a bounce without tag", "bob@ours.example", true, then, &Untagged::Missing),
        ("mail without tag", "bob@ours.example", false, then, &Untagged::Plain),
        ("others' domains", "bob@else.example", true, then, &Untagged::Plain),
        ("others' tags", "prvs=1506abcdef=bob@else.example", true, then, &Untagged::Plain),
    ];
    for (name, recipient, is_bounce, now, expected) in cases {
        assert_eq!(&tags.untagged(&to(recipient), is_bounce, now), expected, "{name}");
    }
}

/// A forged bounce is refused at once; one without a tag may still be a question whether a mailbox exists.
#[test]
fn bounces_before_their_content() {
    let folder = tempfile::tempdir().unwrap();
    let lax = imss_core::envelope::Syntax::LAX;
    let path = |text: &str| ReversePath::parse(text, lax).unwrap();
    let border = Border { tags: Some(tags(folder.path(), 0)), ..border(false, Recode::Never) };
    let bob = path("bob@ours.example");
    let tagged = border.tags.as_ref().unwrap().tagged(&bob, now()).unwrap().to_string();
    let tagged = tagged.trim_matches(['<', '>']);
    let forged = tagged.replace("=bob@", "=eve@");
    let (leave, later, refused) = ("leave", "not for its content", "refused");
    let (stranger, ours) = (false, true);
    let cases = [
        ("to a valid tag", tagged, "", stranger, leave),
        ("to a forged tag", forged.as_str(), "", stranger, refused),
        ("without a tag", "bob@ours.example", "", stranger, later),
        ("to others' domains", "bob@else.example", "", stranger, leave),
        ("mail to a forged tag", forged.as_str(), "a@b.example", stranger, leave),
        ("mail without a tag", "bob@ours.example", "a@b.example", stranger, leave),
        ("from our own networks", forged.as_str(), "", ours, leave),
    ];
    for (name, to, from, is_trusted, expected) in cases {
        let recipient = ForwardPath::parse(to, lax).unwrap();
        for (mode, expected) in [(Mode::Edge, expected), (Mode::Reinject, leave)] {
            let said = border.bounce(Role { mode, is_trusted }, &path(from), &recipient, None);
            let said = match said {
                Ok(Leave { not_for_data: None, .. }) => leave,
                Ok(_) => later,
                Err(reply) if reply.code == 550 => refused,
                Err(reply) => panic!("{name}: {reply}"),
            };
            assert_eq!(said, expected, "{name}, {mode:?}");
        }
    }
    // The reply to the content is one for all: who gets another one comes in another transaction.
    let (bare, others) = ("bob@ours.example", "bob@else.example");
    let cases = [
        ("fine, and one without a tag", others, bare, "", Err(452)),
        ("the other way round", bare, others, "", Err(452)),
        ("a valid tag, and none", tagged, bare, "", Err(452)),
        ("two without a tag", bare, "eve@ours.example", "", Ok(true)),
        ("two that are fine", tagged, others, "", Ok(false)),
        ("fine, and a forged one", others, forged.as_str(), "", Err(550)),
        ("mail to both", others, bare, "a@b.example", Ok(false)),
    ];
    for (name, first, second, from, expected) in cases {
        let parse = |text: &str| ForwardPath::parse(text, lax).unwrap();
        let (first, recipient) = (parse(first), parse(second));
        let role = Role { mode: Mode::Edge, is_trusted: stranger };
        let said = border.bounce(role, &path(from), &recipient, Some(&first));
        let said = said.map(|leave| leave.not_for_data.is_some()).map_err(|reply| reply.code);
        assert_eq!(said, expected, "{name}");
    }
}
