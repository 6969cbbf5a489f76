use std::sync::Arc;

use imss_core::finding::GapReason;
use imss_core::plan::{DnsList, MessageQuery, Query};
use imss_core::verdict::Score;
use imss_scan::{Answer, Answers, LookupError, Question, Scan, Scanner, Settings};

use crate::mail::{Mail, eicar, plan};

fn list(name: &str) -> Query {
    Query::DnsList(Arc::new(DnsList {
        name: name.to_owned(),
        zone: format!("{name}.example"),
        codes: vec![([127, 0, 0, 2].into(), Score::points(5))],
    }))
}

/// Answers as a verdict record would hold them: one listed, one not, one broken, clamd down.
fn answer(question: &Question) -> Result<Answer, LookupError> {
    match question {
        Question::DnsList { list, name } if list == "listed" && !name.starts_with("1.0.0.127") => {
            Ok(Answer::Addresses(vec![[127, 0, 0, 2].into()]))
        }
        Question::DnsList { list, .. } if list == "broken" => {
            Err(LookupError::Failed("Server Failure".to_owned()))
        }
        Question::DnsList { .. } => Ok(Answer::Addresses(Vec::new())),
        _ => Err(LookupError::Unreachable("no such socket".to_owned())),
    }
}

#[test]
fn a_scan_is_replayed_from_its_record() {
    let queries = [
        Query::Malware,
        Query::Spam,
        list("listed"),
        list("unlisted"),
        list("broken"),
        Query::Message(MessageQuery::RecipientsMoreThan(1)),
    ];
    let plan = plan(queries);
    let settings = Settings { clamd: true, ..Settings::default() };
    let scanner = Scanner::new(Arc::clone(&plan), settings.clone()).unwrap();
    let mail = Mail::with_attachments("text", &[("a.com", &eicar())]);

    let mut answers = Answers::new();
    for question in mail.questions(&scanner, &plan) {
        answers.insert(&question, answer(&question));
    }
    assert_eq!(answers.len(), 8, "three lists, their test entries, clamd and its version");
    let scan = mail.scan(&scanner, &plan, &answers);
    let record = serde_json::to_string(&(&answers, &scan)).unwrap();

    let (answers, recorded): (Answers, Scan) = serde_json::from_str(&record).unwrap();
    let scanner = Scanner::new(Arc::clone(&plan), settings).unwrap();
    assert_eq!(mail.scan(&scanner, &plan, &answers), recorded, "{record}");
    assert_eq!(recorded, scan);

    let engines: Vec<_> = scan.findings.found.iter().map(|found| &*found.engine).collect();
    assert_eq!(engines, ["eicar", "message", "dns-lists"]);
    assert_eq!(scan.findings.score(), Score::points(5));
    let gaps: Vec<_> = scan.findings.gaps.iter().map(|gap| (&*gap.engine, gap.reason)).collect();
    assert_eq!(gaps, [("clamd", GapReason::Engine), ("dns-lists", GapReason::Engine)]);
}

#[test]
fn without_answers_nothing_is_clean() {
    let plan = plan([list("listed"), Query::Malware]);
    let settings = Settings { clamd: true, ..Settings::default() };
    let scanner = Scanner::new(Arc::clone(&plan), settings).unwrap();
    let scan = Mail::new("Subject: x\r\n\r\ntext\r\n").scan(&scanner, &plan, &Answers::new());
    assert_eq!(scan.findings.gaps.len(), 2, "{scan:?}");
}

#[test]
fn private_clients_are_not_asked_about() {
    let plan = plan([list("listed")]);
    let scanner = Scanner::new(Arc::clone(&plan), Settings::default()).unwrap();
    let mut mail = Mail::new("Subject: x\r\n\r\ntext\r\n");
    mail.envelope.client.ip = [127, 0, 0, 1].into();
    assert!(mail.questions(&scanner, &plan).is_empty());
    assert!(mail.scan(&scanner, &plan, &Answers::new()).findings.is_clean());
}
