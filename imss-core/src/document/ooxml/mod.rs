//! Office Open XML packages (ECMA-376): Word, Excel, PowerPoint, Visio, XPS.
//!
//! In: the members that the zip unpacker found. Out: text in reading order, properties, links, facts.
//! A part is known by its root element and by what points to it, not by its name, since
//! relationships name parts freely; parts that nothing points to are read too.
//!
//! A part that is broken is read as far as it goes, and the others after it.

pub(crate) mod field;
pub(crate) mod flow;
mod page;
mod paragraph;
pub(crate) mod props;
pub(crate) mod rels;
pub(crate) mod row;
mod sheet;
pub(crate) mod styles;
mod workbook;
mod xlsb;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use self::flow::Mode;
use self::rels::Relations;
use self::styles::Styles;
use self::workbook::{Sheet, Strings};
use super::sink::Sink;
use super::xml::{self, Token, Xml};
use super::{ActiveKind, Extractor, Piece, TextKind};
use crate::archive::{Member, Source, UnpackError};
use crate::filetype::FileType;
use crate::limits::{Budget, Limit};

/// Slides whose order is read; the texts of all are.
const MAX_SLIDES: usize = 10_000;

/// Office Open XML.
pub(super) struct Ooxml;

impl Extractor for Ooxml {
    fn name(&self) -> &'static str {
        "ooxml"
    }

    fn recognises(&self, _: &[u8], _: &FileType, members: &[Member]) -> bool {
        members.iter().flat_map(|member| &member.names).any(|name| {
            let name = normal(name);
            name == "[content_types].xml" || name == "_rels/.rels"
        })
    }

    fn extract(
        &self,
        _: &Source<'_>,
        members: &[Member],
        budget: &mut Budget<'_>,
        out: &mut dyn FnMut(Piece),
    ) -> Result<(), UnpackError> {
        let mut sink = Sink::new(budget, out);
        read(members, &mut sink)?;
        sink.finish()
    }
}

/// Reads a package from its members.
pub(super) fn read(members: &[Member], sink: &mut Sink<'_, '_>) -> Result<(), Limit> {
    let mut package = Package::default();
    package.open(members, sink)?;
    package.facts(sink)?;
    package.sheets(sink)?;
    package.texts(sink)?;
    for relations in package.relations.values() {
        relations.report(sink);
    }
    Ok(())
}

/// Reads the properties inside the element `list` of a larger document.
pub(crate) fn props_of(text: &str, list: &str, sink: &mut Sink<'_, '_>) -> Result<(), Limit> {
    let open = text.find(list).and_then(|at| text.get(at..));
    let inside = open.and_then(|rest| rest.get(rest.find('>')?.saturating_add(1)..));
    let inside = inside.and_then(|rest| rest.get(..rest.find(list)?));
    let inside = inside.and_then(|rest| rest.get(..rest.rfind('<')?)).unwrap_or_default();
    props::read(inside, sink)
}

/// An XML part.
pub(crate) struct Part<'a> {
    /// Its name, without a slash before it, in lower case.
    name: String,
    text: Cow<'a, str>,
    /// The local name of its root element.
    root: String,
}

/// The parts of one package.
#[derive(Default)]
struct Package<'a> {
    parts: Vec<Part<'a>>,
    /// Parts that are no XML, by name: those of binary workbooks.
    binary: Vec<(String, &'a [u8])>,
    /// What each part points to, in the same order every time.
    relations: BTreeMap<String, Relations>,
    strings: Strings,
    styles: Styles,
    /// Slides in the order of the presentation.
    slides: Vec<String>,
    sheets: Vec<(Sheet, String)>,
}

