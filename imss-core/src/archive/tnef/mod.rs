//! TNEF, Outlook's `winmail.dat` (MS-OXTNEF).
//!
//! In: octets with the signature. Out: one member per attachment with every name it has, the bodies as
//! `body.txt`, `body.html` and `body.rtf`, embedded messages as TNEF of their own.
//!
//! Checksums are not judged, as Outlook does not. An attribute that leads beyond the end is cut there:
//! malformed.

mod properties;

use bytes::Bytes;

use self::properties::{Value, read_properties};
use super::names::{add, spellings};
use super::share::Share;
use super::{Missing, Source, UnpackError, Unpacked, Unpacker, le};
use crate::document::lzfu::{self, Broken};
use crate::filetype::FileType;
use crate::finding::GapReason;
use crate::limits::Budget;

const SIGNATURE: &[u8] = b"\x78\x9f\x3e\x22";

/// The TNEF format.
pub(super) struct Tnef;

impl Unpacker for Tnef {
    fn name(&self) -> &'static str {
        "tnef"
    }

    fn recognises(&self, content: &Bytes, _detected: &FileType) -> bool {
        content.starts_with(SIGNATURE)
    }

    fn unpack(
        &self,
        source: &Source<'_>,
        budget: &mut Budget<'_>,
        out: &mut dyn FnMut(Unpacked),
    ) -> Result<(), UnpackError> {
        let mut run =
            Run { share: Share { content: source.content, budget, out }, attachment: None };
        let mut problem = None;
        let mut at = 6_usize;
        while at < source.content.len() {
            run.share.budget.charge_work(64)?;
            let malformed = UnpackError::Malformed { offset: at as u64, detail: "ends early" };
            let header = (|| {
                let level = *source.content.get(at)?;
                let id = le::u16_at(source.content, at.checked_add(1)?)?;
                let size = le::u32_at(source.content, at.checked_add(5)?)?;
                Some((level, id, u64::from(size)))
            })();
            let Some((level, id, size)) = header else {
                problem.get_or_insert(malformed);
                break;
            };
            if !matches!(level, 1 | 2) {
                let offset = at as u64;
                let detail = "neither of the message nor of an attachment";
                problem.get_or_insert(UnpackError::Malformed { offset, detail });
                break;
            }
            let start = at.saturating_add(9);
            let data = run.share.slice(start as u64, size);
            if (data.len() as u64) < size {
                problem.get_or_insert(malformed);
            }
            run.attribute(id, &data)?;
            at = start.saturating_add(le::length(size)).saturating_add(2);
        }
        run.flush()?;
        problem.map_or(Ok(()), Err)
    }
}

struct Run<'a, 'b, 'c> {
    share: Share<'a, 'b, 'c>,
    attachment: Option<Attachment>,
}

#[derive(Default)]
struct Attachment {
    names: Vec<String>,
    content: Option<Bytes>,
    /// Another content: some writers give both `attAttachData` and a property.
    object: Option<Bytes>,
}

