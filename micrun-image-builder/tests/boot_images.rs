//! Boot images hold what the segments say, begin as the pedestal wants it, and are refused where no pedestal could boot
//! them. Needs the packages u-boot-qemu, opensbi and gcc-aarch64-linux-gnu.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

mod support;

use std::fs;
use std::process::Command;

use micrun_image_builder::boot::arm64::ImageHeader;
use micrun_image_builder::boot::{self, BootImage, FlatImage, FlattenError};
use micrun_image_builder::check::{Code, Place, Report, Severity};
use micrun_image_builder::elf::{self, Elf};
use micrun_image_builder::source::{self, ReadAt};
use micrun_image_spec::firmware::Pedestal;
use proptest::prelude::*;
use support::{ARM, RISCV, Segment, TestElf, builder, debian_firmware, stderr, stdout, tool};

fn all(image: &dyn ReadAt) -> Vec<u8> {
    source::bytes(image, 0, image.size()).unwrap()
}

/// What making a boot image says, and what comes out.
fn made(
    firmware: &[u8],
    pedestal: Pedestal,
    look: impl FnOnce(&BootImage<'_>, &[u8]),
) -> Vec<(Code, Severity)> {
    let mut report = Report::default();
    let elf = Elf::read(&firmware).unwrap();
    if let Some(image) = boot::make(&elf, pedestal, &mut report).unwrap() {
        look(&image, &all(&image));
    }
    report.iter().map(|finding| (finding.code, finding.severity)).collect()
}

fn codes(firmware: &TestElf, pedestal: Pedestal) -> Vec<Code> {
    made(&firmware.bytes(), pedestal, |_, _| {}).into_iter().map(|(code, _)| code).collect()
}

fn at(address: u64, data: &[u8]) -> TestElf {
    TestElf { entry: address, segments: vec![Segment::load(address, data)], ..TestElf::new() }
}

/// A firmware that begins with an arm64 Image header of its own.
fn with_header(address: u64, text_offset: u64, flags: u64) -> TestElf {
    let header = ImageHeader { text_offset, image_size: 0x4005_d004, flags }.encode(64).unwrap();
    at(address, &[&header[..], &[0x55; 100]].concat())
}

#[test]
fn xen_gets_a_header_in_the_page_before_the_firmware() {
    let mut firmware = at(0x4008_0000, &[0x55; 256]);
    firmware.entry = 0x4008_0010;
    firmware.segments[0].memsz = 0x3000;
    let findings = made(&firmware.bytes(), Pedestal::Xen, |image, bytes| {
        let header = ImageHeader::parse(bytes).unwrap();
        assert_eq!(header, ImageHeader { text_offset: 0x7f000, image_size: 0x4000, flags: 0 });
        // A branch over 0x1010 bytes: one page, and to the entry point.
        assert_eq!(bytes[..4], (0x1400_0000u32 | (0x1010 / 4)).to_le_bytes());
        assert!(bytes[64..4096].iter().all(|&byte| byte == 0));
        assert_eq!(bytes[4096..], [0x55; 256]);
        assert!(image.has_new_header());
        assert_eq!((image.load_address(), image.memory_end()), (0x4007_f000, 0x4008_3000));
    });
    assert_eq!(findings, []);
}

#[test]
fn a_header_takes_no_page_where_the_page_has_room() {
    made(&at(0x4008_0040, &[1, 2, 3, 4]).bytes(), Pedestal::Xen, |image, bytes| {
        assert_eq!((image.load_address(), bytes.len()), (0x4008_0000, 68));
        assert_eq!(bytes[64..], [1, 2, 3, 4]);
    });
    assert_eq!(codes(&at(0x4000_0040, &[0; 4]), Pedestal::Xen), []);
    for no_room in [0x4000_0000, 0x4000_003c] {
        assert_eq!(codes(&at(no_room, &[0; 4]), Pedestal::Xen), [Code::NoImageHeaderPossible]);
    }
}

#[test]
fn a_header_of_the_firmware_itself_is_kept_and_checked() {
    let zephyr = with_header(0x4000_0000, 0, 2);
    let findings = made(&zephyr.bytes(), Pedestal::Xen, |image, bytes| {
        assert!(!image.has_new_header());
        assert_eq!(bytes, zephyr.segments[0].data);
        assert_eq!(image.memory_end(), 0x4000_0000 + 164, "not the image_size that it states");
    });
    assert_eq!(findings, []);
    let cases = [
        (with_header(0x4008_0000, 0x80000, 0), vec![]),
        (with_header(0x4008_0000, 0, 0), vec![Code::LoadedElsewhere]),
        (with_header(0x4000_0800, 0x800, 0), vec![Code::BadImageHeader]),
        (with_header(0x4000_0000, 0, 1), vec![Code::BadImageHeader]),
        (with_header(0x4000_0000, u64::MAX - 4095, 0), vec![Code::BadImageHeader]),
        (with_header(0x4000_0000, 0xc000_0000, 0), vec![Code::BadImageHeader]),
        (TestElf { kind: 3, ..with_header(0, 0, 0) }, vec![]),
    ];
    for (firmware, expected) in cases {
        assert_eq!(codes(&firmware, Pedestal::Xen), expected, "{:#x}", firmware.entry);
    }
}

#[test]
fn xen_boots_only_what_fits_its_memory() {
    let outside = [(Code::OutsideXenMemory, Severity::Error)];
    for address in [0x800_0000, 0x3fff_ffc0, 0x1_0000_0000, 0xffff_ff40] {
        let findings = made(&at(address, &[0x55; 256]).bytes(), Pedestal::Xen, |image, _| {
            assert_eq!(image.load_address() & 0xfff, 0, "what --allow makes of it");
        });
        assert_eq!(findings, outside, "{address:#x}");
    }
    let mut large = at(0x4008_0000, &[0x55; 256]);
    large.segments[0].memsz = 3 << 30;
    assert_eq!(codes(&large, Pedestal::Xen), [Code::OutsideXenMemory], ".bss");
    for machine in [ARM, RISCV] {
        let other = TestElf::new_32_bit(machine, 0x4008_0000);
        assert_eq!(codes(&other, Pedestal::Xen), [Code::ArchitectureNotOnXen]);
    }
}

#[test]
fn a_mapped_kernel_is_loaded_and_entered_by_physical_address() {
    let mut kernel = at(0x4008_0000, &[0x55; 256]);
    kernel.segments[0].vaddr = 0xffff_0000_0000_0000;
    for entry in [0xffff_0000_0000_0020, 0x4008_0020] {
        kernel.entry = entry;
        let findings = made(&kernel.bytes(), Pedestal::Xen, |_, bytes| {
            assert_eq!(bytes[..4], (0x1400_0000u32 | (0x1020 / 4)).to_le_bytes());
        });
        assert_eq!(findings, [], "{entry:#x}");
    }
    for entry in [0x4008_0022, 0x4009_0000] {
        kernel.entry = entry;
        assert_eq!(codes(&kernel, Pedestal::Xen), [Code::NoImageHeaderPossible], "{entry:#x}");
    }
}

#[test]
fn position_independent_firmware_is_moved() {
    let uboot = fs::read(debian_firmware("/usr/lib/u-boot/qemu_arm64/uboot.elf")).unwrap();
    let elf = Elf::read(&uboot).unwrap();
    let flat = all(&FlatImage::new(&uboot, elf.loads()).unwrap());
    let findings = made(&uboot, Pedestal::Xen, |image, bytes| {
        assert_eq!(image.load_address(), 0x401f_f000);
        assert_eq!(bytes[4096..], flat);
        assert_eq!(ImageHeader::parse(bytes).unwrap().text_offset, 0x1f_f000);
    });
    assert_eq!(findings, [(Code::MovedForXen, Severity::Warning)]);
}

#[test]
fn hetero_begins_at_the_entry_point() {
    let opensbi =
        fs::read(debian_firmware("/usr/lib/riscv64-linux-gnu/opensbi/generic/fw_jump.elf")).unwrap();
    let binary = fs::read(debian_firmware("/usr/lib/riscv64-linux-gnu/opensbi/generic/fw_jump.bin")).unwrap();
    let findings = made(&opensbi, Pedestal::Hetero, |image, bytes| {
        assert_eq!(image.load_address(), 0x8000_0000);
        assert!(bytes.starts_with(&binary), "what OpenSBI's own build made with objcopy");
    });
    assert_eq!(findings, []);

    let mut thumb = TestElf::new_32_bit(ARM, 0x2000_0000);
    thumb.entry |= 1;
    assert_eq!(codes(&thumb, Pedestal::Hetero), []);
    thumb.entry += 4;
    assert_eq!(codes(&thumb, Pedestal::Hetero), [Code::EntryNotAtStart]);
}

#[test]
fn flattening_agrees_with_objcopy() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.bin");
    let path = debian_firmware("/usr/lib/u-boot/qemu_arm64/uboot.elf");
    tool(
        "gcc-aarch64-linux-gnu",
        Command::new("aarch64-linux-gnu-objcopy").args(["-O", "binary"]).args([&path, &out]),
    );
    let firmware = fs::read(path).unwrap();
    let elf = Elf::read(&firmware).unwrap();
    let flat = all(&FlatImage::new(&firmware, elf.loads()).unwrap());
    let theirs = fs::read(out).unwrap();
    // objcopy looks at sections, and those end before the segment does.
    assert_eq!(flat[..theirs.len()], theirs);
    assert!(flat[theirs.len()..].iter().all(|&byte| byte == 0));
}

