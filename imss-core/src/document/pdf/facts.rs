//! What the objects hold besides the text of pages: actions (ISO 32000-2 §12.6), annotations,
//! form fields, outlines, properties, forms in XML.
//!
//! In: all versions of all objects. Out: links, active facts, code, texts, properties. Every
//! dictionary is looked at wherever it is, because readers follow many ways to an action.

use super::object::{Dict, Value};
use super::{Reader, text_string, xml};
use crate::archive::{Member, UnpackError};
use crate::document::{ActiveKind, LinkKind, Piece, TextKind};
use crate::limits::Limit;

/// Actions that do something outside the pages.
const ACTIONS: [&[u8]; 10] = [
    b"JavaScript",
    b"Launch",
    b"URI",
    b"GoToR",
    b"GoToE",
    b"SubmitForm",
    b"ImportData",
    b"Rendition",
    b"RichMediaExecute",
    b"Movie",
];
/// Names that nobody has a reason to write with escapes.
const TELLING: [&[u8]; 16] = [
    b"JavaScript",
    b"JS",
    b"Launch",
    b"URI",
    b"OpenAction",
    b"AA",
    b"SubmitForm",
    b"ImportData",
    b"EmbeddedFile",
    b"EmbeddedFiles",
    b"Filespec",
    b"RichMedia",
    b"XFA",
    b"GoToR",
    b"GoToE",
    b"ObjStm",
];
/// Triggers of a form field that only format or check what was typed.
const FIELD_TRIGGERS: [&[u8]; 4] = [b"K", b"F", b"V", b"C"];
/// Chosen values of one form field.
const MAX_CHOICES: usize = 1_000;
/// Actions that follow each other.
const MAX_CHAIN: usize = 16;
/// Octets of JavaScript in one piece.
const MAX_SCRIPT: usize = 16 << 20;

impl Reader<'_, '_> {
    /// Reports everything.
    pub(super) fn facts(&mut self) -> Result<(), Limit> {
        let store = self.store;
        for name in store.obscured.iter().filter(|name| TELLING.contains(&name.as_slice())) {
            let name = String::from_utf8_lossy(name);
            self.active(ActiveKind::Obfuscation, &format!("the name {name} written with escapes"));
        }
        if let Some(password) = store.password() {
            let word = if password.is_empty() { "empty password" } else { "known password" };
            self.property("encryption", word.to_owned());
        }
        for info in store.trailers.iter().filter_map(|trailer| store.dict(trailer, b"Info")) {
            self.info(info)?;
        }
        for (place, object) in store.objects.iter().enumerate() {
            self.budget.charge_work(50)?;
            self.value(&object.value)?;
            if let Some(dict) = object.dict().filter(|dict| dict.is_type(b"Metadata")) {
                self.metadata(place, dict)?;
            }
        }
        Ok(())
    }

    /// Properties (§14.3.3). Many may be one object, which is read for each of them.
    fn info(&mut self, info: &Dict) -> Result<(), Limit> {
        for (name, value) in &info.0 {
            let Value::Text(value) = self.store.resolve(value) else { continue };
            if self.values.is_full() {
                break;
            }
            self.budget.charge_work((value.len() as u64).saturating_add(50))?;
            self.property(&String::from_utf8_lossy(name), text_string::text(value));
        }
        Ok(())
    }

    fn value(&mut self, value: &Value) -> Result<(), Limit> {
        match value {
            Value::Array(items) => items.iter().try_for_each(|item| self.value(item)),
            Value::Dict(dict) => {
                self.budget.charge_work(60)?;
                self.dict(dict)?;
                dict.0.iter().try_for_each(|(_, item)| self.value(item))
            }
            _ => Ok(()),
        }
    }

    fn dict(&mut self, dict: &Dict) -> Result<(), Limit> {
        for (key, value) in &dict.0 {
            match &**key {
                b"JS" => self.script(value)?,
                b"OpenAction" => {
                    if let Some(action) = self.action(value) {
                        self.active(ActiveKind::AutoRun, &format!("OpenAction {action}"));
                    }
                }
                b"AA" => self.triggers(dict, value),
                b"JavaScript" => self.named_scripts(value),
                b"XFA" => self.form(value)?,
                _ => {}
            }
        }
        match self.store.get(dict, b"S").name() {
            Some(b"Launch") => self.launch(dict),
            Some(b"URI") => {
                if let Value::Text(target) = self.store.get(dict, b"URI") {
                    self.link(LinkKind::Click, target);
                }
            }
            Some(kind @ (b"GoToR" | b"GoToE")) => self.elsewhere(kind, dict),
            Some(kind @ (b"SubmitForm" | b"ImportData")) => self.submit(kind, dict),
            _ => {}
        }
        if let Some(kind) = dict.name(b"Subtype") {
            self.annotation(kind, dict);
        }
        self.texts(dict);
        Ok(())
    }

