//! `imss.toml` → [`Config`]: one function per table, every key in one place.
//!
//! In: the document. Out: the defaults with what the document says in their place; what is wrong is
//! reported to the reader. This is the list of all keys; `docs/configuration.md` describes them.

use std::collections::HashMap;
use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use imss_core::envelope::{Domain, Syntax};
use ipnet::IpNet;

use super::auth::auth;
use super::authentication;
use super::defaults::default_next_hop;
use super::filter::filter;
use super::listen::listeners;
use super::notices::notices;
use super::outbound::{outbound, pattern, srs};
use super::reader::{Reader, Table, Value, Wrong};
use super::recipients::recipients;
use super::{
    Config, DnsSettings, ScanSettings, SignatureSettings, TlsFiles, doors, reports, units,
};
use crate::inbound;
use crate::inbound::relaying::DomainSet;
use crate::inbound::settings::{LineEnds, SessionLimits, Timeouts};
use crate::jail::JailSettings;
use crate::outbound::{NextHop, Server};
use crate::queue;
use crate::signatures::Source;

pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);
pub(super) const SECOND: Duration = Duration::from_secs(1);

/// Reads every key of the document.
pub(super) fn lower(reader: &Reader<'_>, folder: &Path) -> Config {
    let mut config = Config::default();
    let root = reader.root();
    if let Some(data_dir) = root.read("data-dir", |value| path(value, folder)) {
        config.outbound.routing.default = default_next_hop(&data_dir);
        config.data_dir = data_dir;
    }
    if let Some(hostname) = root.read("hostname", hostname) {
        config.outbound.hostname.clone_from(&hostname);
        config.inbound.hostname = hostname;
    }
    config.policy = root.read("policy", |value| readable(value, folder)).or(config.policy);
    relaying(&root, &mut config.inbound);
    next_hops(&root, &mut config);
    let maildir = default_next_hop(&config.data_dir);
    outbound(&root, &mut config.outbound, &mut config.outbound_tls, &maildir, folder);
    config.tls_reports = reports::tls(&root.table("tls-reports"));
    let local = config.inbound.relaying.domains.clone();
    config.inbound.relaying.srs = srs(&root.table("srs"), local, folder);
    config.notices = notices(&root.table("notices"), folder);
    config.tls = tls(&root.table("tls"), folder);
    limits(&root.table("limits"), &mut config);
    smtp(&root.table("smtp"), &mut config);
    scan(&root.table("scan"), &mut config.scan, folder);
    signatures(&root.table("signatures"), &mut config.signatures, folder);
    dns(&root.table("dns"), &mut config.dns, folder);
    config.authentication = authentication::lower(&root, folder);
    queue(&root.table("queue"), &mut config.queue);
    let http = root.table("http");
    if let Some(address) = http.read("address", address_or_off) {
        config.http = address;
    }
    config.scan_access = doors::scan_access(&http, config.http);
    let folders = (folder, config.data_dir.as_path());
    config.users = auth(&root.table("auth"), &mut config.inbound.auth, folders);
    let node = (folder, config.inbound.hostname.as_str());
    recipients(&root.table("recipients"), &mut config.recipients, node);
    filter(&root.table("filter"), &mut config.filter, folder);
    listeners(&root, &mut config, folder);
    config
}

fn relaying(root: &Table<'_, '_>, inbound: &mut inbound::Settings) {
    let domains = root.list("relay-domains", domain);
    for domain in domains.unwrap_or_default() {
        // Checked above, where its place is known.
        let _ = inbound.relaying.domains.insert(domain);
    }
    if let Some(networks) = root.list("trusted-networks", network) {
        inbound.relaying.trusted_networks = networks;
    }
}

/// A domain for [`DomainSet::insert`], still as it is written.
pub(super) fn domain<'r>(value: &Value<'r, '_>) -> Result<&'r str, Wrong> {
    let mut one = DomainSet::default();
    one.insert(value.text()?).map_err(|_| {
        Wrong::new("not a domain", "write a domain, or `*.` and a domain for all below it")
    })?;
    value.text()
}

