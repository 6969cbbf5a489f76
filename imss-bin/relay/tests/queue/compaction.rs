//! Old segments go; nothing that lives goes with them, and nothing dead comes back.

use imss_relay::queue::{Queue, RecipientState, Settings};
use imss_relay::spool::Destination;

use crate::support::{bytes_of, copy, id, message, plain, settings};

fn small() -> Settings {
    Settings { segment_bytes: 20_000, reserve_bytes: 0, cache_bytes: 0, ..settings() }
}

#[tokio::test]
async fn a_few_old_messages_do_not_keep_segments() {
    let dir = tempfile::tempdir().unwrap();
    let (queue, _) = Queue::open(dir.path(), small()).unwrap();
    let segments = || std::fs::read_dir(dir.path().join("segments")).unwrap().count();
    let via = "smtp://other.example:25".parse().unwrap();
    let stays = |number: u32| number.is_multiple_of(50);
    for number in 1..=400 {
        let hold = Destination::Hold { reason: "policy".to_owned() };
        let copies = vec![
            copy(&["a@example.com", "b@example.com"], Destination::NextHop),
            copy(&["c@example.com"], hold),
        ];
        let body = vec![b'0' + (number % 10) as u8; 1000];
        queue.submit(vec![message(number, &body, copies)]).await.unwrap();
        match number {
            number if !stays(number) => queue.delete(id(number)).unwrap(),
            50 => queue.hold(id(number), "by hand").unwrap(),
            100 => queue.release(id(number)).unwrap(),
            150 => queue.route(id(number), Some(&via)).unwrap(),
            _ => {}
        }
    }
    let before = segments();
    assert!(before > 15, "{before} segments");
    assert!(queue.compact().unwrap() > 10);
    assert!(segments() < 5, "{} segments left", segments());
    let after = queue.list(usize::MAX);
    assert_eq!(after.len(), 8);
    queue.close().await;
    drop(queue);

    let (queue, recovered) = Queue::open(dir.path(), small()).unwrap();
    assert!(recovered.damaged.is_empty());
    let found = queue.list(usize::MAX);
    let plain_view = |mut entries: Vec<imss_relay::queue::QueueEntry>| {
        for recipient in entries.iter_mut().flat_map(|entry| &mut entry.recipients) {
            recipient.next_unix_millis = None;
        }
        entries
    };
    assert_eq!(plain_view(found.clone()), plain_view(after));
    let states = |number: u32| {
        let entry = queue.show(id(number)).unwrap();
        entry.recipients.iter().map(|one| (one.state, one.to.clone())).collect::<Vec<_>>()
    };
    use RecipientState::{Held, Queued};
    assert_eq!(states(50), [(Held, None), (Held, None), (Held, None)]);
    assert_eq!(states(100), [(Queued, None), (Queued, None), (Queued, None)]);
    let to = Some("smtp://other.example:25".to_owned());
    assert_eq!(states(150)[0], (Queued, to));
    assert_eq!(states(200), [(Queued, None), (Queued, None), (Held, None)]);
    for entry in found {
        let body = bytes_of(&queue.read(entry.id).unwrap());
        assert_eq!(body.len(), 1000);
    }
}

#[tokio::test]
async fn deleted_mail_stays_deleted_at_every_step() {
    let dir = tempfile::tempdir().unwrap();
    let mut alive = std::collections::BTreeSet::new();
    for round in 0..10_u32 {
        let (queue, _) = Queue::open(dir.path(), small()).unwrap();
        let found: Vec<_> = queue.list(usize::MAX).into_iter().map(|entry| entry.id).collect();
        assert!(found.iter().eq(alive.iter()), "round {round}");
        for number in 0..60 {
            let number = round * 60 + number;
            queue.submit(vec![plain(number, &[b'x'; 700])]).await.unwrap();
            alive.insert(id(number));
        }
        let gone: Vec<_> =
            alive.iter().filter(|id| id.to_bytes()[9] % 7 != round as u8 % 7).collect();
        let gone: Vec<_> = gone.into_iter().copied().collect();
        for id in gone {
            queue.delete(id).unwrap();
            alive.remove(&id);
        }
        queue.compact().unwrap();
        queue.close().await;
    }
}