    /// Reports JavaScript: a string, or a stream in all its versions.
    fn script(&mut self, value: &Value) -> Result<(), Limit> {
        let mut sources = Vec::new();
        match value {
            Value::Text(source) => sources.push(text_string::text(source)),
            Value::Ref(number) => {
                let store = self.store;
                for place in store.versions(*number) {
                    let Some(object) = store.objects.get(place) else { continue };
                    if let Value::Text(source) = &object.value {
                        sources.push(text_string::text(source));
                    } else if object.is_stream() && self.handed.insert(place) {
                        sources.push(text_string::text(&self.decode(place)?.bytes));
                    }
                }
            }
            _ => {}
        }
        for source in sources {
            self.code(source)?;
        }
        if self.store.locked {
            self.active(ActiveKind::Script, "encrypted");
        }
        Ok(())
    }

    fn code(&mut self, source: String) -> Result<(), Limit> {
        if source.len() > MAX_SCRIPT {
            self.trouble.get_or_insert(UnpackError::Limit(Limit::Text));
            return Ok(());
        }
        if source.trim().is_empty() || !self.is_new(&source) {
            return Ok(());
        }
        self.active(ActiveKind::Script, &source);
        self.budget.charge_entity()?;
        self.budget.charge_bytes(source.len() as u64)?;
        (self.out)(Piece::Code(Member {
            names: vec!["script.js".to_owned()],
            claimed_size: source.len() as u64,
            content: source.into(),
            missing: None,
        }));
        Ok(())
    }

    /// The first action of a chain that does something outside the pages.
    fn action(&self, value: &Value) -> Option<String> {
        let mut value = self.store.resolve(value);
        for _ in 0..MAX_CHAIN {
            let dict = match value {
                Value::Array(items) => {
                    items.first().and_then(|item| self.store.resolve(item).dict())
                }
                value => value.dict(),
            }?;
            let kind = self.store.get(dict, b"S").name().unwrap_or_default();
            if ACTIONS.contains(&kind) {
                return Some(String::from_utf8_lossy(kind).into_owned());
            }
            value = self.store.get(dict, b"Next");
        }
        None
    }

    /// Additional actions (§12.6.3).
    fn triggers(&mut self, holder: &Dict, value: &Value) {
        let field = holder.get(b"FT").is_some() || holder.name(b"Subtype") == Some(b"Widget");
        let Some(actions) = self.store.resolve(value).dict() else { return };
        for (trigger, action) in &actions.0 {
            if field && FIELD_TRIGGERS.contains(&&**trigger) {
                continue;
            }
            if let Some(action) = self.action(action) {
                let trigger = String::from_utf8_lossy(trigger);
                self.active(ActiveKind::AutoRun, &format!("AA {trigger} {action}"));
            }
        }
    }

    /// Scripts of the document (§7.7.4) run when it is opened.
    fn named_scripts(&mut self, value: &Value) {
        let tree = self.store.resolve(value).dict();
        if tree.is_some_and(|tree| tree.get(b"Names").is_some() || tree.get(b"Kids").is_some()) {
            self.active(ActiveKind::AutoRun, "JavaScript of the document");
        }
    }

    fn launch(&mut self, dict: &Dict) {
        let mut parts = Vec::new();
        let windows = self.store.dict(dict, b"Win");
        let others = [self.store.dict(dict, b"Unix"), self.store.dict(dict, b"Mac"), Some(dict)];
        for dict in windows.into_iter().chain(others.into_iter().flatten()) {
            for key in [&b"F"[..], b"P", b"D", b"O"] {
                parts.extend(self.file(self.store.get(dict, key)));
            }
        }
        parts.dedup();
        self.active(ActiveKind::Launch, &parts.join(" "));
    }

    /// A file specification (§7.11): its best name.
    fn file(&self, value: &Value) -> Option<String> {
        match self.store.resolve(value) {
            Value::Text(name) => Some(text_string::text(name)),
            Value::Dict(dict) => {
                [&b"UF"[..], b"F", b"DOS", b"Unix", b"Mac"].iter().find_map(|key| {
                    match self.store.get(dict, key) {
                        Value::Text(name) => Some(text_string::text(name)),
                        _ => None,
                    }
                })
            }
            _ => None,
        }
    }

    /// Go to a place in another file.
    fn elsewhere(&mut self, kind: &[u8], dict: &Dict) {
        let Some(target) = self.file(self.store.get(dict, b"F")) else {
            if kind == b"GoToE" {
                self.active(ActiveKind::EmbeddedFile, "opened by an action");
            }
            return;
        };
        if target.starts_with("\\\\") || target.starts_with("//") {
            self.active(ActiveKind::RemoteContent, &target);
        }
        self.link(LinkKind::Click, target.as_bytes());
    }

