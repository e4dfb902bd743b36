//! ELF files: the file itself, what kind of program it is, where its segments lie.

use micrun_image_builder::check::Code;

use crate::test_elf::{ARM, RISCV, RWX, Section, Segment, TestElf, cortex_m_attributes, note};
use crate::{Defect, good, kept, made};

/// Program header types and the section type of symbols, from the ELF gABI.
const DYNAMIC: u32 = 2;
const INTERP: u32 = 3;
const NOTE: u32 = 4;

pub fn defects() -> Vec<Defect> {
    [good_ones(), files(), hand_written(), kinds(), segments(), recognised()].into_iter().flatten().collect()
}

fn good_ones() -> Vec<Defect> {
    let cortex_m = TestElf { entry: 0x41, ..TestElf::new_32_bit(ARM, 0) };
    let data =
        Segment { vaddr: 0x2000_0000, paddr: 0x100, flags: 6, memsz: 0x1000, ..Segment::load(0, &[1; 64]) };
    let zephyr =
        TestElf::new().with_section(Section::named("initlevel")).with_section(Section::named("sw_isr_table"));
    let zephyr = zephyr.with_text("*** Booting Zephyr OS build v3.7.0 ***\0ZEPHYR FATAL ERROR\0");
    vec![
        good("elf/good.elf", TestElf::new().bytes()),
        good("elf/good-32.elf", TestElf::new_32_bit(RISCV, 0x8000_0000).bytes()),
        good(
            "elf/good-cortex-m.elf",
            cortex_m.with_segment(data).with_section(cortex_m_attributes()).bytes(),
        ),
        good(
            "elf/good-zephyr.elf",
            zephyr.with_symbols(&["z_cstart", "bg_thread_main", "_ConfigAbsSyms"]).bytes(),
        ),
        good(
            "elf/good-uniproton.elf",
            TestElf::new()
                .with_section(Section::named(".os.data"))
                .with_text("UniProton 24.03-LTS\0")
                .bytes(),
        ),
    ]
}

fn files() -> Vec<Defect> {
    let file = TestElf::new().bytes();
    let with_class = |class: u8| [&file[..4], &[class], &file[5..]].concat();
    vec![
        made("elf/empty.elf", Code::EmptyFile, ""),
        made("elf/text.elf", Code::NotElf, "hello, world\n"),
        made("elf/header-cut.elf", Code::HeaderCut, &file[..63]),
        made("elf/class-3.elf", Code::BadHeader, with_class(3)),
        made("elf/program-headers-cut.elf", Code::ProgramHeadersOutside, &file[..100]),
        made("elf/segment-cut.elf", Code::SegmentOutside, &file[..200]),
        made("elf/section-headers-cut.elf", Code::SectionHeadersOutside, &file[..file.len() - 1]),
        made("elf/mips.elf", Code::UnsupportedMachine, TestElf { machine: 8, ..TestElf::new() }.bytes()),
        made(
            "elf/x32.elf",
            Code::WrongClass,
            TestElf { machine: 62, is_64_bit: false, ..TestElf::new() }.bytes(),
        ),
        made(
            "elf/big-endian.elf",
            Code::WrongByteOrder,
            TestElf { big_endian: true, ..TestElf::new() }.bytes(),
        ),
    ]
}

/// Lies about sizes and places that no linker tells.
fn hand_written() -> Vec<Defect> {
    vec![
        kept("elf/all-ones-32.elf", Code::UnsupportedMachine),
        kept("elf/all-ones.elf", Code::UnsupportedMachine),
        kept("elf/filesz-max.elf", Code::SegmentOutside),
        kept("elf/half-a-header.elf", Code::HeaderCut),
        kept("elf/header-only.elf", Code::ProgramHeadersOutside),
        kept("elf/interp-outside.elf", Code::DynamicLinuxProgram),
        kept("elf/linux-note-by-name.elf", Code::StaticLinuxProgram),
        kept("elf/offset-max.elf", Code::SegmentOutside),
        kept("elf/phentsize-0.elf", Code::BadHeader),
        kept("elf/phnum-65535.elf", Code::ProgramHeadersOutside),
        kept("elf/phoff-max.elf", Code::ProgramHeadersOutside),
        kept("elf/relro-and-note-lies.elf", Code::StaticLinuxProgram),
        kept("elf/shentsize-1.elf", Code::SectionHeadersOutside),
        kept("elf/shnum-0-size-0.elf", Code::SectionHeadersOutside),
        kept("elf/shnum-0-size-max.elf", Code::SectionHeadersOutside),
        kept("elf/shoff-max.elf", Code::SectionHeadersOutside),
        kept("elf/symtab-lies.elf", Code::NoLoadableSegment),
        kept("elf/vaddr-wraps.elf", Code::AddressWraps),
    ]
}

