//! `imss check`: configuration and policy → every mistake, or what they amount to.

use std::process::ExitCode;
use std::sync::Arc;

use imss_relay::config::{load, load_policy};
use imss_relay::engines;
use imss_scan::Scanner;

use crate::cli::Node;
use crate::mistakes::{Failure, coloured};

/// Reads everything the gateway would read, and says what is wrong with it.
///
/// # Errors
///
/// Every mistake in the configuration, or if it has none, in the policy.
pub fn check(node: &Node) -> Result<ExitCode, Failure> {
    let config = load(node.config.as_deref())?;
    let policy = load_policy(config.policy.as_deref())?;
    for warning in policy.warnings() {
        anstream::eprintln!("{}", coloured(warning));
    }
    let settings = engines::settings(&config).map_err(|error| Failure::usage(error.to_string()))?;
    Scanner::new(Arc::clone(policy.plan()), settings)
        .map_err(|error| Failure::usage(format!("the policy cannot be compiled: {error}")))?;
    let name = |path: Option<&std::path::Path>, none: &str| {
        path.map_or_else(|| none.to_owned(), |path| path.display().to_string())
    };
    println!("configuration: {}", name(node.config.as_deref(), "the defaults"));
    for listener in &config.listeners {
        println!("  {listener}");
    }
    println!("  data in {}", config.data_dir.display());
    println!("  next hop {}", config.outbound.routing.default);
    for route in &config.outbound.routing.routes {
        println!("  route {}", route.describe());
    }
    for one in &config.outbound.credentials {
        println!("  logs in at {} as {}, password hidden", one.host, one.user);
    }
    println!("  TLS to others: {}", config.outbound_tls.policy.default.as_str());
    println!("policy: {}", name(config.policy.as_deref(), "built in"));
    println!("  version {}, {} questions", policy.version(), policy.plan().queries().count());
    Ok(ExitCode::SUCCESS)
}