impl<'a> Package<'a> {
    /// Decodes the XML parts, and reads what the others are understood by.
    fn open(&mut self, members: &'a [Member], sink: &mut Sink<'_, '_>) -> Result<(), Limit> {
        for member in members {
            let name = member.names.first().map(|name| normal(name)).unwrap_or_default();
            if xml::is_xml(&member.content) {
                let text = xml::decode(&member.content, sink.budget)?;
                let root = xml::root(&text, sink.budget)?.unwrap_or_default();
                self.parts.push(Part { name, text, root });
            } else if is_bin(&name) && name.starts_with("xl/") {
                self.binary.push((name, &member.content));
            }
        }
        for part in &self.parts {
            match part.root.as_str() {
                "Relationships" => {
                    let relations = self.relations.entry(source_of(&part.name)).or_default();
                    relations.read(part, sink)?;
                }
                "sst" => self.strings.read(&part.text, sink)?,
                "styleSheet" => self.styles.read_excel(&part.text, sink)?,
                "styles" => self.styles.read_word(&part.text, sink)?,
                _ => {}
            }
        }
        for (name, content) in &self.binary {
            if name.ends_with("sharedstrings.bin") {
                let result = xlsb::strings(content, &mut self.strings, sink);
                sink.note(result)?;
            } else if name.ends_with("/styles.bin") {
                let result = xlsb::styles(content, &mut self.styles.formats, sink);
                sink.note(result)?;
            }
        }
        Ok(())
    }

    /// Everything that is neither text nor a sheet; the lists of sheets and slides.
    fn facts(&mut self, sink: &mut Sink<'_, '_>) -> Result<(), Limit> {
        for part in &self.parts {
            match part.root.as_str() {
                "coreProperties" | "Properties" => props::read(&part.text, sink)?,
                "workbook" => {
                    let sheets =
                        workbook::read(&part.text, &mut self.styles.formats.first_day, sink)?;
                    let targets = targets(&self.relations, &part.name, sheets);
                    self.sheets.extend(targets);
                }
                "presentation" => {
                    let ids = slide_ids(&part.text, sink)?;
                    let relations = self.relations.get(&part.name);
                    let target = |id: &String| {
                        let relation = relations.and_then(|relations| relations.get(id))?;
                        Some(resolve(&part.name, &relation.target))
                    };
                    self.slides.extend(ids.iter().filter_map(target));
                }
                "externalLink" => {
                    let none = Relations::default();
                    let relations = self.relations.get(&part.name).unwrap_or(&none);
                    workbook::external_link(&part.text, relations, sink)?;
                }
                "connections" => workbook::connections(&part.text, sink)?,
                "ocx" | "customUI" => controls(&part.text, sink)?,
                _ => {}
            }
        }
        for (name, content) in &self.binary {
            if name.contains("/externallinks/") {
                let result = xlsb::external_link(content, sink);
                sink.note(result)?;
            } else if name.ends_with("/workbook.bin") {
                let first_day = &mut self.styles.formats.first_day;
                match xlsb::workbook(content, first_day, sink) {
                    Ok(sheets) => self.sheets.extend(targets(&self.relations, name, sheets)),
                    Err(error) => sink.note(Err(error))?,
                }
            }
        }
        self.projects(sink);
        Ok(())
    }

    /// Macro projects under names that hide what they are, and documents put into this one.
    fn projects(&self, sink: &mut Sink<'_, '_>) {
        let inside = self.relations.values().flat_map(Relations::all);
        for relation in inside.filter(|relation| !relation.external) {
            let target = normal(&relation.target);
            match relation.kind.as_str() {
                "vbaproject" if !target.ends_with("vbaproject.bin") => {
                    sink.active(ActiveKind::Obfuscation, &format!("macro project named {target}"));
                }
                "afchunk" => sink.active(ActiveKind::EmbeddedFile, &format!("altChunk {target}")),
                _ => {}
            }
        }
    }

