//! One process per spool.

use imss_relay::queue::Queue;
use imss_relay::spool::SpoolError;

use crate::support::settings;

#[test]
fn a_second_queue_is_refused_and_told_by_whom() {
    let dir = tempfile::tempdir().unwrap();
    let (first, _) = Queue::open(dir.path(), settings()).unwrap();
    let error = Queue::open(dir.path(), settings()).expect_err("the first one has it");
    let SpoolError::InUse { pid, path } = &error else { panic!("{error}") };
    assert_eq!(*pid, std::process::id().to_string());
    assert_eq!(*path, dir.path().join("lock"));
    drop(first);
    Queue::open(dir.path(), settings()).expect("the lock is free again");
}
