//! `[filter]` → the settings of the sender filter.
//!
//! In: the table. Out: the defaults with what it says in their place. A part whose table is there is
//! on, unless its `state` says otherwise.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use imss_scan::reputation::profile::{Rule, RuleKind};
use imss_scan::reputation::subject::Subject;
use imss_scan::reputation::throttle::Allowance;
use imss_scan::reputation::zone::Zone;

use super::lower::{count, network, readable, set, small, time};
use super::reader::{Table, Value, Wrong};
use crate::filter::settings::{
    Action, Checks, Dns, DnsClass, DnsZone, Greylisting, Part, Profiler, Settings, State,
    Throttling, Weight,
};
use crate::filter::template::{NAMES, Template};

const SECOND: Duration = Duration::from_secs(1);
const YEAR: Duration = Duration::from_secs(366 * 24 * 3600);

/// Reads every key of `[filter]`.
pub(super) fn filter(table: &Table<'_, '_>, settings: &mut Settings, folder: &Path) {
    set(&mut settings.known_hosts, table.list("known-hosts", network));
    let prefix = table.read("ipv6-prefix", |value| small(value, 16..=64));
    set(&mut settings.ipv6_prefix, prefix.and_then(|bits| u8::try_from(bits).ok()));
    set(&mut settings.max_sources, table.read("sources", |value| count(value, 1_000..=16_000_000)));
    set(&mut settings.client_names, table.read("client-names", Value::flag));
    settings.country_file = table.read("country-file", |value| readable(value, folder));
    settings.asn_file = table.read("asn-file", |value| readable(value, folder));
    let table_of = |key: &'static str, part: Part, settings: &mut Settings| {
        let table = table.table(key);
        if table.exists() {
            settings.states.set(part, State::On);
        }
        if let Some(state) = table.read("state", state) {
            settings.states.set(part, state);
        }
        table
    };
    let lists = table_of("lists", Part::Lists, settings);
    set(&mut settings.approved, lists.list("approved", subject));
    set(&mut settings.blocked, lists.list("blocked", subject));
    set(&mut settings.blocked_text, lists.read("text", template));
    profiler(&table_of("profiler", Part::Profiler, settings), &mut settings.profiler);
    dns(&table_of("dns", Part::Dns, settings), &mut settings.dns);
    throttle(&table_of("throttle", Part::Throttle, settings), &mut settings.throttle);
    greylist(&table_of("greylist", Part::Greylist, settings), &mut settings.greylist);
    let slow = table_of("slow-start", Part::SlowStart, settings);
    let growth = &mut settings.slow_start;
    set(&mut growth.period_secs, slow.read("period", |value| secs(value)));
    set(&mut growth.first, slow.read("first", |value| small(value, 1..=50_000)));
    set(&mut growth.factor, slow.read("factor", |value| small(value, 1..=100)));
    set(&mut growth.periods, slow.read("periods", |value| small(value, 1..=1_000)));
    set(&mut settings.slow_start_text, slow.read("text", template));
    checks(&table_of("checks", Part::Checks, settings), &mut settings.checks);
}

fn profiler(table: &Table<'_, '_>, profiler: &mut Profiler) {
    profiler.rules.clear();
    for (key, kind) in [
        ("spam", RuleKind::Spam),
        ("virus", RuleKind::Virus),
        ("harvest", RuleKind::Harvest),
        ("bounce", RuleKind::Bounce),
    ] {
        let rule = table.table(key);
        let mut one = Rule {
            kind,
            window_secs: 24 * 3_600,
            min_volume: 10,
            rate_percent: 50,
            block_secs: Some(24 * 3_600),
            is_transient: true,
        };
        set(&mut one.window_secs, rule.read("window", secs));
        set(&mut one.min_volume, rule.read("min-volume", |value| small(value, 1..=100_000)));
        set(&mut one.rate_percent, rule.read("rate", |value| small(value, 1..=100)));
        set(&mut one.block_secs, rule.read("block", secs_or_for_good));
        if let Some(action) = rule.read("action", action) {
            one.is_transient = action == Action::Defer;
        }
        if kind == RuleKind::Harvest {
            let many = rule.read("recipients", |value| count(value, 1..=100_000));
            set(&mut profiler.max_recipients, many);
        }
        if rule.exists() {
            profiler.rules.push(one);
        }
    }
}

