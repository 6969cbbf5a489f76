//! Who is tried when, what is recorded, and who is told.

use std::sync::Arc;
use std::time::Duration;

use imss_core::envelope::{Notify, ReversePath};
use imss_relay::outbound::Scope;
use imss_relay::queue::{Cause, RecipientState, Settings};
use imss_relay::spool::Destination;

use crate::support::{
    Running, Scripted, TestClock, copy, id, later, message, never, plain, settings,
};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

fn on(clock: &Arc<TestClock>) -> Settings {
    Settings { clock: clock.clone(), ..settings() }
}

#[tokio::test]
async fn recipients_of_one_destination_share_a_job_and_not_their_fate() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let deliverer = Scripted::new(&[
        ("late@example.com", &[later(Scope::Recipient)]),
        ("nobody@example.com", &[never()]),
    ]);
    let running = Running::start(dir.path(), on(&clock), &deliverer);
    let to = ["ok@example.com", "late@example.com", "nobody@example.com", "x@example.net"];
    let copies = vec![copy(&to, Destination::NextHop)];
    running.queue.submit(vec![message(1, b"body", copies)]).await.unwrap();
    // Two deliveries, one deferral, one failure, and the notice about that.
    let events = running.notes.wait(5).await;
    let expected = [
        "author@example.org delivered",
        "late@example.com deferred",
        "nobody@example.com failed",
        "ok@example.com delivered",
        "x@example.net delivered",
    ];
    assert_eq!(events, expected);
    let together = deliverer.jobs.lock().unwrap().iter().any(|(_, to, _)| to.len() == 3);
    assert!(together, "example.com went in one job");
    let entry = running.queue.show(id(1)).unwrap();
    assert_eq!((entry.done, entry.subject.as_str()), (3, "A subject"));
    let [left] = entry.recipients.as_slice() else { panic!("{entry:?}") };
    assert_eq!((left.state, left.attempts), (RecipientState::Deferred, 1));
    assert_eq!(left.last.as_deref(), Some("4.4.1 not now"));
    let causes: Vec<_> = running.notes.reports.lock().unwrap()[0]
        .recipients
        .iter()
        .map(|one| (one.recipient.path.to_string(), one.cause))
        .collect();
    assert_eq!(causes, [("nobody@example.com".to_owned(), Cause::Failed)]);

    clock.advance(&running.queue, MINUTE);
    running.drained().await;
    assert_eq!(deliverer.attempts_for("late@example.com"), 2);
    assert_eq!(deliverer.attempts_for("ok@example.com"), 1);
    running.stop().await;
}

#[tokio::test]
async fn what_was_recorded_is_not_repeated_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let deliverer = Scripted::new(&[("late@example.com", &[later(Scope::Recipient)])]);
    let running = Running::start(dir.path(), on(&clock), &deliverer);
    let copies = vec![copy(&["ok@example.com", "late@example.com"], Destination::NextHop)];
    running.queue.submit(vec![message(1, b"body", copies)]).await.unwrap();
    running.notes.wait(2).await;
    running.stop().await;
    let running = Running::start(dir.path(), on(&clock), &deliverer);
    let entry = running.queue.show(id(1)).unwrap();
    assert_eq!((entry.done, entry.recipients[0].attempts), (1, 1));
    clock.advance(&running.queue, MINUTE);
    running.drained().await;
    assert_eq!(deliverer.attempts_for("ok@example.com"), 1);
    assert_eq!(deliverer.attempts_for("late@example.com"), 2);
    running.stop().await;
}

#[tokio::test]
async fn a_late_message_is_told_once_and_given_up_in_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let always = vec![later(Scope::Recipient); 100];
    let deliverer = Scripted::new(&[("late@example.com", &always)]);
    let running = Running::start(dir.path(), on(&clock), &deliverer);
    let copies = vec![copy(&["late@example.com"], Destination::NextHop)];
    running.queue.submit(vec![message(1, b"body", copies)]).await.unwrap();
    running.notes.wait(1).await;
    // The notices are delivered: one event each.
    for (step, events, causes) in [(5 * HOUR, 3, 1), (5 * HOUR, 4, 1), (110 * HOUR, 6, 2)] {
        clock.advance(&running.queue, step);
        running.notes.wait(events).await;
        assert_eq!(running.notes.reports.lock().unwrap().len(), causes, "after {step:?}");
    }
    running.drained().await;
    let cause = |report: usize| running.notes.reports.lock().unwrap()[report].recipients[0].cause;
    assert!(matches!(cause(0), Cause::Delayed { .. }));
    assert_eq!(cause(1), Cause::Expired);
    running.stop().await;
}

