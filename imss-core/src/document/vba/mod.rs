//! VBA projects (MS-OVBA): the source of every module, what runs by itself, what hides.
//!
//! In: the streams of an OLE file, named by their paths (`Macros/VBA/dir`). Out: each module as
//! code, the names that Office calls by itself, the strings of user forms, and modules whose
//! compiled form is not their source.
//!
//! Broken input gives what there is: without a readable `dir` stream, compressed modules are found by
//! how they start, in every stream and in the raw file.

mod autorun;
mod compress;
mod dir;
mod form;
mod stomp;
#[cfg(test)]
mod tests;

use bytes::Bytes;

use self::compress::{MODULE_HEADER, MODULE_START, decompress};
use self::dir::{Directory, Module};
use super::{Active, ActiveKind, Extractor, Piece, TextKind, codepage};
use crate::archive::{Member, Source, UnpackError};
use crate::filetype::FileType;
use crate::limits::Budget;

/// Projects and loose modules read in one file.
const MAX_FOUND: usize = 1000;

/// The extractor.
pub(super) struct Vba;

impl Extractor for Vba {
    fn name(&self) -> &'static str {
        "vba"
    }

    fn recognises(&self, content: &[u8], _: &FileType, members: &[Member]) -> bool {
        let is_ole = content.starts_with(&[0xd0, 0xcf, 0x11, 0xe0]);
        is_ole
            && (members.iter().any(is_directory)
                || find(content, MODULE_START).is_some()
                || members.iter().any(|member| find(&member.content, MODULE_START).is_some()))
    }

    fn extract(
        &self,
        source: &Source<'_>,
        members: &[Member],
        budget: &mut Budget<'_>,
        out: &mut dyn FnMut(Piece),
    ) -> Result<(), UnpackError> {
        let mut reader = Reader { members, budget, out, broken: false, modules: 0 };
        for (place, member) in members.iter().filter(|member| is_directory(member)).enumerate() {
            if place >= MAX_FOUND {
                reader.budget.left_out("macro projects past 1,000");
                break;
            }
            reader.project(member)?;
        }
        if reader.modules == 0 {
            for member in members {
                reader.loose(&member.content)?;
            }
        }
        if reader.modules == 0 {
            reader.loose(source.content)?;
        }
        if reader.broken {
            return Err(UnpackError::Malformed { offset: 0, detail: "broken VBA project" });
        }
        Ok(())
    }
}

/// Whether `member` is the `dir` stream of a project: only those are compressed.
fn is_directory(member: &Member) -> bool {
    let path = path(member);
    let (folder, name) = split(path);
    let (_, folder) = split(folder);
    name.eq_ignore_ascii_case("dir")
        && (folder.eq_ignore_ascii_case("VBA") || member.content.first() == Some(&1))
}

fn path(member: &Member) -> &str {
    member.names.first().map_or("", String::as_str)
}

/// The folder of a path, and the name in it.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

fn find(octets: &[u8], needle: &[u8]) -> Option<usize> {
    memchr::memmem::find(octets, needle)
}

struct Reader<'a, 'b, 'c> {
    members: &'a [Member],
    budget: &'b mut Budget<'c>,
    out: &'b mut dyn FnMut(Piece),
    broken: bool,
    /// Modules whose source was handed over.
    modules: usize,
}

/// A module as it was found.
struct Read {
    name: String,
    source: String,
    literals: Vec<String>,
    has_code: bool,
}

impl<'a> Reader<'a, '_, '_> {
    fn project(&mut self, member: &'a Member) -> Result<(), UnpackError> {
        let (storage, _) = split(path(member));
        let expanded = decompress(&member.content, self.budget)?;
        let directory = dir::read(&expanded.octets);
        if directory.is_cut {
            self.budget.left_out("modules past 4,096");
        }
        self.broken |= expanded.broken || !directory.is_whole;
        let listing = self.listing(storage, directory.page);
        let mut read = Vec::new();
        for module in &directory.modules {
            read.push(self.module(storage, &directory, module, &listing)?);
        }
        if read.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = read.iter().map(|module| module.name.as_str()).collect();
        self.active(ActiveKind::Vba, &names.join(", "));
        self.hidden(&listing, &directory);
        self.compare(storage, &read)?;
        self.forms(storage)
    }

