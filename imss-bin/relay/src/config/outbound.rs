//! `[[route]]`, `[[credentials]]`, `[[destination]]`, `[outbound]` and `[outbound-tls]` → how mail leaves.
//!
//! In: the tables. Out: the settings of the client and of its TLS. A password is read from a file that
//! only its owner may read; it is never part of the document, and no message shows it.

use std::collections::{HashMap, HashSet};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use imss_core::envelope::{Domain, Syntax};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::lower::{DAY, SECOND, count, next_hop, path, readable, set, small, time};
use super::reader::{Table, Value, Wrong};
use crate::inbound::relaying::DomainSet;
use crate::outbound;
use crate::outbound::sasl::{Credentials, Secret};
use crate::outbound::tls::LEVELS;
use crate::outbound::{DestinationLimit, LaneLimits, NextHop, Recode, Route, TlsLevel, TlsPolicy};
use crate::srs::{self, Srs};

/// How connections to other servers are secured.
#[derive(Debug, Clone, Default)]
pub struct OutboundTls {
    /// Which level holds where.
    pub policy: TlsPolicy,
    /// Certificate authorities besides those of the system.
    pub roots: Vec<CertificateDer<'static>>,
}

/// Reads all tables about mail that leaves, except `next-hop` and `[next-hops]`.
pub(super) fn outbound(
    root: &Table<'_, '_>,
    settings: &mut outbound::Settings,
    tls: &mut OutboundTls,
    maildir: &NextHop,
    folder: &Path,
) {
    settings.routing.routes = routes(root, maildir);
    settings.credentials = credentials(root, folder);
    settings.limits = limits(root);
    let table = root.table("outbound");
    set(&mut settings.max_mx_hosts, table.read("mx-hosts", |value| count(value, 1..=50)));
    let port = table.read("mx-port", |value| value.number(1..=65_535));
    set(&mut settings.mx_port, port.and_then(|port| u16::try_from(port).ok()));
    let pool = &mut settings.pool;
    set(
        &mut pool.max_per_server,
        table.read("connections-per-server", |value| count(value, 1..=1_000)),
    );
    set(
        &mut pool.max_messages,
        table.read("messages-per-connection", |value| small(value, 1..=1_000_000)),
    );
    set(&mut pool.idle, table.read("idle", |value| time(value, Duration::ZERO, DAY)));
    let timeouts = &mut settings.timeouts;
    set(&mut timeouts.connect, table.read("connect-timeout", |value| time(value, SECOND, DAY)));
    set(&mut timeouts.transaction, table.read("message-timeout", |value| time(value, SECOND, DAY)));
    set(
        &mut settings.recode,
        table.read("long-lines", |value| match value.text()? {
            "recode" => Ok(Recode::PassSigned),
            "recode-or-refuse" => Ok(Recode::RefuseSigned),
            "pass" => Ok(Recode::Never),
            _ => Err(Wrong::new(
                "not a way to treat them",
                "write \"recode\", \"recode-or-refuse\" or \"pass\"",
            )),
        }),
    );
    levels(&root.table("outbound-tls"), tls, folder);
}

/// How forwarded mail gets a reverse-path of ours. `local` are the domains whose mail is ours to send.
pub(super) fn srs(table: &Table<'_, '_>, local: DomainSet, folder: &Path) -> Option<Arc<Srs>> {
    let domain = table.read("domain", domain_pattern);
    let keys = table.list("key-files", |value| {
        let key = password(value, folder)?;
        let fine = key.octets().len() >= 16;
        let short =
            || Wrong::new("the key is too short", "write at least 16 characters, at random");
        if fine { Ok(key.octets().to_vec()) } else { Err(short()) }
    });
    let days = table.read("days", |value| value.number(1..=365)).unwrap_or(srs::DEFAULT_DAYS);
    if table.exists() {
        table.require("domain", "\"forward.example.com\"");
        table.require("key-files", "[\"srs.key\"]");
    }
    let keys = keys.filter(|keys| !keys.is_empty())?;
    Some(Arc::new(Srs::new(domain?, &keys, days, local)))
}

fn routes(root: &Table<'_, '_>, maildir: &NextHop) -> Vec<Route> {
    let tables = root.tables("route").unwrap_or_default();
    let one = |table: Table<'_, '_>| {
        let names = |key| {
            let names = table.list(key, domain_pattern);
            names.map(|names| names.into_iter().collect::<HashSet<_>>())
        };
        let (from, to) = (names("from"), names("to"));
        let hop = table.read("next-hop", |value| next_hop(value, maildir));
        table.require("next-hop", "\"smtp://mail.example.com\"");
        if from.as_ref().is_none_or(HashSet::is_empty) && to.as_ref().is_none_or(HashSet::is_empty)
        {
            table.require("to", "[\"example.com\", \"*.example.com\"]");
            return None;
        }
        let (from, to) = (from.unwrap_or_default(), to.unwrap_or_default());
        Some(Route { from, to, next_hop: hop? })
    };
    tables.into_iter().filter_map(one).collect()
}