fn dns(table: &Table<'_, '_>, dns: &mut Dns) {
    let longest = Duration::from_secs(60);
    let timeout = table.read("timeout", |value| time(value, Duration::from_millis(100), longest));
    set(&mut dns.timeout, timeout);
    set(&mut dns.check_every, table.read("check-every", |value| time(value, SECOND, YEAR)));
    for one in table.tables("zone").unwrap_or_default() {
        let name = one.read("name", zone_name);
        let class = one.read("class", |value| match value.text()? {
            "standard" => Ok(false),
            "dynamic" => Ok(true),
            _ => Err(Wrong::new("not a class", "write \"standard\" or \"dynamic\"")),
        });
        let has_test_points = one.read("test-points", Value::flag).unwrap_or(true);
        let codes = codes(&one.table("codes"));
        one.require("name", "\"dnsbl.example.net\"");
        one.require("codes", "{ \"127.0.0.2\" = 1 }");
        if let Some(name) = name {
            let zone = Zone { name, codes };
            dns.zones.push(DnsZone { zone, is_dynamic: class.unwrap_or(false), has_test_points });
        }
    }
    class(&table.table("standard"), &mut dns.standard);
    class(&table.table("dynamic"), &mut dns.dynamic);
}

fn class(table: &Table<'_, '_>, class: &mut DnsClass) {
    set(&mut class.threshold, table.read("threshold", |value| small(value, 1..=1_000_000)));
    set(&mut class.action, table.read("action", action));
    set(&mut class.text, table.read("text", template));
}

/// `"127.0.0.2" = 1` and `"127.0.0.4-127.0.0.7" = 1`.
fn codes(table: &Table<'_, '_>) -> Vec<(Ipv4Addr, Ipv4Addr, u32)> {
    let mut codes = Vec::new();
    for (name, span, value) in table.entries() {
        let (first, last) = name.split_once('-').unwrap_or((name, name));
        let parsed = first.trim().parse().ok().zip(last.trim().parse().ok());
        let range = parsed.filter(|(first, last): &(Ipv4Addr, Ipv4Addr)| {
            first.is_loopback() && last.is_loopback() && first <= last
        });
        let Some((first, last)) = range else {
            let remedy = "write \"127.0.0.2\" or \"127.0.0.4-127.0.0.7\"";
            value.reader.report(span, &value.key, "not a return code of a list", Some(remedy));
            continue;
        };
        if let Some(weight) = value.accept(|value| small(value, 0..=1_000_000)) {
            codes.push((first, last, weight));
        }
    }
    codes
}

fn throttle(table: &Table<'_, '_>, throttle: &mut Throttling) {
    let client = table.table("client");
    let mut allowed = allowance(&client);
    allowed.max_connections = client.read("connections", |value| small(value, 1..=200_000));
    throttle.client = client.exists().then_some(allowed);
    let sender = table.table("sender");
    let allowed = allowance(&sender);
    throttle.sender = sender.exists().then_some(allowed);
    let except = table.list("except-senders", |value| match value.text()? {
        text if text.contains('@') => Ok(text.trim_start_matches('*').to_lowercase()),
        _ => Err(Wrong::new("not a sender", "write \"a@example.com\" or \"@example.com\"")),
    });
    set(&mut throttle.except_senders, except);
    set(&mut throttle.text, table.read("text", template));
}

fn allowance(table: &Table<'_, '_>) -> Allowance {
    let mut allowed = Allowance {
        window_secs: 3_600,
        max_connections: None,
        max_messages: table.read("messages", |value| small(value, 1..=200_000)),
        block_secs: 3_600,
    };
    set(&mut allowed.window_secs, table.read("window", secs));
    set(&mut allowed.block_secs, table.read("block", secs));
    allowed
}

fn greylist(table: &Table<'_, '_>, greylist: &mut Greylisting) {
    let times = &mut greylist.times;
    set(&mut times.delay_secs, table.read("delay", secs));
    set(&mut times.retry_secs, table.read("retry", secs));
    set(&mut times.keep_secs, table.read("keep", secs));
    let after = table.read("approve-after", |value| small(value, 1..=10_000));
    set(&mut times.approve_after, after.and_then(|after| u16::try_from(after).ok()));
    set(&mut times.approved_secs, table.read("approve-for", secs));
    let triplets = table.read("triplets", |value| count(value, 1_000..=10_000_000));
    set(&mut greylist.max_triplets, triplets);
    set(&mut greylist.text, table.read("text", template));
}

