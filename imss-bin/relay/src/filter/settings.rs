//! What the sender filter does, as plain checked values.

use std::path::PathBuf;
use std::time::Duration;

use imss_scan::reputation::greylist::GreySettings;
use imss_scan::reputation::profile::Rule;
use imss_scan::reputation::subject::Subject;
use imss_scan::reputation::throttle::{Allowance, Growth};
use imss_scan::reputation::zone::Zone;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::template::Template;

/// A part of the filter that can be switched on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// The approved and the blocked list.
    Lists,
    /// Blocks sources by what they send.
    Profiler,
    /// Asks DNS lists about the client.
    Dns,
    /// Limits connections and messages.
    Throttle,
    /// Puts unknown senders off.
    Greylist,
    /// Limits the messages of new sources.
    SlowStart,
    /// Looks at the client's names.
    Checks,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Lists,
        Self::Profiler,
        Self::Dns,
        Self::Throttle,
        Self::Greylist,
        Self::SlowStart,
        Self::Checks,
    ];

    /// The word in settings, commands and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lists => "lists",
            Self::Profiler => "profiler",
            Self::Dns => "dns",
            Self::Throttle => "throttle",
            Self::Greylist => "greylist",
            Self::SlowStart => "slow-start",
            Self::Checks => "checks",
        }
    }
}

/// Whether a part acts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It does nothing and costs nothing.
    #[default]
    Off,
    /// It looks, logs what it would do, and does nothing.
    Shadow,
    /// It acts.
    On,
}

impl State {
    /// The word in settings, commands and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Shadow => "shadow",
            Self::On => "on",
        }
    }
}

/// Everything `[filter]` says.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Mail servers whose `Received:` fields are believed, and whose mail is not theirs.
    pub known_hosts: Vec<IpNet>,
    /// IPv6 addresses that share so many bits are one source.
    pub ipv6_prefix: u8,
    /// Sources that are remembered.
    pub max_sources: usize,
    /// Find out the names of strangers' addresses even if no check wants them.
    pub client_names: bool,
    /// A MaxMind-format file with countries.
    pub country_file: Option<PathBuf>,
    /// A MaxMind-format file with autonomous systems.
    pub asn_file: Option<PathBuf>,
    /// Whether each part acts.
    pub states: States,
    /// Approved whatever happens.
    pub approved: Vec<Subject>,
    /// Blocked unless approved.
    pub blocked: Vec<Subject>,
    /// What a blocked client reads.
    pub blocked_text: Template,
    /// The profiler's rules.
    pub profiler: Profiler,
    /// DNS lists.
    pub dns: Dns,
    /// Limits.
    pub throttle: Throttling,
    /// Greylisting.
    pub greylist: Greylisting,
    /// Growth of unknown sources.
    pub slow_start: Growth,
    /// What a source that grows too fast reads.
    pub slow_start_text: Template,
    /// Looks at names.
    pub checks: Checks,
}

/// Whether each part acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct States(pub [State; 7]);

impl States {
    /// The state of a part.
    #[must_use]
    pub fn of(&self, part: Part) -> State {
        let place = Part::ALL.iter().position(|other| *other == part);
        place.and_then(|place| self.0.get(place)).copied().unwrap_or_default()
    }

    /// Changes the state of a part.
    pub fn set(&mut self, part: Part, state: State) {
        let place = Part::ALL.iter().position(|other| *other == part);
        if let Some(slot) = place.and_then(|place| self.0.get_mut(place)) {
            *slot = state;
        }
    }
}

impl Default for States {
    /// Only the lists: they are empty until somebody fills them.
    fn default() -> Self {
        let mut states = Self([State::Off; 7]);
        states.set(Part::Lists, State::On);
        states
    }
}

/// The profiler.
#[derive(Debug, Clone)]
pub struct Profiler {
    /// The rules that are on.
    pub rules: Vec<Rule>,
    /// Recipients of one message beyond this count as looking for mailboxes.
    pub max_recipients: usize,
}

/// What is done to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// 5yz.
    Reject,
    /// 4yz.
    Defer,
}

/// DNS lists.
#[derive(Debug, Clone)]
pub struct Dns {
    /// The longest that all of them together may take.
    pub timeout: Duration,
    /// How often their test points are looked at.
    pub check_every: Duration,
    /// The zones, with their class.
    pub zones: Vec<DnsZone>,
    /// What listings by zones of the class `standard` lead to.
    pub standard: DnsClass,
    /// What listings by zones of the class `dynamic` lead to.
    pub dynamic: DnsClass,
}

/// One zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsZone {
    /// Name and codes.
    pub zone: Zone,
    /// Whether it lists addresses that change hands.
    pub is_dynamic: bool,
    /// Whether it has the test points of RFC 5782 §5.
    pub has_test_points: bool,
}