/// A board that only Xen runs decides about the pedestal, and our own firmware for it is flawless. What knows nothing of
/// Xen has no resource table either, which only micad misses.
#[test]
fn the_board_chooses_xen() {
    let dir = tempfile::tempdir().unwrap();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../recipes-test/firmware");
    let out = format!("OUT={}", dir.path().display());
    let boards = ["xen_arm64", "xen_arm64_vuart"];
    let make = ["-sC", source, &out, &format!("BOARD={}", boards.join(" "))];
    tool("make gcc-aarch64-linux-gnu", Command::new("make").args(make));
    for (board, findings) in boards.into_iter().zip([vec![], vec!["warning[MIC502]"]]) {
        let elf = dir.path().join(format!("{board}.elf"));
        let packed = builder()
            .current_dir(dir.path())
            .arg("pack")
            .arg(elf)
            .args(["--board", board, "--rtos", "baremetal", "-t", "localhost/xen:1", "-o", "oci:image"])
            .output()
            .unwrap();
        assert!(packed.status.success(), "{}", stderr(&packed));
        let summary = stdout(&packed);
        for line in ["pedestal  xen ", " bytes at 0x4007f000 "] {
            assert!(summary.contains(line), "{summary}");
        }
        let said = stderr(&packed);
        let codes: Vec<_> =
            said.lines().filter_map(|line| Some(line.split_once("]:")?.0.to_owned() + "]")).collect();
        assert_eq!(codes, findings, "{said}");
    }
}

