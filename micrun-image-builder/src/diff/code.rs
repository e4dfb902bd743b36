//! Code and data: sizes, and how many bytes differ.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::{ControlFlow, Range};

use serde::Serialize;

use crate::elf::Elf;
use crate::source::{self, ReadAt};

/// Symbols of one file that are compared. The largest firmware seen has a tenth of it.
const MAX_SYMBOLS: usize = 500_000;
const PIECE: u64 = 64 << 10;

/// A segment or section that is not what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartChange {
    /// `segment 0 (r-x)`, `.text`.
    pub name: String,
    /// Bytes in memory; None where it was not there.
    pub before: Option<u64>,
    /// Bytes in memory; None where it is no longer there.
    pub after: Option<u64>,
    /// Bytes of the file that differ, as far as both have them. None where one is missing, and where parts of a file
    /// lie upon each other so often that comparing all of them would take for ever.
    pub changed: Option<u64>,
}

/// Functions and data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Symbols {
    /// New ones, the largest first.
    pub added: Vec<SymbolChange>,
    /// Those that are gone, the largest first.
    pub removed: Vec<SymbolChange>,
    /// Those of another size, the largest change first.
    pub resized: Vec<SymbolChange>,
}

/// A function or a piece of data that is not what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SymbolChange {
    /// Its name; of several with the same name, all together.
    pub name: String,
    /// True if it lies where code is.
    pub is_code: bool,
    /// Bytes.
    pub before: u64,
    /// Bytes.
    pub after: u64,
}

impl SymbolChange {
    fn weight(&self) -> u64 {
        self.before.abs_diff(self.after)
    }
}

/// Bytes that may still be compared: some times those of both files, however often their parts name the same ones.
pub(super) struct Budget(u64);

impl Budget {
    pub(super) fn new(old: &Elf<'_>, new: &Elf<'_>) -> Self {
        Budget(old.file_len().saturating_add(new.file_len()).saturating_mul(4))
    }
}

/// A part of a file: its bytes in memory, and its bytes in the file.
#[derive(Clone)]
struct Part {
    size: u64,
    range: Range<u64>,
}

pub(super) fn segments(old: &Elf<'_>, new: &Elf<'_>, budget: &mut Budget) -> io::Result<Vec<PartChange>> {
    let parts = |elf: &Elf<'_>| -> Vec<(String, Part)> {
        let loads = elf.loads().enumerate();
        loads
            .map(|(number, segment)| {
                let range = source::clamp(elf.file(), segment.offset, segment.filesz);
                let name = format!("segment {number} ({} at {:#x})", segment.permissions(), segment.vaddr);
                (name, Part { size: segment.memsz, range })
            })
            .collect()
    };
    compare(old.file(), parts(old), new.file(), parts(new), budget)
}

pub(super) fn sections(old: &Elf<'_>, new: &Elf<'_>, budget: &mut Budget) -> io::Result<Vec<PartChange>> {
    let parts = |elf: &Elf<'_>| -> Vec<(String, Part)> {
        let allocated = elf.sections.iter().filter(|section| section.allocated);
        allocated
            .map(|section| {
                let range = source::clamp(elf.file(), section.offset, section.file_size());
                (String::from_utf8_lossy(&section.name).into_owned(), Part { size: section.size, range })
            })
            .collect()
    };
    compare(old.file(), parts(old), new.file(), parts(new), budget)
}

/// Pairs parts by their names, those of the same name in order.
fn compare(
    old_file: &dyn ReadAt,
    old: Vec<(String, Part)>,
    new_file: &dyn ReadAt,
    new: Vec<(String, Part)>,
    budget: &mut Budget,
) -> io::Result<Vec<PartChange>> {
    let numbered = |parts: Vec<(String, Part)>| -> BTreeMap<(String, usize), Part> {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let mut number = |name: &String| {
            let count = seen.entry(name.clone()).or_default();
            *count += 1;
            *count
        };
        parts.into_iter().map(|(name, part)| ((name.clone(), number(&name)), part)).collect()
    };
    let (old, new) = (numbered(old), numbered(new));
    let names: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let mut changes = Vec::new();
    for key in names {
        let (before, after) = (old.get(key), new.get(key));
        let changed = match (before, after) {
            (Some(before), Some(after)) => differing(old_file, before, new_file, after, budget)?,
            _ => None,
        };
        let (before, after) = (before.map(|part| part.size), after.map(|part| part.size));
        if before != after || changed != Some(0) {
            changes.push(PartChange { name: key.0.clone(), before, after, changed });
        }
    }
    Ok(changes)
}

/// The number of bytes that differ.
fn differing(
    old_file: &dyn ReadAt,
    old: &Part,
    new_file: &dyn ReadAt,
    new: &Part,
    budget: &mut Budget,
) -> io::Result<Option<u64>> {
    let common = (old.range.end - old.range.start).min(new.range.end - new.range.start);
    let Some(rest) = budget.0.checked_sub(common) else { return Ok(None) };
    budget.0 = rest;
    let mut count = 0;
    for at in (0..common).step_by(PIECE as usize) {
        let length = PIECE.min(common - at);
        let a = source::bytes(old_file, old.range.start + at, length)?;
        let b = source::bytes(new_file, new.range.start + at, length)?;
        count += a.iter().zip(&b).filter(|(a, b)| a != b).count() as u64;
    }
    Ok(Some(count))
}

pub(super) fn symbols(old: &Elf<'_>, new: &Elf<'_>) -> io::Result<Option<Symbols>> {
    let (old, new) = (collect(old)?, collect(new)?);
    if old.is_empty() || new.is_empty() {
        return Ok(None);
    }
    let mut symbols = Symbols { added: Vec::new(), removed: Vec::new(), resized: Vec::new() };
    for name in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
        let (before, after) = (old.get(name), new.get(name));
        let size = |side: Option<&(u64, bool)>| side.map_or(0, |side| side.0);
        let is_code = before.or(after).is_some_and(|side| side.1);
        let name = String::from_utf8_lossy(name).into_owned();
        let change = SymbolChange { name, is_code, before: size(before), after: size(after) };
        match (before, after) {
            (None, _) => symbols.added.push(change),
            (_, None) => symbols.removed.push(change),
            _ if change.weight() > 0 => symbols.resized.push(change),
            _ => {}
        }
    }
    for list in [&mut symbols.added, &mut symbols.removed, &mut symbols.resized] {
        list.sort_by_key(|change| std::cmp::Reverse(change.weight()));
    }
    Ok(Some(symbols))
}

/// Names, sizes, and whether each lies where code is.
fn collect(elf: &Elf<'_>) -> io::Result<BTreeMap<Vec<u8>, (u64, bool)>> {
    let code: Vec<_> =
        elf.loads().filter(|segment| segment.is_executable()).map(|s| (s.vaddr, s.memsz)).collect();
    let mut found: BTreeMap<Vec<u8>, (u64, bool)> = BTreeMap::new();
    elf.each_symbol(|symbol| {
        if symbol.size > 0 && !symbol.absolute && !symbol.name.is_empty() {
            let is_code = code.iter().take(64).any(|&(start, size)| symbol.value.wrapping_sub(start) < size);
            let known = found.entry(symbol.name.to_vec()).or_insert((0, is_code));
            known.0 = known.0.saturating_add(symbol.size);
        }
        if found.len() < MAX_SYMBOLS { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(found)
}
