//! Whole messages through engine, question and answer: what a policy can ask, and what it gets.

use std::collections::BTreeSet;
use std::sync::Arc;

use imss_core::authentication::{AuthResult, DmarcPolicy, DomainPattern};
use imss_core::plan::{AuthQuery, Identifier, Query};
use imss_scan::auth::AuthSettings;
use imss_scan::auth::client::AuthClient;
use imss_scan::{Answer, Answers, LookupError, Question, Scan, Scanner, Settings};

use super::suites::facts;
use super::table::{Record, Table};
use crate::mail::{Mail, plan};

/// RFC 8463 §A.3: an Ed25519 and an RSA signature of one message.
const SIGNED: &str = include_str!("../../data/dkim/rfc8463.eml");
const ED25519: &str = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
const RSA: &str = "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3id\
    Y6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3\
    rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB";

fn table(more: &[(&str, &str)]) -> Table {
    let keys = [
        ("brisbane._domainkey.football.example.com", ED25519),
        ("test._domainkey.football.example.com", RSA),
    ];
    Table::of_texts(&[&keys[..], more].concat())
}

fn message(text: &str) -> Vec<u8> {
    text.replace("\r\n", "\n").replace('\n', "\r\n").into_bytes()
}

#[tokio::test]
async fn signatures() {
    let facts = facts(table(&[]), &message(SIGNED)).await;
    let results: Vec<_> = facts.dkim.iter().map(|fact| (&*fact.algorithm, fact.result)).collect();
    let pass = AuthResult::Pass;
    assert_eq!(results, [("ed25519-sha256", pass), ("rsa-sha256", pass)]);
    let first = &facts.dkim[0];
    assert_eq!((&*first.domain, &*first.selector), ("football.example.com", "brisbane"));
    assert_eq!(first.oversigned, ["date", "from", "subject"], "signed twice, there once");
    assert_eq!(first.b, "/gCrinpc");
}

#[tokio::test]
async fn what_was_changed_fails() {
    let cases = [
        ("another body", "hungry yet", "hungry Yet", AuthResult::Fail),
        ("another subject", "Subject: Is", "Subject: Was", AuthResult::Fail),
        ("a second subject", "To: Suzie", "Subject: more\nTo: Suzie", AuthResult::Fail),
        ("a field that is not signed", "From: Joe", "X-Other: 1\nFrom: Joe", AuthResult::Pass),
        ("blanks at the end of the body", "Joe.\n", "Joe.\n \n\t\n\n", AuthResult::Pass),
    ];
    for (name, from, to, expected) in cases {
        let changed = SIGNED.replace("\r\n", "\n").replacen(from, to, 1);
        assert_ne!(changed, SIGNED.replace("\r\n", "\n"), "{name}");
        let facts = facts(table(&[]), &message(&changed)).await;
        assert_eq!(facts.dkim_result(), expected, "{name}: {:?}", facts.dkim);
    }
}

#[tokio::test]
async fn keys_that_are_not_there() {
    let silent = |name: &str| (name.to_owned(), Record::Silence);
    let cases = [
        ("no key", Table::of_texts(&[]), AuthResult::PermError),
        (
            "nobody answers",
            Table::new([
                silent("brisbane._domainkey.football.example.com"),
                silent("test._domainkey.football.example.com"),
            ]),
            AuthResult::TempError,
        ),
    ];
    for (name, table, expected) in cases {
        let facts = facts(table, &message(SIGNED)).await;
        assert_eq!(facts.dkim_result(), expected, "{name}: {:?}", facts.dkim);
    }
}

/// Name, records, whether the signatures are intact, and what comes of it.
type DmarcCase<'a> = (&'a str, &'a [(&'a str, &'a str)], bool, AuthResult, DmarcPolicy);