    /// The stream `name` of a storage; names differ in case only.
    fn stream(&self, storage: &str, name: &str) -> Option<&'a Member> {
        self.members.iter().find(|member| {
            let (folder, own) = split(path(member));
            folder == storage && own.to_lowercase() == name.to_lowercase()
        })
    }

    /// The `PROJECT` stream beside the storage: what kind each module is (MS-OVBA §2.3.1).
    fn listing(&self, storage: &str, page: u32) -> Vec<(String, String)> {
        let (parent, _) = split(storage);
        let text =
            self.stream(parent, "PROJECT").map(|member| codepage::decode(&member.content, page));
        let text = text.unwrap_or_default();
        let pairs = text.lines().take_while(|line| !line.starts_with('['));
        pairs
            .filter_map(|line| line.split_once('='))
            .filter(|(key, _)| ["Module", "Class", "BaseClass", "Document"].contains(key))
            .map(|(key, value)| {
                let name = value.split('/').next().unwrap_or_default();
                (key.to_owned(), name.trim().to_lowercase())
            })
            .collect()
    }

    fn module(
        &mut self,
        storage: &str,
        directory: &Directory,
        module: &Module,
        listing: &[(String, String)],
    ) -> Result<Read, UnpackError> {
        let mut names = module.streams.iter().chain([&module.name]);
        let member = names.find_map(|name| self.stream(storage, name));
        let content = member.map(|member| member.content.clone()).unwrap_or_default();
        // What of the source is missing may lie behind the end of what could be read.
        let is_cut = member.is_some_and(|member| member.missing.is_some());
        self.broken |= is_cut;
        self.budget.charge_work(content.len() as u64)?;
        let declared = content.get(module.offset..).unwrap_or_default();
        let mut expanded = decompress(declared, self.budget)?;
        let mut compiled = content.get(..module.offset).unwrap_or(&content);
        if expanded.octets.is_empty()
            && let Some(start) = find(&content, MODULE_START)
            && let Some(start) = start.checked_sub(MODULE_HEADER)
        {
            // The offset lies; the source is where a source starts.
            self.broken = true;
            expanded = decompress(content.get(start..).unwrap_or_default(), self.budget)?;
            compiled = content.get(..start).unwrap_or_default();
        }
        let source = codepage::decode(&expanded.octets, directory.page);
        let lower = module.name.to_lowercase();
        let kind = listing.iter().find(|(_, name)| *name == lower).map(|(kind, _)| kind.as_str());
        let is_form = kind == Some("BaseClass");
        let extension = match kind {
            Some("BaseClass") => "frm",
            Some("Module") => "bas",
            Some(_) => "cls",
            None if module.is_class => "cls",
            None => "bas",
        };
        // No octet of the source: removed. A stream that is missing as a whole is only broken.
        let has_code = compiled.len() > 16 && !is_cut && stomp::lines(compiled) != Some(0);
        if expanded.octets.is_empty() && has_code {
            let detail = format!("{}: compiled code without a source", module.name);
            self.active(ActiveKind::VbaStomped, &detail);
        }
        self.broken |= expanded.broken;
        let literals = stomp::literals(compiled).into_iter().map(str::to_owned).collect();
        self.source(format!("{}.{extension}", module.name), &source, is_form)?;
        Ok(Read { name: module.name.clone(), source, literals, has_code })
    }

    /// Hands over one module.
    fn source(&mut self, name: String, source: &str, is_form: bool) -> Result<(), UnpackError> {
        self.budget.charge_work(source.len() as u64)?;
        if source.is_empty() {
            return Ok(());
        }
        for procedure in autorun::procedures(source, is_form) {
            self.active(ActiveKind::AutoRun, procedure);
        }
        self.budget.charge_entity()?;
        self.budget.charge_bytes(source.len() as u64)?;
        self.modules = self.modules.saturating_add(1);
        (self.out)(Piece::Code(Member {
            names: vec![name],
            claimed_size: source.len() as u64,
            content: Bytes::copy_from_slice(source.as_bytes()),
            missing: None,
        }));
        Ok(())
    }

    /// Modules that `dir` has and `PROJECT` lacks: they run, and the editor does not show them.
    fn hidden(&mut self, listing: &[(String, String)], directory: &Directory) {
        if listing.is_empty() {
            return;
        }
        for module in &directory.modules {
            let lower = module.name.to_lowercase();
            if !listing.iter().any(|(_, name)| *name == lower) {
                let detail = format!("{}: a module that the editor does not show", module.name);
                self.active(ActiveKind::Obfuscation, &detail);
            }
        }
    }

    /// Holds the compiled form against the sources.
    fn compare(&mut self, storage: &str, read: &[Read]) -> Result<(), UnpackError> {
        let sources: String = read.iter().flat_map(|module| [&module.source, "\n"]).collect();
        let sources = sources.to_lowercase();
        for module in read.iter().filter(|module| !module.source.is_empty()) {
            let literals: Vec<&str> = module.literals.iter().map(String::as_str).collect();
            let octets = module.source.len().saturating_mul(literals.len()) as u64;
            self.budget.charge_work(octets / 16)?;
            if let Some(foreign) = stomp::foreign(&literals, &module.source) {
                let detail = format!("{}: the source lacks {}", module.name, foreign.join(", "));
                self.active(ActiveKind::VbaStomped, &detail);
                return Ok(());
            }
        }
        let Some(table) = self.stream(storage, "_VBA_PROJECT") else { return Ok(()) };
        self.budget.charge_work(
            (table.content.len().saturating_add(sources.len()) as u64).saturating_mul(8),
        )?;
        let has_code = read.iter().any(|module| module.has_code);
        if has_code && let Some(names) = stomp::unsaid(&table.content, &sources) {
            let detail = format!("no source says {}", names.join(", "));
            self.active(ActiveKind::VbaStomped, &detail);
        }
        Ok(())
    }

    /// The strings of the forms of a project: storages beside `VBA`.
    fn forms(&mut self, storage: &str) -> Result<(), UnpackError> {
        let (parent, _) = split(storage);
        let mut room = form::MAX_BYTES;
        for member in self.members {
            let (folder, name) = split(path(member));
            let is_stream = matches!(name, "f" | "o") || name.ends_with("VBFrame");
            let inside = folder.strip_prefix(parent).is_some_and(|rest| {
                rest.trim_start_matches('/').chars().next().is_some()
                    && (parent.is_empty() || rest.starts_with('/'))
            });
            if !is_stream || !inside {
                continue;
            }
            let octets = member.content.get(..room.min(member.content.len())).unwrap_or_default();
            room = room.saturating_sub(octets.len());
            if octets.len() < member.content.len() {
                self.budget.left_out("streams of forms past 4 MiB");
            }
            self.budget.charge_work((octets.len() as u64).saturating_mul(4))?;
            let text = form::strings(octets);
            if !text.is_empty() {
                (self.out)(Piece::Text { kind: TextKind::Formula, text });
            }
        }
        Ok(())
    }

    /// Modules that nothing lists, found by how they start.
    fn loose(&mut self, content: &Bytes) -> Result<(), UnpackError> {
        self.budget.charge_work(content.len() as u64)?;
        let mut from = 0_usize;
        let mut names = Vec::new();
        while let Some(found) = find(content.get(from..).unwrap_or_default(), MODULE_START) {
            let at = from.saturating_add(found);
            from = at.saturating_add(MODULE_START.len());
            let Some(start) = at.checked_sub(MODULE_HEADER) else { continue };
            if self.modules >= MAX_FOUND {
                self.budget.left_out("modules past 1,000");
                break;
            }
            let expanded = decompress(content.get(start..).unwrap_or_default(), self.budget)?;
            let source = crate::charset::decode(&expanded.octets, None).text;
            let name = declared_name(&source).unwrap_or("module").to_owned();
            self.source(format!("{name}.bas"), &source, false)?;
            self.broken = true;
            names.push(name);
        }
        if !names.is_empty() {
            self.active(ActiveKind::Vba, &names.join(", "));
        }
        Ok(())
    }

    fn active(&mut self, kind: ActiveKind, detail: &str) {
        (self.out)(Piece::Active(Active::new(kind, detail)));
    }
}

/// What `Attribute VB_Name = "…"` says.
fn declared_name(source: &str) -> Option<&str> {
    source.lines().next()?.strip_prefix("Attribute VB_Name = \"")?.split('"').next()
}
