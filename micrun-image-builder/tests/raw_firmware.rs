//! Raw binaries and Intel HEX files become ELF files with the same bytes at the same addresses. Needs the package
//! gcc-aarch64-linux-gnu.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

mod support;

use std::fs;
use std::process::Command;

use micrun_image_builder::boot::raw::hex::{self, HexError, HexFile, Reason};
use micrun_image_builder::boot::raw::{Address, Contents, Range, RawOptions, wrap};
use micrun_image_builder::check::{Code, Report, examine};
use micrun_image_builder::elf::Elf;
use micrun_image_builder::source::{self, ReadAt};
use micrun_image_spec::firmware::Arch;
use proptest::prelude::*;
use support::{TestElf, builder, debian_firmware, stderr, tool};

fn options(arch: Option<Arch>, load_address: Option<u64>, entry: Option<u64>) -> RawOptions {
    RawOptions { arch, load_address: load_address.map(Address), entry: entry.map(Address) }
}

/// What wrapping says, and the ELF file that comes out.
fn wrapped(file: &[u8], options: &RawOptions) -> (Vec<Code>, Option<Vec<u8>>) {
    let mut report = Report::default();
    let elf = wrap(&file, options, &mut report).unwrap();
    let bytes = elf.map(|elf| source::bytes(&elf, 0, elf.size()).unwrap());
    (report.iter().map(|finding| finding.code).collect(), bytes)
}

/// Entry point, and the bytes of all segments.
fn read_back(elf: &[u8]) -> (u64, Vec<(u64, Vec<u8>)>) {
    let mut report = Report::default();
    let entry = examine(&elf, &mut report).unwrap().entry;
    assert!(!report.has_errors(), "{report:?}");
    (entry, segments(elf))
}

fn segments(elf: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let elf = Elf::read(&elf).unwrap();
    elf.loads().map(|s| (s.paddr, elf.bytes_at_paddr(s.paddr, s.filesz).unwrap())).collect()
}

/// One record.
fn record(kind: u8, address: u16, data: &[u8]) -> String {
    let mut bytes = vec![data.len() as u8, (address >> 8) as u8, address as u8, kind];
    bytes.extend_from_slice(data);
    let sum = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    bytes.push(sum.wrapping_neg());
    let digits: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    format!(":{digits}\n")
}

const END: &str = ":00000001FF\n";

#[test]
fn a_binary_is_loaded_where_the_user_says() {
    for (arch, address) in [(Arch::Aarch64, 0x4008_0000), (Arch::Riscv32, 0x8000_0000), (Arch::X86_64, 0)] {
        let (codes, elf) = wrapped(&[0x55; 300], &options(Some(arch), Some(address), None));
        assert_eq!(codes, [Code::Wrapped]);
        assert_eq!(read_back(&elf.unwrap()), (address, vec![(address, vec![0x55; 300])]));
    }
    let (_, elf) = wrapped(&[0x55; 300], &options(Some(Arch::Aarch64), Some(0x1000), Some(0x1010)));
    assert_eq!(read_back(&elf.unwrap()).0, 0x1010);
}

#[test]
fn a_cortex_m_binary_begins_at_its_reset_vector() {
    let vectors =
        |stack: u32, reset: u32| [&stack.to_le_bytes()[..], &reset.to_le_bytes(), &[0; 100]].concat();
    let entry = |stack, reset| {
        let (_, elf) = wrapped(&vectors(stack, reset), &options(Some(Arch::Arm), Some(0x0800_0000), None));
        let elf = elf.unwrap();
        examine(&elf, &mut Report::default()).unwrap().entry
    };
    assert_eq!(entry(0x2000_1000, 0x0800_0041), 0x0800_0041);
    assert_eq!(entry(0x2000_1000, 0x0800_0040), 0x0800_0000, "no Thumb code: an application core");
    assert_eq!(entry(0x2000_1000, 0x0900_0041), 0x0800_0000, "outside");
    assert_eq!(entry(0xea00_0006, 0xea00_0007), 0x0800_0000, "branches of an application core");
}

#[test]
fn what_is_missing_is_named() {
    let missing = [Code::RawFactsMissing];
    let arm = Some(Arch::Arm);
    assert_eq!(wrapped(b"raw", &options(arm, None, None)).0, missing);
    assert_eq!(wrapped(b"raw", &options(None, Some(0), None)).0, missing);
    assert_eq!(wrapped(END.as_bytes(), &options(None, None, Some(0))).0, missing);
    assert_eq!(wrapped(b"raw", &options(None, None, None)).0, [], "the ELF reader's affair");
    assert_eq!(wrapped(b"", &options(arm, Some(0), None)).0, [Code::EmptyFile]);
    assert_eq!(wrapped(&TestElf::new().bytes(), &options(arm, Some(0), None)).0, [Code::RawOptionNotUsed]);
    let hex = record(0, 0, b"data") + END;
    assert_eq!(wrapped(hex.as_bytes(), &options(arm, Some(0), None)).0, [Code::RawOptionNotUsed]);
    assert_eq!(wrapped(b"data", &options(arm, Some(0xffff_fffd), None)).0, [Code::BadRawAddress]);
    assert_eq!(wrapped(b"data", &options(arm, Some(0), Some(1 << 32))).0, [Code::BadRawAddress]);
    assert_eq!(
        wrapped(b"data", &options(Some(Arch::Riscv64), Some(u64::MAX), None)).0,
        [Code::BadRawAddress]
    );
    assert_eq!(wrapped(b":00000001FE\n", &options(arm, None, None)).0, [Code::BadHexFile]);
}

