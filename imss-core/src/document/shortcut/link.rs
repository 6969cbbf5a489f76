//! The structures of a `.lnk` file (MS-SHLLINK §2).
//!
//! In: octets. Out: a [`Link`]. Sizes are believed only within the file; each block and its octets are
//! charged as work.

use std::collections::HashSet;

use super::super::codepage::{self, WESTERN};
use crate::archive::le::{len16_at, u16_at, u32_at};
use crate::limits::{Budget, Limit};

const HEADER: usize = 0x4c;
/// Folders of one path that are read. Nothing can lie behind more: a path of Windows has at most
/// 32,767 letters, and Explorer makes folders only to a depth of some hundred.
const MAX_ITEMS: usize = 1000;
/// Targets of one kind of block, and icons. Windows heeds one each; it must be among them.
const MAX_NAMED: usize = 10_000;
/// Steps of one block besides its octets.
const BLOCK: u64 = 50;

/// What a shortcut says.
#[derive(Debug, Default)]
pub(super) struct Link {
    /// Every target it names, the one that Windows takes first at the front.
    pub(super) targets: Vec<String>,
    pub(super) arguments: String,
    pub(super) directory: String,
    pub(super) description: String,
    pub(super) icons: Vec<String>,
    pub(super) machine: String,
    /// Where the last block ends; `None` if a block is cut, or not reached.
    pub(super) end: Option<usize>,
    /// The bound that ended the reading.
    pub(super) limit: Option<Limit>,
}

impl Link {
    /// Reads what fits.
    pub(super) fn read(octets: &[u8], budget: &mut Budget<'_>) -> Self {
        let mut link = Self::default();
        link.end = link.sections(octets, budget);
        let mut seen: HashSet<String> = HashSet::new();
        link.targets.retain(|target| !target.is_empty() && seen.insert(target.clone()));
        link
    }

    fn sections(&mut self, octets: &[u8], budget: &mut Budget<'_>) -> Option<usize> {
        let flags = u32_at(octets, 20)?;
        let has = |bit: u32| flags >> bit & 1 == 1;
        let mut at = HEADER;
        let mut list = String::new();
        if has(0) {
            let size = len16_at(octets, at)?;
            let start = at.checked_add(2)?;
            at = start.checked_add(size)?;
            list = items(octets.get(start..at)?);
        }
        if has(1) {
            let size = crate::archive::le::length(u32_at(octets, at)?.into());
            let end = at.checked_add(size.max(4))?;
            let block = octets.get(at..end)?;
            self.charge(block, budget)?;
            self.targets.push(info(block).unwrap_or_default());
            at = end;
        }
        self.targets.push(list);
        let mut texts: [String; 5] = Default::default();
        for (bit, text) in (2..7).zip(&mut texts) {
            if !has(bit) {
                continue;
            }
            let count = len16_at(octets, at)?;
            let size = if has(7) { count.checked_mul(2)? } else { count };
            let start = at.checked_add(2)?;
            at = start.checked_add(size)?;
            let raw = octets.get(start..at)?;
            *text = if has(7) { codepage::utf16(raw) } else { codepage::decode(raw, WESTERN) };
        }
        let [description, relative, directory, arguments, icon] = texts;
        self.targets.push(relative);
        self.icons.push(icon);
        (self.description, self.directory, self.arguments) = (description, directory, arguments);
        let (mut environment, mut others) = (Vec::new(), Vec::new());
        let end = self.blocks(octets, at, [&mut environment, &mut others], budget);
        // The environment's path wins over the others, and of several the last one.
        environment.reverse();
        environment.append(&mut self.targets);
        environment.append(&mut others);
        self.targets = environment;
        end
    }

    /// Charges a block; `None` if it may not be read.
    fn charge(&mut self, block: &[u8], budget: &mut Budget<'_>) -> Option<()> {
        let steps = BLOCK.saturating_add(u64::try_from(block.len()).unwrap_or(u64::MAX));
        self.limit = budget.charge_work(steps).err();
        self.limit.is_none().then_some(())
    }

