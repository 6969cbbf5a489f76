//! STARTTLS: used when offered, not needed when broken, unless it is required.

use std::sync::Arc;

use imss_relay::outbound::{Deliverer, Outbound, Tls, TlsLevel};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, crypto::aws_lc_rs};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::support::Step::{Data, Reply, Say};
use crate::support::{MESSAGE, Scripted, job, resolver, settings, short};

fn acceptor() -> TlsAcceptor {
    let key = rcgen::generate_simple_self_signed(["mx.example".to_owned()]).expect("a certificate");
    let der = PrivateKeyDer::try_from(key.signing_key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], der)
        .expect("a certificate and its key");
    TlsAcceptor::from(Arc::new(config))
}

/// Speaks SMTP until the end of the data. True if the data came.
pub(crate) async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin) -> bool {
    let mut stream = BufReader::new(stream);
    let (mut line, mut in_data) = (String::new(), false);
    loop {
        line.clear();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return false;
        }
        let reply = match line.trim_end() {
            "." => "250 ok\r\n",
            _ if in_data => continue,
            "DATA" => "354 go\r\n",
            _ => "250 mx.example\r\n",
        };
        in_data = line.starts_with("DATA");
        if stream.write_all(reply.as_bytes()).await.is_err() {
            return false;
        }
        if line.trim_end() == "." {
            return true;
        }
    }
}

/// A server that offers STARTTLS; with `injected` it sends that after its reply, in clear.
async fn tls_server(injected: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let acceptor = acceptor();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let stream = upgrade(stream, injected).await;
                if let Ok(stream) = acceptor.accept(stream).await {
                    serve(stream).await;
                }
            });
        }
    });
    port
}

pub(crate) async fn upgrade(stream: TcpStream, injected: &str) -> TcpStream {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    let _ = stream.write_all(b"220 mx.example\r\n").await;
    let _ = stream.read_line(&mut line).await;
    let _ = stream.write_all(b"250-mx.example\r\n250 STARTTLS\r\n").await;
    let _ = stream.read_line(&mut line).await;
    let _ = stream.write_all(format!("220 go\r\n{injected}").as_bytes()).await;
    stream.into_inner()
}

async fn deliver(port: u16, level: TlsLevel) -> Vec<String> {
    let tls = Tls::unverified(level).expect("TLS");
    let settings = settings(&format!("smtp://127.0.0.1:{port}"));
    let client = Outbound::new(settings, resolver(), tls);
    short(&client.deliver(job(&["u@example.com"], MESSAGE)).await)
}

#[tokio::test]
async fn tls_is_used() {
    let port = tls_server("").await;
    assert_eq!(deliver(port, TlsLevel::Opportunistic).await, ["ok Relayed"]);
    assert_eq!(deliver(port, TlsLevel::Required).await, ["ok Relayed"]);
}

#[tokio::test]
async fn text_injected_before_tls_is_not_believed() {
    let port = tls_server("250 ok\r\n").await;
    assert_eq!(deliver(port, TlsLevel::Required).await, ["later 4.5.0"]);
}

#[tokio::test]
async fn broken_tls_falls_back_to_clear_unless_required() {
    let broken = vec![
        Say("220 x\r\n"),
        Reply("250-x\r\n250 STARTTLS\r\n"),
        Reply("220 go\r\nthis is no TLS\r\n"),
    ];
    let ok = "250 ok\r\n";
    let clear = vec![
        Say("220 x\r\n"),
        Reply("250-x\r\n250 STARTTLS\r\n"),
        Reply(ok),
        Reply(ok),
        Reply("354 go\r\n"),
        Data(ok),
    ];
    let server = Scripted::start(vec![broken.clone(), clear]).await;
    assert_eq!(deliver(server.port, TlsLevel::Opportunistic).await, ["ok Relayed"]);
    let server = Scripted::start(vec![broken]).await;
    assert_eq!(deliver(server.port, TlsLevel::Required).await, ["later 4.5.0"]);
}

#[tokio::test]
async fn no_tls_where_it_is_required() {
    let script = vec![Say("220 x\r\n"), Reply("250 x\r\n")];
    let server = Scripted::start(vec![script]).await;
    assert_eq!(deliver(server.port, TlsLevel::Required).await, ["later 4.7.4"]);
}
