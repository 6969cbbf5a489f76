//! Pages of XPS (ECMA-388, 12) and Visio ([MS-VSDX] 2.2.5).
//!
//! In: one page part. Out: its text and links. XPS places runs of glyphs: those at the same height,
//! one after the other, are one line. Visio has text elements.

use crate::document::sink::Sink;
use crate::document::xml::{Token, Xml};
use crate::document::{LinkKind, TextKind};
use crate::limits::Limit;

/// Reads one page.
pub(super) fn read(text: &str, sink: &mut Sink<'_, '_>) -> Result<(), Limit> {
    let mut xml = Xml::new(text);
    let (mut in_text, mut line, mut height) = (false, String::new(), String::new());
    while let Some(token) = xml.token(sink.budget)? {
        match token {
            Token::Start(tag) => {
                if let Some(run) = tag.attr("UnicodeString") {
                    let origin = tag.attr("OriginY").unwrap_or_default();
                    if *origin != *height {
                        sink.text(TextKind::Shown, &line);
                        line.clear();
                        height = origin.into_owned();
                    }
                    // Braces escape what would be markup (ECMA-388, 12.1.3).
                    line.push_str(run.strip_prefix("{}").unwrap_or(&run));
                }
                if let Some(target) = tag.attr("FixedPage.NavigateUri") {
                    sink.link(LinkKind::Click, &target, "");
                }
                in_text |= tag.local() == "Text";
            }
            Token::Text(text) if in_text => line.push_str(&text),
            Token::Text(_) => {}
            Token::End(end) => {
                if end.local() == "Text" {
                    in_text = false;
                    sink.text(TextKind::Shown, &line);
                    line.clear();
                }
            }
        }
    }
    sink.text(TextKind::Shown, &line);
    sink.note(xml.finish())
}
