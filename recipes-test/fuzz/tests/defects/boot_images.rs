//! ELF files of which no boot image can be made, files that are none, and raw firmware.

use micrun_image_builder::boot::arm64::ImageHeader;
use micrun_image_builder::check::Code;

use crate::test_elf::{ARM, Segment, TestElf};
use crate::{Defect, made};

pub fn defects() -> Vec<Defect> {
    [elfs(), given(), raw()].into_iter().flatten().collect()
}

fn at(address: u64, data: &[u8]) -> TestElf {
    TestElf { entry: address, segments: vec![Segment::load(address, data)], ..TestElf::new() }
}

fn header(text_offset: u64, flags: u64) -> Vec<u8> {
    let header = ImageHeader { text_offset, image_size: 0x4005_d004, flags }.encode(64).unwrap();
    [&header[..], &[0x55; 100]].concat()
}

fn elfs() -> Vec<Defect> {
    let gap = at(0x4000_1000, &[1; 64]).with_segment(Segment::load(0x4200_0000, &[2; 64]));
    let late = TestElf { entry: 0x4008_0010, ..TestElf::new() };
    let movable = TestElf { kind: 3, ..at(0, &[0x55; 256]) };
    vec![
        made("elf/boot-gap.elf", Code::NoFlatImage, gap.bytes()),
        made(
            "elf/boot-arm-on-xen.elf",
            Code::ArchitectureNotOnXen,
            TestElf::new_32_bit(ARM, 0x4008_0000).bytes(),
        ),
        made("elf/boot-outside-xen.elf", Code::OutsideXenMemory, at(0x800_0000, &[0x55; 256]).bytes()),
        made("elf/boot-no-room.elf", Code::NoImageHeaderPossible, at(0x4000_0000, &[0; 4]).bytes()),
        made("elf/boot-big-endian-header.elf", Code::BadImageHeader, at(0x4000_0000, &header(0, 1)).bytes()),
        made("elf/boot-loaded-elsewhere.elf", Code::LoadedElsewhere, at(0x4008_0000, &header(0, 0)).bytes()),
        made("elf/boot-late-entry.elf", Code::EntryNotAtStart, late.bytes()),
        made("elf/boot-moved.elf", Code::MovedForXen, movable.bytes()),
    ]
}

fn given() -> Vec<Defect> {
    vec![
        made("boot_image/empty.bin", Code::BadBootImage, ""),
        made("boot_image/elf.bin", Code::BadBootImage, &TestElf::new().bytes()[..64]),
        made("boot_image/no-header.bin", Code::NoImageHeader, [0x55; 256]),
        made("boot_image/bad-header.bin", Code::BadImageHeader, header(0x800, 0)),
        made("boot_image/other-code.bin", Code::BootImageDiffers, header(0x80000, 0)),
    ]
}

fn raw() -> Vec<Defect> {
    let based = ":020000040800F2\n:04000000008000205C\n:0400000508000001EE\n:00000001FF\n".to_owned();
    let good = ":04000000008000205C\n:00000001FF\n".to_owned();
    vec![
        made("raw_firmware/good.hex", Code::Wrapped, good.as_bytes()),
        made("raw_firmware/base.hex", Code::Wrapped, based.clone()),
        made(
            "raw_firmware/entry-outside.hex",
            Code::BadRawAddress,
            based.replace("0400000508000001EE", "0400000508000041AE"),
        ),
        made("raw_firmware/checksum.hex", Code::BadHexFile, good.replace("5C", "5D")),
        made("raw_firmware/no-end.hex", Code::BadHexFile, &good[..good.len() - 12]),
        made("raw_firmware/odd.hex", Code::BadHexFile, ":04000000008000205\n"),
        made("raw_firmware/overlap.hex", Code::BadHexFile, good.replacen(":0", ":04000000008000205C\n:0", 1)),
        made("raw_firmware/last.bin", Code::Wrapped, [0x55; 256]),
        made("raw_firmware/beyond.bin", Code::BadRawAddress, [0x55; 257]),
    ]
}
