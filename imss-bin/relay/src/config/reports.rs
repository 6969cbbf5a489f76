//! `[dmarc-reports]` and `[tls-reports]` → who reports to the domains of others.
//!
//! In: the tables. Out: the author's address and name; `None` without a table, and then nothing is
//! counted and nothing sent.

use imss_core::envelope::{Mailbox, Syntax};

use super::lower::flag_into;
use super::reader::{Table, Wrong};

/// Who sends reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportSettings {
    /// The author's address.
    pub from: String,
    /// Who we are, for the reader.
    pub organisation: String,
}

/// Who sends TLS reports, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsReportSettings {
    /// Who sends.
    pub reports: ReportSettings,
    /// Whether they may be posted to addresses of private networks and of this machine.
    pub post_to_private: bool,
}

/// Who sends DMARC aggregate reports.
pub(super) fn dmarc(table: &Table<'_, '_>) -> Option<ReportSettings> {
    reports(table, "dmarc-reports@example.com")
}

/// Who sends TLS reports.
pub(super) fn tls(table: &Table<'_, '_>) -> Option<TlsReportSettings> {
    let mut post_to_private = false;
    flag_into(&mut post_to_private, table, "post-to-private");
    let reports = reports(table, "tls-reports@example.com")?;
    Some(TlsReportSettings { reports, post_to_private })
}

fn reports(table: &Table<'_, '_>, example: &str) -> Option<ReportSettings> {
    if !table.exists() {
        return None;
    }
    let example = format!("\"{example}\"");
    let from = table.read("from", |value| {
        let text = value.text()?;
        let plain = text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'<' | b'>'));
        match Mailbox::parse(text, Syntax::default()) {
            Ok(_) if plain => Ok(text.to_owned()),
            _ => Err(Wrong::new("not an address", format!("write {example}"))),
        }
    });
    let organisation = table.read("organisation", |value| match value.text()? {
        text if !text.is_empty() && !text.chars().any(char::is_control) => Ok(text.to_owned()),
        _ => Err(Wrong::new("not a name", "write your organisation's name on one line")),
    });
    table.require("from", &example);
    let from = from?;
    let domain = from.rsplit_once('@').map(|(_, domain)| domain.to_owned());
    Some(ReportSettings { organisation: organisation.or(domain)?, from })
}
