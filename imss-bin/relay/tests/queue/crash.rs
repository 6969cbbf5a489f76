//! A spool as a crash leaves it: what was confirmed is there, what was not is there whole or not at
//! all.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use imss_core::ids::QueueId;
use imss_relay::queue::{Queue, Settings};
use imss_relay::spool::Accepted;

use crate::support::{Failing, bytes_of, id, plain, settings};

fn tiny() -> Settings {
    Settings { reserve_bytes: 0, ..settings() }
}

/// The spool's files, copied while it is in use: what a crash would leave.
fn snapshot(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            snapshot(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn newest_segment(dir: &Path) -> PathBuf {
    let entries = std::fs::read_dir(dir.join("segments")).unwrap();
    entries.map(|entry| entry.unwrap().path()).max().expect("a segment")
}

fn contents(queue: &Queue) -> BTreeMap<QueueId, Vec<u8>> {
    let entries = queue.list(usize::MAX).into_iter();
    entries.map(|entry| (entry.id, bytes_of(&queue.read(entry.id).unwrap()))).collect()
}

fn expected(messages: &[Accepted]) -> BTreeMap<QueueId, Vec<u8>> {
    messages.iter().map(|message| (message.id, bytes_of(message))).collect()
}

#[tokio::test]
async fn confirmed_mail_is_there_after_a_crash_and_unconfirmed_mail_whole_or_absent() {
    let dir = tempfile::tempdir().unwrap();
    let spool = dir.path().join("spool");
    let (queue, _) = Queue::open(&spool, tiny()).unwrap();
    let first = [plain(1, b"first"), plain(2, &[b'x'; 300])];
    queue.submit(first.to_vec()).await.unwrap();
    let confirmed = std::fs::metadata(newest_segment(&spool)).unwrap().len();
    let last = [plain(3, b"third"), plain(4, b"fourth")];
    queue.submit(last.to_vec()).await.unwrap();
    let end = std::fs::metadata(newest_segment(&spool)).unwrap().len();
    assert!(end > confirmed);
    for length in confirmed..=end {
        let crashed = dir.path().join(format!("cut-{length}"));
        snapshot(&spool, &crashed);
        let segment = newest_segment(&crashed);
        OpenOptions::new().write(true).open(segment).unwrap().set_len(length).unwrap();
        let (found, recovered) = Queue::open(&crashed, tiny()).unwrap();
        let mut all = first.to_vec();
        all.extend(if length == end { last.to_vec() } else { Vec::new() });
        assert_eq!(contents(&found), expected(&all), "cut at {length}");
        let torn = if length == end { 0 } else { length - confirmed };
        assert_eq!(recovered.torn_bytes, torn, "cut at {length}");
        assert!(recovered.damaged.is_empty(), "cut at {length}");
        drop(found);
        std::fs::remove_dir_all(crashed).unwrap();
    }
}

#[tokio::test]
async fn a_spool_goes_on_after_its_torn_end_was_cut() {
    let dir = tempfile::tempdir().unwrap();
    let (queue, _) = Queue::open(dir.path(), tiny()).unwrap();
    queue.submit(vec![plain(1, b"first")]).await.unwrap();
    queue.submit(vec![plain(2, b"second")]).await.unwrap();
    queue.close().await;
    drop(queue);
    let segment = OpenOptions::new().write(true).open(newest_segment(dir.path())).unwrap();
    segment.set_len(segment.metadata().unwrap().len() - 1).unwrap();
    for round in 3..6 {
        let (queue, _) = Queue::open(dir.path(), tiny()).unwrap();
        queue.submit(vec![plain(round, b"more")]).await.unwrap();
        queue.close().await;
    }
    let (queue, recovered) = Queue::open(dir.path(), tiny()).unwrap();
    let all = [plain(1, b"first"), plain(3, b"more"), plain(4, b"more"), plain(5, b"more")];
    assert_eq!(contents(&queue), expected(&all));
    assert_eq!(recovered.torn_bytes, 0);
}

#[tokio::test]
async fn damage_costs_one_message_and_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (queue, _) = Queue::open(dir.path(), tiny()).unwrap();
    for number in 1..4 {
        queue.submit(vec![plain(number, format!("body {number}").as_bytes())]).await.unwrap();
    }
    queue.close().await;
    drop(queue);
    let path = newest_segment(dir.path());
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(6).position(|window| window == b"body 2").expect("the second body");
    bytes[at] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let (queue, recovered) = Queue::open(dir.path(), tiny()).unwrap();
    assert_eq!(contents(&queue), expected(&[plain(1, b"body 1"), plain(3, b"body 3")]));
    let [copy] = recovered.damaged.as_slice() else { panic!("{recovered:?}") };
    assert_eq!(std::fs::read(copy).unwrap(), bytes, "the evidence is kept");
}

#[tokio::test]
async fn large_bodies_lie_in_files_that_belong_to_messages() {
    let dir = tempfile::tempdir().unwrap();
    let large = vec![b'L'; 700_000];
    let files = || std::fs::read_dir(dir.path().join("bodies")).unwrap().count();
    let (queue, _) = Queue::open(dir.path(), tiny()).unwrap();
    let mut writer = queue.body_writer(id(1));
    for chunk in large.chunks(10_000) {
        writer.write(chunk).await.unwrap();
        assert!(writer.buffered() <= (512 << 10) + chunk.len(), "memory is bounded");
    }
    assert_eq!(writer.len(), 700_000);
    let body = writer.finish().await.unwrap();
    queue.submit(vec![Accepted { body, ..plain(1, b"") }]).await.unwrap();
    assert_eq!(files(), 1);

    let mut aborted = queue.body_writer(id(2));
    aborted.write(&large).await.unwrap();
    assert_eq!(files(), 2);
    drop(aborted);
    assert_eq!(files(), 1, "an aborted body leaves nothing");

    let mut refused = queue.body_writer(id(3));
    refused.write(&large).await.unwrap();
    drop(refused.finish().await.unwrap());
    assert_eq!(files(), 1, "nor does one that nobody accepts");

    queue.close().await;
    drop(queue);
    std::fs::write(dir.path().join("bodies").join(id(9).to_string()), b"orphan").unwrap();
    let (queue, recovered) = Queue::open(dir.path(), tiny()).unwrap();
    assert_eq!((recovered.orphans, files()), (1, 1));
    assert_eq!(bytes_of(&queue.read(id(1)).unwrap()), large);
    drop(queue);
    std::fs::remove_file(dir.path().join("bodies").join(id(1).to_string())).unwrap();
    let (_, recovered) = Queue::open(dir.path(), tiny()).unwrap();
    assert_eq!(recovered.without_body, [id(1)]);
}

#[tokio::test]
async fn after_a_failed_sync_nothing_is_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Failing::new(i64::MAX);
    let failing = Settings { storage: disk.clone(), ..tiny() };
    let (queue, _) = Queue::open(dir.path(), failing).unwrap();
    queue.submit(vec![plain(1, b"first")]).await.unwrap();
    disk.syncs_left.store(0, std::sync::atomic::Ordering::SeqCst);
    let refused = queue.submit(vec![plain(2, b"second")]).await;
    assert!(matches!(refused, Err(imss_relay::spool::SpoolError::Poisoned)), "{refused:?}");
    disk.syncs_left.store(i64::MAX, std::sync::atomic::Ordering::SeqCst);
    let refused = queue.submit(vec![plain(3, b"third")]).await;
    assert!(matches!(refused, Err(imss_relay::spool::SpoolError::Poisoned)), "{refused:?}");
    assert!(!queue.counts().healthy);
    drop(queue);
    let (queue, _) = Queue::open(dir.path(), tiny()).unwrap();
    assert_eq!(contents(&queue).get(&id(1)).map(Vec::as_slice), Some(&b"first"[..]));
    queue.submit(vec![plain(4, b"fourth")]).await.unwrap();
}
