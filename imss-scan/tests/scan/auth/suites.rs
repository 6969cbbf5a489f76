//! The suites in `tests/data/spf`, `tests/data/arc` and `tests/data/dkim`; where they are from and where
//! they deviate is said in the README beside each.

use std::path::{Path, PathBuf};

use imss_core::authentication::{AuthFacts, AuthResult};
use imss_scan::auth::client::AuthClient;
use imss_scan::auth::spf;
use imss_scan::{Answer, AuthQuestion};
use serde_json::Value;

use super::table::{Record, Table};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn load(name: &str) -> Vec<Value> {
    serde_json::from_slice(&std::fs::read(data(name)).unwrap()).unwrap()
}

pub(super) async fn facts(names: Table, raw: &[u8]) -> AuthFacts {
    let question = AuthQuestion {
        ip: [192, 0, 2, 1].into(),
        helo: "client.example".to_owned(),
        reverse_path: String::new(),
        recipients: 1,
        content: raw.to_vec().into(),
    };
    let client = AuthClient::new(names, "mx.example").unwrap();
    match client.authenticate(&question).await {
        Ok(Answer::Authentication(facts)) => *facts,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn spf_rfc7208() {
    let (mut run, mut wrong) = (0, Vec::new());
    for scenario in load("spf/rfc7208-tests.json") {
        let names = Table::of_zone(&scenario["zonedata"]);
        for (name, test) in scenario["tests"].as_object().unwrap() {
            let text = |key: &str| test[key].as_str().unwrap_or_default();
            let who = spf::Identity {
                ip: text("host").parse().unwrap(),
                helo: text("helo"),
                sender: text("mailfrom"),
                receiver: "mx.example",
                unix_seconds: 0,
            };
            let fact = spf::check(&names, who).await;
            let expected: Vec<&str> = match &test["result"] {
                Value::Array(any) => any.iter().filter_map(Value::as_str).collect(),
                one => one.as_str().into_iter().collect(),
            };
            let told = test["explanation"].as_str().filter(|told| *told != "DEFAULT");
            if !expected.contains(&fact.result.as_str())
                || told.is_some_and(|t| t != fact.explanation)
            {
                wrong.push(format!("{name}: {expected:?} {told:?}, not {fact:?}"));
            }
            run += 1;
        }
    }
    assert!(wrong.is_empty(), "{} of {run}:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(run, 203);
}

/// `v=DKIM1` records by name, white space inside as it is.
fn keys(records: &Value) -> Table {
    let records = records.as_object().into_iter().flatten();
    Table::new(records.map(|(name, text)| {
        (name.clone(), Record::Txt(text.as_str().unwrap_or_default().as_bytes().to_vec()))
    }))
}

/// Cases of the ARC suite where RFC 8617 says something else: name, our result, why.
const DEVIATIONS: [(&str, &str, &str); 5] = [
    ("cv_fail_i1_as_cv_fail", "fail", "the suite names no status; RFC 8617 §5.2 step 3a: fail"),
    ("cv_fail_i2_as1_fail", "fail", "the same"),
    ("cv_fail_i2_as2_fail", "fail", "the same"),
    ("ams_fields_c_na", "fail", "signed relaxed without saying so; RFC 6376 §3.5: simple/simple"),
    ("ams_fields_h_empty", "fail", "RFC 6376 §3.5: the list of signed fields must not be empty"),
];

#[tokio::test]
async fn arc_validation() {
    let (mut run, mut wrong) = (0, Vec::new());
    for scenario in load("arc/validation.json") {
        let names = keys(&scenario["txt-records"]);
        for (name, test) in scenario["tests"].as_object().unwrap() {
            let raw = test["message"].as_str().unwrap().replace('\n', "\r\n");
            let facts = facts(names.clone(), raw.as_bytes()).await;
            let expected = test["cv"].as_str().unwrap_or_default().to_lowercase();
            let expected = DEVIATIONS
                .iter()
                .find(|(deviating, _, _)| deviating == name)
                .map_or(expected, |(_, ours, _)| (*ours).to_owned());
            if facts.arc.result.as_str() != expected {
                wrong.push(format!("{name}: {expected}, not {:?}", facts.arc));
            }
            run += 1;
        }
    }
    assert!(wrong.is_empty(), "{} of {run}:\n{}", wrong.len(), wrong.join("\n"));
    // Four of the 175 cases have the name of another one, which YAML readers drop.
    assert_eq!(run, 171);
}

#[test]
fn words() {
    for result in AuthResult::ALL {
        let json = serde_json::to_string(&result).unwrap();
        assert_eq!(json, format!("\"{result}\""));
    }
}

/// Messages with their keys: `NAME TEXT` lines, an empty line, the message.
#[tokio::test]
async fn signed_messages() {
    let mut seen = 0;
    for folder in ["dkim", "arc"] {
        for entry in std::fs::read_dir(data(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "txt") {
                continue;
            }
            seen += 1;
            let text = std::fs::read_to_string(&path).unwrap();
            let (records, message) = text.split_once("\n\n").unwrap();
            let records: Vec<_> = records.lines().filter_map(|l| l.split_once(' ')).collect();
            // With the line ends of a file and with those of SMTP.
            for raw in [message.to_owned(), message.replace('\n', "\r\n")] {
                let facts = facts(Table::of_texts(&records), raw.as_bytes()).await;
                let name = path.display();
                // One of them carried a time limit that is over.
                let expired = facts.dkim.iter().all(|fact| fact.reason == "Signature expired");
                let is_old = folder == "dkim" && path.ends_with("005.txt");
                assert_eq!(expired, is_old, "{name}: {:?}", facts.dkim);
                let expected = if is_old { AuthResult::Fail } else { AuthResult::Pass };
                assert_eq!(facts.dkim_result(), expected, "{name}: {:?}", facts.dkim);
                let chain = if folder == "arc" { AuthResult::Pass } else { AuthResult::None };
                assert_eq!(facts.arc.result, chain, "{name}: {:?}", facts.arc);
            }
        }
    }
    assert_eq!(seen, 8);
}
