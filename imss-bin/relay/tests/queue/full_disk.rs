//! A full disk refuses mail, loses nothing, and is forgotten when there is space again.

use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::Duration;

use imss_core::ids::QueueId;
use imss_relay::queue::{Queue, Settings};
use imss_relay::spool::{Accepted, SpoolError};

use crate::support::{Failing, Running, Scripted, bytes_of, id, plain, settings};

/// Submits numbered messages until one is refused. Returns the accepted ones.
async fn fill(queue: &Queue, from: u32) -> (Vec<QueueId>, SpoolError) {
    let mut accepted = Vec::new();
    for number in from.. {
        match queue.submit(vec![plain(number, &[b'x'; 2000])]).await {
            Ok(()) => accepted.push(id(number)),
            Err(error) => return (accepted, error),
        }
    }
    unreachable!("the disk is finite")
}

/// Submits one message as soon as there is space.
async fn submit_soon(queue: &Queue, message: Accepted) {
    for _ in 0..500 {
        if queue.submit(vec![message.clone()]).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("still refused");
}

fn ids(queue: &Queue) -> Vec<QueueId> {
    queue.list(usize::MAX).into_iter().map(|entry| entry.id).collect()
}

#[tokio::test]
async fn mail_is_refused_then_accepted_again() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Failing::new(200_000);
    let settings = Settings { storage: disk.clone(), reserve_bytes: 1000, ..settings() };
    let (queue, _) = Queue::open(dir.path(), settings.clone()).unwrap();
    let (mut accepted, error) = fill(&queue, 1).await;
    assert!(error.is_disk_full(), "{error}");
    assert!(accepted.len() > 10);
    assert!(!queue.counts().healthy, "new sessions are told to come back later");
    disk.left.store(i64::MAX, Ordering::SeqCst);
    submit_soon(&queue, plain(50_000, b"again")).await;
    accepted.push(id(50_000));
    assert!(queue.counts().healthy);
    assert_eq!(ids(&queue), accepted);
    queue.close().await;
    drop(queue);
    let (queue, recovered) = Queue::open(dir.path(), settings).unwrap();
    assert_eq!(ids(&queue), accepted);
    assert_eq!((recovered.torn_bytes, recovered.damaged.len()), (0, 0), "nothing half-written");
}

#[tokio::test]
async fn deliveries_are_recorded_on_a_full_disk() {
    let dir = tempfile::tempdir().unwrap();
    let spool = dir.path().join("spool");
    let disk = Failing::new(100_000);
    let settings = Settings { storage: disk.clone(), reserve_bytes: 1000, ..settings() };
    let (queue, _) = Queue::open(&spool, settings.clone()).unwrap();
    let (accepted, _) = fill(&queue, 1).await;
    queue.close().await;
    drop(queue);
    // Not one octet more, until deliveries have been made and are waiting for their record.
    disk.left.store(0, Ordering::SeqCst);
    let deliverer = Scripted::new(&[]);
    let running = Running::start(dir.path(), settings.clone(), &deliverer);
    running.notes.wait(accepted.len()).await;
    disk.left.store(i64::MAX, Ordering::SeqCst);
    submit_soon(&running.queue, plain(50_000, b"the disk works again")).await;
    running.drained().await;
    running.stop().await;
    let (queue, _) = Queue::open(&spool, settings).unwrap();
    assert_eq!(ids(&queue), [], "every delivery was recorded");
    assert_eq!(deliverer.jobs.lock().unwrap().len(), accepted.len() + 1);
}

/// The same on a real file system of one megabyte. Skipped where none can be mounted.
#[tokio::test]
async fn a_real_full_disk() {
    let dir = tempfile::tempdir().unwrap();
    let mount = dir.path().join("small");
    std::fs::create_dir(&mount).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "imss-test"])
        .arg(&mount)
        .output()
        .is_ok_and(|output| output.status.success());
    if !mounted {
        eprintln!("skipped: no file system can be mounted here");
        return;
    }
    let outcome = tokio::spawn(on_a_real_full_disk(mount.clone())).await;
    let unmounted = Command::new("umount").arg(&mount).status();
    outcome.expect("as on the injected disk");
    assert!(unmounted.is_ok_and(|status| status.success()));
}

async fn on_a_real_full_disk(mount: std::path::PathBuf) {
    let spool = mount.join("spool");
    let settings = settings();
    let (queue, _) = Queue::open(&spool, settings.clone()).unwrap();
    let (accepted, error) = fill(&queue, 1).await;
    assert!(error.is_disk_full(), "{error}");
    assert!(accepted.len() > 100);
    let mut writer = queue.body_writer(id(60_000));
    let refused = writer.write(&vec![0; 1 << 20]).await;
    assert!(refused.is_err_and(|error| error.is_disk_full()), "a large body is told the same");
    drop(writer);
    // Deletions are updates: the reserve takes them.
    for id in &accepted {
        queue.delete(*id).unwrap();
    }
    queue.close().await;
    drop(queue);
    let (queue, _) = Queue::open(&spool, settings.clone()).unwrap();
    assert_eq!(ids(&queue), []);
    // A new segment begins only with the next record, and the old one is dead: space comes back.
    while queue.compact().unwrap() > 0 {}
    let (again, _) = fill(&queue, 70_000).await;
    assert!(!again.is_empty() || queue.counts().journal_bytes > 0);
    for id in &again {
        assert_eq!(bytes_of(&queue.read(*id).unwrap()), [b'x'; 2000]);
    }
}
