//! The lookup client for DNS lists, on hickory-resolver.
//!
//! In: a name. Out: its addresses, none if the name server says that it has none, or why there is
//! no answer. Positive and negative answers are kept as long as their TTL says, at most
//! [`ClientSettings::max_ttl`]; failures are not kept.
//!
//! A question never takes longer than [`ClientSettings::timeout`], and more questions at once than
//! [`ClientSettings::max_questions`] wait within that time, so a dead name server delays mail by
//! that much and no more.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError, NoRecords};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::{Resolver, TokioResolver};
use tokio::sync::Semaphore;

use crate::answer::{Answer, LookupError};
use crate::report;

/// How name servers are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientSettings {
    /// The name servers; those of the system if empty. Default empty.
    pub servers: Vec<SocketAddr>,
    /// Time from a question to its answer, everything included. Default 5 seconds.
    pub timeout: Duration,
    /// Questions under way at once. Default 256.
    pub max_questions: usize,
    /// Answers kept. Default 65,536.
    pub cache_entries: u64,
    /// Longest time an answer is kept. Default one hour.
    pub max_ttl: Duration,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            timeout: Duration::from_secs(5),
            max_questions: 256,
            cache_entries: 1 << 16,
            max_ttl: Duration::from_secs(3600),
        }
    }
}

/// The client cannot be set up.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the DNS client cannot be set up")]
pub struct ClientError(#[from] NetError);

/// Asks name servers. Clones share the cache.
#[derive(Clone)]
pub struct Client {
    resolver: TokioResolver,
    free: Arc<Semaphore>,
    timeout: Duration,
}

impl Client {
    /// A client. Nothing is asked yet.
    ///
    /// # Errors
    ///
    /// [`ClientError`] if no server is given and the system's configuration cannot be read.
    pub fn new(settings: &ClientSettings) -> Result<Self, ClientError> {
        let provider = TokioRuntimeProvider::default();
        let mut builder = if settings.servers.is_empty() {
            Resolver::builder(provider)?
        } else {
            let servers = settings.servers.iter().map(|server| name_server(*server)).collect();
            let config = ResolverConfig::from_parts(None, Vec::new(), servers);
            Resolver::builder_with_config(config, provider)
        };
        set_options(builder.options_mut(), settings);
        Ok(Self {
            resolver: builder.build()?,
            free: Arc::new(Semaphore::new(settings.max_questions.max(1))),
            timeout: settings.timeout,
        })
    }

    /// The IPv4 addresses of `name`.
    ///
    /// # Errors
    ///
    /// [`LookupError::TimedOut`], [`LookupError::Refused`], [`LookupError::Failed`] for other error
    /// codes, [`LookupError::Garbage`] for referrals and what does not parse, and
    /// [`LookupError::Unreachable`].
    pub async fn addresses(&self, name: &str) -> Result<Answer, LookupError> {
        let asked = async {
            let _permit = self.free.acquire().await.map_err(|_| LookupError::Overloaded)?;
            // The dot at the end keeps the system's search domains out of it.
            match self.resolver.lookup(format!("{name}."), RecordType::A).await {
                Ok(lookup) => Ok(Answer::Addresses(addresses(&lookup))),
                Err(error) => no_addresses(error),
            }
        };
        let in_time = tokio::time::timeout(self.timeout, asked).await;
        in_time.unwrap_or(Err(LookupError::TimedOut))
    }

    /// The names that the address tree gives for `ip` (RFC 1035 §3.5), at most
    /// [`MAX_REVERSE_NAMES`].
    ///
    /// # Errors
    ///
    /// As [`Client::addresses`].
    pub async fn reverse_names(&self, ip: IpAddr) -> Result<Vec<String>, LookupError> {
        let asked = async {
            let _permit = self.free.acquire().await.map_err(|_| LookupError::Overloaded)?;
            match self.resolver.lookup(Name::from(ip.to_canonical()), RecordType::PTR).await {
                Ok(lookup) => Ok(names(&lookup)),
                Err(error) => no_addresses(error).map(|_| Vec::new()),
            }
        };
        let in_time = tokio::time::timeout(self.timeout, asked).await;
        in_time.unwrap_or(Err(LookupError::TimedOut))
    }

    /// Whether `name` has the address `ip`.
    ///
    /// # Errors
    ///
    /// As [`Client::addresses`].
    pub async fn has_address(&self, name: &str, ip: IpAddr) -> Result<bool, LookupError> {
        let ip = ip.to_canonical();
        let kind = if ip.is_ipv4() { RecordType::A } else { RecordType::AAAA };
        let asked = async {
            let _permit = self.free.acquire().await.map_err(|_| LookupError::Overloaded)?;
            let name = format!("{}.", name.trim_end_matches('.'));
            match self.resolver.lookup(name, kind).await {
                Ok(lookup) => {
                    Ok(lookup.answers().iter().any(|record| record.data.ip_addr() == Some(ip)))
                }
                Err(error) => no_addresses(error).map(|_| false),
            }
        };
        let in_time = tokio::time::timeout(self.timeout, asked).await;
        in_time.unwrap_or(Err(LookupError::TimedOut))
    }
}

/// Reverse names that are looked at; more are no mail server.
pub const MAX_REVERSE_NAMES: usize = 10;

fn names(lookup: &Lookup) -> Vec<String> {
    let name = |record: &Record| match &record.data {
        RData::PTR(name) => Some(name.to_utf8().trim_end_matches('.').to_owned()),
        _ => None,
    };
    lookup.answers().iter().filter_map(name).take(MAX_REVERSE_NAMES).collect()
}

#[cfg(feature = "auth")]
impl Client {
    /// Records of `name`, those of its aliases included; none if it exists without such records.
    pub(crate) async fn records(
        &self,
        name: Name,
        kind: RecordType,
    ) -> crate::auth::names::Records<RData> {
        use crate::auth::names::NoAnswer;
        let asked = async {
            let _permit = self.free.acquire().await.map_err(|_| NoAnswer::Temporary)?;
            match self.resolver.lookup(name, kind).await {
                Ok(found) => Ok(found.answers().iter().map(|record| record.data.clone()).collect()),
                Err(NetError::Dns(DnsError::NoRecordsFound(none))) => match absence(&none) {
                    Ok(_) if none.response_code == ResponseCode::NXDomain => Err(NoAnswer::NoName),
                    Ok(_) => Ok(Vec::new()),
                    Err(_) => Err(NoAnswer::Temporary),
                },
                Err(_) => Err(NoAnswer::Temporary),
            }
        };
        let in_time = tokio::time::timeout(self.timeout, asked).await;
        in_time.unwrap_or(Err(NoAnswer::Temporary))
    }
}

fn addresses(lookup: &Lookup) -> Vec<IpAddr> {
    let address = |record: &Record| match &record.data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        _ => None,
    };
    lookup.answers().iter().filter_map(address).collect()
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
    let at_port = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    NameServerConfig::new(address.ip(), true, connections.map(at_port).into())
}

