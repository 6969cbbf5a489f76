//! A PDF file → the same pages without scripts, actions that leave the file, media and files inside.
//!
//! In: a PDF file. Out: a new one (ISO 32000-2 §7.5) with everything that its latest catalog
//! reaches. Replaced and unreachable objects are left out, object streams are dissolved, and what
//! was encrypted with an empty password is not any more. Links to web pages stay.
//!
//! A file that cannot be read to its end is not cleaned: the error says why.

use std::collections::HashMap;
use std::io::Write as _;

use bytes::Bytes;

use super::{CleanError, Cleaned};
use crate::archive::{Passwords, Source, UnpackError};
use crate::document::pdf::Pdf;
use crate::document::pdf::object::{Dict, Value};
use crate::document::pdf::store::{Object, Store};
use crate::document::{Active, Extractor, Piece};
use crate::filetype::FileType;
use crate::limits::{Budget, Limit};

/// Entries that hold or start something that acts, or carry files.
const DROPPED: [&[u8]; 18] = [
    b"OpenAction",
    b"AA",
    b"JS",
    b"JavaScript",
    b"EmbeddedFiles",
    b"EF",
    b"AF",
    b"XFA",
    b"Collection",
    b"RichMediaContent",
    b"RichMediaSettings",
    b"3DD",
    b"3DA",
    b"Movie",
    b"FS",
    b"Renditions",
    b"Encrypt",
    b"Requirements",
];
/// Actions that are taken out.
const ACTIONS: [&[u8]; 11] = [
    b"JavaScript",
    b"Launch",
    b"SubmitForm",
    b"ImportData",
    b"GoToR",
    b"GoToE",
    b"Rendition",
    b"RichMediaExecute",
    b"Movie",
    b"Sound",
    b"GoTo3DView",
];
/// Annotations that become plain ones, with what they look like.
const MEDIA: [&[u8]; 6] = [b"RichMedia", b"3D", b"Movie", b"Sound", b"Screen", b"FileAttachment"];
/// Entries of a stream that the writer sets, or that read from another file.
const STREAM: [&[u8]; 4] = [b"Length", b"F", b"FFilter", b"FDecodeParms"];

/// Writes `content` again without what acts, if anything in it does.
///
/// # Errors
///
/// [`CleanError`].
pub(super) fn clean(
    content: &Bytes,
    detected: &FileType,
    budget: &mut Budget<'_>,
) -> Result<Cleaned, CleanError> {
    let passwords = Passwords::none();
    let source = Source { content, detected, names: &[], passwords: &passwords };
    let mut removed: Vec<String> = Vec::new();
    Pdf.extract(&source, &[], budget, &mut |piece| {
        if let Piece::Active(Active { kind, detail }) = piece {
            removed.push(format!("{kind:?} {detail}").trim_end().to_owned());
        }
    })?;
    if removed.is_empty() {
        return Err(CleanError::NothingToRemove);
    }
    Ok(Cleaned { content: disarm(content, budget)?.into(), removed })
}

/// Writes `content` again without what acts.
///
/// # Errors
///
/// [`UnpackError::Encrypted`] if it needs a password, [`UnpackError::Malformed`] if it has no
/// catalog, [`UnpackError::Limit`] if a bound was reached.
pub fn disarm(content: &Bytes, budget: &mut Budget<'_>) -> Result<Vec<u8>, UnpackError> {
    let store = Store::read(content, &Passwords::none(), budget)?;
    if store.locked {
        return Err(UnpackError::Encrypted("document"));
    }
    if let Some(trouble) = &store.trouble {
        return Err(trouble.clone());
    }
    let root = store.trailers.iter().rev().find_map(|trailer| match trailer.get(b"Root") {
        Some(Value::Ref(number)) if store.object(*number).is_some() => Some(*number),
        _ => None,
    });
    let catalogs = store.objects.iter().rev();
    let root = root.or_else(|| {
        let mut catalogs =
            catalogs.filter(|object| object.dict().is_some_and(|dict| dict.is_type(b"Catalog")));
        catalogs.next().map(Object::number)
    });
    let root = root.ok_or(UnpackError::Malformed { offset: 0, detail: "no catalog" })?;
    let info = store.trailers.iter().rev().find_map(|trailer| match trailer.get(b"Info") {
        Some(Value::Ref(number)) if store.object(*number).is_some() => Some(*number),
        _ => None,
    });
    let mut writer =
        Writer { store: &store, numbers: HashMap::new(), queue: Vec::new(), out: Vec::new() };
    Ok(writer.file(root, info, budget)?)
}

