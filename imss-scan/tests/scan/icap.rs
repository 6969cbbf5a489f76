//! Against a real ICAP server (Debian package c-icap), and every fault that a server can have.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use imss_core::finding::{FindingKind, GapReason};
use imss_core::ids::EntityId;
use imss_core::plan::Query;
use imss_scan::lookup::Lookups;
use imss_scan::malware::icap::{Client, ClientSettings};
use imss_scan::{Answer, LookupError, OutcomeWord, Question, Scan, Scanner, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::mail::{Mail, plan};

fn client(url: &str) -> Client {
    Client::new(ClientSettings::new(url.parse().unwrap()))
}

async fn scan_with(client: Client, mail: &Mail) -> Scan {
    let plan = plan([Query::Malware]);
    let settings = Settings { icap: true, ..Settings::default() };
    let scanner = Scanner::new(Arc::clone(&plan), settings).unwrap();
    let lookups = Lookups { icap: Some(client), ..Lookups::default() };
    let answers = lookups.answer(mail.questions(&scanner, &plan)).await;
    mail.scan(&scanner, &plan, &answers)
}

/// A c-icap with its echo service, ended with the test.
struct Daemon {
    process: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Daemon {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let libraries = ["x86_64", "aarch64"]
            .map(|machine| format!("/usr/lib/{machine}-linux-gnu/c_icap"))
            .into_iter()
            .find(|folder| std::path::Path::new(folder).exists())
            .expect("c-icap is installed: install the package c-icap");
        let settings = format!(
            "PidFile {}\nCommandsSocket {}\nPort 127.0.0.1:{port}\nStartServers 1\nMaxServers 1\n\
             ThreadsPerChild 10\nServerName test\nTmpDir {}\nServerLog {}\nAccessLog {}\n\
             ModulesDir {libraries}\nServicesDir {libraries}\nLoadMagicFile /etc/c-icap/c-icap.magic\n\
             Service echo srv_echo.so\n",
            path("pid"),
            path("control"),
            folder.path().display(),
            path("server.log"),
            path("access.log"),
        );
        std::fs::write(path("c-icap.conf"), settings).unwrap();
        let process = Command::new("c-icap")
            .args(["-N", "-f", &path("c-icap.conf")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("c-icap runs: install the package c-icap");
        let mut daemon = Self { process, port, _folder: folder };
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(daemon.process.try_wait().unwrap().is_none(), "c-icap has ended");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        daemon
    }

    fn client(&self, service: &str) -> Client {
        client(&format!("icap://127.0.0.1:{}/{service}", self.port))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Its own way of ending takes its children along.
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn a_real_server_answers() {
    let daemon = Daemon::start().await;
    let clean = scan_with(daemon.client("echo"), &Mail::with_attachments("hello", &[])).await;
    assert!(clean.findings.is_clean(), "{clean:?}");
    let run = clean.engines.iter().find(|run| run.name == "icap").unwrap();
    assert!(run.version.starts_with("C-ICAP/"), "{run:?}");
    for length in [0, 1, 65_536, 3 << 20] {
        let answer = daemon.client("echo").scan(&vec![b'x'; length]).await;
        assert!(matches!(&answer, Ok(Answer::Icap(said)) if said.threats.is_empty()), "{answer:?}");
    }
    let unknown = daemon.client("none").scan(b"x").await;
    assert!(matches!(unknown, Err(LookupError::Failed(_))), "{unknown:?}");
}

/// What a hostile server does once it has a connection.
#[derive(Clone, Copy)]
enum Does {
    /// Reads the whole request, says this, and hangs up.
    Says(&'static str),
    /// Says this at once, without reading, and hangs up.
    Interrupts(&'static str),
    /// Reads everything and says nothing, for ever.
    Hangs,
    /// Begins an answer and adds an octet now and then, for ever.
    Drips,
    /// Header fields without an end.
    Floods,
    /// Finds the marker, and nothing else.
    Works,
}

const MARKER: &str = "imss icap test marker, harmless";
const NOTHING: &str = "ICAP/1.0 204 No Content\r\nISTag: \"a1\"\r\n\r\n";
const FOUND: &str = "ICAP/1.0 200 OK\r\nISTag: \"a1\"\r\n\
                     X-Infection-Found: Type=0; Resolution=2; Threat=Win.Adware.Test;\r\n\r\n";

async fn serve(does: Does, mut stream: TcpStream) -> std::io::Result<()> {
    if let Does::Interrupts(text) = does {
        stream.write_all(text.as_bytes()).await?;
        // What was not read would reset the connection before the client has read this.
        let mut buffer = [0; 1024];
        let _ = stream.read(&mut buffer).await?;
        return Ok(());
    }
    let mut taken = Vec::new();
    let mut buffer = vec![0; 65_536];
    while !taken.ends_with(b"\r\n0\r\n\r\n") {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        taken.extend_from_slice(&buffer[..count]);
    }
    match does {
        Does::Says(text) => stream.write_all(text.as_bytes()).await,
        Does::Works => {
            let found = memchr::memmem::find(&taken, MARKER.as_bytes()).is_some();
            stream.write_all(if found { FOUND } else { NOTHING }.as_bytes()).await
        }
        Does::Floods => loop {
            stream.write_all(b"ICAP/1.0 204 x\r\nX-More: and more\r\n").await?;
        },
        Does::Drips => loop {
            stream.write_all(b"I").await?;
            tokio::time::sleep(Duration::from_millis(10)).await;
        },
        Does::Interrupts(_) | Does::Hangs => std::future::pending().await,
    }
}

async fn server(does: Does) -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("icap://{}/scan", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(does, stream));
        }
    });
    let ends = !matches!(does, Does::Hangs | Does::Drips);
    let timeout = Duration::from_millis(if ends { 60_000 } else { 100 });
    Client::new(ClientSettings { timeout, ..ClientSettings::new(url.parse().unwrap()) })
}

#[tokio::test]
async fn what_is_found_is_found_in_its_part() {
    let mail = Mail::with_attachments("hello", &[("a.bin", MARKER.as_bytes())]);
    let scan = scan_with(server(Does::Works).await, &mail).await;
    let [finding] = &scan.findings.found[..] else { panic!("{scan:?}") };
    assert_eq!((finding.kind, &*finding.name), (FindingKind::Adware, "Win.Adware.Test"));
    assert_eq!(mail.entities.get(finding.entity).unwrap().name(), "a.bin");
    assert!(scan.findings.gaps.is_empty(), "{scan:?}");
    let run = scan.engines.iter().find(|run| run.name == "icap").unwrap();
    assert_eq!((&*run.version, run.outcome), ("a1", OutcomeWord::Found));

    // As it stands in the message, in no part of its own: the preamble of nothing.
    let mail = Mail::new(format!("Subject: x\r\nX-Odd: {MARKER}\r\n\r\ntext\r\n"));
    let scan = scan_with(server(Does::Works).await, &mail).await;
    let [finding] = &scan.findings.found[..] else { panic!("{scan:?}") };
    assert_eq!(finding.entity, EntityId::MESSAGE);
}

#[tokio::test]
async fn a_blocked_content_is_a_finding() {
    let cases = [
        (
            "a page in its place",
            "ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=26\r\n\r\n\
             HTTP/1.0 403 Forbidden\r\n\r\n2\r\nno\r\n0\r\n\r\n",
        ),
        (
            "another body",
            "ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=19\r\n\r\n\
             HTTP/1.0 200 OK\r\n\r\n2\r\nno\r\n0\r\n\r\n",
        ),
        (
            "no body",
            "ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, null-body=19\r\n\r\nHTTP/1.0 200 OK\r\n\r\n",
        ),
        (
            "half the body",
            "ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=19\r\n\r\n\
             HTTP/1.0 200 OK\r\n\r\n3\r\ncon\r\n0\r\n\r\n",
        ),
    ];
    for (name, answer) in cases {
        let answer = server(Does::Says(answer)).await.scan(b"content").await;
        let Ok(Answer::Icap(said)) = answer else { panic!("{name}: {answer:?}") };
        assert_eq!(said.threats, ["Blocked"], "{name}");
    }
    let same = "ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=19\r\n\r\n\
                HTTP/1.0 200 OK\r\n\r\n3;x=y\r\ncon\r\n4\r\ntent\r\n0\r\n\r\n";
    let same = server(Does::Says(same)).await.scan(b"content").await;
    assert!(matches!(&same, Ok(Answer::Icap(said)) if said.threats.is_empty()), "{same:?}");
}

#[tokio::test]
async fn every_fault_is_a_gap() {
    let cases = [
        ("hangs up", Does::Says("")),
        ("half a head", Does::Says("ICAP/1.0 204 No Con")),
        ("half an end", Does::Says("ICAP/1.0 204 No Content\r\n")),
        ("another protocol", Does::Says("220 mail.example ESMTP\r\n\r\n")),
        ("HTTP", Does::Says("HTTP/1.1 204 No Content\r\n\r\n")),
        ("refuses", Does::Says("ICAP/1.0 403 Forbidden\r\n\r\n")),
        ("is overloaded", Does::Says("ICAP/1.0 503 Overloaded\r\n\r\n")),
        ("asks for more", Does::Says("ICAP/1.0 100 Continue\r\n\r\n")),
        ("found nothing in nothing", Does::Says("ICAP/1.0 200 OK\r\n\r\n")),
        (
            "dies in the response",
            Does::Says("ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=19\r\n\r\nHTTP/1.0"),
        ),
        (
            "dies in the body",
            Does::Says(
                "ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=19\r\n\r\n\
                 HTTP/1.0 200 OK\r\n\r\n1\r\n",
            ),
        ),
        (
            "a chunk that is none",
            Does::Says(
                "ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=19\r\n\r\n\
                 HTTP/1.0 200 OK\r\n\r\nzz\r\n",
            ),
        ),
        (
            "its scanner is down",
            Does::Says(
                "ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, null-body=30\r\n\r\n\
                 HTTP/1.0 503 Unavailable\r\n\r\n\r\n",
            ),
        ),
        ("hangs", Does::Hangs),
        ("drips", Does::Drips),
        ("floods", Does::Floods),
    ];
    for (name, does) in cases {
        let mail = Mail::new("Subject: x\r\n\r\ntext\r\n");
        let scan = scan_with(server(does).await, &mail).await;
        assert!(scan.findings.found.is_empty(), "{name}: {scan:?}");
        let gap = scan.findings.gaps.first().unwrap_or_else(|| panic!("{name}: {scan:?}"));
        assert_eq!((gap.reason, &*gap.engine), (GapReason::Engine, "icap"), "{name}");
        let run = scan.engines.iter().find(|run| run.name == "icap").unwrap();
        assert_eq!(run.outcome, OutcomeWord::Unknown, "{name}");
    }
}

#[tokio::test]
async fn who_does_not_read_everything_cannot_say_nothing() {
    let large = vec![b'x'; 32 << 20];
    let early = server(Does::Interrupts(NOTHING)).await.scan(&large).await;
    assert!(early.is_err(), "{early:?}");
    let early = server(Does::Interrupts(FOUND)).await.scan(&large).await;
    assert!(matches!(&early, Ok(Answer::Icap(said)) if said.threats.len() == 1), "{early:?}");
}

#[tokio::test]
async fn nobody_there_is_a_gap() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("icap://{}/scan", listener.local_addr().unwrap());
    drop(listener);
    let answer = client(&url).scan(b"x").await;
    assert!(matches!(answer, Err(LookupError::Unreachable(_))), "{answer:?}");
    let content = bytes::Bytes::from_static(b"x");
    let question = Question::Icap { entity: EntityId::MESSAGE, content };
    let answers = Lookups::default().answer(vec![question.clone()]).await;
    assert_eq!(answers.get(&question.key()), Err(LookupError::NotConfigured));
}
