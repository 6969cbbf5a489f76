//! `imss update`: signature sets, up to date, listed or rolled back.
//!
//! Works on the node's folder, and has the running gateway load the result; without one, the engines
//! are built here to see whether they would.

use std::process::ExitCode;

use imss_relay::control::client::{CallError, call};
use imss_relay::control::{Answer, Request};
use imss_relay::engines;
use imss_relay::signatures::store::Installed;
use imss_relay::signatures::update::{UpdateError, Updated, roll_back, update as fetch};

use crate::cli;
use crate::mistakes::Failure;
use crate::node::{Node, with_source};
use crate::table::table;

/// Does what the arguments say.
///
/// # Errors
///
/// Nothing was changed, and why.
pub fn update(arguments: &cli::Update) -> Result<ExitCode, Failure> {
    let node = Node::new(&arguments.node)?;
    if arguments.list {
        return list(&node, arguments.json);
    }
    // Fails only if a provider is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(error.to_string()))?;
    let updated = runtime.block_on(change(&node, arguments))?;
    if arguments.json {
        let json =
            serde_json::to_string(&updated).map_err(|error| Failure::failed(error.to_string()))?;
        anstream::println!("{json}");
    } else {
        let Updated { name, version, before } = &updated;
        match before {
            Some(before) if before == version => anstream::println!("{name} {version} is current"),
            Some(before) => anstream::println!("{name} {version} is in use, after {before}"),
            None => anstream::println!("{name} {version} is in use"),
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn change(node: &Node, arguments: &cli::Update) -> Result<Updated, Failure> {
    let (settings, store) = (&node.config.signatures, node.config.signature_store());
    let try_it = || async { reload(node) };
    let result = match (&arguments.roll_back, arguments.from.as_ref().or(settings.source.as_ref()))
    {
        (Some(name), _) => roll_back(&store, name, try_it).await,
        (None, Some(source)) => {
            fetch(&store, &settings.keys, (source, arguments.older), try_it).await
        }
        (None, None) => {
            return Err(Failure::usage(
                "no source: name one with --from, or as `[signatures] source` in imss.toml",
            ));
        }
    };
    result.map_err(|error| match error {
        UpdateError::NoKeys => Failure::usage(error.to_string()),
        error => Failure::failed(with_source(&error)),
    })
}

/// Has the running gateway load what is on the disk now, or builds the engines here.
fn reload(node: &Node) -> Result<(), String> {
    match call(&node.config.control_socket(), &Request::Reload) {
        Ok(Answer::Refused(reason)) => Err(reason),
        Ok(_) => Ok(()),
        Err(CallError::NotRunning) => {
            engines::judge(&node.config).map(drop).map_err(|error| with_source(&error))
        }
        Err(error) => Err(with_source(&error)),
    }
}

fn list(node: &Node, json: bool) -> Result<ExitCode, Failure> {
    let sets = node
        .config
        .signature_store()
        .list()
        .map_err(|error| Failure::failed(with_source(&error)))?;
    if json {
        let text =
            serde_json::to_string(&sets).map_err(|error| Failure::failed(error.to_string()))?;
        anstream::println!("{text}");
        return Ok(ExitCode::SUCCESS);
    }
    let row = |set: Installed| {
        let versions: Vec<String> = set.versions.iter().map(ToString::to_string).collect();
        let previous = set.previous.map(|version| version.to_string()).unwrap_or_default();
        [set.name, set.current.to_string(), previous, versions.join(" ")]
    };
    let rows = sets.into_iter().map(row).collect();
    anstream::println!("{}", table(["SET", "IN USE", "BEFORE", "ON THE DISK"], rows));
    Ok(ExitCode::SUCCESS)
}