fn next_hops(root: &Table<'_, '_>, config: &mut Config) {
    let maildir = default_next_hop(&config.data_dir);
    let routing = &mut config.outbound.routing;
    if let Some(hop) = root.read("next-hop", |value| next_hop(value, &maildir)) {
        routing.default = hop;
    }
    let table = root.table("next-hops");
    let mut by_domain = HashMap::new();
    for (name, span, value) in table.entries() {
        let Some(key) = pattern(name) else {
            let remedy = "write a domain, or `*.` and a domain for all below it, in quotes";
            value.reader.report(span, &value.key, "not a domain", Some(remedy));
            continue;
        };
        if let Some(hop) = value.accept(|value| next_hop(value, &maildir)) {
            by_domain.insert(key, hop);
        }
    }
    routing.by_domain = by_domain;
}

fn tls(table: &Table<'_, '_>, folder: &Path) -> Option<TlsFiles> {
    let certificate = table.read("certificate", |value| readable(value, folder));
    let key = table.read("key", |value| readable(value, folder));
    if table.exists() {
        table.require("certificate", "\"/etc/imss/tls/chain.pem\"");
        table.require("key", "\"/etc/imss/tls/key.pem\"");
    }
    Some(TlsFiles { certificate: certificate?, key: key? })
}

fn limits(table: &Table<'_, '_>, config: &mut Config) {
    let SessionLimits {
        message_bytes,
        recipients,
        messages,
        errors,
        idle_commands: _,
        connections,
        connections_per_client,
        connections_per_network,
    } = &mut config.inbound.limits;
    set(message_bytes, table.read("message-size", |value| size(value, 1 << 10..=4 << 30)));
    set(recipients, table.read("recipients", |value| count(value, 1..=100_000)));
    set(messages, table.read("messages-per-connection", |value| small(value, 1..=1_000_000)));
    set(errors, table.read("errors", |value| small(value, 1..=10_000)));
    set(connections, table.read("connections", |value| count(value, 1..=100_000)));
    set(
        connections_per_client,
        table.read("connections-per-client", |value| count(value, 1..=100_000)),
    );
    set(
        connections_per_network,
        table.read("connections-per-network", |value| count(value, 1..=100_000)),
    );
    let Timeouts { command, data_block, message, write: _, handshake: _, check: _ } =
        &mut config.inbound.timeouts;
    set(command, table.read("command-timeout", |value| time(value, SECOND, DAY)));
    set(data_block, table.read("data-timeout", |value| time(value, SECOND, DAY)));
    set(message, table.read("message-timeout", |value| time(value, SECOND, DAY)));
}

fn smtp(table: &Table<'_, '_>, config: &mut Config) {
    let inbound = &mut config.inbound;
    set(&mut inbound.allow_bad_dots, table.read("allow-bad-dots", Value::flag));
    set(&mut inbound.relaying.allow_source_routes, table.read("allow-source-routes", Value::flag));
    set(&mut config.allow_partial, table.read("allow-partial", Value::flag));
    let early = table.read("allow-early-data", Value::flag);
    set(&mut inbound.close_on_early_data, early.map(|allowed| !allowed));
    let line_ends = table.read("bare-line-ends", |value| match value.text()? {
        "normalise" => Ok(LineEnds::Normalise),
        "refuse" => Ok(LineEnds::Refuse),
        _ => Err(Wrong::new("not a way to treat them", "write \"normalise\" or \"refuse\"")),
    });
    set(&mut inbound.line_ends, line_ends);
    if let Some(wait) = table.read("greeting-delay", delay) {
        inbound.early_talker_wait = Some(wait).filter(|wait| !wait.is_zero());
    }
}

fn scan(table: &Table<'_, '_>, scan: &mut ScanSettings, folder: &Path) {
    set(&mut scan.threads, table.read("threads", |value| count(value, 1..=1_024)));
    set(&mut scan.deadline, table.read("deadline", |value| time(value, SECOND, DAY)));
    scan.clamd = table.read("clamd", clamd);
    scan.icap = table.read("icap", |value| {
        value.text()?.parse().map_err(|_| {
            Wrong::new("not an ICAP service", "write \"icap://127.0.0.1:1344/avscan\" or the like")
        })
    });
    set(&mut scan.yara, table.list("yara", |value| readable(value, folder)));
    let lists = table.list("digest-lists", |value| readable(value, folder));
    set(&mut scan.digest_lists, lists);
    set(&mut scan.passwords, table.list("passwords", |value| value.text().map(str::to_owned)));
    let mut jail = JailSettings::default();
    set(&mut jail.program, table.read("jail-program", |value| readable(value, folder)));
    let messages = table.read("jail-messages", |value| small(value, 1..=1_000_000));
    set(&mut jail.messages_per_worker, messages);
    let is_on = table.read("jail", Value::flag).unwrap_or(false);
    scan.jail = is_on.then_some(jail);
}

