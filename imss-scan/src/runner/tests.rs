use std::sync::mpsc;

use super::*;

const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(5);

fn run_and_wait<T: Send + 'static>(
    runner: &Runner,
    job: impl FnOnce(&StopFlag) -> T + Send + 'static,
) -> Result<T, RunError> {
    let (sender, receiver) = mpsc::channel();
    runner.run(job, move |result| sender.send(result).unwrap());
    let result = receiver.recv().unwrap();
    assert!(receiver.recv().is_err(), "the callback is called once");
    result
}

#[test]
fn results_come_back() {
    let runner = Runner::new(2, LONG);
    for n in 0..100 {
        assert_eq!(run_and_wait(&runner, move |_| n), Ok(n));
    }
}

#[test]
fn a_panic_costs_one_job() {
    let runner = Runner::new(1, LONG);
    let crashed = run_and_wait(&runner, |_| -> u8 { panic!("bad\nmail") });
    assert_eq!(crashed, Err(RunError::Crashed("bad\\nmail".to_owned())));
    assert_eq!(run_and_wait(&runner, |_| 1), Ok(1));
}

#[test]
fn a_panic_of_the_callback_costs_nothing() {
    let runner = Runner::new(1, LONG);
    runner.run(|_| (), |_| panic!("callback"));
    assert_eq!(run_and_wait(&runner, |_| 1), Ok(1));
}

#[test]
fn a_job_that_watches_its_flag_keeps_its_result() {
    let runner =
        Runner::with_settings(RunnerSettings { grace: LONG, ..RunnerSettings::new(1, SHORT) });
    let result = run_and_wait(&runner, |stop| {
        while !stop.is_stopped() {
            thread::yield_now();
        }
        "partial"
    });
    assert_eq!(result, Ok("partial"));
    assert_eq!(run_and_wait(&runner, |_| 1), Ok(1));
    assert_eq!((runner.stats().stopped, runner.stats().timed_out), (1, 0));
}

#[test]
fn a_job_that_hangs_is_given_up_and_its_thread_replaced() {
    let runner =
        Runner::with_settings(RunnerSettings { grace: SHORT, ..RunnerSettings::new(1, SHORT) });
    let (release, gate) = mpsc::channel::<()>();
    let hung = run_and_wait(&runner, move |_| gate.recv());
    assert!(matches!(hung, Err(RunError::TimedOut)));
    assert_eq!((runner.stats().timed_out, runner.stats().stuck), (1, 1));
    assert_eq!(run_and_wait(&runner, |_| 1), Ok(1), "the pool works on");
    release.send(()).unwrap();
    while runner.stats().stuck > 0 {
        thread::yield_now();
    }
    assert_eq!(run_and_wait(&runner, |_| 2), Ok(2));
}

#[test]
fn a_full_queue_refuses() {
    let runner = Runner::with_settings(RunnerSettings { queue: 1, ..RunnerSettings::new(1, LONG) });
    let (release, gate) = mpsc::channel::<()>();
    let (began, begins) = mpsc::channel();
    let (sender, results) = mpsc::channel();
    let report = sender.clone();
    let first = move |_: &StopFlag| {
        began.send(()).unwrap();
        let _ = gate.recv();
        1
    };
    runner.run(first, move |result| report.send(result).unwrap());
    begins.recv().unwrap();
    let report = sender.clone();
    runner.run(|_| 2, move |result| report.send(result).unwrap());
    runner.run(|_| 3, move |result| sender.send(result).unwrap());
    assert_eq!(results.recv().unwrap(), Err(RunError::Overloaded));
    release.send(()).unwrap();
    assert_eq!(results.iter().collect::<Vec<_>>(), [Ok(1), Ok(2)]);
    assert_eq!(runner.stats().overloaded, 1);
}

#[test]
fn a_dropped_pool_ends_what_it_took_on() {
    let runner = Runner::new(1, LONG);
    let (sender, results) = mpsc::channel();
    for n in 0..10 {
        let sender = sender.clone();
        runner.run(move |_| n, move |result| sender.send(result).unwrap());
    }
    drop((runner, sender));
    assert_eq!(results.iter().count(), 10);
}
