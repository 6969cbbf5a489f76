//! `[authentication]`, `[[dkim]]`, `[arc]`, `[batv]` and `[dmarc-reports]`: who others are, and what we sign.

use std::path::{Path, PathBuf};
use std::time::Duration;

use imss_core::authentication::DomainPattern;
use imss_core::envelope::{Domain, Syntax};

use super::lower::{flag_into, readable, time};
use super::reader::{Table, Value, Wrong};
use super::reports::{self, ReportSettings};

/// How mail from outside is authenticated, and mail of our own signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthenticationSettings {
    /// Whether results are written into mail from outside.
    pub results: bool,
    /// Our name in the results; `None` is the host name.
    pub name: Option<String>,
    /// Fields that mail from outside must not have; `*` at the end stands for anything.
    pub remove_fields: Vec<String>,
    /// Longest time for the look-ups of one message.
    pub timeout: Duration,
    /// Keys for our domains.
    pub dkim: Vec<KeySettings>,
    /// The key that seals mail from outside.
    pub arc: Option<KeySettings>,
    /// Whether what is signed is encoded in seven bits first.
    pub sign_seven_bit: bool,
    /// Aggregate reports to the domains of others; `None` sends none.
    pub reports: Option<ReportSettings>,
    /// Tags in our reverse-paths (BATV); `None` tags none.
    pub batv: Option<BatvSettings>,
}

/// Which reverse-paths are tagged, and with what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatvSettings {
    /// Domains of reverse-paths.
    pub domains: Vec<DomainPattern>,
    /// Days a tag is valid.
    pub days: u32,
    /// Whether bounces to these domains without a valid tag are refused.
    pub refuse: bool,
    /// Keys; the one that began last tags, all check.
    pub keys: Vec<TagKeySettings>,
}

/// A key for tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagKeySettings {
    /// Its number, 0 to 9.
    pub number: u8,
    /// The secret.
    pub file: PathBuf,
    /// From when it tags, in seconds since 1970.
    pub not_before: Option<u64>,
}

/// A signing key and when it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySettings {
    /// `d=`.
    pub domain: String,
    /// Authors whose mail is signed: the domain, and everything below it if it says so.
    pub authors: Vec<DomainPattern>,
    /// `s=`.
    pub selector: String,
    /// The private key, PEM.
    pub key: PathBuf,
    /// From when it is used, in seconds since 1970.
    pub not_before: Option<u64>,
}

impl Default for AuthenticationSettings {
    fn default() -> Self {
        Self {
            results: true,
            name: None,
            remove_fields: vec!["X-Spam-*".to_owned(), "X-Imss-*".to_owned()],
            timeout: Duration::from_secs(20),
            dkim: Vec::new(),
            arc: None,
            sign_seven_bit: false,
            reports: None,
            batv: None,
        }
    }
}

/// Reads the three tables.
pub(super) fn lower(root: &Table<'_, '_>, folder: &Path) -> AuthenticationSettings {
    let mut settings = AuthenticationSettings::default();
    let table = root.table("authentication");
    flag_into(&mut settings.results, &table, "results");
    flag_into(&mut settings.sign_seven_bit, &table, "sign-seven-bit");
    settings.name = table.read("name", |value| domain(value));
    if let Some(fields) = table.list("remove-fields", field_pattern) {
        settings.remove_fields = fields;
    }
    let longest = Duration::from_secs(60);
    if let Some(limit) = table.read("timeout", |value| time(value, Duration::from_secs(1), longest))
    {
        settings.timeout = limit;
    }
    let keys = root.tables("dkim").unwrap_or_default();
    settings.dkim = keys.iter().filter_map(|table| key(table, folder, true)).collect();
    let table = root.table("arc");
    if table.exists() {
        settings.arc = key(&table, folder, false);
    }
    settings.reports = reports::dmarc(&root.table("dmarc-reports"));
    settings.batv = batv(&root.table("batv"), folder);
    settings
}

fn key(table: &Table<'_, '_>, folder: &Path, for_authors: bool) -> Option<KeySettings> {
    let name = table.read("domain", |value| domain(value));
    let selector = table.read("selector", |value| domain(value));
    let file = table.read("key", |value| readable(value, folder));
    table.require("domain", "\"example.com\"");
    table.require("selector", "\"s2026\"");
    table.require("key", "\"/etc/imss/dkim/s2026.pem\"");
    let mut authors = Vec::new();
    let mut not_before = None;
    if for_authors {
        not_before = table.read("not-before", day);
        authors = table.list("authors", author).unwrap_or_default();
        if authors.is_empty() {
            authors.extend(name.as_deref().and_then(DomainPattern::parse));
        }
    }
    Some(KeySettings { domain: name?, authors, selector: selector?, key: file?, not_before })
}

fn author(value: &Value<'_, '_>) -> Result<DomainPattern, Wrong> {
    let remedy = "write \"example.com\", or \"*.example.com\" for all below it";
    DomainPattern::parse(value.text()?).ok_or_else(|| Wrong::new("not a domain", remedy))
}

fn domain(value: &Value<'_, '_>) -> Result<String, Wrong> {
    let wrong =
        || Wrong::new("not a name of letters, digits, `-` and `.`", "write \"example.com\"");
    match Domain::parse(value.text()?, Syntax::default()) {
        Ok(name @ Domain::Name(_)) => {
            name.ascii_name().map(|name| name.to_ascii_lowercase()).ok_or_else(wrong)
        }
        _ => Err(wrong()),
    }
}

