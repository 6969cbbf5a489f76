//! Over real sockets: limits, load, a full disk, and stopping.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use imss_relay::inbound::server::{StartError, TlsUse};
use imss_relay::inbound::{Listener, Mode, Reply, Server, Settings, TlsStore};
use tokio::net::TcpStream;

use super::support::{Keeper, Talker, settings, start};
use super::tls::renew;

const PATIENCE: Duration = Duration::from_secs(60);

async fn connect(address: SocketAddr) -> Talker<TcpStream> {
    Talker::new(TcpStream::connect(address).await.unwrap())
}

async fn begin_data(talker: &mut Talker<TcpStream>) {
    talker.send(b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@ours.example>\r\nDATA\r\n").await;
    for expected in ["250-", "250 ", "250 ", "354 "] {
        let reply = talker.reply().await;
        assert!(reply.starts_with(expected), "{reply}");
    }
}

#[tokio::test]
async fn a_message() {
    let keeper = Arc::new(Keeper::default());
    let (server, address) = start(settings(), &keeper, TlsUse::Off);
    let mut talker = connect(address).await;
    assert_eq!(talker.reply().await, "220 mx.ours.example ESMTP imss\r\n");
    begin_data(&mut talker).await;
    let content = "..dots\r\n".repeat(100_000);
    talker.send(content.as_bytes()).await;
    talker.send(b".\r\nQUIT\r\n").await;
    assert_eq!(talker.reply().await, "250 2.0.0 Taken\r\n");
    assert_eq!(talker.reply().await, "221 2.0.0 Bye\r\n");
    assert_eq!(talker.reply().await, "");
    {
        let messages = keeper.messages.lock().unwrap();
        let (received, body) = &messages[0];
        assert_eq!(body.len(), ".dots\r\n".len() * 100_000);
        assert_eq!(received.envelope.client.ip.to_string(), "127.0.0.1");
        assert_eq!(received.mode, Mode::Edge);
    }
    assert_eq!(server.stop(PATIENCE).await, 0);
}

#[tokio::test]
async fn a_client_that_leaves_in_data_leaves_nothing() {
    let keeper = Arc::new(Keeper::default());
    let (server, address) = start(settings(), &keeper, TlsUse::Off);
    let mut talker = connect(address).await;
    talker.reply().await;
    begin_data(&mut talker).await;
    talker.send(b"half a message\r\n").await;
    drop(talker);
    assert_eq!(server.stop(PATIENCE).await, 0);
    assert!(keeper.messages.lock().unwrap().is_empty());
}

#[tokio::test]
async fn without_disk_mail_stays_with_the_client() {
    let keeper = Arc::new(Keeper { has_no_disk: true, ..Keeper::default() });
    let (server, address) = start(settings(), &keeper, TlsUse::Off);
    let mut talker = connect(address).await;
    talker.reply().await;
    begin_data(&mut talker).await;
    assert!(talker.ask("more than ten octets\r\n.").await.starts_with("451 4.3.0"));
    assert!(talker.ask("NOOP").await.starts_with("250"));
    assert!(keeper.messages.lock().unwrap().is_empty());
    drop(talker);
    server.stop(PATIENCE).await;
}

#[tokio::test]
async fn load_is_shed() {
    let keeper = Arc::new(Keeper::default());
    let (server, address) = start(settings(), &keeper, TlsUse::Off);
    let mut talker = connect(address).await;
    talker.reply().await;
    assert!(talker.ask("EHLO x").await.starts_with("250-"));
    *keeper.shed.lock().unwrap() = Some(Reply::new(421, (4, 3, 1), "Disk is full"));
    assert_eq!(talker.ask("MAIL FROM:<>").await, "421 4.3.1 Disk is full\r\n");
    assert_eq!(talker.reply().await, "");
    assert_eq!(connect(address).await.reply().await, "421 4.3.1 Disk is full\r\n");
    *keeper.shed.lock().unwrap() = None;
    assert!(connect(address).await.reply().await.starts_with("220"));
    server.stop(PATIENCE).await;
}

#[tokio::test]
async fn connections_are_limited() {
    let mut settings = settings();
    settings.limits.connections_per_client = 2;
    settings.limits.connections = 3;
    let keeper = Arc::new(Keeper::default());
    let (server, address) = start(settings.clone(), &keeper, TlsUse::Off);
    let mut first = connect(address).await;
    let mut second = connect(address).await;
    assert!(first.reply().await.starts_with("220"));
    assert!(second.reply().await.starts_with("220"));
    assert!(connect(address).await.reply().await.starts_with("421 4.7.0"));
    settings.relaying.trusted_networks.push("127.0.0.0/8".parse().unwrap());
    server.reconfigure(settings);
    let mut third = connect(address).await;
    assert!(third.reply().await.starts_with("220"));
    assert!(connect(address).await.reply().await.starts_with("421 4.3.2"));
    assert!(first.ask("QUIT").await.starts_with("221"));
    assert_eq!(first.reply().await, "");
    while server.connections() == 3 {
        tokio::task::yield_now().await;
    }
    assert!(connect(address).await.reply().await.starts_with("220"));
    server.stop(PATIENCE).await;
}

#[tokio::test]
async fn early_talkers_are_turned_away() {
    let wait = Some(Duration::from_secs(30));
    let settings = Settings { early_talker_wait: wait, ..settings() };
    let (server, address) = start(settings, &Arc::default(), TlsUse::Off);
    let mut talker = connect(address).await;
    talker.send(b"EHLO x\r\n").await;
    assert!(talker.reply().await.starts_with("554 5.5.1"));
    assert_eq!(talker.reply().await, "");
    server.stop(PATIENCE).await;
}

#[tokio::test]
async fn slow_clients_are_cut() {
    let mut settings = settings();
    settings.timeouts.command = Duration::from_millis(300);
    let (server, address) = start(settings, &Arc::default(), TlsUse::Off);
    let mut silent = connect(address).await;
    assert!(silent.reply().await.starts_with("220"));
    assert!(silent.reply().await.starts_with("421 4.4.2"));
    // Octets without a complete command are no progress.
    let mut loris = connect(address).await;
    assert!(loris.reply().await.starts_with("220"));
    let dripping = async {
        loop {
            use tokio::io::AsyncWriteExt as _;
            if loris.stream.write_all(b"N").await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, dripping).await.unwrap();
    server.stop(PATIENCE).await;
}

#[tokio::test]
async fn slow_messages_are_cut() {
    let mut settings = settings();
    settings.timeouts.data_block = Duration::from_millis(300);
    let (server, address) = start(settings, &Arc::default(), TlsUse::Off);
    let mut in_data = connect(address).await;
    in_data.reply().await;
    begin_data(&mut in_data).await;
    assert!(in_data.reply().await.starts_with("421 4.4.2"));
    server.stop(PATIENCE).await;
}

#[tokio::test]
async fn stopping_lets_messages_finish() {
    let takes = Duration::from_millis(200);
    let keeper = Arc::new(Keeper { accept_takes: takes, ..Keeper::default() });
    let (server, address) = start(settings(), &keeper, TlsUse::Off);
    let mut idle = connect(address).await;
    idle.reply().await;
    let mut busy = connect(address).await;
    busy.reply().await;
    begin_data(&mut busy).await;
    let stopping = tokio::spawn(server.stop(PATIENCE));
    assert!(idle.reply().await.starts_with("421 4.3.2"));
    busy.send(b"x\r\n.\r\n").await;
    assert_eq!(busy.reply().await, "250 2.0.0 Taken\r\n");
    assert!(busy.reply().await.starts_with("421 4.3.2"));
    drop((idle, busy));
    assert_eq!(stopping.await.unwrap(), 0);
    assert_eq!(keeper.messages.lock().unwrap().len(), 1);
    assert!(TcpStream::connect(address).await.is_err());
}

/// None of them has a message under way, so a stop does not wait for them.
#[tokio::test]
async fn stopping_ends_what_waits_for_its_greeting() {
    let listens = Settings { early_talker_wait: Some(PATIENCE * 60), ..settings() };
    let balanced = Settings { proxy_from: vec!["127.0.0.0/8".parse().unwrap()], ..settings() };
    let folder = tempfile::tempdir().unwrap();
    renew(folder.path());
    let store = TlsStore::open(folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let implicit = TlsUse::Implicit(Arc::new(store.unwrap()));
    let cases = [
        ("a client that is listened to", listens, TlsUse::Off, "421 4.3.2"),
        ("a load balancer before its header", balanced, TlsUse::Off, ""),
        ("a client before its handshake", settings(), implicit, ""),
    ];
    for (name, settings, tls, expected) in cases {
        let keeper: Arc<Keeper> = Arc::default();
        let (server, address) = start(settings, &keeper, tls);
        let mut waiting = connect(address).await;
        while server.connections() == 0 {
            tokio::task::yield_now().await;
        }
        let stopping = tokio::spawn(server.stop(PATIENCE));
        let reply = waiting.reply().await;
        assert!(reply.starts_with(expected), "{name}: {reply}");
        assert_eq!(reply.is_empty(), expected.is_empty(), "{name}: {reply}");
        drop(waiting);
        assert_eq!(stopping.await.unwrap(), 0, "{name}");
    }
}

#[tokio::test]
async fn stopping_is_bounded() {
    let (server, address) = start(settings(), &Arc::default(), TlsUse::Off);
    let mut stuck = connect(address).await;
    stuck.reply().await;
    begin_data(&mut stuck).await;
    assert_eq!(server.stop(Duration::from_millis(100)).await, 1);
    assert_eq!(stuck.reply().await, "");
}

#[tokio::test]
async fn addresses_that_cannot_be_used() {
    let listener = |address: &str, mode| Listener {
        settings: None,
        address: address.parse().unwrap(),
        mode,
        tls: TlsUse::Off,
    };
    let keeper: Arc<Keeper> = Arc::default();
    for mode in [Mode::Rescan, Mode::Reinject] {
        let outside = vec![listener("0.0.0.0:0", mode)];
        let error = Server::start(outside, settings(), Arc::clone(&keeper)).unwrap_err();
        assert!(matches!(error, StartError::NotLoopback { .. }), "{error}");
        Server::start(vec![listener("127.0.0.1:0", mode)], settings(), Arc::clone(&keeper))
            .unwrap();
    }
    let (server, address) = start(settings(), &keeper, TlsUse::Off);
    let taken = vec![listener(&address.to_string(), Mode::Edge)];
    let error = Server::start(taken, settings(), keeper).unwrap_err();
    assert!(error.to_string().contains("another program listens there"), "{error}");
    server.stop(PATIENCE).await;
}
