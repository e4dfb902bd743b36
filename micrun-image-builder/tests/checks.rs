//! Each check finds what it is for, and lets pass what real firmware looks like.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

mod support;

use micrun_image_builder::check::{Code, Report, Severity, examine};
use support::{ARM, RISCV, RWX, RX, Section, Segment, TestElf, cortex_m_attributes, errors, note};

/// Changes bytes of a good 64-bit file.
fn spoiled(offset: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = TestElf::new().bytes();
    file[offset..offset + bytes.len()].copy_from_slice(bytes);
    file
}

#[test]
fn a_good_firmware_has_no_errors() {
    assert_eq!(errors(&TestElf::new().bytes()), []);
    assert_eq!(errors(&TestElf::new_32_bit(RISCV, 0x8000_0000).bytes()), []);
    assert_eq!(errors(&TestElf::new().without_sections().bytes()), []);
}

#[test]
fn a_file_that_is_no_elf_file_is_named() {
    assert_eq!(errors(b""), [Code::EmptyFile]);
    assert_eq!(errors(b"hello, world\n"), [Code::NotElf]);
    assert_eq!(errors(b"\x7fEL"), [Code::NotElf]);
    assert_eq!(errors(&TestElf::new().bytes()[..4]), [Code::HeaderCut]);
    assert_eq!(errors(&TestElf::new().bytes()[..63]), [Code::HeaderCut]);
    assert_eq!(errors(&spoiled(4, &[3])), [Code::BadHeader], "class");
    assert_eq!(errors(&spoiled(5, &[0])), [Code::BadHeader], "byte order");
    assert_eq!(errors(&spoiled(5, &[3])), [Code::BadHeader], "byte order");
    assert_eq!(errors(&spoiled(0x10, &[9, 0])), [Code::BadHeader], "type");
    assert_eq!(errors(&spoiled(0x36, &[55, 0])), [Code::BadHeader], "size of a program header");
}

#[test]
fn a_wrong_machine_is_named() {
    assert_eq!(errors(&TestElf { machine: 8, ..TestElf::new() }.bytes()), [Code::UnsupportedMachine]);
    assert_eq!(
        errors(&TestElf { machine: 62, is_64_bit: false, ..TestElf::new() }.bytes()),
        [Code::WrongClass]
    );
    assert_eq!(errors(&TestElf { big_endian: true, ..TestElf::new() }.bytes()), [Code::WrongByteOrder]);
    let power_pc = TestElf { machine: 20, is_64_bit: false, big_endian: true, ..TestElf::new() };
    assert_eq!(
        errors(&power_pc.bytes()),
        [Code::UnsupportedMachine],
        "not the byte order: it cannot be rebuilt"
    );
}

#[test]
fn a_cut_file_is_named_once() {
    let file = TestElf::new().bytes();
    assert_eq!(errors(&file[..100]), [Code::ProgramHeadersOutside]);
    assert_eq!(errors(&file[..200]), [Code::SegmentOutside]);
    assert_eq!(errors(&file[..file.len() - 1]), [Code::SectionHeadersOutside]);
    let longer = [&file[..], &[0xff; 100]].concat();
    assert_eq!(errors(&longer), [], "bytes after the end harm nobody");
}

#[test]
fn linux_programs_are_told_from_firmware() {
    let program = |kind: u32, data: &[u8]| TestElf::new().with_segment(Segment::of_kind(kind, data)).bytes();
    let needed = [1u64.to_le_bytes(), [0; 8], [0; 8], [0; 8]].concat();
    let relocates_itself = [5u64.to_le_bytes(), [0; 8], [0; 8], [0; 8]].concat();

    assert_eq!(errors(&program(3, b"/lib/ld-linux.so\0")), [Code::DynamicLinuxProgram], "PT_INTERP");
    assert_eq!(errors(&program(2, &needed)), [Code::DynamicLinuxProgram], "DT_NEEDED");
    assert_eq!(errors(&program(2, &relocates_itself)), [], "PT_DYNAMIC alone");
    assert_eq!(errors(&program(7, b"tls.")), [], "PT_TLS alone");

    assert_eq!(errors(&program(4, &note("GNU", 1, &[0; 16]))), [Code::StaticLinuxProgram], "ABI tag");
    assert_eq!(errors(&program(4, &note("GNU", 3, &[0; 20]))), [], "a build ID alone");
    // Go's linker states four bytes for the name: "Go", and two NULs.
    let two = [note("GNU", 3, &[0; 20]), note("Go\0", 4, b"id")].concat();
    assert_eq!(errors(&program(4, &two)), [Code::StaticLinuxProgram], "Go, as the second note");
    for name in [".gopclntab", ".data.rel.ro.gopclntab"] {
        let go = TestElf::new().with_section(Section::named(name));
        assert_eq!(errors(&go.bytes()), [Code::StaticLinuxProgram], "{name}");
    }
    let tagged = TestElf::new().with_section(Section::named(".note.ABI-tag"));
    assert_eq!(errors(&tagged.bytes()), [Code::StaticLinuxProgram]);

    let position_independent = TestElf { kind: 3, ..TestElf::new() };
    assert_eq!(errors(&position_independent.bytes()), [], "U-Boot is ET_DYN");
}