fn kinds() -> Vec<Defect> {
    let with = |kind: u32, data: &[u8]| TestElf::new().with_segment(Segment::of_kind(kind, data)).bytes();
    let needed = [1u64.to_le_bytes(), [0; 8], [0; 8], [0; 8]].concat();
    let two_notes = [note("GNU", 3, &[0; 20]), note("Go\0", 4, b"id")].concat();
    let object = TestElf { kind: 1, segments: Vec::new(), ..TestElf::new() };
    let loads_headers = || TestElf { loads_headers: true, ..TestElf::new() };
    let relro = loads_headers().with_segment(Segment::of_kind(0x6474_e552, b""));
    vec![
        made("elf/linux-interpreter.elf", Code::DynamicLinuxProgram, with(INTERP, b"/lib/ld-linux.so\0")),
        made("elf/linux-needed.elf", Code::DynamicLinuxProgram, with(DYNAMIC, &needed)),
        made("elf/linux-abi-tag.elf", Code::StaticLinuxProgram, with(NOTE, &note("GNU", 1, &[0; 16]))),
        made("elf/linux-go.elf", Code::StaticLinuxProgram, with(NOTE, &two_notes)),
        made("elf/linux-relro.elf", Code::StaticLinuxProgram, relro.bytes()),
        made("elf/linux-perhaps.elf", Code::LaidOutForLinux, loads_headers().bytes()),
        made("elf/object.elf", Code::Relocatable, object.bytes()),
        made("elf/core.elf", Code::CoreDump, TestElf { kind: 4, ..TestElf::new() }.bytes()),
    ]
}

fn segments() -> Vec<Defect> {
    let flash = || TestElf::new_32_bit(ARM, 0);
    let data = || Segment { vaddr: 0x2000_0000, paddr: 0x100, flags: 6, ..Segment::load(0, &[1; 64]) };
    let with = |segment: Segment| flash().with_segment(segment).bytes();
    let only_debug =
        TestElf { segments: vec![Segment { memsz: 99, ..Segment::load(0, b"") }], ..TestElf::new() };
    let mut writable = TestElf::new();
    writable.segments[0].flags = RWX;
    let again = TestElf::new().segments.remove(0);
    let mut endless = TestElf::new();
    endless.segments[0].memsz = u64::MAX;
    vec![
        made("elf/nothing-to-load.elf", Code::NoLoadableSegment, only_debug.bytes()),
        made(
            "elf/entry-outside.elf",
            Code::EntryOutside,
            TestElf { entry: 0x4008_0100, ..TestElf::new() }.bytes(),
        ),
        made("elf/load-overlap.elf", Code::LoadOverlap, with(Segment { paddr: 0xff, ..data() })),
        made("elf/run-overlap.elf", Code::RunOverlap, with(Segment { vaddr: 0x40, ..data() })),
        made(
            "elf/memory-too-small.elf",
            Code::FileSizeAboveMemorySize,
            with(Segment { memsz: 63, ..data() }),
        ),
        made("elf/beyond-32-bits.elf", Code::AddressWraps, TestElf::new_32_bit(RISCV, 0xffff_ff01).bytes()),
        made("elf/beyond-64-bits.elf", Code::AddressWraps, endless.bytes()),
        made("elf/writable-code.elf", Code::WritableAndExecutable, writable.bytes()),
        made("elf/no-sections.elf", Code::NoSectionHeaders, TestElf::new().without_sections().bytes()),
        made("elf/segment-twice.elf", Code::RepeatedSegment, TestElf::new().with_segment(again).bytes()),
    ]
}

fn recognised() -> Vec<Defect> {
    let zephyr =
        TestElf::new().with_section(Section::named("initlevel")).with_section(Section::named("device_area"));
    let format = zephyr.with_text("*** Booting Zephyr OS build %s %s ***\0");
    let debug = Section { flags: 0, data: vec![0; 2048], ..Section::named(".debug_info") };
    vec![
        made(
            "elf/unknown-rtos.elf",
            Code::UnknownRtos,
            TestElf::new().with_text("nobody knows me\0").bytes(),
        ),
        made("elf/version-is-a-format.elf", Code::UnknownVersion, format.bytes()),
        made(
            "elf/mostly-debug-info.elf",
            Code::DebugInfoLargerThanCode,
            TestElf::new().with_section(debug).bytes(),
        ),
    ]
}