    /// Extra data (MS-SHLLINK §2.5), to the block that ends it.
    fn blocks(
        &mut self,
        octets: &[u8],
        mut at: usize,
        [environment, others]: [&mut Vec<String>; 2],
        budget: &mut Budget<'_>,
    ) -> Option<usize> {
        loop {
            if at == octets.len() {
                // The terminal block is often left out.
                return Some(at);
            }
            let size = crate::archive::le::length(u32_at(octets, at)?.into());
            if size < 4 {
                return at.checked_add(4);
            }
            let end = at.checked_add(size)?;
            let block = octets.get(at..end)?;
            self.charge(block, budget)?;
            let wide = || path(block.get(268..).unwrap_or_default(), 2);
            let narrow = || path(block.get(8..268.min(block.len())).unwrap_or_default(), 1);
            let both = || Some(wide()).filter(|text| !text.is_empty()).unwrap_or_else(narrow);
            match u32_at(block, 4) {
                Some(0xa000_0001) => keep(environment, both(), budget),
                Some(0xa000_0007) => keep(&mut self.icons, both(), budget),
                Some(0xa000_0003) => {
                    self.machine = path(block.get(16..32).unwrap_or_default(), 1);
                }
                Some(0xa000_000c) => {
                    keep(others, items(block.get(8..).unwrap_or_default()), budget);
                }
                _ => {}
            }
            at = end;
        }
    }
}

/// Adds a name, if there is one. Past the bound it takes the place of the one before: the last one wins.
fn keep(names: &mut Vec<String>, name: String, budget: &mut Budget<'_>) {
    if name.is_empty() {
        return;
    }
    if names.len() >= MAX_NAMED {
        budget.left_out("targets and icons of a shortcut past 10,000");
        names.pop();
    }
    names.push(name);
}

/// Text up to its NUL, `width` octets a letter.
fn path(octets: &[u8], width: usize) -> String {
    if width == 2 {
        codepage::until_nul(&codepage::utf16(octets)).to_owned()
    } else {
        codepage::decode(codepage::before_nul(octets), WESTERN)
    }
}

/// The path of a list of shell items (MS-SHLLINK §2.2; the items are undocumented).
fn items(list: &[u8]) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut at = 0_usize;
    while let Some(size) = len16_at(list, at).filter(|size| *size > 2) {
        if parts.len() >= MAX_ITEMS {
            parts.push("…".to_owned());
            break;
        }
        let end = at.saturating_add(size);
        let Some(item) = list.get(at.saturating_add(2)..end) else { break };
        let name = item_name(item).unwrap_or_default();
        if !name.is_empty() {
            parts.push(name.trim_end_matches('\\').to_owned());
        }
        at = end;
    }
    parts.join("\\")
}

fn item_name(item: &[u8]) -> Option<String> {
    let kind = *item.first()?;
    match kind & 0x70 {
        0x20 => Some(path(item.get(1..)?, 1)),
        0x30 => {
            let short = path(item.get(12..)?, if kind & 4 == 0 { 1 } else { 2 });
            Some(long_name(item).filter(|name| !name.is_empty()).unwrap_or(short))
        }
        0x40 => Some(path(item.get(3..)?, 1)),
        0x60 => {
            let wide = item.get(1).is_some_and(|flags| flags & 0x80 != 0);
            Some(path(item.get(6..)?, if wide { 2 } else { 1 }))
        }
        _ => None,
    }
}

/// The long name in the extension block 0xBEEF0004 of a file's item.
fn long_name(item: &[u8]) -> Option<String> {
    let signature = memchr::memmem::find(item, &[4, 0, 0xef, 0xbe])?;
    let version = u16_at(item, signature.checked_sub(2)?)?;
    let skip = match version {
        0..=2 => return None,
        3..=6 => 16,
        7 => 34,
        8 => 38,
        _ => 42,
    };
    let start = signature.checked_add(skip)?;
    // Windows XP has no further fields between the two.
    Some(path(item.get(start..)?, 2))
}

/// The target in the link's information (MS-SHLLINK §2.3).
fn info(info: &[u8]) -> Option<String> {
    let offset = |at| u32_at(info, at).map(|offset| crate::archive::le::length(offset.into()));
    let narrow = |at: usize| path(info.get(at..).unwrap_or_default(), 1);
    let (header, flags) = (offset(4)?, offset(8)?);
    let suffix = offset(24).filter(|at| *at > 0).map(narrow).unwrap_or_default();
    if flags & 1 == 1 {
        if header >= 0x24
            && let Some(base) = offset(28).filter(|at| *at > 0)
        {
            let wide = |at: usize| path(info.get(at..).unwrap_or_default(), 2);
            let suffix = offset(32).filter(|at| *at > 0).map(wide).unwrap_or(suffix);
            return Some(wide(base) + &suffix);
        }
        return Some(narrow(offset(16)?) + &suffix);
    }
    let network = offset(20).filter(|at| *at > 0)?;
    let name = network.checked_add(offset(network.checked_add(8)?)?)?;
    Some(format!("{}\\{suffix}", narrow(name)))
}
