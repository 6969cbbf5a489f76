//! Copies for the quarantine and the archive end there, once, and can be released.

use std::sync::Arc;
use std::time::Duration;

use imss_relay::quarantine::{Filter, ItemId, Quarantine, QuarantineError};
use imss_relay::spool::Destination;

use crate::support::{NOON, Running, Scripted, copy, id, message, settings};

#[tokio::test]
async fn one_message_delivered_quarantined_and_archived() {
    let dir = tempfile::tempdir().unwrap();
    let deliverer = Scripted::new(&[]);
    let running = Running::start(dir.path(), settings(), &deliverer);
    let virus = Destination::Quarantine { area: "virus".to_owned() };
    let legal = Destination::Archive { area: "legal".to_owned() };
    let copies = vec![
        copy(&["a@example.com"], Destination::NextHop),
        copy(&["b@example.com", "c@example.com"], virus),
        copy(&[], legal),
    ];
    running.queue.submit(vec![message(1, b"body\r\n", copies)]).await.unwrap();
    let events = running.notes.wait(3).await;
    let expected =
        ["a@example.com delivered", "b@example.com quarantined", "c@example.com quarantined"];
    assert_eq!(events, expected);
    running.drained().await;

    let store = Quarantine::new(dir.path());
    let (items, damaged) = store.list(&Filter::default()).unwrap();
    assert_eq!((items.len(), damaged), (1, 0));
    let item = ItemId { id: id(1), copy: 1 };
    let known = store.show(item).unwrap();
    assert_eq!(known, items[0]);
    assert_eq!((known.area.as_str(), known.recipients.len()), ("virus", 2));
    assert_eq!(known.record["verdict"], "clean");
    let content = store.content(item).unwrap();
    assert_eq!(content.read(0..content.len()).unwrap(), "Received: number 1\r\nbody\r\n");
    let (archived, _) = store.archive().list(&Filter::default()).unwrap();
    assert_eq!(archived.len(), 1, "a copy without recipients is archived too");

    let released = store.release(item, id(2), NOON).unwrap();
    running.queue.submit(vec![released]).await.unwrap();
    store.delete(item).unwrap();
    running.drained().await;
    let jobs = deliverer.jobs.lock().unwrap().clone();
    let to = vec!["b@example.com".to_owned(), "c@example.com".to_owned()];
    assert_eq!(jobs[1], (id(2), to, b"Received: number 1\r\nbody\r\n".to_vec()));
    assert!(matches!(store.show(item), Err(QuarantineError::NoSuchItem(_))));
    running.stop().await;
}

#[test]
fn storing_again_changes_nothing_and_lists_are_newest_first() {
    let dir = tempfile::tempdir().unwrap();
    let store = Quarantine::new(dir.path());
    for number in 1..=5 {
        let area = Destination::Quarantine { area: "spam".to_owned() };
        let mut copies = vec![copy(&["user@example.com"], area)];
        copies[0].summary.subject = format!("Offer {number}");
        let held = message(number, b"body", copies);
        store.put(&held, 0, "spam", NOON + u64::from(number)).unwrap();
        store.put(&held, 0, "spam", NOON + 1_000_000).unwrap();
    }
    let numbers = |filter: Filter| {
        let (items, _) = store.list(&filter).unwrap();
        items.iter().map(|item| item.summary.subject.clone()).collect::<Vec<_>>()
    };
    let all = ["Offer 5", "Offer 4", "Offer 3", "Offer 2", "Offer 1"];
    assert_eq!(numbers(Filter::default()), all);
    assert_eq!(numbers(Filter { limit: 2, ..Filter::default() }), all[..2]);
    assert_eq!(numbers(Filter { subject: Some("OFFER 3".into()), ..Filter::default() }), all[2..3]);
    assert_eq!(numbers(Filter { area: Some("virus".into()), ..Filter::default() }), [""; 0]);
    assert_eq!(numbers(Filter { address: Some("AUTHOR@".into()), ..Filter::default() }), all);

    let described = dir.path().join("quarantine/spam").join(format!("{}-0.json", id(3)));
    std::fs::write(described, b"{").unwrap();
    let (items, damaged) = store.list(&Filter::default()).unwrap();
    assert_eq!((items.len(), damaged), (4, 1));
    assert_eq!(store.sweep("virus", Duration::ZERO, NOON + 12).unwrap(), 0, "another area");
    let swept = store.sweep("spam", Duration::from_millis(10), NOON + 12).unwrap();
    assert_eq!(swept, 2, "1, and 3 by name");
    assert_eq!(store.list(&Filter::default()).unwrap().0.len(), 3);
}

#[test]
fn areas_are_names_not_paths() {
    let dir = tempfile::tempdir().unwrap();
    let store = Quarantine::new(dir.path());
    let held = Arc::new(message(1, b"", vec![copy(&["u@example.com"], Destination::NextHop)]));
    for area in ["", ".", "..", "../x", "/etc", "a/b", "a\0b", ".hidden", &"x".repeat(101)] {
        let refused = store.put(&held, 0, area, NOON);
        assert!(matches!(refused, Err(QuarantineError::Area(_))), "{area:?}");
    }
}
