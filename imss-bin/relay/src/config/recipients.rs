//! `[recipients]`: who exists in our domains.

use std::path::Path;
use std::time::Duration;

use super::lower::{count, domain, readable, set, time};
use super::reader::{Table, Value, Wrong};
use crate::recipients::{CallAheadSettings, RecipientSettings};

const SECOND: Duration = Duration::from_secs(1);
const MONTH: Duration = Duration::from_secs(31 * 24 * 3_600);

/// Reads the table.
pub(super) fn recipients(
    table: &Table<'_, '_>,
    settings: &mut RecipientSettings,
    (folder, hostname): (&Path, &str),
) {
    settings.file = table.read("file", |value| readable(value, folder));
    let domains = table.list("exempt-domains", domain);
    for domain in domains.unwrap_or_default() {
        // Checked by `domain`, where its place is known.
        let _ = settings.exempt.insert(domain);
    }
    let when = table.read("when-unverified", |value| match value.text()? {
        "accept" => Ok(true),
        "defer" => Ok(false),
        _ => Err(Wrong::new("not a way to treat them", "write \"accept\" or \"defer\"")),
    });
    set(&mut settings.accept_unverified, when);
    let delimiter = table.read("detail-delimiter", |value| {
        let mut characters = value.text()?.chars();
        match (characters.next(), characters.next()) {
            (one, None) => Ok(one),
            _ => Err(Wrong::new("more than one character", "write \"+\", \"-\", or \"\" for none")),
        }
    });
    set(&mut settings.delimiter, delimiter);
    let mut ahead =
        CallAheadSettings { hostname: hostname.to_owned(), ..CallAheadSettings::default() };
    let longest = Duration::from_secs(120);
    set(&mut ahead.timeout, table.read("call-ahead-timeout", |v| time(v, SECOND, longest)));
    set(&mut ahead.known_for, table.read("known-for", |v| time(v, SECOND, MONTH)));
    set(&mut ahead.unknown_for, table.read("unknown-for", |v| time(v, SECOND, MONTH)));
    set(&mut ahead.answers, table.read("answers-kept", |v| count(v, 1..=10_000_000)));
    let is_on = table.read("call-ahead", Value::flag).unwrap_or(false);
    settings.call_ahead = is_on.then_some(ahead);
}