#[tokio::test]
async fn dmarc() {
    let reject = "v=DMARC1; p=reject; rua=mailto:d@example.com";
    let author = "_dmarc.football.example.com";
    let cases: [DmarcCase<'_>; 9] = [
        ("no record", &[], true, AuthResult::None, DmarcPolicy::None),
        ("signed and own record", &[(author, reject)], true, AuthResult::Pass, DmarcPolicy::Reject),
        ("broken", &[(author, reject)], false, AuthResult::Fail, DmarcPolicy::Reject),
        (
            "the parent's record, its policy for what is below",
            &[("_dmarc.example.com", "v=DMARC1; p=reject; sp=quarantine; np=quarantine")],
            false,
            AuthResult::Fail,
            DmarcPolicy::Quarantine,
        ),
        (
            "test mode is one step milder",
            &[(author, "v=DMARC1; p=reject; t=y")],
            false,
            AuthResult::Fail,
            DmarcPolicy::Quarantine,
        ),
        (
            "two records are none",
            &[(author, reject), (author, "v=DMARC1; p=none")],
            false,
            AuthResult::None,
            DmarcPolicy::None,
        ),
        (
            "a public suffix above: the organisation is one label below it",
            &[("_dmarc.com", "v=DMARC1; p=reject; psd=y; sp=reject")],
            false,
            AuthResult::Fail,
            DmarcPolicy::Reject,
        ),
        (
            "strict, and the signature is the author's own",
            &[(author, "v=DMARC1; p=reject; adkim=s")],
            true,
            AuthResult::Pass,
            DmarcPolicy::Reject,
        ),
        (
            "no p= and nobody to report to",
            &[(author, "v=DMARC1; adkim=s")],
            false,
            AuthResult::None,
            DmarcPolicy::None,
        ),
    ];
    for (name, records, intact, result, policy) in cases {
        let text = if intact { SIGNED.to_owned() } else { SIGNED.replace("hungry", "thirsty") };
        let facts = facts(table(records), &message(&text)).await;
        let found = (facts.dmarc.result, facts.dmarc.policy);
        assert_eq!(found, (result, policy), "{name}: {:?}", facts.dmarc);
    }
}

#[tokio::test]
async fn two_authors_pose_as_nobody() {
    let cases = [
        ("two fields", "From: a@example.com\r\nFrom: b@example.net\r\n", AuthResult::PermError),
        ("two domains", "From: a@example.com, b@example.net\r\n", AuthResult::PermError),
        ("one domain twice", "From: a@example.com, b@example.com\r\n", AuthResult::None),
    ];
    for (name, from, expected) in cases {
        let facts = facts(Table::default(), format!("{from}\r\ntext\r\n").as_bytes()).await;
        assert_eq!(facts.dmarc.result, expected, "{name}");
    }
}

fn scanner(
    queries: Vec<AuthQuery>,
    settings: AuthSettings,
) -> (Arc<imss_core::plan::ScanPlan>, Scanner) {
    let plan = plan(queries.into_iter().map(Query::Authentication));
    let settings = Settings { auth: settings, ..Settings::default() };
    let scanner = Scanner::new(Arc::clone(&plan), settings).unwrap();
    (plan, scanner)
}

async fn judged(names: Table, raw: Vec<u8>, query: AuthQuery) -> Scan {
    let (plan, scanner) = scanner(vec![query], AuthSettings::default());
    let mail = Mail::new(raw);
    let questions = mail.questions(&scanner, &plan);
    let [Question::Authentication(question)] = questions.as_slice() else {
        panic!("{questions:?}")
    };
    let client = AuthClient::new(names, "mx.example").unwrap();
    let mut answers = Answers::new();
    answers.insert(&questions[0], client.authenticate(question).await);
    let record = serde_json::to_string(&answers).unwrap();
    let replayed: Answers = serde_json::from_str(&record).unwrap();
    let scan = mail.scan(&scanner, &plan, &answers);
    assert_eq!(mail.scan(&scanner, &plan, &replayed), scan, "a replay says the same");
    scan
}