/// What listings lead to.
#[derive(Debug, Clone)]
pub struct DnsClass {
    /// The weight from which a client is refused.
    pub threshold: u32,
    /// How.
    pub action: Action,
    /// What it reads.
    pub text: Template,
}

/// Limits.
#[derive(Debug, Clone)]
pub struct Throttling {
    /// Of one source.
    pub client: Option<Allowance>,
    /// Of one reverse-path.
    pub sender: Option<Allowance>,
    /// Reverse-paths without limits: an address, or `@` and a domain.
    pub except_senders: Vec<String>,
    /// What one who exceeds them reads.
    pub text: Template,
}

/// Greylisting.
#[derive(Debug, Clone)]
pub struct Greylisting {
    /// Times and counts.
    pub times: GreySettings,
    /// Triplets that are remembered.
    pub max_triplets: usize,
    /// What one who is put off reads.
    pub text: Template,
}

/// What a sign is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// So much of the threshold.
    Score(u32),
    /// Enough by itself.
    Act(Action),
}

/// Looks at the client's names and manners.
#[derive(Debug, Clone)]
pub struct Checks {
    /// EHLO with what is neither a full domain nor an address literal.
    pub helo_invalid: Option<Weight>,
    /// EHLO with our own name or a domain we take mail for.
    pub helo_ours: Option<Weight>,
    /// EHLO with an address literal that is not the client's.
    pub helo_literal: Option<Weight>,
    /// The address has no name.
    pub no_reverse: Option<Weight>,
    /// No name of the address has the address.
    pub reverse_mismatch: Option<Weight>,
    /// The client speaks before our greeting (RFC 5321 §4.3.1).
    pub early_talker: Option<Weight>,
    /// How long we listen for that.
    pub early_talker_wait: Duration,
    /// The score from which `action` is done.
    pub threshold: u32,
    /// What is done then.
    pub action: Action,
    /// What the client reads.
    pub text: Template,
}

const HOUR: u32 = 3_600;
const DAY: u32 = 24 * HOUR;

impl Default for Settings {
    fn default() -> Self {
        Self {
            known_hosts: private_networks(),
            ipv6_prefix: 64,
            max_sources: 1_000_000,
            client_names: false,
            country_file: None,
            asn_file: None,
            states: States::default(),
            approved: Vec::new(),
            blocked: Vec::new(),
            blocked_text: Template::fixed("%CLIENT_IP% is blocked here; ask %POSTMASTER%"),
            profiler: Profiler { rules: Vec::new(), max_recipients: 50 },
            dns: Dns::default(),
            throttle: Throttling::default(),
            greylist: Greylisting::default(),
            slow_start: Growth { period_secs: DAY, first: 50, factor: 2, periods: 7 },
            slow_start_text: Template::fixed(
                "%CLIENT_IP% is new here and has sent enough for now; try again later",
            ),
            checks: Checks::default(),
        }
    }
}

impl Default for Dns {
    fn default() -> Self {
        let text = "%CLIENT_IP% is listed by %RBL_CHECK_DOMAIN%";
        let class = |action| DnsClass { threshold: 1, action, text: Template::fixed(text) };
        Self {
            timeout: Duration::from_secs(5),
            check_every: Duration::from_secs(600),
            zones: Vec::new(),
            standard: class(Action::Reject),
            dynamic: class(Action::Defer),
        }
    }
}

impl Default for Throttling {
    fn default() -> Self {
        let text = Template::fixed("Too much mail from you; try again after %UNTIL%");
        Self { client: None, sender: None, except_senders: Vec::new(), text }
    }
}

impl Default for Greylisting {
    fn default() -> Self {
        Self {
            times: GreySettings {
                delay_secs: 300,
                retry_secs: 2 * DAY,
                keep_secs: 36 * DAY,
                approve_after: 5,
                approved_secs: 36 * DAY,
            },
            max_triplets: 200_000,
            text: Template::fixed("Greylisted; try again in a few minutes"),
        }
    }
}

impl Default for Checks {
    fn default() -> Self {
        Self {
            helo_invalid: None,
            helo_ours: None,
            helo_literal: None,
            no_reverse: None,
            reverse_mismatch: None,
            early_talker: None,
            early_talker_wait: Duration::from_secs(2),
            threshold: 10,
            action: Action::Defer,
            text: Template::fixed("Your mail server is not in order: %REASON%"),
        }
    }
}

/// Loopback and the networks nobody on the Internet has (RFC 1918, RFC 4193, RFC 3927, RFC 4291).
fn private_networks() -> Vec<IpNet> {
    let networks = [
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",
        "::1/128",
        "fc00::/7",
        "fe80::/10",
    ];
    networks.iter().filter_map(|text| text.parse().ok()).collect()
}
