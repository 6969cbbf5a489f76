//! STARTTLS, implicit TLS, a new certificate without a restart, and what comes before a handshake.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use imss_relay::inbound::TlsStore;
use imss_relay::inbound::server::TlsUse;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::support::{Keeper, Talker, settings, start};

/// Writes a new certificate and key to `folder`.
pub(crate) fn renew(folder: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["mx.ours.example".to_owned()]).unwrap();
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    made.cert.der().clone()
}

async fn handshake(
    stream: TcpStream,
    certificate: &CertificateDer<'static>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("mx.ours.example").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

#[tokio::test]
async fn starttls_drops_what_came_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = renew(folder.path());
    let store = TlsStore::open(folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let keeper = Arc::new(Keeper::default());
    let (server, address) = start(settings(), &keeper, TlsUse::StartTls(Arc::new(store.unwrap())));

    let mut talker = Talker::new(TcpStream::connect(address).await.unwrap());
    talker.reply().await;
    assert!(talker.ask("EHLO x").await.contains("250-STARTTLS\r\n"));
    // All in one packet: the injected commands must never be answered.
    talker.send(b"STARTTLS\r\nEHLO evil\r\nMAIL FROM:<evil@b.example>\r\n").await;
    assert!(talker.reply().await.starts_with("220"));
    let mut talker = Talker::new(handshake(talker.stream, &certificate).await.unwrap());
    assert!(talker.ask("MAIL FROM:<>").await.starts_with("503"));
    assert!(!talker.ask("EHLO x").await.contains("STARTTLS"));
    talker.send(b"MAIL FROM:<>\r\nRCPT TO:<a@ours.example>\r\nDATA\r\n").await;
    for expected in ["250", "250", "354"] {
        assert!(talker.reply().await.starts_with(expected));
    }
    assert!(talker.ask("x\r\n.").await.starts_with("250"));
    assert!(talker.ask("QUIT").await.starts_with("221"));
    {
        let messages = keeper.messages.lock().unwrap();
        let received = &messages[0].0;
        assert_eq!(received.protocol.as_str(), "ESMTPS");
        assert!(received.envelope.client.tls.as_ref().unwrap().starts_with("TLSv1.3 TLS13_"));
    }
    drop(talker);
    server.stop(Duration::from_secs(60)).await;
}

#[tokio::test]
async fn implicit_tls_and_renewal() {
    let folder = tempfile::tempdir().unwrap();
    let old = renew(folder.path());
    let store = TlsStore::open(folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let store = Arc::new(store.unwrap());
    let (server, address) =
        start(settings(), &Arc::default(), TlsUse::Implicit(Arc::clone(&store)));
    let connect = |certificate: CertificateDer<'static>| async move {
        handshake(TcpStream::connect(address).await.unwrap(), &certificate).await
    };
    let mut before = Talker::new(connect(old.clone()).await.unwrap());
    assert!(before.reply().await.starts_with("220"));
    assert!(!before.ask("EHLO x").await.contains("STARTTLS"));

    let new = renew(folder.path());
    store.reload().unwrap();
    assert!(connect(old).await.is_err());
    let mut after = Talker::new(connect(new).await.unwrap());
    assert!(after.reply().await.starts_with("220"));
    assert!(before.ask("NOOP").await.starts_with("250"), "old connections go on");
    drop((before, after));
    server.stop(Duration::from_secs(60)).await;
}
