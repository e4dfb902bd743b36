//! The board that a firmware was probably built for. An ELF file does not say it: what it says is the core, and
//! where things are loaded.

use micrun_image_spec::board::{BoardProfile, Boards};
use micrun_image_spec::firmware::{Arch, Rtos};

use crate::elf::{Elf, Segment};

/// A board and why it was taken.
#[derive(Debug, Clone)]
pub struct BoardGuess<'b> {
    /// The board.
    pub board: &'b BoardProfile,
    /// The reason, for people.
    pub reason: String,
}

/// Takes the first usual board for this system and core whose memory holds the firmware; if none does, the first
/// of them. None where no board is known for the core.
pub fn guess_board<'b>(elf: &Elf<'_>, rtos: Option<&Rtos>, boards: &'b Boards) -> Option<BoardGuess<'b>> {
    let candidates: Vec<_> = usual_boards(elf, rtos).iter().filter_map(|name| boards.get(name)).collect();
    let reason = match rtos {
        Some(rtos) => format!("the usual board for {rtos} on {}", core(elf)),
        None => format!("the usual board for {}", core(elf)),
    };
    let fitting = candidates.iter().find(|board| outside_memory(elf, board).is_none());
    fitting.or(candidates.first()).map(|&board| BoardGuess { board, reason })
}

/// Board names, the most usual first: Zephyr's own names for Zephyr, U-Boot's for everything else.
fn usual_boards(elf: &Elf<'_>, rtos: Option<&Rtos>) -> &'static [&'static str] {
    let zephyr = rtos == Some(&Rtos::Zephyr);
    match elf.arch {
        Arch::Aarch64 if zephyr => &["qemu_cortex_a53", "qemu_arm64"],
        Arch::Aarch64 => &["qemu_arm64"],
        Arch::Arm if elf.is_cortex_m() => &["qemu_cortex_m3"],
        Arch::Arm => &["qemu_arm"],
        Arch::Riscv64 if zephyr => &["qemu_riscv64"],
        Arch::Riscv64 => &["qemu-riscv64"],
        Arch::Riscv32 => &["qemu_riscv32"],
        Arch::X86 => &["qemu_x86"],
        Arch::X86_64 => &[],
    }
}

fn core(elf: &Elf<'_>) -> &'static str {
    if elf.is_cortex_m() { "Cortex-M" } else { elf.arch.as_str() }
}

/// Bytes for which a board has no memory.
#[derive(Debug, Clone, Copy)]
pub struct Outside<'e> {
    /// The segment that wants them.
    pub segment: &'e Segment,
    /// The first address.
    pub start: u64,
    /// Bytes.
    pub size: u64,
}

/// The first segment that the board has no memory for: to load it, or to run it. Where it runs may be a virtual address,
/// which says nothing about memory, unless the core has no virtual memory or it runs where it is loaded.
pub fn outside_memory<'e>(elf: &'e Elf<'_>, board: &BoardProfile) -> Option<Outside<'e>> {
    let wants = elf.loads().flat_map(|segment| {
        let load = Some((segment.paddr, segment.filesz));
        let is_physical = elf.is_cortex_m() || segment.vaddr == segment.paddr;
        let run = is_physical.then_some((segment.vaddr, segment.memsz));
        let filled = load.into_iter().chain(run).filter(|&(_, size)| size > 0);
        filled.map(move |(start, size)| Outside { segment, start, size })
    });
    wants.into_iter().find(|want| board.memory.region_of(want.start, want.size).is_none())
}
