//! Which sections go, and what that means for the numbers by which the others know each other.

use std::sync::Arc;

use goblin::elf::section_header::{
    SHF_ALLOC, SHF_INFO_LINK, SHN_LORESERVE, SHT_GROUP, SHT_REL, SHT_RELA, SHT_SYMTAB, SHT_SYMTAB_SHNDX,
    SectionHeader,
};

use super::StripError;
use super::tables::{Dropped, Table};
use crate::elf::Elf;

/// How the names of sections with debug information begin: those that binutils takes for debug information.
const DEBUG_NAMES: [&[u8]; 7] = [
    b".debug",
    b".zdebug",
    b".stab",
    b".line",
    b".gdb_index",
    b".gnu.debuglto_.debug_",
    b".gnu.linkonce.wi.",
];

/// The sections that stay.
pub(super) struct Kept {
    /// Section headers with the new numbers, but still with the old offsets and sizes.
    pub(super) headers: Vec<SectionHeader>,
    /// Number of the section with the sections' names.
    pub(super) names_index: usize,
    /// Old headers of the sections that go.
    pub(super) gone: Vec<SectionHeader>,
    /// By new number: tables that change.
    pub(super) tables: Vec<Option<Table>>,
}

/// Decides which sections stay; None if all do.
pub(super) fn choose(elf: &Elf<'_>) -> Result<Option<Kept>, StripError> {
    let (headers, names_index) = elf.section_headers()?;
    let gone = find_gone(elf, &headers, names_index);
    if !gone.contains(&true) {
        return Ok(None);
    }
    check_usual(&headers)?;
    let numbers = Arc::new(Numbers::new(&gone));
    let symbols = headers.iter().position(is_symbol_table);
    let dropped = match symbols {
        Some(index) => Arc::new(Dropped::find(elf, &headers[index], &gone)?),
        None => Arc::default(),
    };
    let mut kept = Kept {
        headers: Vec::new(),
        names_index: numbers.new_of(names_index),
        gone: Vec::new(),
        tables: Vec::new(),
    };
    for (index, header) in headers.iter().enumerate() {
        if gone[index] {
            kept.gone.push(header.clone());
            continue;
        }
        let table = table_of(elf, index, header, symbols, &numbers, &dropped);
        kept.headers.push(renumbered(index, header, &numbers, &dropped));
        kept.tables.push(table);
    }
    Ok(Some(kept))
}

fn find_gone(elf: &Elf<'_>, headers: &[SectionHeader], names_index: usize) -> Vec<bool> {
    let is_debug = |(index, name): (usize, &[u8])| {
        index != 0 && index != names_index && DEBUG_NAMES.iter().any(|debug| name.starts_with(debug))
    };
    let names = elf.sections.iter().map(|section| &section.name[..]);
    let mut gone: Vec<bool> =
        names.enumerate().zip(headers).map(|(named, header)| !is_loaded(header) && is_debug(named)).collect();
    // Relocations name the section that they are for in sh_info.
    let relocates_gone: Vec<bool> = headers
        .iter()
        .map(|header| {
            !is_loaded(header) && is_relocation(header) && at(&gone, header.sh_info).is_some_and(|&g| g)
        })
        .collect();
    gone.iter_mut().zip(relocates_gone).for_each(|(gone, too)| *gone |= too);
    gone
}

/// Refuses what only object files have, or nobody.
fn check_usual(headers: &[SectionHeader]) -> Result<(), StripError> {
    let unusual = |problem| Err(StripError::Unusual(problem));
    if headers.len() >= SHN_LORESERVE as usize
        || headers.iter().any(|header| header.sh_type == SHT_SYMTAB_SHNDX)
    {
        return unusual("the file has more sections than 16 bits can number");
    }
    if headers.iter().any(|header| header.sh_type == SHT_GROUP) {
        return unusual("the file has section groups, so it was never linked");
    }
    if headers.iter().filter(|header| is_symbol_table(header)).count() > 1 {
        return unusual("the file has several symbol tables");
    }
    Ok(())
}

/// New numbers of the sections by their old ones.
#[derive(Debug)]
pub(super) struct Numbers(Vec<Option<u32>>);

impl Numbers {
    fn new(gone: &[bool]) -> Self {
        let mut next = 0..;
        Numbers(gone.iter().map(|&gone| if gone { None } else { next.next() }).collect())
    }

    /// The new number; 0, which means none, for a section that goes. What is no number of a section stays.
    pub(super) fn translate(&self, old: u32) -> u32 {
        at(&self.0, old).map_or(old, |new| new.unwrap_or(0))
    }

    fn new_of(&self, old: usize) -> usize {
        u32::try_from(old).map_or(old, |old| self.translate(old) as usize)
    }
}

fn renumbered(index: usize, header: &SectionHeader, numbers: &Numbers, dropped: &Dropped) -> SectionHeader {
    let mut new = header.clone();
    // The first header is none; it holds numbers that are too large for the ELF header, which those of sections no
    // longer are.
    if index == 0 {
        (new.sh_size, new.sh_link) = (0, 0);
        return new;
    }
    new.sh_link = numbers.translate(header.sh_link);
    if is_symbol_table(header) {
        // One more than the last local symbol.
        new.sh_info = dropped.new_of(header.sh_info.into()) as u32;
    } else if is_relocation(header) || header.sh_flags & u64::from(SHF_INFO_LINK) != 0 {
        new.sh_info = numbers.translate(header.sh_info);
    }
    new
}

/// The table that has to be written anew, if this section is one.
fn table_of(
    elf: &Elf<'_>,
    index: usize,
    header: &SectionHeader,
    symbols: Option<usize>,
    numbers: &Arc<Numbers>,
    dropped: &Arc<Dropped>,
) -> Option<Table> {
    if symbols == Some(index) {
        return Some(Table::symbols(elf, header, numbers.clone(), dropped.clone()));
    }
    let has_symbols = symbols.is_some_and(|symbols| header.sh_link as usize == symbols);
    (is_relocation(header) && !is_loaded(header) && has_symbols && !dropped.is_empty())
        .then(|| Table::relocations(elf, header, numbers.clone(), dropped.clone()))
}

pub(super) fn is_loaded(header: &SectionHeader) -> bool {
    header.sh_flags & u64::from(SHF_ALLOC) != 0
}

fn is_symbol_table(header: &SectionHeader) -> bool {
    header.sh_type == SHT_SYMTAB && !is_loaded(header)
}

fn is_relocation(header: &SectionHeader) -> bool {
    matches!(header.sh_type, SHT_REL | SHT_RELA)
}

fn at<T>(list: &[T], index: u32) -> Option<&T> {
    list.get(usize::try_from(index).ok()?)
}
