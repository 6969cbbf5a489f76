//! Against a real clamd (Debian package clamav-daemon), and against what is none.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use imss_core::finding::{FindingKind, GapReason};
use imss_core::ids::EntityId;
use imss_core::limits::Limit;
use imss_core::plan::Query;
use imss_scan::lookup::Lookups;
use imss_scan::malware::clamd::{Client, ClientSettings, Endpoint};
use imss_scan::{Answer, LookupError, Question, Scan, Scanner, Settings};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::mail::{Mail, plan};

/// What the test's only signature looks for.
const MARKER: &str = "imss clamd test marker, harmless";
const MAX_STREAM: usize = 1 << 20;

/// A clamd in a folder of its own, ended with the test.
struct Daemon {
    process: Child,
    folder: TempDir,
}

impl Daemon {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        std::fs::create_dir(path("db")).unwrap();
        let hex: String = MARKER.bytes().map(|byte| format!("{byte:02x}")).collect();
        std::fs::write(path("db/test.ndb"), format!("Imss.Test.Marker:0:*:{hex}\n")).unwrap();
        let settings = format!(
            "LocalSocket {}\nDatabaseDirectory {}\nForeground yes\nStreamMaxLength 1M\n\
             TemporaryDirectory {}\n",
            path("socket"),
            path("db"),
            folder.path().display()
        );
        std::fs::write(path("clamd.conf"), settings).unwrap();
        let process = Command::new("clamd")
            .arg(format!("--config-file={}", path("clamd.conf")))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("clamd runs: install the package clamav-daemon");
        let mut daemon = Self { process, folder };
        while daemon.client().version().await.is_err() {
            assert!(daemon.process.try_wait().unwrap().is_none(), "clamd has ended");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        daemon
    }