    /// Sheets in the order of the workbook, then those that it does not list.
    fn sheets(&mut self, sink: &mut Sink<'_, '_>) -> Result<(), Limit> {
        let mut places: HashMap<&str, usize> = HashMap::new();
        for (index, (_, target)) in self.sheets.iter().enumerate() {
            places.entry(target).or_insert(index);
        }
        let mut order: Vec<(usize, usize)> = Vec::new();
        for (index, part) in self.parts.iter().enumerate() {
            let is_sheet = matches!(part.root.as_str(), "worksheet" | "macrosheet" | "dialogsheet");
            if is_sheet {
                let place = places.get(part.name.as_str());
                order.push((place.copied().unwrap_or(usize::MAX), index));
            }
        }
        order.sort_unstable();
        for (place, index) in order {
            let Some(part) = self.parts.get(index) else { continue };
            let listed = self.sheets.get(place).map(|(sheet, _)| sheet);
            let context = sheet::Context {
                strings: &self.strings,
                styles: &self.styles,
                relations: self.relations.entry(part.name.clone()).or_default(),
                name: listed.map_or("", |sheet| sheet.name.as_str()),
                // One that nothing lists is never shown.
                hidden: listed.is_none_or(|sheet| sheet.hidden),
                is_macro: part.root == "macrosheet",
            };
            sheet::read(&part.text, context, sink)?;
        }
        self.binary_sheets(sink)
    }

    fn binary_sheets(&mut self, sink: &mut Sink<'_, '_>) -> Result<(), Limit> {
        let mut macros: HashSet<String> = HashSet::new();
        for (source, relations) in &self.relations {
            let inside = relations.all().iter().filter(|relation| relation.kind == "xlmacrosheet");
            macros.extend(inside.map(|relation| resolve(source, &relation.target)));
        }
        let mut unread: HashMap<&str, &[u8]> =
            self.binary.iter().map(|(name, content)| (name.as_str(), *content)).collect();
        for (sheet, target) in &self.sheets {
            // A sheet that is listed again shows nothing new.
            let Some(content) = unread.remove(target.as_str()) else { continue };
            let is_macro = target.contains("macrosheet") || macros.contains(target);
            let relations = self.relations.entry(target.clone()).or_default();
            let shared = (&self.strings, &self.styles.formats, relations);
            let result = xlsb::sheet(content, (sheet, is_macro), shared, sink);
            sink.note(result)?;
        }
        Ok(())
    }

    /// Flowing text, in reading order.
    fn texts(&mut self, sink: &mut Sink<'_, '_>) -> Result<(), Limit> {
        let places: HashMap<&str, usize> =
            self.slides.iter().enumerate().map(|(place, name)| (name.as_str(), place)).collect();
        let mut order: Vec<(usize, usize, usize)> = Vec::new();
        for (index, part) in self.parts.iter().enumerate() {
            let Some(rank) = rank(&part.root) else { continue };
            let slide = places.get(part.name.as_str()).copied();
            order.push((rank, slide.unwrap_or(usize::MAX), index));
        }
        order.sort_unstable();
        for (_, slide, index) in order {
            let Some(part) = self.parts.get(index) else { continue };
            match part.root.as_str() {
                "FixedPage" | "PageContents" | "MasterContents" => page::read(&part.text, sink)?,
                root => {
                    let mode = Mode {
                        kind: kind(root, &part.text, slide == usize::MAX),
                        is_master: matches!(root, "sldMaster" | "sldLayout"),
                        is_drawing: root == "xml",
                    };
                    let relations = self.relations.entry(part.name.clone()).or_default();
                    let result = flow::read(&part.text, mode, (relations, &self.styles), sink);
                    sink.note(result)?;
                }
            }
        }
        Ok(())
    }
}

/// Where a root element comes in reading order; `None` if it holds no flowing text.
fn rank(root: &str) -> Option<usize> {
    Some(match root {
        "document" | "sld" | "FixedPage" | "PageContents" | "MasterContents" => 0,
        "hdr" => 1,
        "ftr" => 2,
        "footnotes" => 3,
        "endnotes" => 4,
        "wsDr" | "chartSpace" | "chart" | "userShapes" | "dataModel" | "xml" => 5,
        "notes" => 6,
        "comments" | "cmLst" | "cmAuthorLst" | "ThreadedComments" => 7,
        "sldMaster" | "sldLayout" => 8,
        "glossaryDocument" | "settings" => 9,
        _ => return None,
    })
}

