//! What holds where `imss.toml` says nothing.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use imss_core::envelope::{Domain, Syntax};
use ipnet::IpNet;

use super::{
    AuthenticationSettings, Config, DnsSettings, ListenTls, Listener, OutboundTls, ScanSettings,
    SignatureSettings, UseOfAuth,
};
use crate::inbound::Mode;
use crate::inbound::auth::users::UserFiles;
use crate::inbound::relaying::RelayRules;
use crate::notices::NoticeSettings;
use crate::outbound::NextHop;
use crate::recipients::RecipientSettings;
use crate::{inbound, outbound, queue};

/// Port of the default listener.
const SMTP_PORT: u16 = 2525;
/// Port of metrics and health.
const HTTP_PORT: u16 = 8446;

impl Default for Config {
    fn default() -> Self {
        let (hostname, data_dir) = (default_hostname(), default_data_dir());
        let relaying =
            RelayRules { trusted_networks: loopback_networks(), ..RelayRules::default() };
        let inbound = inbound::Settings {
            hostname: hostname.clone(),
            relaying,
            ..inbound::Settings::default()
        };
        let listener = Listener {
            address: loopback(SMTP_PORT),
            mode: Mode::Edge,
            tls: ListenTls::Off,
            auth: UseOfAuth::Off,
            settings: inbound.clone(),
        };
        Self {
            file: None,
            filter: crate::filter::Settings::default(),
            policy: None,
            listeners: vec![listener],
            milters: Vec::new(),
            inbound,
            users: UserFiles { users: data_dir.join("users"), key: data_dir.join("users.key") },
            recipients: RecipientSettings::default(),
            tls: None,
            allow_partial: false,
            scan: ScanSettings::default(),
            signatures: SignatureSettings::default(),
            dns: DnsSettings::default(),
            authentication: AuthenticationSettings::default(),
            queue: queue::Settings::default(),
            outbound: outbound::Settings::new(hostname, default_next_hop(&data_dir)),
            outbound_tls: OutboundTls::default(),
            tls_reports: None,
            notices: NoticeSettings::default(),
            http: Some(loopback(HTTP_PORT)),
            scan_access: None,
            data_dir,
        }
    }
}

impl Default for ScanSettings {
    fn default() -> Self {
        Self {
            threads: std::thread::available_parallelism().map_or(2, std::num::NonZero::get),
            deadline: Duration::from_secs(60),
            clamd: None,
            icap: None,
            yara: Vec::new(),
            digest_lists: Vec::new(),
            passwords: Vec::new(),
            jail: None,
        }
    }
}

impl Default for DnsSettings {
    fn default() -> Self {
        Self { servers: Vec::new(), timeout: Duration::from_secs(5), trust_anchor: None }
    }
}

/// Where a node keeps its data if nobody says: `/var/lib/imss` for root, else
/// `$XDG_STATE_HOME/imss`, else `~/.local/state/imss`, else `imss-data` in the working directory.
#[must_use]
pub fn default_data_dir() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib/imss");
    }
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    folder("XDG_STATE_HOME")
        .or_else(|| folder("HOME").map(|home| home.join(".local/state")))
        .map_or_else(|| PathBuf::from("imss-data"), |state| state.join("imss"))
}

/// Maildirs under the data directory, one per recipient.
pub(super) fn default_next_hop(data_dir: &Path) -> NextHop {
    NextHop::Maildir { dir: data_dir.join("maildir") }
}

/// The system's host name, or `localhost` if it has none that SMTP could say.
fn default_hostname() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let valid = Domain::parse(&name, Syntax::default());
    valid.map_or_else(|_| "localhost".to_owned(), |domain| domain.to_string())
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn loopback_networks() -> Vec<IpNet> {
    vec![
        IpNet::new_assert(Ipv4Addr::new(127, 0, 0, 0).into(), 8),
        IpNet::new_assert(Ipv6Addr::LOCALHOST.into(), 128),
    ]
}
