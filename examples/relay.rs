//! A scanning relay in a hundred lines: takes mail by SMTP, unpacks, scans and judges it, stores it
//! durably, and delivers it. With a configuration it serves until Ctrl-C; without one it passes two
//! messages of its own, from its port to a Maildir, and shows what arrived.
//!
//! `cargo run -p imss-examples --example relay [IMSS.TOML]`

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use imss_relay::config::{self, Config};
use imss_relay::node::Node;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const CONFIGURATION: &str = r#"
hostname = "relay.example"
data-dir = "data"
policy = "policy.toml"
next-hop = "maildir"

[[listen]]
address = "127.0.0.1:0"

[http]
address = "off"
"#;

const POLICY: &str = r#"
internal = ["example.com"]

[keywords.secret]
threshold = 10
entries = [{ text = "project falcon", score = 10 }]

[unknown]
limit = "deliver"
encrypted = "deliver"
malformed = "deliver"
ambiguous = "deliver"
unsupported = "deliver"
engine = "deliver"
crash = "deliver"

[[rule]]
name = "Secrets"
when = { keywords = "secret", in = ["subject", "body"] }
then = [{ tag-subject = "[secret]" }]
"#;

const MESSAGES: [&str; 2] = [
    "Subject: lunch\r\n\r\nAt noon?\r\n",
    "Subject: news\r\n\r\nProject  Falcon flies on Monday.\r\n",
];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    if let Some(path) = std::env::args_os().nth(1) {
        let node = Node::start(config::load(Some(Path::new(&path)))?).await?;
        for (address, mode) in node.listening() {
            println!("SMTP ({}) on {address}", mode.as_str());
        }
        tokio::signal::ctrl_c().await?;
        node.stop().await;
        return Ok(());
    }

    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("policy.toml"), POLICY)?;
    let config: Config = config::parse(CONFIGURATION, "imss.toml", folder.path())?;
    let mailbox = config.data_dir.join("maildir/hanako@example.com/new");
    let node = Node::start(config).await?;
    let (address, _) = node.listening().next().context("a listener")?;
    for message in MESSAGES {
        send(address, message).await?;
    }
    // A reply 250 says that the message is stored; delivery goes on beside it.
    let arrived = arrived(&mailbox, MESSAGES.len()).await?;
    node.stop().await;
    let subject = |message: &String| {
        message.lines().find(|line| line.starts_with("Subject: ")).map(str::to_owned)
    };
    let mut subjects: Vec<String> = arrived.iter().filter_map(subject).collect();
    subjects.sort();
    println!("{}", subjects.join("\n"));
    Ok(())
}

/// Sends one message as a client does that pipelines.
async fn send(address: SocketAddr, message: &str) -> anyhow::Result<()> {
    let envelope = "EHLO client.example\r\nMAIL FROM:<taro@example.net>\r\n\
                    RCPT TO:<hanako@example.com>\r\n";
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("{envelope}DATA\r\n{message}.\r\nQUIT\r\n").as_bytes()).await?;
    let mut replies = String::new();
    stream.read_to_string(&mut replies).await?;
    let taken = replies.lines().rev().nth(1).is_some_and(|reply| reply.starts_with("250 "));
    anyhow::ensure!(taken, "not taken:\n{replies}");
    Ok(())
}

/// The messages in a Maildir's folder, once there are so many.
async fn arrived(folder: &Path, count: usize) -> anyhow::Result<Vec<String>> {
    for _ in 0..300 {
        let files = std::fs::read_dir(folder).into_iter().flatten();
        let messages = files
            .map(|file| std::fs::read_to_string(file?.path()))
            .collect::<Result<Vec<_>, _>>()?;
        if messages.len() == count {
            return Ok(messages);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    anyhow::bail!("not delivered within half a minute")
}
