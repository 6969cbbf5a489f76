//! Calendars (RFC 5545): text, links and attached files of their entries.
//!
//! In: a calendar. Out: the values that a reader sees, in order; URLs as links; `ATTACH` with data
//! as embedded files; alarms that start a program (RFC 2445, 4.8.6.1) as facts.

use super::content_line::{self, Line, decode, lines};
use super::sink::Sink;
use super::{ActiveKind, Extractor, LinkKind, Piece, TextKind};
use crate::archive::{Member, Source, UnpackError};
use crate::filetype::FileType;
use crate::limits::{Budget, Limit};

/// Links taken from one description.
const MAX_LINKS: usize = 1_000;

/// Calendars.
pub(super) struct Calendar;

impl Extractor for Calendar {
    fn name(&self) -> &'static str {
        "ics"
    }

    fn recognises(&self, _: &[u8], detected: &FileType, _: &[Member]) -> bool {
        detected.media_type == "text/calendar"
    }

    fn extract(
        &self,
        source: &Source<'_>,
        _: &[Member],
        budget: &mut Budget<'_>,
        out: &mut dyn FnMut(Piece),
    ) -> Result<(), UnpackError> {
        let text = decode(source.content, budget)?;
        let mut sink = Sink::new(budget, out);
        let mut alarm = None;
        for line in lines(&text) {
            sink.budget.charge_work(64)?;
            if line.is_cut {
                sink.budget.left_out(content_line::LEFT_OUT);
            }
            match (line.name.as_str(), line.value.trim()) {
                ("BEGIN", "VALARM") => alarm = Some((false, String::new())),
                ("END", "VALARM") => {
                    if let Some((true, program)) = alarm.take() {
                        sink.active(ActiveKind::Launch, &program);
                    }
                }
                ("ACTION", action) => {
                    if let Some((starts, _)) = &mut alarm {
                        *starts = action.eq_ignore_ascii_case("PROCEDURE");
                    }
                }
                ("ATTACH", target) => {
                    if let Some((_, program)) = &mut alarm {
                        target.clone_into(program);
                    }
                    attachment(&line, &mut sink)?;
                }
                _ => property(&line, &mut sink),
            }
        }
        sink.finish()
    }
}

fn attachment(line: &Line, sink: &mut Sink<'_, '_>) -> Result<(), Limit> {
    if let Some(octets) = line.octets() {
        let names = ["FILENAME", "X-FILENAME", "X-APPLE-FILENAME", "X-ORACLE-FILENAME", "X-LABEL"];
        let name = names.iter().find_map(|name| line.parameter(name)).unwrap_or_default();
        return sink.embedded(name, octets.into());
    }
    if !line.value.to_ascii_lowercase().starts_with("cid:") {
        sink.link(LinkKind::Click, &line.value, "");
    }
    Ok(())
}

fn property(line: &Line, sink: &mut Sink<'_, '_>) {
    match line.name.as_str() {
        "DESCRIPTION" | "X-ALT-DESC" => description(&line.text(), sink),
        "SUMMARY" | "LOCATION" | "COMMENT" | "CONTACT" | "CATEGORIES" | "RESOURCES"
        | "X-WR-CALNAME" | "X-WR-CALDESC" => {
            let text = line.text();
            // Many services put the address of the conference where the place belongs.
            if is_url(&text) {
                sink.link(LinkKind::Click, &text, "");
            }
            sink.text(TextKind::Shown, &text);
        }
        "ORGANIZER" | "ATTENDEE" => {
            let name = line.parameter("CN").unwrap_or_default();
            sink.text(TextKind::Shown, &format!("{name} {}", line.value));
        }
        "URL" | "CONFERENCE" => sink.link(LinkKind::Click, &line.value, ""),
        "IMAGE" => sink.link(LinkKind::Load, &line.value, ""),
        name => {
            let value = line.value.trim();
            if is_url(value) && name.starts_with("X-") {
                sink.link(LinkKind::Click, value, "");
            }
        }
    }
}

/// Text that may be a page: several services write HTML, and readers show it as such.
fn description(text: &str, sink: &mut Sink<'_, '_>) {
    if !text.contains("</") && !text.contains("<br") {
        return sink.text(TextKind::Shown, text);
    }
    for (place, target) in text.split("href=").skip(1).enumerate() {
        if place >= MAX_LINKS {
            sink.budget.left_out("links of a description past 1,000");
            break;
        }
        let target = target.trim_start_matches(['"', '\'']);
        let end = target.find(['"', '\'', '>', ' ']).unwrap_or(target.len());
        sink.link(LinkKind::Click, target.get(..end).unwrap_or_default(), "");
    }
    let max = sink.budget.limits().max_text_bytes;
    sink.text(TextKind::Shown, &super::html::to_text(text, max).0);
}

/// Whether the whole value is the address of a page.
fn is_url(value: &str) -> bool {
    let value = value.trim();
    (value.starts_with("http://") || value.starts_with("https://"))
        && !value.contains(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::harness::single;

    const MEETING: &str = "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nSUMMARY:\u{4f1a}\u{8b70}\\, room 1\r\n\
        DESCRIPTION:first\\nsec\r\n ond line\r\nORGANIZER;CN=\"A: B\":mailto:a@example.org\r\n\
        URL:https://a.example/join\r\nATTACH;FMTTYPE=text/plain;ENCODING=BASE64;VALUE=BINARY;\r\n \
        X-FILENAME=\"a.txt\":aGVs\r\n bG8=\r\nATTACH:data:text/plain;base64,aGk=\r\n\
        ATTACH:https://a.example/f.zip\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";

    #[test]
    fn a_meeting() {
        let found = single(&Calendar, MEETING.as_bytes());
        let text = "\u{4f1a}\u{8b70}, room 1\nfirst\nsecond line\nA: B mailto:a@example.org";
        assert_eq!(found.text(TextKind::Shown), text);
        let targets: Vec<&str> = found.links().iter().map(|link| link.1).collect();
        assert_eq!(targets, ["https://a.example/join", "https://a.example/f.zip"]);
        assert_eq!(found.inside(), ["a.txt:hello", ":hi"]);
        assert_eq!(found.active(), []);
    }

    #[test]
    fn descriptions_as_pages() {
        let text = "BEGIN:VCALENDAR\nDESCRIPTION:<b>Join</b> <a href=\"https://a.example/\">here</a>\n\
            LOCATION:https://b.example/\nDESCRIPTION:a < b\nEND:VCALENDAR\n";
        let found = single(&Calendar, text.as_bytes());
        assert_eq!(found.text(TextKind::Shown), "Join here\nhttps://b.example/\na < b");
        let targets: Vec<&str> = found.links().iter().map(|link| link.1).collect();
        assert_eq!(targets, ["https://a.example/", "https://b.example/"]);
    }

    #[test]
    fn alarms() {
        let alarm = |action: &str| {
            let text = format!(
                "BEGIN:VCALENDAR\nBEGIN:VALARM\nACTION:{action}\nATTACH:file:///c:/a.exe\n\
                 END:VALARM\nEND:VCALENDAR\n"
            );
            single(&Calendar, text.as_bytes()).active().len()
        };
        assert_eq!(alarm("PROCEDURE"), 1);
        assert_eq!(alarm("AUDIO"), 0);
    }
}
