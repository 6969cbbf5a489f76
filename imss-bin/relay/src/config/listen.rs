//! `[[listen]]`: where SMTP is accepted, and what is different there.
//!
//! In: the tables, and the settings that hold for all listeners. Out: one [`Listener`] each, with
//! settings of its own: what a table leaves out is as elsewhere in the file.

use std::path::Path;

use super::lower::{self, network, set};
use super::reader::{Table, Value, Wrong};
use super::{Config, ListenTls, Listener, MODES, UseOfAuth, doors};
use crate::inbound::relaying::DomainSet;
use crate::inbound::{Mode, Settings};

/// Reads all listeners. Called last: they start from everything else.
pub(super) fn listeners(root: &Table<'_, '_>, config: &mut Config, folder: &Path) {
    let Some(tables) = root.tables("listen") else {
        for listener in &mut config.listeners {
            listener.settings = config.inbound.clone();
            listener.tls = default_tls(config.tls.is_some());
        }
        return;
    };
    let mut listeners: Vec<Listener> = Vec::new();
    for table in tables {
        let mode = table.read("mode", mode).unwrap_or_default();
        if mode == Mode::Milter {
            doors::milter(&table, folder, &mut config.milters);
        } else if let Some(listener) = listener(&table, mode, config, &listeners) {
            listeners.push(listener);
        }
    }
    config.listeners = listeners;
}

fn listener(
    table: &Table<'_, '_>,
    mode: Mode,
    config: &Config,
    others: &[Listener],
) -> Option<Listener> {
    let address = table.read("address", |value| {
        let address = lower::address(value)?;
        if mode.is_loopback_only() && !address.ip().is_loopback() {
            return Err(Wrong::new(
                "mail that passed before is taken from this machine only",
                "use an address of the loopback interface, such as \"127.0.0.1:10026\"",
            ));
        }
        if others.iter().any(|other| other.address == address && address.port() != 0) {
            return Err(Wrong::new("a second listener on the same address", "remove one"));
        }
        Ok(address)
    });
    if address.is_none() {
        table.require("address", "\"0.0.0.0:25\"");
    }
    let tls = tls(table, config.tls.is_some());
    let auth = auth(table, mode);
    let mut settings = config.inbound.clone();
    names(table, &mut settings);
    limits(table, &mut settings);
    let requires_tls = table.read("require-tls", Value::flag);
    settings.requires_tls = requires_tls.unwrap_or(mode == Mode::Submission);
    settings.auth.is_required = auth == UseOfAuth::Required;
    if settings.requires_tls && tls == ListenTls::Off {
        let remedy = "add [tls] with certificate and key, or `require-tls = false` if the network \
            to the clients is safe";
        let reason = "mail is taken inside TLS only, and this listener has none";
        let key = if requires_tls.is_some() { "require-tls" } else { "mode" };
        table.wrong(key, reason, remedy);
    }
    Some(Listener { address: address?, mode, tls, auth, settings })
}

fn default_tls(has_certificate: bool) -> ListenTls {
    if has_certificate { ListenTls::StartTls } else { ListenTls::Off }
}

fn tls(table: &Table<'_, '_>, has_certificate: bool) -> ListenTls {
    let tls = table.read("tls", |value| {
        let tls = match value.text()? {
            "off" => ListenTls::Off,
            "starttls" => ListenTls::StartTls,
            "implicit" => ListenTls::Implicit,
            _ => {
                return Err(Wrong::new(
                    "not a way to use TLS",
                    "write \"starttls\", \"implicit\" or \"off\"",
                ));
            }
        };
        if tls != ListenTls::Off && !has_certificate {
            let remedy = "add [tls] with certificate and key, or write \"off\"";
            return Err(Wrong::new("TLS without a certificate", remedy));
        }
        Ok(tls)
    });
    tls.unwrap_or_else(|| default_tls(has_certificate))
}

fn auth(table: &Table<'_, '_>, mode: Mode) -> UseOfAuth {
    let auth = table.read("auth", |value| match value.text()? {
        "off" => Ok(UseOfAuth::Off),
        "offered" => Ok(UseOfAuth::Offered),
        "required" => Ok(UseOfAuth::Required),
        _ => Err(Wrong::new("not a way to use AUTH", "write \"required\", \"offered\" or \"off\"")),
    });
    let default = if mode == Mode::Submission { UseOfAuth::Required } else { UseOfAuth::Off };
    auth.unwrap_or(default)
}

/// Names and networks that are different here.
fn names(table: &Table<'_, '_>, settings: &mut Settings) {
    set(&mut settings.hostname, table.read("hostname", lower::hostname));
    if let Some(domains) = table.list("relay-domains", lower::domain) {
        let mut all = DomainSet::default();
        for domain in domains {
            // Checked by `domain`, where its place is known.
            let _ = all.insert(domain);
        }
        settings.relaying.domains = all;
    }
    set(&mut settings.relaying.trusted_networks, table.list("trusted-networks", network));
    set(&mut settings.proxy_from, table.list("proxy-protocol-from", network));
    set(&mut settings.xclient_from, table.list("xclient-from", network));
    set(&mut settings.xforward_from, table.list("xforward-from", network));
}

fn limits(table: &Table<'_, '_>, settings: &mut Settings) {
    let limits = &mut settings.limits;
    let size = table.read("message-size", |value| lower::size(value, 1 << 10..=4 << 30));
    set(&mut limits.message_bytes, size);
    let count = |key| table.read(key, |value| lower::count(value, 1..=100_000));
    set(&mut limits.recipients, count("recipients"));
    set(&mut limits.connections, count("connections"));
    set(&mut limits.connections_per_client, count("connections-per-client"));
    set(&mut limits.connections_per_network, count("connections-per-network"));
    if let Some(wait) = table.read("greeting-delay", lower::delay) {
        settings.early_talker_wait = Some(wait).filter(|wait| !wait.is_zero());
    }
}

fn mode(value: &Value<'_, '_>) -> Result<Mode, Wrong> {
    let text = value.text()?;
    MODES.iter().find(|(word, _)| *word == text).map(|(_, mode)| *mode).ok_or_else(|| {
        Wrong::new(
            format!("unknown mode `{text}`"),
            "write \"edge\", \"submission\", \"proxy\", \"rescan\", \"reinject\" or \"milter\"",
        )
    })
}