#[test]
fn a_made_up_gap_makes_no_huge_file() {
    let two = |address: u64| at(0x4000_1000, &[1; 64]).with_segment(Segment::load(address, &[2; 64]));
    assert_eq!(codes(&two(0x40ff_0000), Pedestal::Xen), [], "a little less than 16 MiB");
    for far in [0x4200_0000, 0xffff_0000, u64::MAX - 63] {
        assert_eq!(codes(&two(far), Pedestal::Xen), [Code::NoFlatImage], "{far:#x}");
    }
    // Thousands of segments that all name the same bytes of the file, one behind the other.
    let data = vec![1; 1 << 20];
    let mut segments = Vec::new();
    for index in 0..4096u64 {
        segments.push(load(index as usize, index << 20, 0, 1 << 20));
    }
    let error = FlatImage::new(&data, &segments).err().unwrap();
    assert!(matches!(error, FlattenError::Spread { size: 0x1_0000_0000, .. }), "{error}");
    assert_eq!(FlatImage::new(&data, &segments[..8]).unwrap().size(), 8 << 20);
}

#[test]
fn a_boot_image_of_the_users_own_is_checked() {
    let firmware = at(0x4008_0000, &[0x55; 256]);
    let mut own = Vec::new();
    made(&firmware.bytes(), Pedestal::Xen, |_, bytes| own = bytes.to_vec());
    let mut other = own.clone();
    other[4096 + 7] ^= 1;
    let moved = ImageHeader { text_offset: 0x1000, image_size: 0, flags: 0 }.encode(64).unwrap();
    let misaligned = ImageHeader { text_offset: 0x10, image_size: 0, flags: 0 }.encode(64).unwrap();

    let check = |pedestal, given: &[u8]| {
        let bytes = firmware.bytes();
        let mut report = Report::default();
        boot::check_given(&Elf::read(&bytes).unwrap(), pedestal, &given, &Place::Offset(0), &mut report)
            .unwrap();
        report.iter().map(|finding| finding.code).collect::<Vec<_>>()
    };
    assert_eq!(check(Pedestal::Xen, &own), []);
    assert_eq!(check(Pedestal::Xen, &[&own[..], b"signature"].concat()), [], "longer");
    assert_eq!(check(Pedestal::Xen, &other), [Code::BootImageDiffers]);
    assert_eq!(check(Pedestal::Xen, &own[..4200]), [Code::BootImageDiffers], "shorter");
    assert_eq!(check(Pedestal::Xen, &moved), [Code::BootImageDiffers]);
    assert_eq!(check(Pedestal::Xen, &misaligned), [Code::BadImageHeader, Code::BootImageDiffers]);
    assert_eq!(check(Pedestal::Xen, &[0x55; 256]), [Code::NoImageHeader]);
    assert_eq!(check(Pedestal::Xen, &firmware.bytes()), [Code::BadBootImage], "an ELF file");
    assert_eq!(check(Pedestal::Hetero, b""), [Code::BadBootImage]);
    assert_eq!(check(Pedestal::Hetero, b":020000021000EC\n"), [Code::BadBootImage]);
    assert_eq!(check(Pedestal::Hetero, &[0x55; 256]), []);
    assert_eq!(check(Pedestal::Hetero, &own), [Code::BootImageDiffers]);
    assert_eq!(check(Pedestal::Qemu, &own), [Code::NoBootImageWanted]);
    let other_core = TestElf::new_32_bit(RISCV, 0x4008_0000).bytes();
    let mut report = Report::default();
    let elf = Elf::read(&other_core).unwrap();
    boot::check_given(&elf, Pedestal::Xen, &own, &Place::Offset(0), &mut report).unwrap();
    assert_eq!(report.iter().map(|f| f.code).collect::<Vec<_>>(), [Code::ArchitectureNotOnXen]);
}