#[tokio::test]
async fn nobody_is_told_who_does_not_want_to_know() {
    let dir = tempfile::tempdir().unwrap();
    let gone = [never()];
    let deliverer = Scripted::new(&[("a@example.com", &gone), ("b@example.com", &gone)]);
    let running = Running::start(dir.path(), settings(), &deliverer);
    let mut from_nobody = copy(&["a@example.com"], Destination::NextHop);
    from_nobody.reverse_path = ReversePath::Null;
    let mut never = copy(&["b@example.com"], Destination::NextHop);
    never.recipients[0].parameters.notify =
        Some(Notify { success: false, failure: false, delay: false });
    running.queue.submit(vec![message(1, b"x", vec![from_nobody, never])]).await.unwrap();
    running.drained().await;
    assert_eq!(running.notes.wait(2).await, ["a@example.com failed", "b@example.com failed"]);
    assert!(running.notes.reports.lock().unwrap().is_empty());
    running.stop().await;
}

#[tokio::test]
async fn a_failing_destination_is_tried_by_one_message_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let down = [later(Scope::Destination)];
    let deliverer = Scripted::new(&[("u1@example.com", &down)]);
    let settings = Settings { per_destination: 1, ..on(&clock) };
    let running = Running::start(dir.path(), settings, &deliverer);
    let first = message(1, b"x", vec![copy(&["u1@example.com"], Destination::NextHop)]);
    running.queue.submit(vec![first]).await.unwrap();
    running.notes.wait(1).await;
    for number in 2..10 {
        let to = format!("u{number}@example.com");
        let waiting = vec![copy(&[to.as_str()], Destination::NextHop)];
        running.queue.submit(vec![message(number, b"x", waiting)]).await.unwrap();
    }
    let other = message(20, b"x", vec![copy(&["u@example.net"], Destination::NextHop)]);
    running.queue.submit(vec![other]).await.unwrap();
    running.notes.wait(2).await;
    assert_eq!(deliverer.jobs.lock().unwrap().len(), 2, "the others wait for the pause to end");
    running.queue.flush();
    running.drained().await;
    assert_eq!(deliverer.attempts_for("u1@example.com"), 2);
    running.stop().await;
}

#[tokio::test]
async fn one_destination_gets_no_more_jobs_than_its_limit() {
    let dir = tempfile::tempdir().unwrap();
    let deliverer = Arc::new(Scripted { pace: Duration::from_millis(5), ..Scripted::default() });
    let settings = Settings { per_destination: 3, cache_bytes: 2000, ..settings() };
    let running = Running::start(dir.path(), settings, &deliverer);
    let messages = (1..=40).map(|number| plain(number, &[b'x'; 500])).collect();
    running.queue.submit(messages).await.unwrap();
    running.drained().await;
    assert_eq!(deliverer.jobs.lock().unwrap().len(), 40);
    let most = deliverer.most_running.load(std::sync::atomic::Ordering::SeqCst);
    assert!((1..=3).contains(&most), "{most} at once");
    running.stop().await;
}

#[tokio::test]
async fn hold_release_route_and_delete() {
    let dir = tempfile::tempdir().unwrap();
    let deliverer = Scripted::new(&[]);
    let running = Running::start(dir.path(), settings(), &deliverer);
    let reason = "looks odd".to_owned();
    for number in [1, 2] {
        let held = copy(&["user@example.com"], Destination::Hold { reason: reason.clone() });
        running.queue.submit(vec![message(number, b"x", vec![held])]).await.unwrap();
    }
    running.notes.wait(2).await;
    running.queue.flush();
    let entry = running.queue.show(id(1)).unwrap();
    assert_eq!(entry.recipients[0].state, RecipientState::Held);
    assert_eq!(entry.recipients[0].last.as_deref(), Some("looks odd"));
    assert_eq!(running.queue.counts().held, 2);
    running.queue.delete(id(2)).unwrap();
    running.queue.route(id(1), Some(&"smtp://other.example:25".parse().unwrap())).unwrap();
    running.queue.release(id(1)).unwrap();
    running.drained().await;
    let expected = [
        "user@example.com deleted",
        "user@example.com delivered",
        "user@example.com held",
        "user@example.com held",
    ];
    assert_eq!(running.notes.wait(4).await, expected);
    assert_eq!(deliverer.jobs.lock().unwrap().len(), 1);
    assert!(running.queue.show(id(1)).is_err());
    assert!(running.queue.hold(id(1), "gone").is_err());
    running.stop().await;
}