#[tokio::test]
async fn queries() {
    let spf = ("example.net", "v=spf1 -all");
    let dmarc = ("_dmarc.example.com", "v=DMARC1; p=reject");
    let one = |result| BTreeSet::from([result]);
    let domain = |text| BTreeSet::from([DomainPattern::parse(text).unwrap()]);
    let good = message(SIGNED);
    let broken = message(&SIGNED.replace("hungry", "thirsty"));
    let football = "football.example.com";
    let cases = [
        ("spf", &good, AuthQuery::Spf(one(AuthResult::Fail)), true),
        ("spf is not", &good, AuthQuery::Spf(one(AuthResult::Pass)), false),
        ("dkim", &good, AuthQuery::Dkim(one(AuthResult::Pass)), true),
        ("dkim broken", &broken, AuthQuery::Dkim(one(AuthResult::Fail)), true),
        ("dmarc", &good, AuthQuery::Dmarc(one(AuthResult::Pass)), true),
        ("dmarc broken", &broken, AuthQuery::Dmarc(one(AuthResult::Fail)), true),
        ("policy", &broken, AuthQuery::DmarcPolicy(one_policy()), true),
        ("arc", &good, AuthQuery::Arc(one(AuthResult::None)), true),
        ("aligned", &good, AuthQuery::Aligned([Identifier::Dkim].into()), true),
        ("spf is not aligned", &good, AuthQuery::Aligned([Identifier::Spf].into()), false),
        ("approved", &good, AuthQuery::SignedBy(domain("*.example.com")), true),
        ("approved, broken", &broken, AuthQuery::SignedBy(domain(football)), false),
        ("enforced", &broken, AuthQuery::UnsignedAuthor(domain(football)), true),
        ("enforced and signed", &good, AuthQuery::UnsignedAuthor(domain(football)), false),
        ("seen for two recipients", &good, AuthQuery::SignatureSeenMoreThan(1), true),
        ("seen for no more", &good, AuthQuery::SignatureSeenMoreThan(2), false),
        ("no l=", &good, AuthQuery::PartlySigned, false),
    ];
    for (name, raw, query, expected) in cases {
        let scan = judged(table(&[spf, dmarc]), raw.clone(), query).await;
        assert_eq!(scan.findings.found.len(), usize::from(expected), "{name}: {scan:?}");
        assert!(scan.findings.gaps.is_empty(), "{name}: {scan:?}");
    }
}

/// Each costs a digest of the body and a question, were they all looked at.
#[tokio::test]
async fn ten_thousand_signatures() {
    let junk = |count: usize| -> String {
        let one = |number| {
            format!(
                "DKIM-Signature: v=1; a=rsa-sha256; d=d{number}.example; s=s; h=from; l={number}; bh=AA; b=AA\n"
            )
        };
        (0..count).map(one).collect()
    };
    let query = || AuthQuery::Dkim([AuthResult::Pass, AuthResult::PermError].into());
    // Signatures before the two good ones; facts, left out, DKIM, DMARC, gaps.
    let cases = [
        ("ten in all", 8, 10, 0, AuthResult::Pass, AuthResult::Pass, 0),
        ("one good one is left", 9, 11, 1, AuthResult::Pass, AuthResult::Pass, 0),
        ("none is left", 10, 11, 2, AuthResult::PermError, AuthResult::Fail, 1),
        ("thousands", 4_000, 11, 3_992, AuthResult::PermError, AuthResult::Fail, 1),
        ("no end", 10_000, 11, 4_990, AuthResult::PermError, AuthResult::PermError, 1),
    ];
    for (name, before, told, left_out, dkim, dmarc, gaps) in cases {
        let raw = message(&(junk(before) + SIGNED));
        let names = table(&[("_dmarc.example.com", "v=DMARC1; p=reject")]);
        let facts = facts(names.clone(), &raw).await;
        assert_eq!((facts.dkim.len(), facts.dkim_left_out), (told, left_out), "{name}");
        assert_eq!((facts.dkim_result(), facts.dmarc.result), (dkim, dmarc), "{name}");
        let scan = judged(names, raw, query()).await;
        assert_eq!(scan.findings.found.len(), 1, "{name}: {scan:?}");
        let limits = |gap: &&imss_core::finding::Gap| gap.engine == "authentication";
        assert_eq!(scan.findings.gaps.iter().filter(limits).count(), gaps, "{name}: {scan:?}");
    }
}