/// How a reader meets the text of a part.
fn kind(root: &str, text: &str, is_unlisted: bool) -> TextKind {
    match root {
        // Building blocks are prompts ("Click or tap here") and what authors may insert.
        "notes" | "comments" | "cmLst" | "cmAuthorLst" | "ThreadedComments"
        | "glossaryDocument" => TextKind::Comment,
        "settings" => TextKind::Hidden,
        "sld" if is_unlisted || is_hidden_slide(text) => TextKind::Hidden,
        _ => TextKind::Shown,
    }
}

/// `show="0"` on the root element.
fn is_hidden_slide(text: &str) -> bool {
    let root = text.find("sld").and_then(|at| text.get(at..)).unwrap_or_default();
    let root = root.split('>').next().unwrap_or_default();
    let value = root.find("show").and_then(|at| root.get(at.saturating_add(4)..));
    let value =
        value.unwrap_or_default().trim_start_matches([' ', '=', '"', '\'', '\n', '\r', '\t']);
    value.starts_with('0') || value.starts_with("false")
}

/// The relationships of the slides, in order.
fn slide_ids(text: &str, sink: &mut Sink<'_, '_>) -> Result<Vec<String>, Limit> {
    let (mut xml, mut ids) = (Xml::new(text), Vec::new());
    while let Some(token) = xml.token(sink.budget)? {
        if let Token::Start(tag) = token
            && tag.local() == "sldId"
        {
            if ids.len() >= MAX_SLIDES {
                sink.budget.left_out("slides past 10,000 in their order");
                break;
            }
            ids.push(tag.prefixed("id").unwrap_or_default().into_owned());
        }
    }
    sink.note(xml.finish())?;
    Ok(ids)
}

/// ActiveX controls ([MS-OFFMACRO2] 2.2.1) and callbacks of the ribbon ([MS-CUSTOMUI] 2.2.13).
fn controls(text: &str, sink: &mut Sink<'_, '_>) -> Result<(), Limit> {
    let mut xml = Xml::new(text);
    while let Some(token) = xml.token(sink.budget)? {
        let Token::Start(tag) = token else { continue };
        match tag.local() {
            "ocx" => sink.active(ActiveKind::ActiveX, &tag.attr("classid").unwrap_or_default()),
            "customUI" => {
                if let Some(macro_name) = tag.attr("onLoad") {
                    sink.active(ActiveKind::AutoRun, &format!("customUI onLoad {macro_name}"));
                }
            }
            _ => {}
        }
    }
    sink.note(xml.finish())
}

fn targets(
    relations: &BTreeMap<String, Relations>,
    part: &str,
    sheets: Vec<Sheet>,
) -> Vec<(Sheet, String)> {
    let relations = relations.get(part);
    let target = |sheet: &Sheet| {
        let relation = relations.and_then(|relations| relations.get(&sheet.id));
        relation.map(|relation| resolve(part, &relation.target)).unwrap_or_default()
    };
    sheets.into_iter().map(|sheet| (target(&sheet), sheet)).map(|(t, sheet)| (sheet, t)).collect()
}

/// A part's name for comparison (ECMA-376 part 2, 6.2.2.3: without case).
fn normal(name: &str) -> String {
    name.replace('\\', "/").trim_start_matches('/').to_lowercase()
}

fn is_bin(name: &str) -> bool {
    name.get(name.len().saturating_sub(4)..) == Some(".bin")
}

/// The part whose relationships a part `_rels/NAME.rels` holds.
fn source_of(name: &str) -> String {
    let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
    let folder = folder.strip_suffix("_rels").unwrap_or(folder);
    format!("{folder}{}", file.strip_suffix(".rels").unwrap_or(file))
}

/// A target as a part's name.
fn resolve(source: &str, target: &str) -> String {
    let target = target.replace('\\', "/").to_lowercase();
    if let Some(absolute) = target.strip_prefix('/') {
        return absolute.to_owned();
    }
    let folder = source.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut path: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(path.pop()),
            part => path.push(part),
        }
    }
    path.join("/")
}
