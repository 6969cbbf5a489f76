//! Postfix's smtp-sink as next hop, also when told to misbehave.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use imss_relay::outbound::Deliverer;
use tokio::net::TcpStream;

use crate::support::{MESSAGE, client, job, settings, short};

const PROGRAM: &str = "/usr/sbin/smtp-sink";

pub(crate) struct Server(pub(crate) Child);

impl Drop for Server {
    fn drop(&mut self) {
        // Not SIGKILL: Dovecot must end its own children.
        let pid = i32::try_from(self.0.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.0.wait();
    }
}

pub(crate) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").expect("/proc").uid() == 0
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

pub(crate) async fn wait_for(port: u16) {
    for _ in 0..500 {
        if TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("nothing listens on port {port}");
}

async fn sink(options: &[&str]) -> (Server, u16) {
    assert!(Path::new(PROGRAM).exists(), "install Debian's postfix for this test");
    let port = free_port();
    // Started by root, it insists on another user.
    let user: &[&str] = if is_root() { &["-u", "nobody"] } else { &[] };
    let child = Command::new(PROGRAM)
        .args(user)
        .args(options)
        .args([format!("127.0.0.1:{port}"), "100".to_owned()])
        .stdin(Stdio::null())
        .spawn()
        .expect("smtp-sink starts");
    let server = Server(child);
    wait_for(port).await;
    (server, port)
}

#[tokio::test]
async fn good_and_bad_days() {
    let cases: [(&str, &[&str], &str); 9] = [
        ("all well", &[], "ok RelayedWithDsn"),
        ("without PIPELINING", &["-p"], "ok RelayedWithDsn"),
        ("without ESMTP", &["-e"], "ok Relayed"),
        ("MAIL put off", &["-r", "MAIL"], "later 4.3.0"),
        ("RCPT refused", &["-f", "RCPT"], "never 5.3.0"),
        ("DATA refused", &["-f", "DATA"], "never 5.3.0"),
        ("data refused", &["-f", "."], "never 5.3.0"),
        ("closed at DATA", &["-q", "DATA"], "later 4.4.2"),
        ("closed at the end of the data", &["-q", "."], "later 4.4.2"),
    ];
    for (name, options, expected) in cases {
        let (_server, port) = sink(options).await;
        let client = client(settings(&format!("smtp://127.0.0.1:{port}")));
        let attempts = client.deliver(job(&["u@example.com"], MESSAGE)).await;
        assert_eq!(short(&attempts), [expected], "{name}");
    }
}

#[tokio::test]
async fn lmtp_for_many_recipients() {
    let (_server, port) = sink(&["-L"]).await;
    let client = client(settings(&format!("lmtp://127.0.0.1:{port}")));
    let addresses: Vec<String> = (0..300).map(|n| format!("user{n}@example.com")).collect();
    let recipients: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let attempts = client.deliver(job(&recipients, MESSAGE)).await;
    assert_eq!(short(&attempts), vec!["ok RelayedWithDsn"; 300]);
}

#[tokio::test]
async fn a_large_message_from_a_file() {
    use std::io::Write;
    use std::sync::Arc;

    use imss_core::edit::Rope;
    use imss_relay::spool::body::{Body, Content};

    let (_server, port) = sink(&[]).await;
    let mut file = tempfile::tempfile().expect("a file");
    let line = b"0123456789012345678901234567890123456789012345678901234567890123456789\r\n";
    for _ in 0..50_000 {
        file.write_all(line).expect("written");
    }
    let length = 50_000 * line.len() as u64;
    let body = Body::File { file: Arc::new(file), offset: 0, length, own: None };
    let mut job = job(&["u@example.com"], MESSAGE);
    job.content = Content { body, rope: Rope::original(length) };
    let client = client(settings(&format!("smtp://127.0.0.1:{port}")));
    assert_eq!(short(&client.deliver(job.clone()).await), ["ok RelayedWithDsn"]);
    // A spool file that lost its end: not one octet of it may count as a message.
    job.content.rope = Rope::original(length + 1);
    assert_eq!(short(&client.deliver(job).await), ["later 4.3.0"]);
}
