//! `--strip`: what goes, what stays, and what binutils and gdb say about the result.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop at once")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use micrun_image_builder::elf::Elf;
use micrun_image_builder::source::ReadAt;
use micrun_image_builder::strip::{StripError, Stripped, strip_bytes};
use micrun_image_spec::digest::Sha256Digest;
use proptest::prelude::*;
use support::{ARM, Section, Segment, TestElf, stderr, tool};

const PROGBITS: u32 = 1;
const RELA: u32 = 4;
const GROUP: u32 = 17;
const ALLOC: u64 = 2;

fn debug(name: &'static str, size: usize) -> Section {
    Section { kind: PROGBITS, flags: 0, data: vec![0xd5; size], ..Section::named(name) }
}

fn strip(file: &[u8]) -> Vec<u8> {
    strip_bytes(file).unwrap().expect("there is something to take out")
}

/// What a firmware is to those who run it: every loaded byte with its addresses, symbols, names of loaded sections.
fn facts(file: &[u8]) -> String {
    let bytes = &file;
    let elf = Elf::read(bytes).unwrap();
    let mut facts = format!("{:?} {:#x} {:?}\n", elf.arch, elf.entry, elf.segments);
    let elf_header = if elf.is_64_bit() { 64 } else { 52 };
    for range in elf.loaded_ranges() {
        let start = range.start.max(elf_header) as usize;
        facts += &format!("{range:?} {}\n", Sha256Digest::of(&file[start..range.end as usize]));
    }
    for section in elf.sections.iter().filter(|section| section.allocated) {
        facts += &format!(
            "{:?} {:#x} {}\n",
            section.name.escape_ascii().to_string(),
            section.offset,
            section.size
        );
    }
    elf.each_symbol(|symbol| {
        // Sections have symbols without names, and RISC-V's assembler leaves labels in debug information.
        if !symbol.name.is_empty() && !symbol.name.starts_with(b".L") {
            facts += &format!("{} {:#x}\n", symbol.name.escape_ascii(), symbol.value);
        }
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    facts
}

fn section_names(file: &[u8]) -> Vec<String> {
    let bytes = &file;
    let elf = Elf::read(bytes).unwrap();
    elf.sections.iter().map(|section| String::from_utf8_lossy(&section.name).into_owned()).collect()
}

#[test]
fn debug_information_goes_and_everything_else_stays() {
    for elf in [TestElf::new(), TestElf::new_32_bit(ARM, 0x8000)] {
        let elf = elf
            .with_section(Section { flags: ALLOC, ..debug("datas", 8) })
            .with_section(debug(".debug_info", 5000))
            .with_section(debug(".zdebug_line", 100))
            .with_section(debug(".comment", 30))
            .with_section(debug(".stabstr", 100))
            .with_section(debug(".gdb_index", 100))
            .with_symbols(&["main", "z_cstart"]);
        let (full, stripped) = (elf.bytes(), strip(&elf.bytes()));
        assert_eq!(facts(&stripped), facts(&full));
        assert_eq!(
            section_names(&stripped),
            ["", ".text", "datas", ".comment", ".strtab", ".symtab", ".shstrtab"]
        );
        assert!(stripped.len() + 5000 < full.len(), "{} of {}", stripped.len(), full.len());
        assert!(strip_bytes(&stripped).unwrap().is_none(), "a second time there is nothing left to do");
    }
}

#[test]
fn nothing_to_take_out_is_no_error() {
    for elf in [TestElf::new(), TestElf::new().without_sections(), TestElf::new().with_symbols(&["main"])] {
        assert!(strip_bytes(&elf.bytes()).unwrap().is_none());
    }
    // A loaded section is no debug information, whatever its name.
    let loaded = TestElf::new().with_section(Section { flags: ALLOC, ..debug(".debug_log", 8) });
    assert!(strip_bytes(&loaded.bytes()).unwrap().is_none());
}

#[test]
fn debug_information_between_loaded_bytes_becomes_zeros() {
    // The segment behind it is moved there by hand: no linker that was looked at lays files out like this.
    let mut file = TestElf::new().with_section(debug(".debug_info", 64)).bytes();
    let at = file.windows(64).position(|bytes| bytes == [0xd5; 64]).unwrap();
    file.extend_from_slice(&[0x77; 16]);
    let last = file.len() as u64 - 16;
    let p_offset = 64 + 8;
    file[p_offset..p_offset + 8].copy_from_slice(&last.to_le_bytes());
    let p_filesz = 64 + 32;
    file[p_filesz..p_filesz + 8].copy_from_slice(&16u64.to_le_bytes());
    let stripped = strip(&file);
    assert_eq!(facts(&stripped), facts(&file));
    assert_eq!(stripped[at..at + 64], [0; 64]);
    assert_eq!(stripped[last as usize..][..16], [0x77; 16]);
}

#[test]
fn what_no_linker_of_firmware_writes_is_refused() {
    let with = |section: Section| TestElf::new().with_section(debug(".debug_info", 64)).with_section(section);
    let groups = with(Section { kind: GROUP, ..debug(".group", 8) });
    let two_tables = with(debug(".x", 4)).with_symbols(&["a"]).with_symbols(&["b"]);
    for elf in [groups, two_tables] {
        assert!(matches!(strip_bytes(&elf.bytes()), Err(StripError::Unusual(_))));
    }
    // Sections that lie upon each other would make the file larger than it was.
    let mut piled = TestElf::new().with_section(debug(".debug_info", 64)).with_section(debug(".note", 4));
    piled.sections.extend((0..40).map(|_| debug(".comment", 4)));
    let mut file = piled.bytes();
    let table = u64::from_le_bytes(file[0x28..0x30].try_into().unwrap()) as usize;
    let len = file.len() as u64;
    for index in 3..43 {
        let at = table + 64 * index;
        file[at + 24..at + 32].copy_from_slice(&0u64.to_le_bytes());
        file[at + 32..at + 40].copy_from_slice(&len.to_le_bytes());
    }
    assert!(matches!(strip_bytes(&file), Err(StripError::Unusual(_))));
}

/// Builds the test firmware with further options of the compiler.
fn firmware(dir: &Path, board: &str, extra: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../recipes-test/firmware");
    let mut make = Command::new("make");
    make.arg("-C").arg(root).args([&format!("OUT={}", dir.display()), &format!("BOARD={board}")]);
    tool("make and the cross compilers", make.arg(format!("EXTRA={extra}")));
    dir.join(format!("{board}.elf"))
}

#[test]
fn binutils_has_nothing_to_say_about_real_firmware() {
    let dir = tempfile::tempdir().unwrap();
    for board in ["qemu_arm64", "qemu_cortex_m3", "qemu-riscv64", "qemu_x86"] {
        // The relocations that are kept on request name symbols by their numbers, which change.
        let full_path = firmware(dir.path(), board, "-g -Wl,--emit-relocs");
        let full = std::fs::read(&full_path).unwrap();
        let stripped_path = dir.path().join("stripped.elf");
        std::fs::write(&stripped_path, strip(&full)).unwrap();

        let stripped = std::fs::read(&stripped_path).unwrap();
        assert_eq!(facts(&stripped), facts(&full), "{board}");
        let all = Command::new("readelf").args(["-aW"]).arg(&stripped_path).output().unwrap();
        assert_eq!(stderr(&all), "", "{board}");
        let read =
            |what: &str, path: &Path| tool("binutils", Command::new("readelf").args([what, "-W"]).arg(path));
        assert!(!read("-S", &stripped_path).contains(".debug"));
        let relocations = read("-r", &full_path);
        let wanted = relocations.split("Relocation section").filter(|part| !part.contains(".debug"));
        let found = read("-r", &stripped_path);
        let found = found.split("Relocation section");
        assert!(wanted.clone().count() > 1, "there are relocations to compare");
        // Where a table lies, and the numbers of its symbols, are other ones now.
        let targets = |part: &str| -> Vec<String> {
            let lines = part.lines().skip(2).filter(|line| !line.is_empty());
            lines
                .map(|line| {
                    line.split_whitespace()
                        .enumerate()
                        .filter(|(i, _)| *i != 1)
                        .map(|(_, word)| word)
                        .collect::<Vec<_>>()
                        .join(" ")
                })
                .collect()
        };
        assert_eq!(
            found.map(targets).collect::<Vec<_>>(),
            wanted.map(targets).collect::<Vec<_>>(),
            "{board}"
        );
    }
}

#[test]
fn any_piece_can_be_read_anywhere() {
    let dir = tempfile::tempdir().unwrap();
    let full = std::fs::read(firmware(dir.path(), "qemu_arm64", "-g")).unwrap();
    let whole = strip(&full);
    let full = &full[..];
    let elf = Elf::read(&full).unwrap();
    let stripped = Stripped::new(&elf).unwrap().unwrap();
    assert_eq!(stripped.size(), whole.len() as u64);
    for piece in [1, 7, 1000] {
        let mut read = Vec::new();
        while read.len() < whole.len() {
            let mut buffer = vec![0; piece];
            let n = stripped.read_at(read.len() as u64, &mut buffer).unwrap();
            assert!(n > 0, "nothing at {}", read.len());
            read.extend_from_slice(&buffer[..n]);
        }
        assert!(read == whole, "in pieces of {piece}");
    }
}

/// Something between a section and nonsense.
fn spoilt_section(name: usize, kind: usize, flags: u64, data: Vec<u8>, link: u32) -> Section {
    const NAMES: [&str; 8] =
        [".debug_info", ".debug_str", ".stab", "datas", ".comment", ".rela.debug_info", ".note.x", ".symtab"];
    const KINDS: [u32; 6] = [PROGBITS, RELA, 9, 2, 3, 8];
    Section { kind: KINDS[kind], flags, data, link, ..Section::named(NAMES[name]) }
}

proptest! {
    #[test]
    fn loaded_bytes_stay_whatever_the_sections_are(
        sections in proptest::collection::vec(
            (0..8usize, 0..6usize, 0..4u64, proptest::collection::vec(any::<u8>(), 0..200), 0..9u32), 0..8),
        data in proptest::collection::vec(any::<u8>(), 1..300),
        is_64_bit: bool,
        loads_headers: bool,
        symbols: bool,
    ) {
        let mut elf = if is_64_bit { TestElf::new() } else { TestElf::new_32_bit(ARM, 0x8000) };
        elf = elf.with_segment(Segment::load(0x5000_0000, &data));
        elf.loads_headers = loads_headers;
        elf.sections =
            sections.into_iter().map(|(n, k, f, data, link)| spoilt_section(n, k, f, data, link)).collect();
        if symbols {
            elf = elf.with_symbols(&["main", "other"]);
        }
        let full = elf.bytes();
        if let Ok(Some(stripped)) = strip_bytes(&full) {
            let bytes = &&stripped[..];
            let original = &&full[..];
            let (new, old) = (Elf::read(bytes).unwrap(), Elf::read(original).unwrap());
            prop_assert_eq!(format!("{:?}", new.segments), format!("{:?}", old.segments));
            let header = if is_64_bit { 64 } else { 52 };
            for range in old.loaded_ranges() {
                let range = range.start.max(header) as usize..range.end as usize;
                prop_assert_eq!(&stripped[range.clone()], &full[range]);
            }
            prop_assert!(new.sections.problem().is_none());
            prop_assert!(strip_bytes(&stripped).unwrap().is_none());
        }
    }

    #[test]
    fn spoilt_files_do_no_harm(at in any::<prop::sample::Index>(), value: u8, cut in any::<prop::sample::Index>()) {
        let mut file = TestElf::new()
            .with_section(debug(".debug_info", 100))
            .with_section(Section { kind: RELA, data: vec![0; 48], link: 5, ..debug(".rela.text", 0) })
            .with_symbols(&["main"])
            .bytes();
        let at = at.index(file.len());
        file[at] = value;
        let _ = strip_bytes(&file);
        file.truncate(cut.index(file.len()));
        let _ = strip_bytes(&file);
    }
}