/// As many ARC sets, and one whose results are endless.
#[tokio::test]
async fn endless_chains() {
    let set = |instance: usize, more: &str| {
        format!(
            "ARC-Seal: i={instance}; a=rsa-sha256; cv=pass; d=d.example; s=s; b=AA\n\
             ARC-Message-Signature: i={instance}; a=rsa-sha256; d=d.example; s=s; h=from; bh=AA; b=AA\n\
             ARC-Authentication-Results: i={instance}; mx.example; spf=pass{more}\n"
        )
    };
    let long = format!(" ({})", "a".repeat(40_000));
    let cases = [
        ("sets", (1..=1_000).map(|i| set(i, "")).collect::<String>(), 1_000, "more than 50 sets"),
        ("results", set(1, &long), 1, "a field of the chain is too long"),
    ];
    for (name, sets, count, reason) in cases {
        let facts = facts(table(&[]), &message(&(sets + SIGNED))).await;
        assert_eq!((facts.arc.result, facts.arc.sets), (AuthResult::Fail, count), "{name}");
        assert_eq!(facts.arc.reason, reason, "{name}");
        assert_eq!(facts.arc.out_of_bounds, name == "results", "{name}");
    }
}

fn one_policy() -> BTreeSet<DmarcPolicy> {
    BTreeSet::from([DmarcPolicy::Reject])
}

#[tokio::test]
async fn silence_is_not_a_missing_signature() {
    let silent = |name: &str| (name.to_owned(), Record::Silence);
    let names = Table::new([
        silent("brisbane._domainkey.football.example.com"),
        silent("test._domainkey.football.example.com"),
    ]);
    let football = BTreeSet::from([DomainPattern::parse("football.example.com").unwrap()]);
    for query in [AuthQuery::UnsignedAuthor(football.clone()), AuthQuery::SignedBy(football)] {
        let scan = judged(names.clone(), message(SIGNED), query).await;
        assert!(scan.findings.found.is_empty(), "{scan:?}");
        assert_eq!(scan.findings.gaps.len(), 1, "{scan:?}");
    }
}

#[test]
fn nobody_asks_about_our_own_mail() {
    let fail = || vec![AuthQuery::Spf([AuthResult::Fail].into())];
    let files = AuthSettings { no_client: true, ..AuthSettings::default() };
    let always = AuthSettings { always: true, ..AuthSettings::default() };
    let cases = [
        ("files", fail(), files, 0),
        ("asked for", fail(), AuthSettings::default(), 1),
        ("nobody asks", Vec::new(), AuthSettings::default(), 0),
        ("results are written", Vec::new(), always, 1),
    ];
    for (name, queries, settings, expected) in cases {
        let (plan, scanner) = scanner(queries, settings);
        let mail = Mail::new(message(SIGNED));
        assert_eq!(mail.questions(&scanner, &plan).len(), expected, "{name}");
        let mut ours = Mail::new(message(SIGNED));
        ours.envelope.client.is_ours = true;
        assert_eq!(ours.questions(&scanner, &plan).len(), 0, "{name}, from a client of ours");
    }
}

#[test]
fn no_answer_is_a_gap() {
    let (plan, scanner) = scanner(vec![AuthQuery::PartlySigned], AuthSettings::default());
    let mail = Mail::new(message(SIGNED));
    let questions = mail.questions(&scanner, &plan);
    for answer in [Err(LookupError::TimedOut), Ok(Answer::Clamd(None))] {
        let mut answers = Answers::new();
        answers.insert(&questions[0], answer);
        let scan = mail.scan(&scanner, &plan, &answers);
        assert_eq!(scan.findings.gaps.len(), 1, "{scan:?}");
    }
}