#[test]
fn all_records_of_intel_hex_are_understood() {
    let text = [
        record(0, 0x10, &[1, 2, 3]),
        record(4, 0, &[0x08, 0x00]),
        record(0, 0xfffe, &[4, 5]),
        record(4, 0, &[0x08, 0x01]),
        "\r\n".to_owned(),
        record(0, 0, &[6]).to_lowercase().replace('\n', "\r\n"),
        record(2, 0, &[0x10, 0x00]),
        record(0, 0x20, &[7]),
        record(5, 0, &[0x08, 0x00, 0x01, 0x41]),
        END.to_owned(),
        "\n".to_owned(),
    ];
    let ranges = [(0x10, 3), (0x1_0020, 1), (0x0800_fffe, 3)];
    let ranges = ranges.map(|(address, len)| Range { address, len }).to_vec();
    let contents = Contents { ranges, data: vec![1, 2, 3, 7, 4, 5, 6] };
    assert_eq!(hex::parse(text.concat().as_bytes()).unwrap(), HexFile { contents, entry: Some(0x0800_0141) });
    let start = record(0, 0, b"x") + &record(3, 0, &[0x10, 0x00, 0x01, 0x00]) + END;
    assert_eq!(hex::parse(start.as_bytes()).unwrap().entry, Some(0x1_0100), "segment and offset");
}