fn field_pattern(value: &Value<'_, '_>) -> Result<String, Wrong> {
    let text = value.text()?;
    let bare = text.strip_suffix('*').unwrap_or(text);
    let valid = (1..=70).contains(&bare.len())
        && bare.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if valid {
        return Ok(text.to_owned());
    }
    Err(Wrong::new(
        "not a field name",
        "write \"X-Verdict\", or \"X-Spam-*\" for all that begin so",
    ))
}

/// `[batv]`: reverse-paths are tagged if it is there.
fn batv(table: &Table<'_, '_>, folder: &Path) -> Option<BatvSettings> {
    if !table.exists() {
        return None;
    }
    table.require("domains", "[\"example.com\"]");
    table.require("keys", "[{ number = 0, file = \"/etc/imss/batv.key\" }]");
    let domains = table.list("domains", author);
    let days = table.read("days", |value| value.number(1..=90));
    let mut refuse = true;
    flag_into(&mut refuse, table, "refuse");
    let mut keys: Vec<TagKeySettings> = Vec::new();
    for inner in table.tables("keys").unwrap_or_default() {
        let number = inner.read("number", |value| {
            let number = u8::try_from(value.number(0..=9)?).unwrap_or(0);
            if keys.iter().any(|other| other.number == number) {
                return Err(Wrong::new("a second key of this number", "give it another number"));
            }
            Ok(number)
        });
        let file = inner.read("file", |value| readable(value, folder));
        let not_before = inner.read("not-before", day);
        inner.require("number", "0");
        inner.require("file", "\"/etc/imss/batv.key\"");
        if let (Some(number), Some(file)) = (number, file) {
            keys.push(TagKeySettings { number, file, not_before });
        }
    }
    let days = days.and_then(|days| u32::try_from(days).ok()).unwrap_or(7);
    Some(BatvSettings { domains: domains?, days, refuse, keys })
}

/// A day, from its start in UTC, in seconds since 1970.
fn day(value: &Value<'_, '_>) -> Result<u64, Wrong> {
    let wrong = || Wrong::new("not a day", "write \"2026-12-31\"");
    let day: jiff::civil::Date = value.text()?.parse().map_err(|_| wrong())?;
    let start = day.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| wrong())?;
    u64::try_from(start.timestamp().as_second()).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    #[test]
    fn every_table() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("k.pem"), "").unwrap();
        let text = "[authentication]\nresults = false\nname = \"Auth.Example\"\n\
            remove-fields = [\"X-Verdict\"]\ntimeout = \"5 seconds\"\n\
            [[dkim]]\ndomain = \"example.com\"\nselector = \"s1\"\nkey = \"k.pem\"\n\
            [[dkim]]\ndomain = \"example.com\"\nselector = \"s2\"\nkey = \"k.pem\"\n\
            authors = [\"*.example.com\"]\nnot-before = \"1970-01-02\"\n\
            [arc]\ndomain = \"example.com\"\nselector = \"a\"\nkey = \"k.pem\"\n\
            [dmarc-reports]\nfrom = \"d@example.com\"\n\
            [batv]\ndomains = [\"example.com\"]\ndays = 3\nrefuse = false\n\
            keys = [{ number = 4, file = \"k.pem\", not-before = \"1970-01-02\" }]\n";
        let found = parse(text, "imss.toml", folder.path()).unwrap().authentication;
        assert!(!found.results);
        assert_eq!(found.name.as_deref(), Some("auth.example"));
        assert_eq!(
            (found.remove_fields.as_slice(), found.timeout.as_secs()),
            (&["X-Verdict".to_owned()][..], 5)
        );
        let [first, second] = found.dkim.as_slice() else { panic!("{:?}", found.dkim) };
        assert_eq!(first.authors, [DomainPattern::parse("example.com").unwrap()]);
        assert_eq!((second.not_before, first.not_before), (Some(86_400), None));
        assert_eq!(found.arc.unwrap().selector, "a");
        assert_eq!(found.reports.unwrap().organisation, "example.com");
        let batv = found.batv.unwrap();
        assert_eq!((batv.days, batv.refuse, batv.keys[0].number), (3, false, 4));
    }

    #[test]
    fn mistakes() {
        let cases = [
            ("[[dkim]]\ndomain = \"example.com\"\n", "`selector` is missing"),
            ("[arc]\ndomain = \"a b\"\n", "not a name of letters"),
            ("[dmarc-reports]\nfrom = \"nobody\"\n", "not an address"),
            ("[authentication]\nresluts = true\n", "did you mean `results`?"),
            ("[authentication]\nremove-fields = [\"X Y\"]\n", "not a field name"),
            ("[batv]\ndomains = [\"example.com\"]\n", "`keys` is missing"),
            ("[batv]\ndomains = []\nkeys = [{ number = 10 }]\n", "number out of range"),
        ];
        for (text, expected) in cases {
            let mistakes = parse(text, "imss.toml", Path::new("")).unwrap_err().to_string();
            assert!(mistakes.contains(expected), "{text}: {mistakes}");
        }
    }
}
