//! Resource tables, and ELF files with some of them.

use micrun_image_builder::check::Code;

use crate::test_elf::{ARM, RISCV, Section, TestElf, resource_table as table, rpmsg_device};
use crate::{Defect, good, made};

/// The address with which a guest lets the host choose.
const ANY: u32 = u32::MAX;

pub fn defects() -> Vec<Defect> {
    let spoiled = |index: usize, value: u32| with_word(table(&[rpmsg_device(), trace(64)]), index, value);
    let cut = |bytes: usize| table(&[rpmsg_device(), trace(64)])[..bytes].to_vec();
    let unloaded = Section { data: table(&[rpmsg_device()]), ..Section::named(".resource_table") };
    let unknown = table(&[vec![77], rpmsg_device()]);
    let in_program = table(&[carveout(0x4008_0000, 64), rpmsg_device()]);
    vec![
        good("elf/good-rpmsg.elf", elf(&table(&[rpmsg_device(), trace(1023)]))),
        good(
            "elf/good-rpmsg-uniproton.elf",
            elf(&table(&[vec![128, 0, 0], rpmsg_device(), vring_offsets()])),
        ),
        made("elf/no-table.elf", Code::ResourceTableMissing, TestElf::new().bytes()),
        made(
            "elf/no-table-for-xen.elf",
            Code::XenWithoutResourceTable,
            TestElf::new_32_bit(RISCV, 0).bytes(),
        ),
        made("elf/no-table-for-linux.elf", Code::NoResourceTable, TestElf::new_32_bit(ARM, 0).bytes()),
        made(
            "elf/table-not-loaded.elf",
            Code::ResourceTableNotLoaded,
            TestElf::new().with_section(unloaded).bytes(),
        ),
        made("elf/table-unknown-type.elf", Code::UnknownResource, elf(&unknown)),
        made("elf/table-in-program.elf", Code::SharedMemoryOnProgram, elf(&in_program)),
        made("resource_table/version-2.bin", Code::BadResourceTable, spoiled(0, 2)),
        made("resource_table/many-entries.bin", Code::BadResourceTable, spoiled(1, 1 << 30)),
        made("resource_table/half-a-header.bin", Code::BadResourceTable, cut(15)),
        made("resource_table/guest-went-off.bin", Code::ResourceReservedNotZero, spoiled(2, 0x8400_0002)),
        made("resource_table/offset-in-header.bin", Code::ResourceOutside, spoiled(4, 4)),
        made("resource_table/offset-outside.bin", Code::ResourceOutside, spoiled(5, u32::MAX)),
        made(
            "resource_table/cut-trace.bin",
            Code::ResourceOutside,
            cut(table(&[rpmsg_device(), trace(64)]).len() - 1),
        ),
        made("resource_table/entry-twice.bin", Code::ResourceOverlap, spoiled(5, 24)),
        made("resource_table/unknown-type.bin", Code::UnknownResource, unknown),
        made("resource_table/one-vring.bin", Code::WrongVringCount, table(&[vdev(7, &[[ANY, 4, 8]])])),
        made("resource_table/bad-vring.bin", Code::BadVring, table(&[vdev(7, &[[ANY, 3, 7]; 2])])),
        made(
            "resource_table/empty-carveout.bin",
            Code::EmptyCarveout,
            table(&[carveout(0x4100_0000, 0), rpmsg_device()]),
        ),
        made("resource_table/no-rpmsg.bin", Code::NoRpmsgDevice, table(&[trace(64)])),
        made("resource_table/no-vring-offsets.bin", Code::VringOffsetsMissing, table(&[rpmsg_device()])),
        made("resource_table/on-program.bin", Code::SharedMemoryOnProgram, in_program),
    ]
}

fn elf(table: &[u8]) -> Vec<u8> {
    TestElf::new().with_resource_table(table).bytes()
}

/// Changes a word of a table.
fn with_word(mut table: Vec<u8>, index: usize, value: u32) -> Vec<u8> {
    table[4 * index..][..4].copy_from_slice(&value.to_le_bytes());
    table
}

fn carveout(address: u32, length: u32) -> Vec<u32> {
    [vec![0, address, ANY, length, 0, 0], vec![0; 8]].concat()
}

fn trace(length: u32) -> Vec<u32> {
    [vec![2, 0x4010_0000, length, 0], vec![u32::from_le_bytes(*b"log\0")], vec![0; 7]].concat()
}

fn vring_offsets() -> Vec<u32> {
    [vec![130], vec![0; 8]].concat()
}

fn vdev(id: u32, vrings: &[[u32; 3]]) -> Vec<u32> {
    let header = vec![3, id, 2, 1, 0, 0, (vrings.len() as u32) << 8];
    let vrings = vrings.iter().flat_map(|&[address, align, number]| [address, align, number, 0, 0]);
    header.into_iter().chain(vrings).collect()
}
