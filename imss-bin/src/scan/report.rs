//! What is said about one input, as text.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use imss_core::verdict::{Score, Verdict};
use imss_relay::report::Report;
use serde::Serialize;

/// Findings, and gaps, that text tells one by one.
const MAX_SHOWN: usize = 20;

/// An input that could not be read.
#[derive(Debug, Serialize)]
pub(crate) struct Unreadable {
    pub(crate) path: String,
    pub(crate) error: String,
}

/// Lines for people, with colours that the stream drops where nobody sees them.
pub(crate) fn to_text(report: &Report) -> String {
    let mut text = String::new();
    let style = style_of(report.verdict);
    let _ = write!(text, "{}: {style}{}{style:#}", printable(&report.path), report.verdict);
    if !report.is_clean() || report.action != "deliver" {
        let _ = write!(text, " → {}", report.action);
    }
    if report.score != Score::ZERO {
        let _ = write!(text, ", score {}", report.score);
    }
    text.push('\n');
    for found in report.findings.iter().take(MAX_SHOWN) {
        let kind = serde_json::to_value(found.kind).ok();
        let kind = kind.as_ref().and_then(serde_json::Value::as_str).unwrap_or("finding");
        let _ = write!(text, "  {kind} {} in {} ({})", found.name, found.entity, found.engine);
        if !found.detail.is_empty() {
            let _ = write!(text, ": {}", found.detail);
        }
        if found.score != Score::ZERO {
            let _ = write!(text, " [{}]", found.score);
        }
        text.push('\n');
    }
    let more = report.findings.len().saturating_sub(MAX_SHOWN);
    if more > 0 {
        let _ = writeln!(text, "  {more} more findings; --jsonl shows all");
    }
    for gap in report.gaps.iter().take(MAX_SHOWN) {
        let _ = write!(text, "  not scanned, {}: {} ({})", gap.reason, gap.entity, gap.engine);
        if !gap.detail.is_empty() {
            let _ = write!(text, ": {}", gap.detail);
        }
        text.push('\n');
    }
    let more = report.gaps.len().saturating_sub(MAX_SHOWN);
    if more > 0 {
        let _ = writeln!(text, "  not scanned: {more} more; --jsonl shows all");
    }
    if !report.rules.is_empty() {
        let _ = writeln!(text, "  rules: {}", report.rules.join(", "));
    }
    text
}

fn style_of(verdict: Verdict) -> Style {
    let colour = match verdict {
        Verdict::Clean => AnsiColor::Green,
        Verdict::Graymail | Verdict::Policy | Verdict::Unscannable => AnsiColor::Yellow,
        Verdict::Spam | Verdict::Suspicious | Verdict::Phish | Verdict::Infected => AnsiColor::Red,
    };
    Style::new().bold().fg_color(Some(colour.into()))
}

/// A path that cannot move a terminal's cursor.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| if c.is_control() { c.escape_debug().collect() } else { vec![c] })
        .collect()
}
