//! What can be typed after `imss filter`.

use std::net::IpAddr;

use clap::{Args, Subcommand, ValueEnum};
use imss_relay::config::filter::length_secs;
use imss_relay::filter::Part;
use imss_scan::reputation::subject::Subject;

use super::{List, Node};

/// `imss filter …`.
#[derive(Debug, Subcommand)]
pub enum Filter {
    /// Show the state of every part and of every DNS list
    Status(List),
    /// List approved, blocked, greylisted or throttled senders
    List(Listed),
    /// Show everything known of an address
    Show(ShowSource),
    /// Add to a list
    Add(Add),
    /// Remove from a list
    Remove(Remove),
    /// Refuse mail from addresses, a country, a network operator or hosts by name
    Block(Entry),
    /// Let addresses, a country, a network operator or hosts by name pass the whole filter
    Approve(Entry),
    /// Let an address or a sender go on at once, whatever held it
    Release(Release),
    /// Switch parts on
    On(Switch),
    /// Switch parts off
    Off(Switch),
    /// Let parts look and log, and do nothing
    Shadow(Switch),
    /// Let the settings decide again whether parts are on
    Default(Switch),
    /// Show what was decided, oldest first
    Log(FilterLog),
}

/// The two lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EntryList {
    /// Pass the filter.
    Approved,
    /// Are refused.
    Blocked,
}

/// What `imss filter list` lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FilterList {
    /// The approved list.
    Approved,
    /// The blocked list.
    Blocked,
    /// Senders who are put off.
    Greylisted,
    /// Sources and senders who sent too much.
    Throttled,
}

/// Arguments of `imss filter list`.
#[derive(Debug, Args)]
pub struct Listed {
    /// Which
    #[arg(value_name = "WHICH", default_value = "blocked")]
    pub what: FilterList,
    /// The list.
    #[command(flatten)]
    pub list: List,
}

/// Arguments of `imss filter show`.
#[derive(Debug, Args)]
pub struct ShowSource {
    /// The address
    pub ip: IpAddr,
    /// The list.
    #[command(flatten)]
    pub list: List,
}

/// Arguments of `imss filter add`.
#[derive(Debug, Args)]
pub struct Add {
    /// To which list
    #[arg(value_name = "LIST")]
    pub to: EntryList,
    /// What.
    #[command(flatten)]
    pub entry: Entry,
}

/// What is added to a list.
#[derive(Debug, Args)]
pub struct Entry {
    /// 192.0.2.1, 192.0.2.0/24, 192.0.2.1-192.0.2.9, 2001:db8::/32, country:JP, AS64496,
    /// name:mx.example.com or name:*.example.com (hosts whose name has their address)
    #[arg(value_name = "WHO", required = true)]
    pub subjects: Vec<Subject>,
    /// For how long, such as "2 days" [default: for good]
    #[arg(long = "for", value_name = "TIME", value_parser = length_secs)]
    pub length: Option<u32>,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
    /// Refuse with 4yz, so that the client comes again
    #[arg(long)]
    pub transient: bool,
    /// The node.
    #[command(flatten)]
    pub node: Node,
}

/// Arguments of `imss filter remove`.
#[derive(Debug, Args)]
pub struct Remove {
    /// From which list
    #[arg(value_name = "LIST")]
    pub from: EntryList,
    /// As it stands in the list
    #[arg(value_name = "WHO", required = true)]
    pub subjects: Vec<Subject>,
    /// The node.
    #[command(flatten)]
    pub node: Node,
}

/// Arguments of `imss filter release`.
#[derive(Debug, Args)]
pub struct Release {
    /// IP addresses or mailboxes
    #[arg(value_name = "WHO", required = true)]
    pub who: Vec<String>,
    /// The node.
    #[command(flatten)]
    pub node: Node,
}

/// Arguments of `imss filter on` and its like.
#[derive(Debug, Args)]
pub struct Switch {
    /// lists, profiler, dns, throttle, greylist, slow-start or checks
    #[arg(value_name = "PART", required = true, value_parser = part)]
    pub parts: Vec<Part>,
    /// The node.
    #[command(flatten)]
    pub node: Node,
}

/// Arguments of `imss filter log`.
#[derive(Debug, Args)]
pub struct FilterLog {
    /// Only about this address
    #[arg(long, value_name = "IP")]
    pub client: Option<IpAddr>,
    /// Only of this part
    #[arg(long, value_name = "PART", value_parser = part)]
    pub part: Option<Part>,
    /// Only with this action, such as rejected, deferred, blocked or alert
    #[arg(long, value_name = "ACTION")]
    pub action: Option<String>,
    /// At most so many of the newest
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: usize,
    /// The list.
    #[command(flatten)]
    pub list: List,
}

fn part(text: &str) -> Result<Part, String> {
    Part::ALL.into_iter().find(|part| part.as_str() == text).ok_or_else(|| {
        let known: Vec<_> = Part::ALL.iter().map(|part| part.as_str()).collect();
        format!("the parts are {}", known.join(", "))
    })
}

pub(super) const HELP: &str = "\
Talks to the running gateway over DATA-DIR/control.sock. If none runs, the commands work on the
filter's files themselves. What a command changes holds at once, for open connections too, and
survives restarts.

Examples:
  imss filter status
  imss filter block 192.0.2.0/24 --for '7 days' --note 'dictionary attack'
  imss filter approve AS64496 2001:db8::/32 'name:*.outbound.example.net'
  imss filter list blocked --json | jq -r '.[].subject'
  imss filter show 192.0.2.7
  imss filter release 192.0.2.7 newsletter@example.net
  imss filter remove blocked 192.0.2.0/24
  imss filter off greylist
  imss filter log --client 192.0.2.7 --limit 20

Exit codes:
  0  done
  1  an entry is not there, or the command failed
  2  wrong usage, or a mistake in the configuration";