impl Run<'_, '_, '_> {
    fn attribute(&mut self, id: u16, data: &Bytes) -> Result<(), UnpackError> {
        match id {
            // attBody
            0x800c => self.body("body.txt", without_end(data))?,
            // attMessageProps
            0x9003 => self.message_properties(data)?,
            // attAttachRenddata begins an attachment (MS-OXTNEF §2.1.3.1).
            0x9002 => {
                self.flush()?;
                self.attachment = Some(Attachment::default());
            }
            // attAttachTitle, attAttachTransportFilename
            0x8010 | 0x9001 => {
                let names = spellings(&without_end(data), false);
                add(&mut self.attachment.get_or_insert_default().names, names);
            }
            // attAttachData
            0x800f => {
                self.attachment.get_or_insert_default().content = Some(data.clone());
            }
            // attAttachment
            0x9005 => self.attachment_properties(data)?,
            _ => {}
        }
        Ok(())
    }

    fn message_properties(&mut self, data: &Bytes) -> Result<(), UnpackError> {
        for (id, value) in read_properties(data, self.share.budget)? {
            match (id, value) {
                (0x1000, value) => {
                    let text = value.text().into_iter().next().unwrap_or_default();
                    self.body("body.txt", Bytes::from(text))?;
                }
                (0x1013, Value::Binary(data) | Value::Narrow(data)) => {
                    self.body("body.html", data)?;
                }
                (0x1013, Value::Wide(text)) => self.body("body.html", Bytes::from(text))?,
                (0x1009, Value::Binary(data)) => self.rich_text(&data)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn attachment_properties(&mut self, data: &Bytes) -> Result<(), UnpackError> {
        let properties = read_properties(data, self.share.budget)?;
        let attachment = self.attachment.get_or_insert_default();
        let mut names = Vec::new();
        for wanted in [0x3707, 0x3704, 0x3001] {
            for (_, value) in properties.iter().filter(|(id, _)| *id == wanted) {
                add(&mut names, value.text());
            }
        }
        add(&mut names, std::mem::take(&mut attachment.names));
        names.retain(|name| !name.is_empty());
        attachment.names = names;
        for (id, value) in properties {
            match (id, value) {
                (0x3701, Value::Object(data)) => {
                    // What kind of object it is stands before it (MS-OXTNEF §2.1.3.4).
                    let inner = data.slice(16.min(data.len())..);
                    attachment.object = Some(inner);
                }
                (0x3701, Value::Binary(data)) => attachment.object = Some(data),
                _ => {}
            }
        }
        Ok(())
    }

    fn rich_text(&mut self, packed: &Bytes) -> Result<(), UnpackError> {
        let names = vec!["body.rtf".to_owned()];
        // A reference of two octets gives 17 at most.
        self.share.budget.charge_work((packed.len() as u64).saturating_mul(8))?;
        let most = packed.len().saturating_mul(9);
        let (text, missing) = match lzfu::decompress(packed, most) {
            Ok(text) => (text, None),
            Err(Broken { partial, .. }) if partial.is_empty() => {
                return self.share.content(names, packed.clone(), packed.len() as u64);
            }
            Err(Broken { partial, detail }) => {
                (partial, Some(Missing::new(GapReason::Malformed, detail)))
            }
        };
        let size = text.len() as u64;
        self.share.partial(names, text.into(), size, missing)
    }

    fn body(&mut self, name: &str, data: Bytes) -> Result<(), UnpackError> {
        if data.is_empty() {
            return Ok(());
        }
        let size = data.len() as u64;
        self.share.content(vec![name.to_owned()], data, size)
    }

    /// Hands over the attachment that was being read.
    fn flush(&mut self) -> Result<(), UnpackError> {
        let Some(attachment) = self.attachment.take() else { return Ok(()) };
        let Attachment { names, content, object } = attachment;
        let object = object.filter(|object| content.as_ref() != Some(object));
        let none = content.is_none() && object.is_none();
        for data in content.into_iter().chain(object) {
            let size = data.len() as u64;
            self.share.content(names.clone(), data, size)?;
        }
        if none && !names.is_empty() {
            self.share.unreadable(
                names,
                0,
                GapReason::Malformed,
                "an attachment without content",
            )?;
        }
        Ok(())
    }
}

/// Text without the zero octets at its end.
fn without_end(data: &Bytes) -> Bytes {
    let end = data.iter().rposition(|&octet| octet != 0).map_or(0, |last| last.saturating_add(1));
    data.slice(..end)
}

#[cfg(test)]
mod tests {
    use super::super::testing::unpack;
    use super::*;
    use crate::limits::Limits;

    fn attribute(level: u8, id: u16, data: &[u8]) -> Vec<u8> {
        let size = u32::try_from(data.len()).unwrap().to_le_bytes();
        [&[level], id.to_le_bytes().as_slice(), &[0, 0], &size, data, &[0, 0]].concat()
    }

    fn property(kind: u16, id: u16, value: &[u8]) -> Vec<u8> {
        let mut out = [kind.to_le_bytes(), id.to_le_bytes()].concat();
        out.extend(1_u32.to_le_bytes());
        out.extend(u32::try_from(value.len()).unwrap().to_le_bytes());
        out.extend(value);
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    fn properties(list: &[Vec<u8>]) -> Vec<u8> {
        [u32::try_from(list.len()).unwrap().to_le_bytes().to_vec(), list.concat()].concat()
    }

    fn wide(text: &str) -> Vec<u8> {
        text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
    }

    #[test]
    fn attachments_and_bodies() {
        let rtf = b"\x0d\0\0\0\x05\0\0\0MELA\0\0\0\0{\\rtf";
        let message = properties(&[
            property(0x102, 0x1009, rtf),
            property(0x102, 0x1013, b"<html>"),
            property(0x1f, 0x1000, &wide("日本")),
        ]);
        let file = properties(&[property(0x1f, 0x3707, &wide("long name.exe"))]);
        let nested = properties(&[property(0x0d, 0x3701, &[&[0; 16], SIGNATURE].concat())]);
        let content = [
            [SIGNATURE, &[1, 0]].concat(),
            attribute(1, 0x800c, b"text\0"),
            attribute(1, 0x9003, &message),
            attribute(2, 0x9002, &[0; 14]),
            attribute(2, 0x8010, b"LONGNA~1.EXE\0"),
            attribute(2, 0x800f, b"MZ"),
            attribute(2, 0x9005, &file),
            attribute(2, 0x9002, &[0; 14]),
            attribute(2, 0x9005, &nested),
        ]
        .concat();
        let found = unpack(&Tnef, content.clone(), &Limits::small());
        assert_eq!(
            found
                .texts()
                .iter()
                .map(|text| text.split_at(text.len().min(18)).0)
                .collect::<Vec<_>>(),
            [
                "body.txt:text",
                "body.rtf:{\\rtf",
                "body.html:<html>",
                "body.txt:日本",
                "long name.exe:MZ",
                ":x\u{fffd}>\""
            ],
        );
        assert_eq!(found.members[4].names, ["long name.exe", "LONGNA~1.EXE"]);
        assert_eq!(found.result, Ok(()));
        let cut = unpack(&Tnef, content[..content.len() - 30].to_vec(), &Limits::small());
        assert!(cut.result.is_err(), "the rest is missing");
    }
}