fn credentials(root: &Table<'_, '_>, folder: &Path) -> Vec<Credentials> {
    let tables = root.tables("credentials").unwrap_or_default();
    let one = |table: Table<'_, '_>| {
        let server = table.read("host", |value| {
            // The same form as a next hop with one server.
            let text = value.text()?;
            let wrong =
                || Wrong::new("not a server", "write \"smtp.example.com\", with `:587` if need be");
            let written: NextHop = format!("smtp://{text}").parse().map_err(|_| wrong())?;
            let NextHop::Smtp { servers } = written else { return Err(wrong()) };
            let mut servers = servers.iter();
            match (servers.next(), servers.next()) {
                (Some(outbound::Server::Tcp { host, port }), None) => {
                    let named = text.ends_with(&format!(":{port}"));
                    Ok((host.clone(), named.then_some(*port)))
                }
                _ => Err(wrong()),
            }
        });
        let user = table.read("user", |value| plain(value.text()?).map(str::to_owned));
        let password = table.read("password-file", |value| password(value, folder));
        table.require("host", "\"smtp.example.com:587\"");
        table.require("user", "\"gateway@example.com\"");
        table.require("password-file", "\"relay.password\"");
        let (host, port) = server?;
        Some(Credentials { host, port, user: user?, password: password? })
    };
    tables.into_iter().filter_map(one).collect()
}

/// A text without control characters: they would end fields of the login.
fn plain(text: &str) -> Result<&str, Wrong> {
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(Wrong::new("empty, or with control characters", "write it in one line"));
    }
    Ok(text)
}

/// The first line of a file that is nobody else's.
fn password(value: &Value<'_, '_>, folder: &Path) -> Result<Secret, Wrong> {
    let file = readable(value, folder)?;
    let unreadable = |error: std::io::Error| {
        Wrong::new(format!("{} cannot be read: {error}", file.display()), "give a text file")
    };
    let mode = std::fs::metadata(&file).map_err(unreadable)?.permissions().mode();
    if mode & 0o077 != 0 {
        let remedy = format!("run `chmod 600 {}`", file.display());
        return Err(Wrong::new("others may read or change this password", remedy));
    }
    let text = std::fs::read_to_string(&file).map_err(unreadable)?;
    let line = text.lines().next().unwrap_or_default();
    // What is wrong with a password must not be said by showing it.
    plain(line)
        .map(|line| Secret::new(line.to_owned()))
        .map_err(|_| Wrong::new("the file's first line is no password", "write it there alone"))
}

fn limits(root: &Table<'_, '_>) -> Vec<DestinationLimit> {
    let tables = root.tables("destination").unwrap_or_default();
    let one = |table: Table<'_, '_>| {
        let names = table.list("names", destination_name);
        table.require("names", "[\"example.com\"]");
        let jobs = table.read("deliveries", |value| count(value, 1..=10_000));
        let per_minute = table.read("per-minute", |value| small(value, 1..=1_000_000));
        let pause = per_minute.and_then(|rate| Duration::from_secs(60).checked_div(rate));
        Some(DestinationLimit { names: names?, lane: LaneLimits { jobs, pause } })
    };
    tables.into_iter().filter_map(one).collect()
}

fn levels(table: &Table<'_, '_>, tls: &mut OutboundTls, folder: &Path) {
    set(&mut tls.policy.default, table.read("level", level));
    let files: Option<Vec<PathBuf>> = table.list("ca-files", |value| path(value, folder));
    for file in files.unwrap_or_default() {
        let read =
            CertificateDer::pem_file_iter(&file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        match read {
            Ok(roots) if !roots.is_empty() => tls.roots.extend(roots),
            Ok(_) => table.wrong("ca-files", "a file without certificates", "give PEM files"),
            Err(error) => {
                let reason = format!("{} cannot be read: {error}", file.display());
                table.wrong("ca-files", &reason, "give PEM files");
            }
        }
    }
    let names = table.table("names");
    let mut by_name = HashMap::new();
    for (name, span, value) in names.entries() {
        match pattern(name) {
            Some(name) => {
                if let Some(level) = value.accept(level) {
                    by_name.insert(name, level);
                }
            }
            None => {
                let remedy =
                    "write a domain or host, or `*.` and a domain for all below, in quotes";
                value.reader.report(span, &value.key, "not a domain or host", Some(remedy));
            }
        }
    }
    tls.policy.by_name = by_name;
}

fn level(value: &Value<'_, '_>) -> Result<TlsLevel, Wrong> {
    let text = value.text()?;
    LEVELS.iter().find(|(word, _)| *word == text).map(|(_, level)| *level).ok_or_else(|| {
        let words: Vec<String> = LEVELS.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        Wrong::new(format!("unknown level `{text}`"), format!("write {}", words.join(", ")))
    })
}

fn domain_pattern(value: &Value<'_, '_>) -> Result<String, Wrong> {
    pattern(value.text()?).ok_or_else(|| {
        Wrong::new("not a domain", "write a domain, or `*.` and a domain for all below it")
    })
}

fn destination_name(value: &Value<'_, '_>) -> Result<String, Wrong> {
    let text = value.text()?;
    if text.parse::<std::net::IpAddr>().is_ok() {
        Ok(text.to_owned())
    } else {
        domain_pattern(value)
    }
}

/// A domain in ASCII, or `.` and a domain for `*.` and a domain.
pub(super) fn pattern(text: &str) -> Option<String> {
    let tree = text.strip_prefix("*.");
    let domain =
        Domain::parse(tree.unwrap_or(text), Syntax { utf8: true, lax_dots: false }).ok()?;
    let ascii = domain.ascii_name()?.to_lowercase();
    Some(if tree.is_some() { format!(".{ascii}") } else { ascii })
}