#[test]
fn the_image_carries_the_boot_image() {
    let dir = tempfile::tempdir().unwrap();
    let firmware = dir.path().join("app.elf");
    at(0x4048_0000, &[0x55; 256]).write_to(&firmware);
    let out = dir.path().join("out");
    let pack = |args: &[&str]| {
        let output = format!("oci:{}", out.display());
        builder()
            .arg("pack")
            .arg(&firmware)
            .args(["--compression", "none", "-o", &output])
            .args(args)
            .output()
            .unwrap()
    };
    let output = pack(&["--pedestal", "xen"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let said = stdout(&output);
    assert!(said.contains("4352 bytes at 0x4047f000"), "{said}");
    let blobs = || fs::read_dir(out.join("blobs/sha256")).unwrap().map(|blob| blob.unwrap().path());
    let layer = blobs().max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let list = tool("tar", Command::new("tar").arg("-tf").arg(&layer));
    assert_eq!(list, "client.conf\nfirmware.elf\nimage.bin\n");
    let conf = tool("tar", Command::new("tar").arg("-xOf").arg(&layer).arg("client.conf"));
    assert!(conf.contains("PedestalConf=/image.bin\n"), "{conf}");

    let output = pack(&["--pedestal", "xen", "--set", "Memory=4"]);
    assert!(stderr(&output).contains("warning[MIC707]"), "memory up to 0x40480100: {}", stderr(&output));
    let output = pack(&["--pedestal", "xen", "--set", "PedestalConf=/firmware.elf"]);
    assert!(stderr(&output).contains("error[MIC710]"), "{}", stderr(&output));
    let output = pack(&["--boot-image", firmware.to_str().unwrap(), "--pedestal", "xen"]);
    assert!(stderr(&output).contains("error[MIC610]"), "{}", stderr(&output));
    let output = pack(&["--boot-image", "/nowhere", "--pedestal", "xen"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
}

fn load(index: usize, paddr: u64, offset: u64, filesz: u64) -> elf::Segment {
    elf::Segment { index, kind: 1, flags: 5, offset, vaddr: paddr, paddr, filesz, memsz: filesz }
}

prop_compose! {
    /// Segments of up to 40 bytes, anywhere in 300 bytes of memory, from anywhere in and behind 200 bytes of file.
    fn segments()(table in prop::collection::vec((0u64..300, 0u64..220, 0u64..40), 1..12)) -> Vec<elf::Segment> {
        let of = |(index, (paddr, offset, filesz))| load(index, paddr, offset, filesz);
        table.into_iter().enumerate().map(of).collect()
    }
}

proptest! {
    #[test]
    fn flattening_agrees_with_a_picture_in_memory(
        file in prop::collection::vec(any::<u8>(), 200),
        segments in segments(),
        piece in 1usize..64,
    ) {
        // What begins first stays.
        let mut memory = vec![None; 400];
        let mut order: Vec<_> = segments.iter().filter(|s| s.filesz > 0).collect();
        order.sort_by_key(|s| s.paddr);
        for segment in &order {
            for i in 0..segment.filesz {
                let byte = file.get((segment.offset + i) as usize).copied().unwrap_or(0);
                memory[(segment.paddr + i) as usize].get_or_insert(byte);
            }
        }
        let first = memory.iter().position(Option::is_some);
        match FlatImage::new(&file, &segments) {
            Err(error) => prop_assert!(error == FlattenError::Nothing && first.is_none()),
            Ok(flat) => {
                let first = first.unwrap();
                let last = memory.iter().rposition(Option::is_some).unwrap();
                let expected: Vec<u8> = memory[first..=last].iter().map(|byte| byte.unwrap_or(0)).collect();
                prop_assert_eq!(flat.address(), first as u64);
                prop_assert_eq!(&all(&flat), &expected);
                // In pieces of another size, and from the middle.
                let mut read = Vec::new();
                let mut buffer = vec![0; piece];
                while let n @ 1.. = flat.read_at(read.len() as u64, &mut buffer).unwrap() {
                    read.extend_from_slice(&buffer[..n]);
                }
                prop_assert_eq!(read, expected);
            }
        }
    }

    #[test]
    fn any_segments_are_flattened_or_refused(
        table in prop::collection::vec((any::<u64>(), any::<u64>(), any::<u64>()), 1..6),
        place in any::<u64>(),
    ) {
        let of = |(index, &(paddr, offset, filesz)): (usize, &(u64, u64, u64))| load(index, paddr, offset, filesz);
        let segments: Vec<_> = table.iter().enumerate().map(of).collect();
        let file = vec![7; 10];
        if let Ok(flat) = FlatImage::new(&file, &segments) {
            prop_assert!(flat.size() <= (16 << 20) + 20);
            flat.read_at(place % flat.size(), &mut [0; 16]).unwrap();
            flat.read_at(place, &mut [0; 16]).unwrap();
        }
    }

    #[test]
    fn any_bytes_are_a_header_or_none(bytes in prop::collection::vec(any::<u8>(), 0..80), magic in any::<bool>()) {
        let mut bytes = bytes;
        if magic && bytes.len() >= 60 {
            bytes[56..60].copy_from_slice(b"ARM\x64");
        }
        prop_assert_eq!(ImageHeader::parse(&bytes).is_some(), magic && bytes.len() >= 64);
        let mut report = Report::default();
        let firmware = TestElf::new().bytes();
        boot::check_given(&Elf::read(&firmware).unwrap(), Pedestal::Xen, &bytes, &Place::Offset(0), &mut report).unwrap();
    }

    #[test]
    fn a_header_reads_back(text_offset in any::<u64>(), image_size in any::<u64>(), flags in any::<u64>(), entry in any::<u32>()) {
        let header = ImageHeader { text_offset, image_size, flags };
        match header.encode(entry.into()) {
            Some(bytes) => {
                prop_assert_eq!(ImageHeader::parse(&bytes), Some(header));
                let code0 = u32::from_le_bytes(bytes[..4].try_into().unwrap());
                prop_assert_eq!((code0 >> 26, (code0 & 0x3ff_ffff) * 4), (0b000101, entry));
            }
            None => prop_assert!(entry % 4 != 0 || entry >= 128 << 20),
        }
    }
}