fn signatures(table: &Table<'_, '_>, signatures: &mut SignatureSettings, folder: &Path) {
    let keys = table.list("keys", |value| {
        value.text()?.parse().map_err(|_| {
            Wrong::new("not an Ed25519 key", "write the public key that `imss bundle keygen` shows")
        })
    });
    set(&mut signatures.keys, keys);
    signatures.source = table.read("source", |value| match value.text()?.parse() {
        Ok(Source::Folder(path)) => Ok(Source::Folder(folder.join(path))),
        Ok(web) => Ok(web),
        Err(reason) => Err(Wrong::new(reason, "write a folder or an https:// address")),
    });
    let shortest = Duration::from_secs(60);
    let month = DAY.saturating_mul(31);
    signatures.interval = table.read("interval", |value| time(value, shortest, month));
    if signatures.source.is_some() && signatures.keys.is_empty() {
        table.require("keys", "[\"BASE64\"]");
    }
    if signatures.interval.is_some() {
        table.require("source", "\"https://signatures.example.com/imss\"");
    }
}

fn dns(table: &Table<'_, '_>, dns: &mut DnsSettings, folder: &Path) {
    let servers = table.list("servers", |value| {
        let text = value.text()?;
        let bare = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
        bare.or_else(|_| text.parse()).map_err(|_| {
            Wrong::new("not a server's address", "write \"192.0.2.53\" or \"192.0.2.53:5353\"")
        })
    });
    set(&mut dns.servers, servers);
    let longest = Duration::from_secs(60);
    let timeout = table.read("timeout", |value| time(value, Duration::from_millis(100), longest));
    set(&mut dns.timeout, timeout);
    dns.trust_anchor = table.read("trust-anchor", |value| readable(value, folder));
}

fn queue(table: &Table<'_, '_>, queue: &mut queue::Settings) {
    if let Some(retry) = table.list("retry", |value| time(value, SECOND, DAY)) {
        if retry.is_empty() {
            table.wrong("retry", "an empty list", "give at least one pause, such as \"5 minutes\"");
        } else {
            queue.retry = retry;
        }
    }
    let month = DAY.saturating_mul(31);
    set(&mut queue.expire, table.read("expire", |value| time(value, SECOND, month)));
    if let Some(age) = table.read("delay-notice", |value| time(value, Duration::ZERO, month)) {
        queue.delay_notice = Some(age).filter(|age| !age.is_zero());
    }
    let per_destination = table.read("deliveries-per-destination", |value| count(value, 1..=1_000));
    set(&mut queue.per_destination, per_destination);
    set(&mut queue.jobs, table.read("deliveries", |value| count(value, 1..=10_000)));
    set(&mut queue.grace, table.read("stop-timeout", |value| time(value, SECOND, DAY)));
}

/// Reads a flag into its place.
pub(super) fn flag_into(place: &mut bool, table: &Table<'_, '_>, key: &'static str) {
    set(place, table.read(key, Value::flag));
}

pub(super) fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

pub(super) fn hostname(value: &Value<'_, '_>) -> Result<String, Wrong> {
    match Domain::parse(value.text()?, Syntax::default()) {
        Ok(Domain::Name(name)) => Ok(name),
        _ => Err(Wrong::new("not a host name", "write the node's full name, \"mx1.example.com\"")),
    }
}

pub(super) fn path(value: &Value<'_, '_>, folder: &Path) -> Result<PathBuf, Wrong> {
    match value.text()? {
        "" => Err(Wrong::new("an empty path", "write a path, or leave the key out")),
        text => Ok(folder.join(text)),
    }
}

