//! `imss run`: the gateway, from start to SIGTERM.
//!
//! Says on standard error where it listens once it accepts connections, one line per listener, and
//! what goes wrong. SIGHUP reads policy, lists and certificate again. SIGTERM and SIGINT end
//! sessions and deliveries within a bound; a second one ends at once. Nothing accepted is lost.

use std::io;
use std::process::ExitCode;

use imss_relay::config::load;
use imss_relay::engines::EngineError;
use imss_relay::node::{Node, StartError};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::cli;
use crate::mistakes::Failure;
use crate::node::with_source;

/// Runs the gateway until it is told to stop.
///
/// # Errors
///
/// It cannot start, and why.
pub fn run(arguments: &cli::Node) -> Result<ExitCode, Failure> {
    let config = load(arguments.config.as_deref())?;
    log_to_stderr();
    // Fails only if a provider is installed already, and then TLS works with that one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    runtime.block_on(async {
        let node = Node::start(config).await.map_err(start_failure)?;
        announce(&node);
        serve(&node).await.map_err(|error| Failure::failed(format!("signals: {error}")))?;
        eprintln!("imss: stopping; sessions and deliveries under way may finish");
        let mut again = stop_signals().map_err(|error| Failure::failed(format!("signals: {error}")))?;
        tokio::select! {
            () = node.stop() => Ok(ExitCode::SUCCESS),
            () = again.next() => Err(Failure::failed("stopped at once; the rest stays in the spool")),
        }
    })
}

fn announce(node: &Node) {
    let recovered = node.recovered();
    if recovered.messages > 0 {
        eprintln!("imss: {} messages were in the spool and are delivered now", recovered.messages);
    }
    for damaged in &recovered.damaged {
        eprintln!("imss: the spool was damaged; see {}", damaged.display());
    }
    for id in &recovered.without_body {
        eprintln!("imss: the body of {id} is missing from the spool; the message is lost");
    }
    if let Some(address) = node.http() {
        eprintln!("imss: metrics and health on http://{address}");
    }
    for address in node.milters() {
        eprintln!("imss: milter on {address}");
    }
    for (address, mode) in node.listening() {
        eprintln!("imss: SMTP ({}) on {address}", mode.as_str());
    }
}

/// Returns when the node is to stop.
async fn serve(node: &Node) -> io::Result<()> {
    let mut reload = signal(SignalKind::hangup())?;
    let mut stop = stop_signals()?;
    loop {
        tokio::select! {
            () = stop.next() => return Ok(()),
            _ = reload.recv() => match node.reload() {
                Ok(()) => eprintln!("imss: policy, lists and certificate were read again"),
                Err(error) => eprintln!("imss: not reloaded, settings and policy stay as they were: {}", with_source(&error)),
            },
        }
    }
}

struct StopSignals {
    term: Signal,
    int: Signal,
}

fn stop_signals() -> io::Result<StopSignals> {
    Ok(StopSignals {
        term: signal(SignalKind::terminate())?,
        int: signal(SignalKind::interrupt())?,
    })
}

impl StopSignals {
    async fn next(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}

fn start_failure(error: StartError) -> Failure {
    match error {
        StartError::Engines(EngineError::Policy(mistakes)) => mistakes.into(),
        error => Failure::failed(with_source(&error)),
    }
}

/// `IMSS_LOG` chooses what is said, as in `debug` or `imss_relay::outbound=debug,warn`.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("IMSS_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
}
