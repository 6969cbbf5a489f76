//! `[notices]` → how delivery status notifications are written.
//!
//! In: the table. Out: language, charset, texts, and how often one address is told.

use std::path::Path;
use std::sync::Arc;

use imss_core::report::dsn::{Charset, Language};

use super::lower::{readable, set, small};
use super::reader::{Table, Value, Wrong};
use crate::notices::NoticeSettings;

/// Octets of a text.
const MAX_TEMPLATE: usize = 64 << 10;

pub(super) fn notices(table: &Table<'_, '_>, folder: &Path) -> NoticeSettings {
    let mut settings = NoticeSettings::default();
    let language = table.read("language", |value| match value.text()? {
        "en" => Ok(Language::English),
        "ja" => Ok(Language::Japanese),
        "both" => Ok(Language::Both),
        _ => Err(Wrong::new("unknown language", "write \"en\", \"ja\" or \"both\"")),
    });
    set(&mut settings.language, language);
    let charset = table.read("charset", |value| match value.text()? {
        "utf-8" => Ok(Charset::Utf8),
        "iso-2022-jp" => Ok(Charset::Iso2022Jp),
        _ => Err(Wrong::new("unknown charset", "write \"utf-8\" or \"iso-2022-jp\"")),
    });
    set(&mut settings.charset, charset);
    settings.failed = table.read("failed", |value| template(value, folder));
    settings.delayed = table.read("delayed", |value| template(value, folder));
    settings.delivered = table.read("delivered", |value| template(value, folder));
    set(&mut settings.per_hour, table.read("per-hour", |value| small(value, 1..=1_000_000)));
    settings
}

fn template(value: &Value<'_, '_>, folder: &Path) -> Result<Arc<str>, Wrong> {
    let file = readable(value, folder)?;
    let text = std::fs::read_to_string(&file).map_err(|error| {
        Wrong::new(format!("{} cannot be read: {error}", file.display()), "give a file in UTF-8")
    })?;
    let is_text = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
    let short_lines = text.lines().all(|line| line.len() <= 900);
    if text.len() > MAX_TEMPLATE || !text.chars().all(is_text) || !short_lines {
        let remedy = "give a text of at most 64 KiB, with lines of at most 900 octets";
        return Err(Wrong::new("too long, or no plain text", remedy));
    }
    Ok(text.into())
}