/// lld makes a relro segment for firmware with constructors, and g++ for Linux sets the OS ABI for unique symbols.
#[test]
fn what_linkers_do_for_firmware_too_counts_only_beside_loaded_headers() {
    const RELRO: u32 = 0x6474_e552;
    let relro = || TestElf::new().with_segment(Segment::of_kind(RELRO, b""));
    let gnu = || TestElf { os_abi: 3, ..TestElf::new() };
    assert_eq!(errors(&relro().bytes()), [], "firmware from lld");
    assert_eq!(errors(&gnu().bytes()), [], "firmware from g++");
    for elf in [relro(), gnu()] {
        let mut program = TestElf { loads_headers: true, ..elf };
        assert_eq!(errors(&program.bytes()), [Code::StaticLinuxProgram]);
        program.segments[0].paddr += 0x1000;
        assert_eq!(errors(&program.bytes()), [], "no Linux program is loaded elsewhere than it runs");
    }
    let microcontroller = TestElf {
        loads_headers: true,
        sections: vec![cortex_m_attributes()],
        os_abi: 3,
        ..TestElf::new_32_bit(ARM, 0)
    };
    assert_eq!(errors(&microcontroller.bytes()), [], "Cortex-M");
}

#[test]
fn a_program_without_any_trace_is_doubted_for_its_loaded_headers() {
    let doubts = |elf: &TestElf| {
        let mut report = Report::default();
        examine(&elf.bytes(), &mut report);
        assert!(!report.has_errors());
        report.iter().any(|finding| finding.code == Code::LaidOutForLinux)
    };
    assert!(doubts(&TestElf { loads_headers: true, ..TestElf::new() }));
    assert!(!doubts(&TestElf::new()));
}

#[test]
fn what_is_no_program_is_named() {
    let object = TestElf { kind: 1, segments: Vec::new(), ..TestElf::new() };
    assert_eq!(errors(&object.bytes()), [Code::Relocatable]);
    assert_eq!(errors(&TestElf { kind: 4, ..TestElf::new() }.bytes()), [Code::CoreDump]);
    let debug_only =
        TestElf { segments: vec![Segment { memsz: 99, ..Segment::load(0, b"") }], ..TestElf::new() };
    assert_eq!(errors(&debug_only.bytes()), [Code::NoLoadableSegment]);
}

#[test]
fn an_entry_point_has_to_be_in_code() {
    let outside = TestElf { entry: 0x4008_0100, ..TestElf::new() };
    assert_eq!(errors(&outside.bytes()), [Code::EntryOutside], "one byte behind the end");
    let mut data = TestElf::new();
    data.segments[0].flags = 6;
    assert_eq!(errors(&data.bytes()), [Code::EntryOutside], "in a segment that is not executable");
    let thumb = TestElf { entry: 0xff, ..TestElf::new_32_bit(ARM, 0) };
    assert_eq!(errors(&thumb.bytes()), [], "a Thumb entry is odd");
    let mut physical = TestElf::new();
    physical.segments[0].vaddr = 0xffff_0000_0000_0000;
    assert_eq!(errors(&physical.bytes()), [], "a kernel that states its physical entry point");
}