#[tokio::test]
async fn held_mail_is_as_old_as_its_release() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let script: &[_] = &[later(Scope::Recipient), later(Scope::Recipient)];
    let deliverer = Scripted::new(&[("by-rule@example.com", script)]);
    let settings = Settings { delay_notice: None, cache_bytes: 0, ..on(&clock) };
    let day = 24 * HOUR;
    let running = Running::start(dir.path(), settings.clone(), &deliverer);
    let hold = Destination::Hold { reason: "looks odd".to_owned() };
    let by_rule = message(1, b"x", vec![copy(&["by-rule@example.com"], hold)]);
    running.queue.submit(vec![by_rule]).await.unwrap();
    running.notes.wait(1).await;
    clock.advance(&running.queue, 20 * day);
    running.queue.release(id(1)).unwrap();
    let events = running.notes.wait(2).await;
    assert!(events.contains(&"by-rule@example.com deferred".to_owned()), "{events:?}");
    running.stop().await;

    // The time of the release is in the journal, also after old segments went.
    let running = Running::start(dir.path(), settings, &deliverer);
    running.queue.compact().unwrap();
    // A release of what is not held gives no new time.
    running.queue.release(id(1)).unwrap();
    clock.advance(&running.queue, 6 * day);
    let events = running.notes.wait(1).await;
    assert!(events.contains(&"by-rule@example.com expired".to_owned()), "{events:?}");
    running.drained().await;
    assert_eq!(running.notes.reports.lock().unwrap()[0].recipients[0].cause, Cause::Expired);
    running.stop().await;
}

#[tokio::test]
async fn a_pause_is_no_attempt_for_what_was_just_released() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let down = [later(Scope::Destination)];
    let deliverer = Scripted::new(&[("first@example.com", &down)]);
    let settings = Settings { per_destination: 1, delay_notice: None, ..on(&clock) };
    let running = Running::start(dir.path(), settings, &deliverer);
    for (number, recipient) in [(1, "first@example.com"), (2, "second@example.com")] {
        let hold = Destination::Hold { reason: "looks odd".to_owned() };
        running
            .queue
            .submit(vec![message(number, b"x", vec![copy(&[recipient], hold)])])
            .await
            .unwrap();
    }
    running.notes.wait(2).await;
    clock.advance(&running.queue, 20 * 24 * HOUR);
    for number in [1, 2] {
        running.queue.release(id(number)).unwrap();
    }
    let events = running.notes.wait(3).await;
    assert!(events.contains(&"first@example.com deferred".to_owned()), "{events:?}");
    assert_eq!(running.queue.show(id(2)).unwrap().recipients[0].attempts, 0);
    running.stop().await;
}

#[tokio::test]
async fn a_slow_next_hop_is_waited_for_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let deliverer = Arc::new(Scripted { pace: Duration::from_millis(200), ..Scripted::default() });
    let running = Running::start(dir.path(), settings(), &deliverer);
    running.queue.submit(vec![plain(1, b"x")]).await.unwrap();
    while deliverer.running.load(std::sync::atomic::Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    running.stop().await;
    let (queue, recovered) =
        imss_relay::queue::Queue::open(&dir.path().join("spool"), settings()).unwrap();
    assert_eq!((recovered.messages, queue.list(9).len()), (0, 0), "its end was recorded");
    let refused = queue.clone();
    queue.close().await;
    assert!(refused.submit(vec![plain(2, b"x")]).await.is_err(), "a closed queue accepts nothing");
}