fn checks(table: &Table<'_, '_>, checks: &mut Checks) {
    for (key, weight_of) in [
        ("helo-invalid", &mut checks.helo_invalid),
        ("helo-ours", &mut checks.helo_ours),
        ("helo-literal", &mut checks.helo_literal),
        ("no-reverse", &mut checks.no_reverse),
        ("reverse-mismatch", &mut checks.reverse_mismatch),
        ("early-talker", &mut checks.early_talker),
    ] {
        set(weight_of, table.read(key, weight));
    }
    let longest = Duration::from_secs(30);
    let wait = table.read("early-talker-wait", |v| time(v, Duration::from_millis(100), longest));
    set(&mut checks.early_talker_wait, wait);
    set(&mut checks.threshold, table.read("threshold", |value| small(value, 1..=1_000_000)));
    set(&mut checks.action, table.read("action", action));
    set(&mut checks.text, table.read("text", template));
}

fn weight(value: &Value<'_, '_>) -> Result<Option<Weight>, Wrong> {
    if value.is_number() {
        return small(value, 1..=1_000_000).map(|points| Some(Weight::Score(points)));
    }
    match value.text()? {
        "off" => Ok(None),
        "reject" => Ok(Some(Weight::Act(Action::Reject))),
        "defer" => Ok(Some(Weight::Act(Action::Defer))),
        _ => Err(Wrong::new("not a weight", "write points, \"reject\", \"defer\" or \"off\"")),
    }
}

fn action(value: &Value<'_, '_>) -> Result<Action, Wrong> {
    match value.text()? {
        "reject" => Ok(Action::Reject),
        "defer" => Ok(Action::Defer),
        _ => Err(Wrong::new("not an action", "write \"reject\" (5yz) or \"defer\" (4yz)")),
    }
}

fn state(value: &Value<'_, '_>) -> Result<State, Wrong> {
    match value.text()? {
        "on" => Ok(State::On),
        "off" => Ok(State::Off),
        "shadow" => Ok(State::Shadow),
        _ => Err(Wrong::new("not a state", "write \"on\", \"off\" or \"shadow\"")),
    }
}

fn subject(value: &Value<'_, '_>) -> Result<Subject, Wrong> {
    value.text()?.parse().map_err(|_| {
        Wrong::new(
            "neither addresses nor a country nor an AS number nor names of hosts",
            "write \"192.0.2.0/24\", \"192.0.2.1-192.0.2.9\", \"country:JP\", \"AS64496\", \
             \"name:mx.example.com\", \"name:*.example.com\"",
        )
    })
}

fn template(value: &Value<'_, '_>) -> Result<Template, Wrong> {
    let text = value.text()?;
    if !text.is_ascii() || text.contains(char::is_control) {
        return Err(Wrong::new(
            "SMTP replies are one line of printable ASCII",
            "write it in English, without line ends",
        ));
    }
    Template::parse(text).map_err(|error| {
        let known: Vec<_> = NAMES.iter().map(|name| format!("%{name}%")).collect();
        Wrong::new(error.to_string(), format!("write one of {}", known.join(", ")))
    })
}

fn zone_name(value: &Value<'_, '_>) -> Result<String, Wrong> {
    use imss_core::envelope::{Domain, Syntax};
    match Domain::parse(value.text()?, Syntax::default()) {
        Ok(Domain::Name(name)) => Ok(name.to_ascii_lowercase()),
        _ => Err(Wrong::new("not a zone", "write the list's domain, \"dnsbl.example.net\"")),
    }
}

fn secs(value: &Value<'_, '_>) -> Result<u32, Wrong> {
    let time = time(value, SECOND, YEAR)?;
    Ok(u32::try_from(time.as_secs()).unwrap_or(u32::MAX))
}

fn secs_or_for_good(value: &Value<'_, '_>) -> Result<Option<u32>, Wrong> {
    if value.text()? == "for good" { Ok(None) } else { secs(value).map(Some) }
}

/// A length of time as commands take it: `2 days`, `90 minutes`.
///
/// # Errors
///
/// What to write instead.
pub fn length_secs(text: &str) -> Result<u32, String> {
    let time = super::units::duration(text).filter(|time| *time >= SECOND && *time <= YEAR);
    time.and_then(|time| u32::try_from(time.as_secs()).ok())
        .ok_or_else(|| "write a time such as \"30 minutes\", \"12 hours\", \"7 days\"".to_owned())
}