/// A file being written.
struct Writer<'a> {
    store: &'a Store,
    /// New numbers of old objects.
    numbers: HashMap<u32, usize>,
    /// Old objects in the order of their new numbers, from 1.
    queue: Vec<u32>,
    out: Vec<u8>,
}

impl Writer<'_> {
    fn file(
        &mut self,
        root: u32,
        info: Option<u32>,
        budget: &mut Budget<'_>,
    ) -> Result<Vec<u8>, Limit> {
        self.out.extend_from_slice(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n");
        let root = self.number(root);
        let info = info.map(|info| self.number(info));
        let mut offsets = Vec::new();
        let mut charged = 0_usize;
        while let Some(&old) = self.queue.get(offsets.len()) {
            offsets.push(self.out.len());
            let number = offsets.len();
            self.write(format_args!("{number} 0 obj\n"));
            if let Some(object) = self.store.object(old) {
                self.object(object);
            }
            self.out.extend_from_slice(b"\nendobj\n");
            let new = self.out.len().saturating_sub(charged) as u64;
            budget.charge_bytes(new)?;
            budget.charge_work(new.saturating_add(100))?;
            charged = self.out.len();
        }
        let start = self.out.len();
        let size = offsets.len().saturating_add(1);
        self.write(format_args!("xref\n0 {size}\n0000000000 65535 f \n"));
        for offset in offsets {
            self.write(format_args!("{offset:010} 00000 n \n"));
        }
        self.write(format_args!("trailer\n<</Size {size}/Root {root} 0 R"));
        if let Some(info) = info {
            self.write(format_args!("/Info {info} 0 R"));
        }
        self.write(format_args!(">>\nstartxref\n{start}\n%%EOF\n"));
        Ok(std::mem::take(&mut self.out))
    }

    fn object(&mut self, object: &Object) {
        let Some(dict) = object.dict().filter(|_| object.is_stream()) else {
            return self.value(&object.value);
        };
        let packed = [&b"ObjStm"[..], b"XRef", b"EmbeddedFile"];
        if packed.iter().any(|kind| dict.is_type(kind)) || self.is_active(dict) {
            return self.write(format_args!("null"));
        }
        let data = self.store.raw(object);
        self.out.extend_from_slice(b"<<");
        self.entries(dict, &STREAM);
        self.write(format_args!("/Length {}>>\nstream\n", data.len()));
        self.out.extend_from_slice(&data);
        self.out.extend_from_slice(b"\nendstream");
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.write(format_args!("null")),
            Value::Bool(value) => self.write(format_args!("{value}")),
            Value::Number(number) => self.write(format_args!("{number}")),
            Value::Name(name) => self.name(name),
            Value::Text(text) => {
                self.out.push(b'<');
                for octet in text {
                    self.write(format_args!("{octet:02x}"));
                }
                self.out.push(b'>');
            }
            Value::Array(items) => {
                self.out.push(b'[');
                for item in items {
                    self.value(item);
                    self.out.push(b' ');
                }
                self.out.push(b']');
            }
            Value::Dict(dict) if self.is_active(dict) => self.write(format_args!("null")),
            Value::Dict(dict) => {
                self.out.extend_from_slice(b"<<");
                self.entries(dict, &[]);
                self.out.extend_from_slice(b">>");
            }
            Value::Ref(number) if self.store.object(*number).is_some() => {
                let number = self.number(*number);
                self.write(format_args!("{number} 0 R"));
            }
            Value::Ref(_) => self.write(format_args!("null")),
        }
    }

    /// The entries of a dictionary that stay.
    fn entries(&mut self, dict: &Dict, except: &[&[u8]]) {
        let media = dict.name(b"Subtype").is_some_and(|kind| MEDIA.contains(&kind))
            && dict.get(b"Rect").is_some();
        for (key, value) in &dict.0 {
            let plain = media && matches!(&**key, b"A" | b"Sound");
            if DROPPED.contains(&&**key) || except.contains(&&**key) || plain {
                continue;
            }
            self.name(key);
            self.out.push(b' ');
            if media && **key == *b"Subtype" {
                self.out.extend_from_slice(b"/Square");
            } else {
                self.value(value);
            }
        }
    }

    /// Whether a dictionary is an action that is taken out.
    fn is_active(&self, dict: &Dict) -> bool {
        dict.get(b"JS").is_some()
            || self.store.get(dict, b"S").name().is_some_and(|kind| ACTIONS.contains(&kind))
                && [&b"D"[..], b"F", b"Win", b"Unix", b"Mac", b"T", b"TA", b"R", b"Next"]
                    .iter()
                    .any(|key| dict.get(key).is_some())
    }

    fn name(&mut self, name: &[u8]) {
        self.out.push(b'/');
        for &octet in name {
            if octet.is_ascii_alphanumeric() || b"-_.+*:,@!$&'~^|\";?=".contains(&octet) {
                self.out.push(octet);
            } else {
                self.write(format_args!("#{octet:02x}"));
            }
        }
    }

    /// The new number of an old object.
    fn number(&mut self, old: u32) -> usize {
        let next = self.queue.len().saturating_add(1);
        let queue = &mut self.queue;
        *self.numbers.entry(old).or_insert_with(|| {
            queue.push(old);
            next
        })
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to memory does not fail.
        let _ = self.out.write_fmt(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    fn disarmed(content: &str) -> Result<String, UnpackError> {
        let limits = Limits::small();
        let clean = disarm(&Bytes::from(content.to_owned()), &mut Budget::new(&limits))?;
        Ok(String::from_utf8_lossy(&clean).into_owned())
    }

    fn file(catalog: &str, page: &str, more: &str) -> String {
        format!(
            "%PDF-1.7\n1 0 obj <</Type/Catalog/Pages 2 0 R {catalog}>> endobj\n\
             2 0 obj <</Type/Pages/Kids[3 0 R]/Count 1>> endobj\n\
             3 0 obj <</Type/Page/Parent 2 0 R/Contents 4 0 R {page}>> endobj\n\
             4 0 obj <</Length 99>> stream\nBT (kept) Tj ET\nendstream endobj\n{more}\n\
             trailer <</Root 1 0 R>>\n%%EOF\n"
        )
    }

    #[test]
    fn what_acts_is_gone_and_the_page_stays() {
        let cases = [
            ("open action", file("/OpenAction<</S/JavaScript/JS(bad)>>", "", ""), "OpenAction"),
            (
                "page trigger",
                file("", "/AA<</O 8 0 R>>", "8 0 obj <</S/JavaScript/JS(bad)>> endobj"),
                "JavaScript",
            ),
            (
                "script reached by a link",
                file(
                    "",
                    "/Annots[<</Rect[0 0 1 1]/Subtype/Link/A 8 0 R>>]",
                    "8 0 obj <</S/JavaScript/JS(bad)>> endobj",
                ),
                "JavaScript",
            ),
            ("launch", file("", "/Annots[<</A<</S/Launch/F(cmd.exe)>>>>]", ""), "Launch"),
            ("form", file("", "/Annots[<</A<</S/SubmitForm/F(x)>>>>]", ""), "SubmitForm"),
            (
                "media",
                file(
                    "",
                    "/Annots[<</Rect[0 0 1 1]/Subtype/RichMedia/RichMediaContent 8 0 R>>]",
                    "8 0 obj <<>> endobj",
                ),
                "RichMedia",
            ),
            (
                "file",
                file(
                    "/Names<</EmbeddedFiles 8 0 R>>",
                    "",
                    "8 0 obj <</Names[(a)9 0 R]>> endobj 9 0 obj <</EF<<>>>> endobj",
                ),
                "EmbeddedFiles",
            ),
            (
                "replaced object",
                file(
                    "",
                    "",
                    "2 0 obj <</S/Launch>> endobj 2 0 obj <</Type/Pages/Kids[3 0 R]/Count 1>> endobj",
                ),
                "Launch",
            ),
            (
                "escaped names",
                file("/Open#41ction<</#53/Java#53cript/J#53(bad)>>", "", ""),
                "Action",
            ),
        ];
        for (name, content, gone) in cases {
            let clean = disarmed(&content).unwrap();
            assert!(!clean.contains(gone), "{name}: {clean}");
            assert!(clean.contains("BT (kept) Tj ET"), "{name}: {clean}");
        }
    }

    #[test]
    fn what_does_not_act_stays() {
        let cases = [
            ("link", file("", "/Annots[<</A<</S/URI/URI(x)>>>>]", ""), "/S /URI"),
            ("jump", file("", "/Annots[<</A<</S/GoTo/D[3 0 R/Fit]>>>>]", ""), "/S /GoTo"),
            ("name with a space", file("/A#20b 7", "", ""), "/A#20b 7"),
            ("number", file("/N -0.25", "", ""), "/N -0.25"),
        ];
        for (name, content, kept) in cases {
            let clean = disarmed(&content).unwrap();
            assert!(clean.contains(kept), "{name}: {clean}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_not_cleaned() {
        let malformed = |result| matches!(result, Err(UnpackError::Malformed { .. }));
        assert!(malformed(disarmed("%PDF-1.7\n1 0 obj 1 endobj")));
        let foreign = file("", "", "") + "trailer <</Root 1 0 R/Encrypt<</Filter/Other>>>>";
        assert_eq!(disarmed(&foreign), Err(UnpackError::Encrypted("document")));
    }
}