/// The path of a file that can be opened.
pub(super) fn readable(value: &Value<'_, '_>, folder: &Path) -> Result<PathBuf, Wrong> {
    let path = path(value, folder)?;
    let opened = File::open(&path).and_then(|file| file.metadata());
    match opened {
        Ok(metadata) if metadata.is_dir() => {
            Err(Wrong::new(format!("{} is a folder", path.display()), "give the path of a file"))
        }
        Ok(_) => Ok(path),
        Err(error) => Err(Wrong::new(
            format!("{} cannot be read: {error}", path.display()),
            "give the path of a readable file, absolute or from this file's folder",
        )),
    }
}

pub(super) fn address(value: &Value<'_, '_>) -> Result<SocketAddr, Wrong> {
    value.text()?.parse().map_err(|_| {
        Wrong::new("not an address and port", "write \"0.0.0.0:25\", \"[::]:25\" or the like")
    })
}

fn address_or_off(value: &Value<'_, '_>) -> Result<Option<SocketAddr>, Wrong> {
    if value.text()? == "off" { Ok(None) } else { address(value).map(Some) }
}

pub(super) fn network(value: &Value<'_, '_>) -> Result<IpNet, Wrong> {
    let text = value.text()?;
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    network.map(|network| network.trunc()).map_err(|_| {
        Wrong::new("not a network", "write \"192.0.2.0/24\", \"2001:db8::/32\" or one address")
    })
}

pub(super) fn next_hop(value: &Value<'_, '_>, maildir: &NextHop) -> Result<NextHop, Wrong> {
    let text = value.text()?;
    if text == "maildir" {
        return Ok(maildir.clone());
    }
    text.parse().map_err(|error| {
        Wrong::new(
            format!("not a next hop: {error}"),
            "write \"maildir\", \"mx\", \"smtp://mail.example.com:25\" or \"lmtp://127.0.0.1:24\"",
        )
    })
}

/// `unix:/path` or `tcp://host:port`.
fn clamd(value: &Value<'_, '_>) -> Result<Server, Wrong> {
    let text = value.text()?;
    let wrong = || {
        Wrong::new(
            "not the address of a ClamAV daemon",
            "write \"unix:/run/clamav/clamd.ctl\" or \"tcp://127.0.0.1:3310\"",
        )
    };
    if let Some(path) = text.strip_prefix("unix:") {
        let path = PathBuf::from(path);
        return if path.is_absolute() { Ok(Server::Unix { path }) } else { Err(wrong()) };
    }
    // The same form as a next hop with one server.
    let host = text
        .strip_prefix("tcp://")
        .filter(|host| !host.contains([',', '|', '*']))
        .ok_or_else(wrong)?;
    match format!("smtp://{host}").parse() {
        Ok(NextHop::Smtp { servers }) => servers.iter().next().cloned().ok_or_else(wrong),
        _ => Err(wrong()),
    }
}

pub(super) fn size(
    value: &Value<'_, '_>,
    range: std::ops::RangeInclusive<u64>,
) -> Result<u64, Wrong> {
    if value.is_number() {
        return value.number(range);
    }
    units::size(value.text()?).filter(|size| range.contains(size)).ok_or_else(|| {
        Wrong::new("not a size from 1 KiB to 4 GiB", "write octets, or \"50 MiB\" or the like")
    })
}

pub(super) fn time(
    value: &Value<'_, '_>,
    least: Duration,
    most: Duration,
) -> Result<Duration, Wrong> {
    let time = units::duration(value.text()?).ok_or_else(|| {
        Wrong::new("not a time", "write \"30 seconds\", \"5 minutes\", \"2 days\"")
    })?;
    if time < least || time > most {
        return Err(Wrong::new("time out of range", format!("write {least:?} to {most:?}")));
    }
    Ok(time)
}

/// A time that may be none.
pub(super) fn delay(value: &Value<'_, '_>) -> Result<Duration, Wrong> {
    time(value, Duration::ZERO, DAY)
}

pub(super) fn count(
    value: &Value<'_, '_>,
    range: std::ops::RangeInclusive<u64>,
) -> Result<usize, Wrong> {
    value.number(range).map(|number| usize::try_from(number).unwrap_or(usize::MAX))
}

pub(super) fn small(
    value: &Value<'_, '_>,
    range: std::ops::RangeInclusive<u64>,
) -> Result<u32, Wrong> {
    value.number(range).map(|number| u32::try_from(number).unwrap_or(u32::MAX))
}