/// Reads nothing but `[filter]` of a document, for tests.
#[cfg(test)]
fn parsed(text: &str) -> Result<Settings, imss_policy::Mistakes> {
    super::parse(text, "imss.toml", Path::new("")).map(|config| config.filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"
[filter]
known-hosts = ["10.0.0.0/8"]
client-names = true
ipv6-prefix = 56
[filter.lists]
approved = ["192.0.2.0/24", "AS64496", "name:*.outbound.example"]
blocked = ["country:XX", "198.51.100.1-198.51.100.9"]
text = "no mail from %CLIENT_IP%"
[filter.profiler]
state = "shadow"
[filter.profiler.spam]
window = "2 hours"
min-volume = 5
rate = 80
block = "for good"
action = "reject"
[filter.profiler.harvest]
recipients = 20
[filter.dns]
timeout = "3 seconds"
[[filter.dns.zone]]
name = "List.example"
codes = { "127.0.0.2" = 10, "127.0.0.4-127.0.0.7" = 5 }
[[filter.dns.zone]]
name = "dyn.example"
class = "dynamic"
codes = { "127.0.0.10" = 1 }
test-points = false
[filter.dns.standard]
threshold = 10
text = "see %RBL_CHECK_DOMAIN%"
[filter.throttle]
except-senders = ["news@ours.example", "*@lists.example"]
[filter.throttle.client]
connections = 10
messages = 100
[filter.greylist]
delay = "10 minutes"
[filter.checks]
helo-invalid = "reject"
no-reverse = 6
"#;

    #[test]
    fn every_part() {
        let settings = parsed(WHOLE).unwrap();
        let states: Vec<_> = Part::ALL.iter().map(|part| settings.states.of(*part)).collect();
        let (on, off) = (State::On, State::Off);
        assert_eq!(states, [on, State::Shadow, on, on, on, off, on]);
        assert!(settings.client_names);
        assert_eq!((settings.approved.len(), settings.blocked.len()), (3, 2));
        let [spam, harvest] = settings.profiler.rules.as_slice() else { panic!("two rules") };
        assert_eq!((spam.window_secs, spam.block_secs, spam.is_transient), (7_200, None, false));
        assert_eq!((harvest.kind, settings.profiler.max_recipients), (RuleKind::Harvest, 20));
        let zones: Vec<_> = settings.dns.zones.iter().map(|one| one.zone.name.as_str()).collect();
        assert_eq!(zones, ["list.example", "dyn.example"]);
        assert_eq!(settings.dns.zones[0].zone.codes.len(), 2);
        assert_eq!(settings.throttle.except_senders, ["news@ours.example", "@lists.example"]);
        assert_eq!(settings.throttle.client.unwrap().max_connections, Some(10));
        assert!(settings.throttle.sender.is_none());
        assert_eq!(settings.greylist.times.delay_secs, 600);
        assert_eq!(settings.checks.no_reverse, Some(Weight::Score(6)));
    }

    #[test]
    fn without_the_table_only_the_lists_are_on() {
        let settings = parsed("").unwrap();
        let on = Part::ALL.iter().filter(|part| settings.states.of(**part) != State::Off);
        assert_eq!(on.copied().collect::<Vec<_>>(), [Part::Lists]);
    }

    #[test]
    fn mistakes_have_their_key() {
        let cases = [
            ("[filter]\nipv6-prefix = 65", "filter.ipv6-prefix"),
            ("[filter]\ngreylits = 1", "filter.greylits"),
            ("[filter.lists]\nblocked = [\"mail.example\"]", "filter.lists.blocked[0]"),
            ("[filter.lists]\ntext = \"%CLIENT%\"", "filter.lists.text"),
            ("[filter.lists]\ntext = \"拒否\"", "filter.lists.text"),
            ("[filter.profiler.spam]\nrate = 101", "filter.profiler.spam.rate"),
            ("[filter.profiler.spam]\nrecipients = 1", "filter.profiler.spam.recipients"),
            ("[[filter.dns.zone]]\nname = \"a.example\"", "filter.dns.zone[0].codes"),
            (
                "[[filter.dns.zone]]\nname = \"a.example\"\ncodes = { \"192.0.2.1\" = 1 }",
                "filter.dns.zone[0].codes.192.0.2.1",
            ),
            ("[filter.throttle]\nexcept-senders = [\"x\"]", "filter.throttle.except-senders[0]"),
            ("[filter.checks]\nno-reverse = \"maybe\"", "filter.checks.no-reverse"),
            ("[filter.checks]\nearly-talker-wait = \"1 hour\"", "filter.checks.early-talker-wait"),
            ("[filter.greylist]\nstate = \"yes\"", "filter.greylist.state"),
        ];
        for (text, key) in cases {
            let mistakes = parsed(text).map(|_| ()).unwrap_err();
            let keys: Vec<_> = mistakes.0.iter().map(|mistake| mistake.key.as_str()).collect();
            assert_eq!(keys, [key], "{text}");
        }
    }

    #[test]
    fn lengths() {
        assert_eq!(length_secs("2 days"), Ok(172_800));
        assert!(length_secs("soon").is_err());
    }
}
