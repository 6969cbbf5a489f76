//! A Word, Excel or PowerPoint 97-2003 file without macros, packed files and controls ([MS-DOC],
//! [MS-XLS], [MS-OVBA]).
//!
//! In: an OLE compound file. Out: the same file with its VBA storages removed, object streams emptied,
//! Excel 4 formulas made constants, DDE fields blanked, all in place: no other stream changes.
//!
//! What is encrypted is not touched. Macros of a presentation are packed inside its document stream
//! ([MS-PPT] 2.4.10) and cannot be removed: the file is refused.

use std::io::{Cursor, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use cfb::CompoundFile;

use super::{CleanError, Cleaned};
use crate::archive::le::{len16_at, u16_at};
use crate::limits::Budget;

/// Streams of objects that start something, in lower case.
const OBJECTS: [&str; 5] =
    ["\u{1}ole10native", "equation native", "\u{3}ocxdata", "\u{3}ocxname", "\u{3}linkinfo"];

type File = CompoundFile<Cursor<Vec<u8>>>;

/// Removes what acts.
pub(super) fn clean(content: &Bytes, budget: &mut Budget<'_>) -> Result<Cleaned, CleanError> {
    budget.charge_bytes((content.len() as u64).saturating_mul(2))?;
    budget.charge_work((content.len() as u64).saturating_mul(4))?;
    let mut file = CompoundFile::open(Cursor::new(content.to_vec()))
        .map_err(|_| CleanError::Malformed("its directory cannot be read"))?;
    let entries: Vec<(PathBuf, String, bool)> = file
        .walk()
        .map(|entry| (entry.path().to_path_buf(), entry.name().to_lowercase(), entry.is_stream()))
        .collect();
    let mut removed = Vec::new();
    storages(&mut file, &entries, &mut removed)?;
    for (path, name, is_stream) in &entries {
        if !*is_stream || !file.exists(path) {
            continue;
        }
        match name.as_str() {
            _ if OBJECTS.contains(&name.as_str()) => {
                if stream(&mut file, path)?.is_empty() {
                    continue;
                }
                file.create_stream(path).map_err(broken)?;
                removed.push(format!("object {}", path.display()));
            }
            "workbook" | "book" => edit(&mut file, path, &mut removed, workbook)?,
            "worddocument" => edit(&mut file, path, &mut removed, fields)?,
            "powerpoint document" if has_vba_record(&stream(&mut file, path)?) => {
                return Err(CleanError::Unsupported("a presentation with macros"));
            }
            _ => {}
        }
    }
    if removed.is_empty() {
        return Ok(Cleaned { content: content.clone(), removed });
    }
    file.flush().map_err(broken)?;
    Ok(Cleaned { content: file.into_inner().into_inner().into(), removed })
}

/// Removes every storage that holds a VBA project: a storage `VBA` with a stream `dir`.
fn storages(
    file: &mut File,
    entries: &[(PathBuf, String, bool)],
    removed: &mut Vec<String>,
) -> Result<(), CleanError> {
    for (path, name, is_stream) in entries {
        let holder =
            path.parent().filter(|_| *is_stream && (name == "dir" || name == "_vba_project"));
        let Some(vba) = holder.filter(|holder| file.exists(holder)) else { continue };
        let is_vba = vba.file_name().is_some_and(|name| name.eq_ignore_ascii_case("vba"));
        let project = vba.parent().filter(|_| is_vba);
        let Some(project) = project else { continue };
        if project == Path::new("/") {
            file.remove_storage_all(vba).map_err(broken)?;
        } else {
            file.remove_storage_all(project).map_err(broken)?;
        }
        removed.push(format!("VBA project {}", project.display()));
    }
    Ok(())
}

/// Rewrites one stream in place if `change` says what it removed.
fn edit(
    file: &mut File,
    path: &Path,
    removed: &mut Vec<String>,
    change: fn(&mut [u8], &mut Vec<String>) -> Result<bool, CleanError>,
) -> Result<(), CleanError> {
    let mut octets = stream(file, path)?;
    if change(&mut octets, removed)? {
        let mut stream = file.open_stream(path).map_err(broken)?;
        stream.write_all(&octets).map_err(broken)?;
        stream.flush().map_err(broken)?;
    }
    Ok(())
}

fn stream(file: &mut File, path: &Path) -> Result<Vec<u8>, CleanError> {
    let mut octets = Vec::new();
    let stream = file.open_stream(path).map_err(broken)?;
    let longest = stream.len();
    stream.take(longest).read_to_end(&mut octets).map_err(broken)?;
    Ok(octets)
}

fn broken(_: std::io::Error) -> CleanError {
    CleanError::Malformed("a stream cannot be read or written")
}

/// Makes formulas of Excel 4 macro sheets constants, and says that there is no VBA project
/// ([MS-XLS] 2.4.28, 2.4.127, 2.4.188).
fn workbook(octets: &mut [u8], removed: &mut Vec<String>) -> Result<bool, CleanError> {
    const FORMULA: u16 = 0x06;
    const FILE_PASS: u16 = 0x2f;
    const PROJECT: u16 = 0xd3;
    const BOF: u16 = 0x809;
    /// An empty record that every reader knows.
    const EXCEL9: [u8; 2] = [0xc0, 0x01];
    let (mut at, mut is_macro_sheet, mut formulas, mut changed) = (0_usize, false, 0_usize, false);
    while let (Some(id), Some(length)) =
        (u16_at(octets, at), len16_at(octets, at.saturating_add(2)))
    {
        let start = at.saturating_add(4);
        let end = start.saturating_add(length);
        match id {
            BOF => is_macro_sheet = u16_at(octets, start.saturating_add(2)) == Some(0x40),
            FILE_PASS => return Err(CleanError::Encrypted),
            PROJECT if length == 0 => {
                if let Some(own) = octets.get_mut(at..at.saturating_add(2)) {
                    own.copy_from_slice(&EXCEL9);
                    changed = true;
                }
            }
            FORMULA if is_macro_sheet => {
                if let Some(expression) = octets.get_mut(start.saturating_add(22)..end) {
                    formulas = formulas.saturating_add(usize::from(constant(expression)));
                }
            }
            _ => {}
        }
        at = end;
    }
    if formulas > 0 {
        removed.push(format!("Excel 4 macros: {formulas} formulas"));
    }
    Ok(changed || formulas > 0)
}

/// Fills an expression with the number 0 in parentheses, as long as it was ([MS-XLS] 2.5.198). Tells
/// whether that is a change.
fn constant(expression: &mut [u8]) -> bool {
    let head: &[u8] = match expression.len() {
        0 => &[],
        1 => &[0x16],
        2 => &[0x1d, 0],
        _ => &[0x1e, 0, 0],
    };
    let octets = head.iter().copied().chain(std::iter::repeat(0x15));
    let mut changed = false;
    for (own, octet) in expression.iter_mut().zip(octets) {
        changed |= *own != octet;
        *own = octet;
    }
    changed
}

/// Blanks the instructions of DDE fields: character 0x13, the instruction, 0x14 or 0x15 ([MS-DOC]
/// 2.8.25), in one or two octets a character.
fn fields(octets: &mut [u8], removed: &mut Vec<String>) -> Result<bool, CleanError> {
    if octets.get(..12).and_then(|head| u16_at(head, 10)).is_some_and(|flags| flags & 0x100 != 0) {
        return Err(CleanError::Encrypted);
    }
    let before = removed.len();
    for width in [1, 2] {
        let mut at = 0_usize;
        while let Some(found) = octets.get(at..).and_then(|rest| memchr::memchr(0x13, rest)) {
            let start = at.saturating_add(found).saturating_add(width);
            at = at.saturating_add(found).saturating_add(1);
            let characters = octets.get(start..).unwrap_or_default().chunks_exact(width);
            let text: String = characters
                .take(2_000)
                .map_while(|c| match c {
                    [low] | [low, 0] if *low >= 0x15 || matches!(*low, 9 | 10 | 13) => {
                        Some(char::from(*low))
                    }
                    _ => None,
                })
                .take_while(|c| *c != '\u{15}')
                .collect();
            let word = text.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
            if word != "DDE" && word != "DDEAUTO" {
                continue;
            }
            let end = start.saturating_add(text.chars().count().saturating_mul(width));
            for character in octets.get_mut(start..end).unwrap_or_default().chunks_exact_mut(width)
            {
                if let Some(low) = character.first_mut() {
                    *low = b' ';
                }
            }
            removed.push(format!("{word} field"));
        }
    }
    Ok(removed.len() > before)
}

/// A record that tells of a VBA project ([MS-PPT] 2.4.11): version 2, instance 0, 12 octets.
fn has_vba_record(octets: &[u8]) -> bool {
    memchr::memmem::find(octets, b"\x02\x00\x00\x04\x0c\x00\x00\x00").is_some()
}
