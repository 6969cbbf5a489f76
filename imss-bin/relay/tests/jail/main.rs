//! What the jail promises: a worker that fails costs one message a gap, and a confined process can do
//! nothing but read and write its pipes.
#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use imss_core::finding::GapReason;
use imss_core::limits::{Limit, Limits, StopFlag};
use imss_core::message::Message;
use imss_relay::jail::{Jail, JailError, JailSettings, confine};
use imss_relay::reader::Reader;

const MESSAGE: &[u8] = b"Subject: x\r\n\r\nHello\r\n";

/// A worker that says it is confined, takes a message, and then does what `script` says.
fn fake(dir: &Path, script: &str) -> JailSettings {
    let program = dir.join("worker");
    let ready = r"printf 'R\000\000\000\000\000\000\000\002ok'";
    let frame = "head -c $(head -c 9 | od -An -tu1 | awk '{print $8 * 256 + $9}') >/dev/null";
    fs::write(&program, format!("#!/bin/sh\n{frame}\n{ready}\n{frame}\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    JailSettings { program, messages_per_worker: 100 }
}

#[test]
fn a_worker_that_fails_leaves_a_gap() {
    let cases = [
        ("ends", "exit 1", GapReason::Crash),
        ("is killed", "kill -9 $$", GapReason::Crash),
        ("breaks out", "kill -SYS $$", GapReason::Crash),
        ("garbage", "head -c 20 /dev/zero; sleep 5", GapReason::Crash),
        (
            "too long an answer",
            r"printf 'E\377\377\377\377\377\377\377\377'; sleep 5",
            GapReason::Crash,
        ),
        (
            "not entities",
            r"printf 'E\000\000\000\000\000\000\000\003abc'; sleep 5",
            GapReason::Crash,
        ),
        (
            "says it failed",
            r"printf 'F\000\000\000\000\000\000\000\003why'; sleep 5",
            GapReason::Crash,
        ),
        ("hangs", "sleep 60", GapReason::Limit(Limit::Time)),
        (
            "half an answer",
            r"printf 'E\000\000\000\000\000\000\000\011abc'; sleep 60",
            GapReason::Limit(Limit::Time),
        ),
    ];
    for (name, script, reason) in cases {
        let dir = tempfile::tempdir().unwrap();
        let reader = Reader::jailed(Limits::default(), &[], fake(dir.path(), script)).unwrap();
        let message = Message::parse(MESSAGE.into(), reader.limits());
        let stop = StopFlag::new();
        // The deadline of the run that the message is in.
        stop.stop();
        let entities = reader.entities(&message, &stop);
        let [gap] = entities.gaps() else { panic!("{name}: {:?}", entities.gaps()) };
        assert_eq!((gap.reason, gap.engine.as_ref()), (reason, "jail"), "{name}: {}", gap.detail);
        assert_eq!(entities.len(), 1, "{name}");
        assert_eq!(entities.iter().next().unwrap().content, MESSAGE, "{name}");
        assert_eq!(reader.jail().unwrap().counts().1, 1, "{name}: the failure is counted");
    }
}

#[test]
fn a_worker_that_does_not_come_up_is_told_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let settings = JailSettings { program: dir.path().join("none"), messages_per_worker: 1 };
    let started = Jail::new(settings, Limits::default(), Vec::new());
    assert!(matches!(started, Err(JailError::Start(_))), "{started:?}");
    let program = "/bin/false".into();
    let started =
        Jail::new(JailSettings { program, messages_per_worker: 1 }, Limits::default(), Vec::new());
    assert!(matches!(started, Err(JailError::Ended(_))), "{started:?}");
}

/// Runs this test program again, which confines itself and then tries `what`.
fn confined(what: &str) -> std::process::ExitStatus {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "inside_the_jail", "--test-threads=1", "--nocapture"])
        .env("JAILED_TRY", what)
        .env_remove("RUST_BACKTRACE")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap()
}

#[test]
fn a_confined_process_can_do_nothing_else() {
    const SIGSYS: i32 = 31;
    for what in ["socket", "fork", "parent", "kill", "unlink", "exec"] {
        let status = confined(what);
        assert_eq!(status.signal(), Some(SIGSYS), "{what}: {status}");
    }
    // Refused rather than punished: see the filter.
    assert_eq!(confined("open").code(), Some(40), "opening a file is refused");
    assert_eq!(confined("memory").code(), Some(41), "memory is bounded");
    assert_eq!(confined("compute").code(), Some(42), "computing goes on");
}

/// The inner side of the test above; without its variable there is nothing to try.
#[test]
fn inside_the_jail() {
    let Ok(what) = std::env::var("JAILED_TRY") else { return };
    let inside = std::thread::spawn(move || {
        confine::resources(&Limits::small()).unwrap();
        confine::calls().unwrap();
        match what.as_str() {
            "socket" => drop(std::net::UdpSocket::bind("127.0.0.1:0")),
            "fork" | "exec" => drop(Command::new("/bin/true").status()),
            "parent" => {
                let _ = rustix::process::getppid().map(rustix::process::test_kill_process);
            }
            "kill" => {
                let pid = rustix::process::getpid();
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            }
            "unlink" => drop(fs::remove_file("/nonexistent/file")),
            "open" if fs::File::open("/etc/passwd").is_err() => std::process::exit(40),
            "memory" => {
                let mut room: Vec<u8> = Vec::new();
                if room.try_reserve_exact(4 << 30).is_err() {
                    std::process::exit(41);
                }
            }
            "compute" => {
                let sum: u64 = (0..1_000_u64).map(std::hint::black_box).sum();
                std::process::exit(if sum == 499_500 { 42 } else { 1 });
            }
            _ => {}
        }
        std::process::exit(1)
    });
    let _ = inside.join();
}
