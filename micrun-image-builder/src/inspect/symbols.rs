//! Stacks, heaps and bss: what symbols, sections and the vector table tell about them.

use std::collections::HashMap;
use std::io;
use std::ops::ControlFlow;

use goblin::elf::section_header::SHT_NOBITS;
use serde::Serialize;

use super::Address;
use crate::elf::{Elf, Symbol};

/// Reservations that are listed, the largest first. A large RTOS build has some dozens of stacks.
const MAX_LISTED: usize = 64;

/// Begin and end of a reservation, as linker scripts name them.
const PAIRS: [(Purpose, &str, &str); 16] = [
    (Purpose::Bss, "__bss_start", "__bss_end"),
    (Purpose::Bss, "__bss_start__", "__bss_end__"),
    (Purpose::Bss, "_sbss", "_ebss"),
    (Purpose::Bss, "_bss_start", "_bss_end"),
    (Purpose::Bss, "__bss_start", "_end"),
    (Purpose::Heap, "__HeapBase", "__HeapLimit"),
    (Purpose::Heap, "__heap_start", "__heap_end"),
    (Purpose::Heap, "__heap_start__", "__heap_end__"),
    (Purpose::Heap, "_heap_start", "_heap_end"),
    (Purpose::Heap, "_sheap", "_eheap"),
    (Purpose::Stack, "__StackLimit", "__StackTop"),
    (Purpose::Stack, "__stack_start", "__stack_end"),
    (Purpose::Stack, "__stack_start__", "__stack_end__"),
    (Purpose::Stack, "__stack_bottom", "__stack_top"),
    (Purpose::Stack, "_stack_bottom", "_stack_top"),
    (Purpose::Stack, "_sstack", "_estack"),
];

/// Numbers that say a size.
const SIZES: [(Purpose, &str); 16] = [
    (Purpose::Stack, "__stack_size"),
    (Purpose::Stack, "__stack_size__"),
    (Purpose::Stack, "_stack_size"),
    (Purpose::Stack, "__STACK_SIZE"),
    (Purpose::Stack, "_Min_Stack_Size"),
    (Purpose::Stack, "Stack_Size"),
    (Purpose::Stack, "CONFIG_MAIN_STACK_SIZE"),
    (Purpose::Stack, "CONFIG_ISR_STACK_SIZE"),
    (Purpose::Stack, "CONFIG_IDLE_STACK_SIZE"),
    (Purpose::Heap, "__heap_size"),
    (Purpose::Heap, "__heap_size__"),
    (Purpose::Heap, "_heap_size"),
    (Purpose::Heap, "__HEAP_SIZE"),
    (Purpose::Heap, "_Min_Heap_Size"),
    (Purpose::Heap, "Heap_Size"),
    (Purpose::Heap, "CONFIG_HEAP_MEM_POOL_SIZE"),
];

/// The end of a stack whose size nobody says.
const TOPS: [&str; 6] = ["__StackTop", "_estack", "__stack_end", "__stack_top", "_stack_top", "__initial_sp"];

/// What space is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// A stack.
    Stack,
    /// A heap.
    Heap,
    /// Data that begin as zeros.
    Bss,
}

/// Space that the firmware sets aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reservation {
    /// What it is for.
    pub purpose: Purpose,
    /// What says so: a symbol, two, or a section.
    pub name: String,
    /// The first address, if it is said.
    pub address: Option<Address>,
    /// The first address behind it, if it is said.
    pub end: Option<Address>,
    /// Bytes, if they are said.
    pub size: Option<u64>,
}

/// What one pass over the symbols gives.
pub(super) struct Found {
    pub(super) reservations: Vec<Reservation>,
    /// Number of all symbols that the file defines.
    pub(super) count: u64,
}

pub(super) fn collect(elf: &Elf<'_>) -> io::Result<Found> {
    let wanted = PAIRS.iter().flat_map(|&(_, start, end)| [start, end]).chain(TOPS);
    let sizes = SIZES.iter().map(|&(_, name)| name);
    let mut values: HashMap<&[u8], Option<(u64, bool)>> =
        wanted.chain(sizes).map(|name| (name.as_bytes(), None)).collect();
    let (mut objects, mut count) = (Vec::new(), 0);
    elf.each_symbol(|symbol| {
        count += 1;
        if let Some(value) = values.get_mut(symbol.name) {
            *value = Some((symbol.value, symbol.absolute));
        }
        objects.extend(object(symbol));
        // Only the largest are listed; the list may not grow with a made-up file.
        if objects.len() > 16 * MAX_LISTED {
            keep_largest(&mut objects);
        }
        ControlFlow::Continue(())
    })?;
    let value = |name: &str| values.get(name.as_bytes()).copied().flatten();
    let mut reservations = objects;
    for purpose in [Purpose::Stack, Purpose::Heap, Purpose::Bss] {
        reservations.extend(pair(elf, purpose, &value));
    }
    reservations.extend(SIZES.iter().filter_map(|&(purpose, name)| {
        let (size, _) = value(name).filter(|&(size, absolute)| absolute && size > 0)?;
        Some(Reservation { size: Some(size), ..unplaced(purpose, name) })
    }));
    reservations.extend(stack_top(elf, &reservations, &value));
    let from_sections = sections(elf, &reservations);
    reservations.extend(from_sections);
    keep_largest(&mut reservations);
    Ok(Found { reservations, count })
}