#[test]
fn damaged_intel_hex_is_refused_with_its_line() {
    let bad = |text: String, at: u64, expected: Reason| {
        let text = record(0, 0, b"ok") + &text;
        match hex::parse(text.as_bytes()) {
            Err(HexError::Record { line, reason }) => assert_eq!((line, reason), (at, expected), "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    };
    bad("hello\n".to_owned(), 2, Reason::NoColon);
    bad(":0G000001FF\n".to_owned(), 2, Reason::NoDigits);
    bad(":00000001F\n".to_owned(), 2, Reason::NoDigits);
    bad(":0000\n".to_owned(), 2, Reason::Length);
    bad(":01000001FF\n".to_owned(), 2, Reason::Length);
    bad(format!(":{}\n", "0".repeat(600)), 2, Reason::Length);
    bad(format!(":{}", "0".repeat(100_000)), 2, Reason::Length);
    bad(":00000001FE\n".to_owned(), 2, Reason::Checksum { expected: 0xff, found: 0xfe });
    bad(record(6, 0, &[]), 2, Reason::Type(6));
    bad(record(4, 0, &[1]), 2, Reason::Type(4));
    bad(record(2, 0, &[0, 0]) + &record(0, 0xffff, &[1, 2]), 3, Reason::BeyondAddresses);
    bad(record(4, 0, &[0xff, 0xff]) + &record(0, 0xffff, &[1, 2]), 3, Reason::BeyondAddresses);
    bad(END.to_owned() + END, 3, Reason::AfterEnd);
    bad(String::new(), 2, Reason::NoEnd);
    let twice = record(0, 8, &[1, 2, 3]) + &record(0, 6, &[1, 2, 3]) + END;
    assert!(matches!(hex::parse(twice.as_bytes()), Err(HexError::Overlap { address: 8, line: 1 })));
    assert!(matches!(hex::parse(END.as_bytes()), Err(HexError::Empty)));
}

#[test]
fn intel_hex_of_real_firmware_gives_its_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let path = debian_firmware("/usr/lib/u-boot/qemu_arm64/uboot.elf");
    let objcopy = |format: &str, name: &str| {
        let out = dir.path().join(name);
        let mut command = Command::new("aarch64-linux-gnu-objcopy");
        tool("gcc-aarch64-linux-gnu", command.args(["-O", format]).arg(&path).arg(&out));
        out
    };
    let (hex, binary) =
        (fs::read(objcopy("ihex", "a.hex")).unwrap(), fs::read(objcopy("binary", "a.bin")).unwrap());
    let (_, elf) = wrapped(&hex, &options(Some(Arch::Aarch64), None, None));
    let (entry, segments) = read_back(&elf.unwrap());
    assert_eq!(entry, 0);
    let mut memory = vec![0; binary.len()];
    for (address, data) in segments {
        memory[address as usize..][..data.len()].copy_from_slice(&data);
    }
    assert_eq!(memory, binary);
}

#[test]
fn the_command_line_packs_raw_firmware() {
    let dir = tempfile::tempdir().unwrap();
    let raw = dir.path().join("app.bin");
    fs::write(&raw, [0x55; 1000]).unwrap();
    let pack = |args: &[&str]| builder().arg("pack").arg(&raw).args(args).output().unwrap();

    let output = pack(&[]);
    assert!(!output.status.success());
    assert!(stderr(&output).contains("add --arch and --load-address"), "{}", stderr(&output));
    let output = pack(&["--arch", "aarch64"]);
    assert!(stderr(&output).contains("error[MIC620]"), "{}", stderr(&output));
    assert!(stderr(&output).contains("build/zephyr/zephyr.elf"), "{}", stderr(&output));
    let output = pack(&["--arch", "aarch64", "--load-address", "here"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let output = pack(&["--arch", "aarch64", "--load-address", "0x40080000", "--pedestal", "xen"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("note[MIC624]"), "{}", stderr(&output));
}

#[test]
fn addresses_are_written_in_two_ways() {
    for (text, value) in [("0x40000000", 0x4000_0000), ("0X1f", 0x1f), ("4096", 4096), ("0", 0)] {
        assert_eq!(text.parse(), Ok(Address(value)));
    }
    for text in ["", "0x", "+1", "-1", "0x+1", "1f", "0x1_0", "0x10000000000000000", "1e3"] {
        assert!(text.parse::<Address>().is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_intel_hex_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = hex::parse(&bytes[..]);
    }

    #[test]
    fn anything_like_intel_hex_is_read_or_refused(text in "(:[0-9A-Fa-f]{8,24}\r?\n|:0[0-2]0000[0-9]{4}\n){0,8}(:00000001FF\n)?") {
        let _ = hex::parse(text.as_bytes());
    }

    #[test]
    fn intel_hex_reads_back(
        gaps_and_data in prop::collection::vec((1u64..100_000, prop::collection::vec(any::<u8>(), 1..400)), 1..8),
        order in any::<u64>(),
        arch in prop::sample::select(Arch::ALL.to_vec()),
    ) {
        let (mut memory, mut address) = (Vec::new(), 0);
        for (gap, data) in gaps_and_data {
            address += gap;
            memory.push((address, data.clone()));
            address += data.len() as u64;
        }
        let mut written = memory.clone();
        let by = order as usize % written.len();
        written.rotate_left(by);
        let mut text = String::new();
        for (start, data) in &written {
            // No record crosses the end of 64 KiB.
            let mut at = *start;
            let mut rest = &data[..];
            while !rest.is_empty() {
                let n = rest.len().min(16).min(0x1_0000 - (at as usize & 0xffff));
                text += &record(4, 0, &((at >> 16) as u16).to_be_bytes());
                text += &record(0, at as u16, &rest[..n]);
                (at, rest) = (at + n as u64, &rest[n..]);
            }
        }
        text += END;
        let parsed = hex::parse(text.as_bytes()).unwrap();
        let ranges: Vec<_> = memory.iter().map(|(address, data)| Range { address: *address, len: data.len() as u64 }).collect();
        prop_assert_eq!(&parsed.contents.ranges, &ranges);
        let (_, elf) = wrapped(text.as_bytes(), &options(Some(arch), None, None));
        prop_assert_eq!(segments(&elf.unwrap()), memory);
    }

    #[test]
    fn a_wrapped_binary_reads_back(
        data in prop::collection::vec(any::<u8>(), 1..2000),
        address in any::<u32>(),
        arch in prop::sample::select(Arch::ALL.to_vec()),
    ) {
        prop_assume!(!data.starts_with(b"\x7fELF") && !hex::is_hex(&data) && u64::from(address) + 2000 < 1 << 32);
        let (_, elf) = wrapped(&data, &options(Some(arch), Some(address.into()), Some(address.into())));
        prop_assert_eq!(segments(&elf.unwrap()), vec![(address.into(), data)]);
    }
}

#[test]
fn other_forms_of_firmware_are_not_taken_for_raw_bytes() {
    let options = options(Some(Arch::Arm), Some(0x800_0000), None);
    for file in [
        &b"S0090000732E737265635F\r\n"[..],
        b"S315080000000000\n",
        b"UF2\n\x57\x51\x5d\x9e\0\0\0\0",
        b"!<arch>\n/       ",
        b"\x1f\x8b\x08\0\0\0\0\0",
    ] {
        let (codes, elf) = wrapped(file, &options);
        assert_eq!((codes, elf), (vec![Code::NotRaw], None), "{}", file.escape_ascii());
    }
    let (codes, _) = wrapped(b"S0 is a register, and this is a raw text", &options);
    assert_eq!(codes, [Code::Wrapped]);
}

#[test]
fn raw_firmware_begins_where_it_has_something() {
    let begins_at =
        |entry| wrapped(&[0x55; 64], &options(Some(Arch::Aarch64), Some(0x4000_0000), Some(entry))).0;
    assert_eq!(begins_at(0x4000_003f), [Code::Wrapped]);
    assert_eq!(begins_at(0x4000_0040), [Code::BadRawAddress]);
    assert_eq!(begins_at(0x3fff_ffff), [Code::BadRawAddress]);
}