#[test]
fn segments_may_not_lie_on_each_other() {
    let code = || TestElf::new_32_bit(ARM, 0);
    let data =
        Segment { vaddr: 0x2000_0000, paddr: 0x100, flags: 6, memsz: 0x1000, ..Segment::load(0, &[1; 64]) };
    let bss = Segment { vaddr: 0x2000_1000, paddr: 0x120, flags: 6, memsz: 0x8000, ..Segment::load(0, b"") };
    let microcontroller = code().with_segment(data.clone()).with_segment(bss);
    assert_eq!(errors(&microcontroller.bytes()), [], "memsz at paddr means nothing");

    let overwritten = code().with_segment(Segment { paddr: 0xff, ..data.clone() });
    assert_eq!(errors(&overwritten.bytes()), [Code::LoadOverlap]);
    let overlay = code().with_segment(Segment { vaddr: 0x40, ..data.clone() });
    assert_eq!(errors(&overlay.bytes()), [], "overlays and shared variables are real");
    let mut report = Report::default();
    examine(&overlay.bytes(), &mut report);
    assert!(report.iter().any(|finding| finding.code == Code::RunOverlap), "but told");
    let small = code().with_segment(Segment { memsz: 63, ..data });
    assert_eq!(errors(&small.bytes()), [Code::FileSizeAboveMemorySize]);
}

#[test]
fn a_cortex_m_core_begins_at_its_reset_vector() {
    let with_reset = |reset: u32| {
        let mut elf = TestElf { entry: 0, ..TestElf::new_32_bit(ARM, 0x800_0000) };
        elf.segments[0].data[4..8].copy_from_slice(&reset.to_le_bytes());
        elf.with_section(cortex_m_attributes())
    };
    assert_eq!(errors(&with_reset(0x800_0041).bytes()), [], "linked without ENTRY");
    assert_eq!(errors(&with_reset(0x800_0040).bytes()), [Code::EntryOutside], "no Thumb code");
    assert_eq!(errors(&with_reset(0x900_0041).bytes()), [Code::EntryOutside], "no code there");
    let not_cortex_m = with_reset(0x800_0041).without_sections();
    assert_eq!(errors(&not_cortex_m.bytes()), [Code::EntryOutside]);
}

#[test]
fn the_same_segment_twice_harms_nobody() {
    let twice = |data: &[u8]| {
        let first = TestElf::new();
        let again = Segment { data: data.to_vec(), ..first.segments[0].clone() };
        first.with_segment(again).bytes()
    };
    assert_eq!(errors(&twice(&[0x55; 256])), []);
    let mut report = Report::default();
    examine(&twice(&[0x55; 256]), &mut report);
    assert!(report.iter().any(|finding| finding.code == Code::RepeatedSegment));
    assert_eq!(errors(&twice(&[0x56; 256])), [Code::LoadOverlap], "other bytes");
}

#[test]
fn addresses_end_with_the_address_space() {
    let last = TestElf::new_32_bit(RISCV, 0xffff_ff00);
    assert_eq!(errors(&last.bytes()), [], "up to the last byte");
    let beyond = TestElf::new_32_bit(RISCV, 0xffff_ff01);
    assert_eq!(errors(&beyond.bytes()), [Code::AddressWraps]);
    let mut huge = TestElf::new();
    huge.segments[0].memsz = u64::MAX;
    assert_eq!(errors(&huge.bytes()), [Code::AddressWraps]);
}

#[test]
fn a_user_may_allow_what_could_still_be_packed() {
    let bytes = TestElf { entry: 0, ..TestElf::new() }.bytes();
    let mut report = Report::default();
    examine(&bytes, &mut report);
    assert!(report.has_errors());
    report.allow(&[Code::LoadOverlap, Code::NotElf]);
    assert!(report.has_errors(), "another code");
    report.allow(&[Code::EntryOutside]);
    assert!(!report.has_errors());
    let finding = report.iter().find(|finding| finding.code == Code::EntryOutside).unwrap();
    assert_eq!(finding.severity, Severity::Warning);

    let mut report = Report::default();
    examine(&b"text".to_vec(), &mut report);
    report.allow(Code::ALL);
    assert!(report.has_errors(), "there is nothing to pack");
}

#[test]
fn what_is_normal_is_no_more_than_a_note() {
    let mut elf = TestElf::new().without_sections();
    elf.segments[0].flags = RWX;
    let mut report = Report::default();
    examine(&elf.bytes(), &mut report);
    let notes: Vec<_> = report.iter().map(|finding| (finding.code, finding.severity)).collect();
    assert_eq!(
        notes,
        [(Code::NoSectionHeaders, Severity::Note), (Code::WritableAndExecutable, Severity::Note)]
    );
    assert_ne!(RX, RWX);
}
