//! The memory map, and the least memory that a firmware can run in.

use micrun_image_spec::board::{BoardProfile, Region, RegionKind};
use serde::Serialize;

use super::{Address, Purpose, Reservation};
use crate::elf::{Elf, Segment};

/// Segments that are listed; real firmware has less than ten.
const MAX_SEGMENTS: usize = 256;
/// Where no board tells one memory from another, a gap of this many bytes does.
const GAP: u64 = 16 << 20;

/// A segment that is loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MappedSegment {
    /// Its place among the program headers.
    pub index: usize,
    /// Code, data and bss, as far as permissions and sizes tell.
    pub what: &'static str,
    /// Where it is loaded.
    pub loaded_to: Address,
    /// Where it runs.
    pub runs_at: Address,
    /// Bytes in the file.
    pub file_size: u64,
    /// Bytes in memory.
    pub memory_size: u64,
    /// `rwx`.
    pub permissions: String,
    /// The board's region that it is loaded to.
    pub load_region: Option<String>,
    /// The board's region that it runs in.
    pub run_region: Option<String>,
}

/// The least memory of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemoryNeed {
    /// The board's region; None where no board is known, or the firmware is outside of it.
    pub region: Option<String>,
    /// What the region is made of.
    pub kind: Option<RegionKind>,
    /// The first address.
    pub from: Address,
    /// The first address behind.
    pub to: Address,
    /// Bytes from the one to the other.
    pub size: u64,
    /// Why it begins and ends there.
    pub because: String,
}

/// The segments that are loaded, or reserve memory.
pub(super) fn map(elf: &Elf<'_>, board: Option<&BoardProfile>) -> Vec<MappedSegment> {
    let region = |start, size| Some(region_of(board?, start, size)?.name.clone());
    let segments = elf.loads().take(MAX_SEGMENTS).map(|segment| MappedSegment {
        index: segment.index,
        what: what(segment),
        loaded_to: Address(segment.paddr),
        runs_at: Address(segment.vaddr),
        file_size: segment.filesz,
        memory_size: segment.memsz,
        permissions: segment.permissions(),
        load_region: region(segment.paddr, segment.filesz),
        run_region: region(segment.vaddr, segment.memsz),
    });
    segments.collect()
}

fn region_of(board: &BoardProfile, start: u64, size: u64) -> Option<&Region> {
    board.memory.region_of(start, size)
}

fn what(segment: &Segment) -> &'static str {
    let has_bss = segment.memsz > segment.filesz;
    match (segment.is_executable(), segment.is_writable()) {
        _ if segment.filesz == 0 => "bss",
        (true, true) if has_bss => "code, data, bss",
        (true, true) => "code, data",
        (true, false) => "code",
        (false, true) if has_bss => "data, bss",
        (false, true) => "data",
        (false, false) => "constants",
    }
}

/// A stretch that the firmware uses, and what uses it.
struct Span {
    start: u64,
    end: u64,
    last: String,
}

/// The least memory, by region of the board; without a board, by stretches with large gaps between them.
pub(super) fn needs(
    elf: &Elf<'_>,
    board: Option<&BoardProfile>,
    reservations: &[Reservation],
) -> Vec<MemoryNeed> {
    let mut spans = spans(elf);
    let regions = board.map(|board| board.memory.regions()).unwrap_or_default();
    let mut needs = Vec::new();
    for region in regions {
        let contains = |span: &Span| region.contains(span.start, span.end - span.start);
        let inside = spans.extract_if(.., |span| contains(span));
        if let Some(mut span) = inside.reduce(join) {
            extend_to_stack(&mut span, region.last(), reservations);
            needs.push(need_of_region(region, span));
        }
    }
    needs.extend(clusters(spans, reservations).into_iter().map(|span| MemoryNeed {
        region: None,
        kind: None,
        from: Address(span.start),
        to: Address(span.end),
        size: span.end - span.start,
        because: format!("up to the end of {}", span.last),
    }));
    needs.sort_by_key(|need| need.from);
    needs
}

/// Where segments are loaded and where they run.
fn spans(elf: &Elf<'_>) -> Vec<Span> {
    let mut spans = Vec::new();
    for segment in elf.loads().take(MAX_SEGMENTS) {
        let last = || format!("segment {}", segment.index);
        for (start, size) in [(segment.paddr, segment.filesz), (segment.vaddr, segment.memsz)] {
            if let Some(end) = start.checked_add(size).filter(|_| size > 0) {
                spans.push(Span { start, end, last: last() });
            }
        }
    }
    spans
}

fn join(a: Span, b: Span) -> Span {
    let last = if b.end > a.end { b.last } else { a.last };
    Span { start: a.start.min(b.start), end: a.end.max(b.end), last }
}

/// A stack at the top of the memory needs all that is below.
fn extend_to_stack(span: &mut Span, last_address: u64, reservations: &[Reservation]) {
    let stacks = reservations.iter().filter(|r| r.purpose == Purpose::Stack);
    for (stack, end) in stacks.filter_map(|r| Some((r, r.end?.0))) {
        if end > span.end && end - 1 <= last_address {
            span.end = end;
            span.last = format!("the stack ({})", stack.name);
        }
    }
}

/// RAM is there from its beginning, however little there is of it.
fn need_of_region(region: &Region, span: Span) -> MemoryNeed {
    let is_ram = region.kind == RegionKind::Ram;
    let from = if is_ram { region.base } else { span.start };
    let beginning = if is_ram { "from the beginning of the region" } else { "from the first byte" };
    MemoryNeed {
        region: Some(region.name.clone()),
        kind: Some(region.kind),
        from: Address(from),
        to: Address(span.end),
        size: span.end - from,
        because: format!("{beginning} to the end of {}", span.last),
    }
}

fn clusters(mut spans: Vec<Span>, reservations: &[Reservation]) -> Vec<Span> {
    spans.sort_by_key(|span| span.start);
    let mut clusters: Vec<Span> = Vec::new();
    for span in spans {
        match clusters.pop() {
            Some(last) if span.start.saturating_sub(last.end) < GAP => clusters.push(join(last, span)),
            last => {
                clusters.extend(last);
                clusters.push(span);
            }
        }
    }
    for cluster in &mut clusters {
        extend_to_stack(cluster, cluster.end.saturating_add(GAP), reservations);
    }
    clusters
}