    fn submit(&mut self, kind: &[u8], dict: &Dict) {
        let target = self.file(self.store.get(dict, b"F")).unwrap_or_default();
        let kind = String::from_utf8_lossy(kind);
        self.active(ActiveKind::Form, format!("{kind} {target}").trim());
        self.link(LinkKind::Submit, target.as_bytes());
    }

    fn annotation(&mut self, kind: &[u8], dict: &Dict) {
        if matches!(kind, b"RichMedia" | b"3D" | b"Movie" | b"Sound" | b"Screen" | b"Flash") {
            let kind = String::from_utf8_lossy(kind);
            self.active(ActiveKind::RichMedia, &kind);
        }
        let shown = if kind == b"FreeText" { TextKind::Shown } else { TextKind::Comment };
        if dict.get(b"Rect").is_none() {
            return;
        }
        for key in [&b"Contents"[..], b"Subj", b"RC"] {
            if let Value::Text(raw) = self.store.get(dict, key) {
                let text = text_string::text(raw);
                let text = if key == b"RC" { joined(&xml::texts(text.as_bytes())) } else { text };
                self.text(shown, text);
            }
        }
    }

    /// Outlines (§12.3.3) and form fields (§12.7.4).
    fn texts(&mut self, dict: &Dict) {
        let outline = dict.get(b"Title").is_some()
            && [&b"Dest"[..], b"A", b"Next", b"Prev"].iter().any(|key| dict.get(key).is_some());
        if outline && let Value::Text(title) = self.store.get(dict, b"Title") {
            self.text(TextKind::Shown, text_string::text(title));
        }
        let named = dict.get(b"T").is_some();
        let has_value = dict.get(b"V").is_some() || dict.get(b"Kids").is_some();
        let field = dict.get(b"FT").is_some() || named && has_value;
        if !field {
            return;
        }
        let keys =
            [(&b"V"[..], TextKind::Shown), (b"T", TextKind::Comment), (b"TU", TextKind::Comment)];
        for (key, kind) in keys {
            match self.store.get(dict, key) {
                Value::Text(value) => self.text(kind, text_string::text(value)),
                Value::Array(items) => {
                    if items.len() > MAX_CHOICES {
                        self.budget.left_out("values of a field past 1,000");
                    }
                    for item in items.iter().take(MAX_CHOICES) {
                        if let Value::Text(value) = self.store.resolve(item) {
                            self.text(kind, text_string::text(value));
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// A form in XML (§12.7.8): one stream, or names and streams in turn.
    fn form(&mut self, value: &Value) -> Result<(), Limit> {
        let mut whole = Vec::new();
        let list = match self.store.resolve(value) {
            Value::Array(list) => list.as_slice(),
            _ => std::slice::from_ref(value),
        };
        for part in list {
            match part {
                Value::Ref(number) => {
                    if let Some(place) = self.store.place(*number)
                        && self.handed.insert(place)
                    {
                        whole.extend_from_slice(&self.decode(place)?.bytes);
                    }
                }
                Value::Text(text) if list.len() == 1 => whole.extend_from_slice(text),
                _ => {}
            }
        }
        self.budget.charge_work(whole.len() as u64)?;
        let texts = xml::texts(&whole);
        if texts.len() >= xml::MAX_TEXTS {
            self.budget.left_out("texts of a form past 100,000");
        }
        let mut shown = Vec::new();
        for (element, text) in texts {
            match element.as_str() {
                "script" => self.code(text)?,
                "target" | "textEncoding" if !text.contains("://") => {}
                "target" => {
                    self.active(ActiveKind::Form, &text);
                    self.link(LinkKind::Submit, text.as_bytes());
                }
                "text" | "p" | "span" | "value" | "toolTip" | "speak" | "exData" => {
                    shown.push((element, text));
                }
                _ => {}
            }
        }
        self.text(TextKind::Shown, joined(&shown));
        Ok(())
    }

    /// Metadata in XML (§14.3.2).
    fn metadata(&mut self, place: usize, dict: &Dict) -> Result<(), Limit> {
        if dict.name(b"Subtype") != Some(b"XML") || !self.handed.insert(place) {
            return Ok(());
        }
        let decoded = self.decode(place)?;
        self.budget.charge_work(decoded.bytes.len() as u64)?;
        for (element, text) in xml::texts(&decoded.bytes) {
            // Programs list the identifiers of all files that a picture was ever pasted from.
            let technical = [
                "lang",
                "about",
                "parseType",
                "resource",
                "xmptk",
                "id",
                "begin",
                "DocumentAncestors",
            ];
            if !technical.contains(&element.as_str()) {
                self.property(&element, text);
            }
        }
        Ok(())
    }
}

fn joined(texts: &[(String, String)]) -> String {
    let texts: Vec<&str> = texts.iter().map(|(_, text)| text.as_str()).collect();
    texts.join("\n")
}
