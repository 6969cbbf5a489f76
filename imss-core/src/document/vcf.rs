//! Contacts (vCard 2.1, 3.0, 4.0; RFC 6350): text, links and embedded files.
//!
//! In: contacts. Out: the values that a reader sees, in order, quoted-printable decoded; URLs as
//! links; pictures, sounds and keys with data as embedded files.

use super::content_line::{self, decode, lines};
use super::sink::Sink;
use super::{Extractor, LinkKind, Piece, TextKind};
use crate::archive::{Member, Source, UnpackError};
use crate::filetype::FileType;
use crate::limits::Budget;

/// Contacts.
pub(super) struct Contacts;

impl Extractor for Contacts {
    fn name(&self) -> &'static str {
        "vcf"
    }

    fn recognises(&self, _: &[u8], detected: &FileType, _: &[Member]) -> bool {
        detected.media_type == "text/vcard"
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
        for line in lines(&text) {
            sink.budget.charge_work(64)?;
            if line.is_cut {
                sink.budget.left_out(content_line::LEFT_OUT);
            }
            match line.name.as_str() {
                "URL" | "SOURCE" | "FBURL" | "CALURI" => {
                    sink.link(LinkKind::Click, &line.text(), "");
                }
                "PHOTO" | "LOGO" | "SOUND" | "KEY" | "ATTACH" => match line.octets() {
                    Some(octets) => {
                        let name = line.name.to_ascii_lowercase();
                        sink.embedded(&name, octets.into())?;
                    }
                    None => sink.link(LinkKind::Load, &line.value, ""),
                },
                "BEGIN" | "END" | "VERSION" | "REV" | "UID" | "PRODID" => {}
                name if name.starts_with("X-") => {}
                _ => {
                    let text = line.text();
                    let parts = text.split(';').filter(|part| !part.trim().is_empty());
                    sink.text(TextKind::Shown, &parts.collect::<Vec<_>>().join(" "));
                }
            }
        }
        sink.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::harness::single;

    #[test]
    fn a_contact() {
        let card = "BEGIN:VCARD\r\nVERSION:2.1\r\nN;CHARSET=SHIFT_JIS;ENCODING=QUOTED-PRINTABLE:=93=\r\n\
            =FA;=96=7B\r\nitem1.EMAIL:a@example.org\r\nURL:https://a.example/\r\n\
            PHOTO;GIF;BASE64:\r\n aGVsbG8=\r\n\r\nNOTE:one\\ntwo\r\nEND:VCARD\r\n";
        let found = single(&Contacts, card.as_bytes());
        assert_eq!(found.text(TextKind::Shown), "\u{65e5} \u{672c}\na@example.org\none\ntwo");
        assert_eq!(found.links(), [(LinkKind::Click, "https://a.example/", "")]);
        assert_eq!(found.inside(), ["photo:hello"]);
        assert_eq!(found.result, Ok(()));
    }
}