fn set_options(options: &mut ResolverOpts, settings: &ClientSettings) {
    // Two tries fit into the time that a question has.
    options.timeout = settings.timeout / 2;
    options.attempts = 1;
    options.cache_size = settings.cache_entries;
    options.positive_max_ttl = Some(settings.max_ttl);
    options.negative_max_ttl = Some(settings.max_ttl);
    options.use_hosts_file = ResolveHosts::Never;
    options.edns0 = true;
    options.max_active_requests = settings.max_questions.max(1);
}

/// What an error of the resolver says: that the name does not exist, or why nobody knows.
fn no_addresses(error: NetError) -> Result<Answer, LookupError> {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => absence(&none),
        NetError::Dns(DnsError::ResponseCode(code)) => Err(error_code(code)),
        NetError::Timeout => Err(LookupError::TimedOut),
        NetError::Proto(error) => Err(LookupError::Garbage(report::escaped(&error.to_string()))),
        error => Err(LookupError::Unreachable(report::escaped(&error.to_string()))),
    }
}

fn absence(none: &NoRecords) -> Result<Answer, LookupError> {
    let is_referral = none.soa.is_none() && none.ns.is_some();
    match none.response_code {
        ResponseCode::NoError if is_referral => {
            Err(LookupError::Garbage("a referral to other name servers".to_owned()))
        }
        ResponseCode::NXDomain | ResponseCode::NoError => Ok(Answer::Addresses(Vec::new())),
        code => Err(error_code(code)),
    }
}

fn error_code(code: ResponseCode) -> LookupError {
    match code {
        ResponseCode::Refused => LookupError::Refused,
        code => LookupError::Failed(code.to_string()),
    }
}