fn unplaced(purpose: Purpose, name: &str) -> Reservation {
    Reservation { purpose, name: name.to_owned(), address: None, end: None, size: None }
}

fn placed(purpose: Purpose, name: String, address: u64, size: u64) -> Reservation {
    let end = address.checked_add(size).map(Address);
    Reservation { purpose, name, address: Some(Address(address)), end, size: Some(size) }
}

/// A variable that is a stack or a heap by its name: Zephyr's `z_main_stack` and `kheap__system_heap`, FreeRTOS's
/// `ucHeap` and `uxIdleTaskStack`, and what programs call theirs after them.
fn object(symbol: Symbol<'_>) -> Option<Reservation> {
    if !symbol.object || symbol.size == 0 || symbol.absolute {
        return None;
    }
    let name = std::str::from_utf8(symbol.name).ok()?;
    // Compilers number static variables of functions: `stack.0`.
    let base = name.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('.');
    let ends = |suffixes: &[&str]| suffixes.iter().any(|suffix| base.ends_with(suffix));
    let purpose = if ends(&["_stack", "_stacks", "TaskStack", "_stack_area"]) || base == "stack" {
        Purpose::Stack
    } else if base == "ucHeap" || base.starts_with("kheap_") || ends(&["_heap_mem", "_heap_area"]) {
        Purpose::Heap
    } else {
        return None;
    };
    // Pointers and control blocks are called like this as well.
    (symbol.size >= 64).then(|| placed(purpose, name.to_owned(), symbol.value, symbol.size))
}

fn pair(
    elf: &Elf<'_>,
    purpose: Purpose,
    value: &impl Fn(&str) -> Option<(u64, bool)>,
) -> Option<Reservation> {
    PAIRS.iter().filter(|(of, ..)| *of == purpose).find_map(|&(_, start, end)| {
        let (from, to) = (value(start)?.0, value(end)?.0);
        let size = to.checked_sub(from).filter(|&size| size > 0)?;
        // Linkers define these for bss even where a script puts the section elsewhere.
        let believable = purpose != Purpose::Bss || is_in_one_segment(elf, from, size);
        believable.then(|| placed(purpose, format!("{start}..{end}"), from, size))
    })
}

fn is_in_one_segment(elf: &Elf<'_>, start: u64, size: u64) -> bool {
    elf.loads()
        .any(|s| s.vaddr <= start && (start - s.vaddr).checked_add(size).is_some_and(|end| end <= s.memsz))
}

/// Where the stack begins, downwards, if nothing said how large it is.
fn stack_top(
    elf: &Elf<'_>,
    known: &[Reservation],
    value: &impl Fn(&str) -> Option<(u64, bool)>,
) -> Option<Reservation> {
    let is_known =
        |top: u64| known.iter().any(|r| r.purpose == Purpose::Stack && r.end == Some(Address(top)));
    let tops = TOPS.iter().filter_map(|&name| Some((name, value(name)?.0)));
    let vector = initial_stack_pointer(elf).map(|top| ("vector table", top));
    let (name, top) = tops.chain(vector).next()?;
    let top = Some(top).filter(|&top| top > 0 && !is_known(top))?;
    Some(Reservation { end: Some(Address(top)), ..unplaced(Purpose::Stack, name) })
}

/// The first word of a Cortex-M program, if what follows leads to code: then it begins with its vector table.
fn initial_stack_pointer(elf: &Elf<'_>) -> Option<u64> {
    let reset = elf.reset_vector().filter(|reset| elf.is_cortex_m() && reset & 1 == 1)?;
    let mut code = elf.loads().filter(|s| s.is_executable() && s.vaddr <= reset);
    code.any(|s| reset - s.vaddr < s.memsz).then(|| elf.initial_stack_pointer()).flatten()
}

/// Sections, for what symbols did not tell: they survive strip.
fn sections(elf: &Elf<'_>, known: &[Reservation]) -> Vec<Reservation> {
    let empty = elf.sections.iter().filter(|s| s.allocated && s.kind == SHT_NOBITS && s.size > 0);
    let found = empty.filter_map(|section| {
        let name = std::str::from_utf8(&section.name).ok()?;
        let purpose = match name.trim_start_matches('.') {
            name if name.contains("stack") => Purpose::Stack,
            name if name.contains("heap") => Purpose::Heap,
            "bss" | "noinit" | "os.bss" | "sbss" => Purpose::Bss,
            _ => return None,
        };
        let is_known = known.iter().any(|r| r.purpose == purpose && r.size.is_some());
        let name = format!("section {name}");
        (!is_known).then(|| Reservation { size: Some(section.size), ..unplaced(purpose, &name) })
    });
    found.take(MAX_LISTED).collect()
}

fn keep_largest(reservations: &mut Vec<Reservation>) {
    reservations.sort_by_key(|r| (std::cmp::Reverse(r.size), r.name.clone()));
    reservations.truncate(MAX_LISTED);
    reservations.sort_by_key(|r| r.purpose);
}