    fn client(&self) -> Client {
        unix_client(&self.folder.path().join("socket"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn unix_client(socket: &Path) -> Client {
    Client::new(ClientSettings::new(Endpoint::Unix(socket.to_owned())))
}

async fn scan_with(client: Client, mail: &Mail) -> Scan {
    let plan = plan([Query::Malware]);
    let settings = Settings { clamd: true, ..Settings::default() };
    let scanner = Scanner::new(Arc::clone(&plan), settings).unwrap();
    let lookups = Lookups { clamd: Some(client), ..Lookups::default() };
    let answers = lookups.answer(mail.questions(&scanner, &plan)).await;
    mail.scan(&scanner, &plan, &answers)
}

#[tokio::test]
async fn a_real_clamd_answers() {
    let daemon = Daemon::start().await;
    assert!(daemon.client().version().await.unwrap().starts_with("ClamAV "));

    let clean = scan_with(daemon.client(), &Mail::with_attachments("hello", &[])).await;
    assert!(clean.findings.is_clean(), "{clean:?}");

    let bad = Mail::with_attachments("hello", &[("a.bin", MARKER.as_bytes())]);
    let bad = scan_with(daemon.client(), &bad).await;
    let [finding] = &bad.findings.found[..] else { panic!("{bad:?}") };
    assert_eq!(finding.kind, FindingKind::Malware);
    assert_eq!(finding.name, "Imss.Test.Marker.UNOFFICIAL");
    assert!(bad.findings.gaps.is_empty());

    let large = daemon.client().scan(&vec![b'x'; 8 * MAX_STREAM]).await;
    assert_eq!(large, Err(LookupError::TooLarge));
    let just_right = daemon.client().scan(&vec![b'x'; MAX_STREAM]).await;
    assert_eq!(just_right, Ok(Answer::Clamd(None)));
    let empty = daemon.client().scan(b"").await;
    assert_eq!(empty, Ok(Answer::Clamd(None)));
}

#[tokio::test]
async fn many_questions_at_once() {
    let daemon = Daemon::start().await;
    let lookups = Lookups { clamd: Some(daemon.client()), ..Lookups::default() };
    let content = |n: u32| if n.is_multiple_of(2) { MARKER } else { "harmless" };
    let question =
        |n: u32| Question::Clamd { entity: EntityId(n), content: Bytes::from(content(n)) };
    let answers = lookups.answer((0..100).map(question).collect()).await;
    for n in 0_u32..100 {
        let found = n.is_multiple_of(2).then(|| "Imss.Test.Marker.UNOFFICIAL".to_owned());
        assert_eq!(answers.get(&question(n).key()), Ok(&Answer::Clamd(found)), "{n}");
    }
}

#[tokio::test]
async fn a_dead_daemon_is_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    let client = unix_client(&folder.path().join("nobody"));
    assert!(matches!(client.scan(b"x").await, Err(LookupError::Unreachable(_))));
    let scan = scan_with(client, &Mail::new("Subject: x\r\n\r\ntext\r\n")).await;
    let [gap] = &scan.findings.gaps[..] else { panic!("{scan:?}") };
    assert_eq!((gap.reason, &*gap.engine), (GapReason::Engine, "clamd"));
}

/// A daemon that takes what comes and says `reply`; nothing, and stays connected, for `None`.
async fn pretender(reply: Option<&'static [u8]>) -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::Tcp(listener.local_addr().unwrap().to_string());
    let serve = move |mut stream: TcpStream| async move {
        let mut taken = Vec::new();
        let mut buffer = [0; 4096];
        while !taken.ends_with(&[0; 4]) {
            let count = stream.read(&mut buffer).await.unwrap();
            taken.extend_from_slice(&buffer[..count]);
            if count == 0 || taken.starts_with(b"zVERSION") {
                return;
            }
        }
        match reply {
            Some(reply) => stream.write_all(reply).await.unwrap(),
            None => std::future::pending().await,
        }
    };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    let timeout = Duration::from_millis(if reply.is_none() { 50 } else { 60_000 });
    Client::new(ClientSettings { timeout, ..ClientSettings::new(endpoint) })
}

/// Name, what the daemon says, whether an error is the right one.
type Case = (&'static str, Option<&'static [u8]>, fn(&LookupError) -> bool);

#[tokio::test]
async fn nonsense_is_a_gap() {
    let cases: [Case; 6] = [
        ("silence", None, |e| *e == LookupError::TimedOut),
        ("hangs up", Some(b""), |e| matches!(e, LookupError::Unreachable(_))),
        ("half a reply", Some(b"stream: OK"), |e| matches!(e, LookupError::Unreachable(_))),
        ("another protocol", Some(b"220 hello\r\n\0"), |e| matches!(e, LookupError::Garbage(_))),
        ("its error", Some(b"stream: out of memory ERROR\0"), |e| {
            matches!(e, LookupError::Failed(_))
        }),
        ("an endless reply", Some(&[b'x'; 100_000]), |e| matches!(e, LookupError::Garbage(_))),
    ];
    for (name, reply, expected) in cases {
        let error = pretender(reply).await.scan(b"content").await.unwrap_err();
        assert!(expected(&error), "{name}: {error:?}");
    }
}

#[tokio::test]
async fn what_clamd_did_not_look_into_is_a_gap() {
    let cases: [(&[u8], GapReason); 3] = [
        (b"INSTREAM size limit exceeded. ERROR\0", GapReason::Limit(Limit::MessageBytes)),
        (
            b"stream: Heuristics.Limits.Exceeded.MaxFiles FOUND\0",
            GapReason::Limit(Limit::TotalBytes),
        ),
        (b"stream: Heuristics.Encrypted.Zip FOUND\0", GapReason::Encrypted),
    ];
    for (reply, reason) in cases {
        let client = pretender(Some(reply)).await;
        let scan = scan_with(client, &Mail::new("Subject: x\r\n\r\ntext\r\n")).await;
        let [gap] = &scan.findings.gaps[..] else { panic!("{scan:?}") };
        assert_eq!(gap.reason, reason);
        assert!(scan.findings.found.is_empty());
    }
}
