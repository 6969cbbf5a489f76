//! What authentication asks the DNS, and nothing else about it.
//!
//! In: a name. Out: its records; none if there are none; or why nobody knows. The real resolver is
//! one implementation, a table of a test is another.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why a name has no records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoAnswer {
    /// The name does not exist (NXDOMAIN).
    NoName,
    /// Nobody knows now: time-out, server failure, nonsense.
    Temporary,
}

/// Records, in any order; empty if the name exists without such records.
pub type Records<T> = Result<Vec<T>, NoAnswer>;

/// Somebody who can be asked for records. Every answer comes in bounded time.
pub trait Names: Send + Sync {
    /// TXT records, each with its strings put together.
    fn txt(&self, name: &str) -> impl Future<Output = Records<Vec<u8>>> + Send;
    /// IPv4 addresses.
    fn a(&self, name: &str) -> impl Future<Output = Records<Ipv4Addr>> + Send;
    /// IPv6 addresses.
    fn aaaa(&self, name: &str) -> impl Future<Output = Records<Ipv6Addr>> + Send;
    /// Mail exchangers with their preferences.
    fn mx(&self, name: &str) -> impl Future<Output = Records<(u16, String)>> + Send;
    /// Names of an address.
    fn ptr(&self, address: IpAddr) -> impl Future<Output = Records<String>> + Send;
}
