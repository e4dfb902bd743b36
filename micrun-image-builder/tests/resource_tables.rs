//! Resource tables as guests of micad and of Linux have them are accepted, and what hosts refuse is found before.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

mod support;

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use micrun_image_builder::check::{self, Code, Report, Severity};
use micrun_image_builder::elf::Elf;
use micrun_image_builder::elf::resource_table::{self, decode};
use micrun_image_builder::source::ReadAt;
use micrun_image_spec::board::BoardProfile;
use micrun_image_spec::firmware::Pedestal;
use proptest::prelude::*;
use support::{Section, Segment, TestElf, resource_table as table, rpmsg_device};

const ANY: u32 = u32::MAX;

/// The codes of a firmware on a pedestal.
fn codes_on(elf: &TestElf, pedestal: Option<Pedestal>) -> Vec<Code> {
    codes_for(&elf.bytes(), pedestal, None)
}

fn codes_for(bytes: &[u8], pedestal: Option<Pedestal>, board: Option<&BoardProfile>) -> Vec<Code> {
    let (mut report, file) = (Report::default(), bytes.to_vec());
    check::resource_table(&Elf::read(&file).unwrap(), pedestal, board, &mut report);
    for finding in report.iter() {
        assert!(finding.message.len() < 300 && !finding.remedy.is_empty(), "{finding:?}");
    }
    report.iter().map(|finding| finding.code).collect()
}

/// The codes of a table that Linux would get.
fn codes(table: &[u8]) -> Vec<Code> {
    codes_on(&TestElf::new().with_resource_table(table), Some(Pedestal::Remoteproc))
}

/// Changes a word of a table.
fn with_word(mut table: Vec<u8>, index: usize, value: u32) -> Vec<u8> {
    table[4 * index..][..4].copy_from_slice(&value.to_le_bytes());
    table
}

fn carveout(da: u32, len: u32) -> Vec<u32> {
    [vec![0, da, ANY, len, 0, 0], vec![0; 8]].concat()
}

fn trace(len: u32) -> Vec<u32> {
    [vec![2, 0x4010_0000, len, 0], vec![u32::from_le_bytes(*b"log\0")], vec![0; 7]].concat()
}

fn vdev(id: u32, vrings: &[[u32; 3]]) -> Vec<u32> {
    let header = vec![3, id, 2, 1, 0, 0, (vrings.len() as u32) << 8];
    let vrings = vrings.iter().flat_map(|&[da, align, num]| [da, align, num, 0, 0]);
    header.into_iter().chain(vrings).collect()
}

fn endpoints() -> Vec<u32> {
    [vec![128, 0], vec![0; 640]].concat()
}

fn vring_offsets() -> Vec<u32> {
    [vec![130], vec![0; 8]].concat()
}

#[test]
fn tables_of_real_guests_are_accepted_everywhere() {
    let ring_buffers = vec![129, 0, 0, 0, 0, 0, 0x2000, 0, 0, 0];
    let tables = [
        ("Zephyr with a console in RAM", vec![rpmsg_device(), trace(1023)]),
        ("UniProton", vec![endpoints(), rpmsg_device(), vring_offsets()]),
        ("UniProton with a debugger", vec![endpoints(), ring_buffers, rpmsg_device(), vring_offsets()]),
        (
            "OpenAMP's processor memory",
            vec![vec![4, 0x3ed0_0000, 0x3ed0_0000, 0x10_0000, 0], vdev(7, &[[0x3ed4_0000, 4096, 256]; 2])],
        ),
        ("another vendor's types", vec![vec![128, 8, 1, 2], vec![511], rpmsg_device()]),
        ("a second device", vec![rpmsg_device(), vdev(4, &[[ANY, 4096, 8]])]),
    ];
    for (name, entries) in tables {
        let elf = TestElf::new().with_resource_table(&table(&entries));
        for pedestal in Pedestal::ALL {
            let found = codes_on(&elf, Some(pedestal));
            let xen = pedestal == Pedestal::Xen && found == [Code::VringOffsetsMissing];
            assert!(found.is_empty() || xen, "{name} on {pedestal}: {found:?}");
        }
    }
}

#[test]
fn a_table_is_missed_only_where_it_is_needed() {
    let without = TestElf::new();
    assert_eq!(codes_on(&without, None), []);
    assert_eq!(codes_on(&without, Some(Pedestal::Qemu)), []);
    for pedestal in [Pedestal::Baremetal, Pedestal::Jailhouse, Pedestal::Hetero] {
        assert_eq!(codes_on(&without, Some(pedestal)), [Code::ResourceTableMissing]);
    }
    assert_eq!(codes_on(&without, Some(Pedestal::Xen)), [Code::XenWithoutResourceTable]);
    assert_eq!(codes_on(&without, Some(Pedestal::Remoteproc)), [Code::NoResourceTable]);
    assert_eq!(Code::NoResourceTable.severity(), Severity::Note);

    let empty = TestElf::new().with_resource_table(&[]);
    assert_eq!(
        codes_on(&empty, Some(Pedestal::Remoteproc)),
        [Code::NoResourceTable],
        "as STM32's linker scripts do"
    );
    let stripped = TestElf::new().with_resource_table(&table(&[rpmsg_device()])).without_sections();
    assert_eq!(
        codes_on(&stripped, Some(Pedestal::Baremetal)),
        [Code::ResourceTableMissing],
        "found by its name only"
    );
}

#[test]
fn a_table_has_to_be_where_the_guest_finds_it() {
    let data = table(&[rpmsg_device()]);
    let elsewhere = TestElf::new().with_section(Section { data, ..Section::named(".resource_table") });
    assert_eq!(codes_on(&elsewhere, None), [Code::ResourceTableNotLoaded]);

    let large = [table(&[rpmsg_device()]), vec![0; 4096]].concat();
    let large = TestElf::new().with_resource_table(&large);
    assert_eq!(codes_on(&large, Some(Pedestal::Hetero)), [Code::ResourceTableTooLarge]);
    assert_eq!(codes_on(&large, Some(Pedestal::Baremetal)), []);
}

#[test]
fn what_every_host_refuses_is_an_error() {
    let good = || table(&[rpmsg_device(), trace(64)]);
    assert_eq!(codes(&good()), []);
    let cases = [
        ("a version of 2", with_word(good(), 0, 2), Code::BadResourceTable),
        ("too many entries", with_word(good(), 1, 1 << 30), Code::BadResourceTable),
        ("half a header", good()[..15].to_vec(), Code::BadResourceTable),
        ("a guest that went off", with_word(good(), 2, 0x8400_0002), Code::ResourceReservedNotZero),
        ("an offset into the header", with_word(good(), 4, 4), Code::ResourceOutside),
        ("an offset behind the end", with_word(good(), 5, u32::MAX), Code::ResourceOutside),
        ("a cut trace", good()[..good().len() - 1].to_vec(), Code::ResourceOutside),
        ("the same entry twice", with_word(good(), 5, 24), Code::ResourceOverlap),
        ("an unknown type", table(&[vec![77], rpmsg_device()]), Code::UnknownResource),
        ("one vring", table(&[vdev(7, &[[ANY, 4, 8]])]), Code::WrongVringCount),
        ("three vrings", table(&[vdev(9, &[[ANY, 4, 8]; 3])]), Code::WrongVringCount),
        ("seven buffers", table(&[vdev(7, &[[ANY, 4, 7], [ANY, 4, 8]])]), Code::BadVring),
        ("no buffer", table(&[vdev(7, &[[ANY, 4, 0], [ANY, 4, 8]])]), Code::BadVring),
        ("no alignment", table(&[vdev(7, &[[ANY, 4, 8], [ANY, 0, 8]])]), Code::BadVring),
        (
            "a reserved field",
            table(&[[vec![2, 0, 64, 1], vec![0; 8]].concat()]),
            Code::ResourceReservedNotZero,
        ),
    ];
    for (name, table, code) in cases {
        assert_eq!(codes(&table), [code], "{name}");
        assert_eq!(code.severity(), Severity::Error, "{name}");
    }
    assert_eq!(codes(&table(&[carveout(ANY, 0)])), [Code::EmptyCarveout], "drivers may know it by its name");
}

#[test]
fn micad_needs_an_rpmsg_device_and_on_xen_its_offsets() {
    let on = |entries: &[Vec<u32>], pedestal| {
        codes_on(&TestElf::new().with_resource_table(&table(entries)), Some(pedestal))
    };
    assert_eq!(on(&[trace(64)], Pedestal::Baremetal), [Code::NoRpmsgDevice]);
    assert_eq!(on(&[vdev(3, &[[ANY, 4, 8]; 2]), rpmsg_device()], Pedestal::Jailhouse), [Code::NoRpmsgDevice]);
    assert_eq!(on(&[trace(64)], Pedestal::Remoteproc), []);
    assert_eq!(on(&[rpmsg_device()], Pedestal::Xen), [Code::VringOffsetsMissing]);
    assert_eq!(on(&[vring_offsets(), rpmsg_device()], Pedestal::Xen), []);
    let fixed = vdev(7, &[[0x7000_0000, 4, 8], [0x7000_1000, 4, 8]]);
    assert_eq!(on(&[fixed], Pedestal::Xen), [], "the host does not choose");
}

#[test]
fn shared_memory_is_where_the_board_wants_it() {
    let board = BoardProfile::parse(
        "test",
        "name: mine\ndescription: a gateway\narch: aarch64\npedestals: [baremetal]\nmemory:\n  \
         - { name: ram, base: 0x40000000, size: 256M, kind: ram }\n  \
         - { name: shared, base: 0x70000000, size: 64K, kind: reserved }\n",
    )
    .unwrap();
    let on_board = |entries: &[Vec<u32>]| {
        let elf = TestElf::new().with_resource_table(&table(entries));
        codes_for(&elf.bytes(), Some(Pedestal::Remoteproc), Some(&board))
    };
    assert_eq!(on_board(&[carveout(0x7000_0000, 0x1_0000)]), []);
    assert_eq!(on_board(&[carveout(0x7000_0000, 0x1_0001)]), [Code::OutsideReservedMemory]);
    assert_eq!(on_board(&[carveout(ANY, 0x1_0001)]), [], "the host chooses");
    let vrings = |first| vdev(7, &[[first, 4096, 8], [0x7000_e000, 4096, 8]]);
    assert_eq!(on_board(&[vrings(0x7000_0000)]), []);
    assert_eq!(on_board(&[vrings(0x6fff_ffff)]), [Code::OutsideReservedMemory]);
    let says_nothing = table(&[carveout(0x1000, 64)]);
    assert_eq!(codes(&says_nothing), [], "without a board");
}

#[test]
fn shared_memory_is_not_on_the_program() {
    // 256 bytes of code at 0x40080000.
    let found = |entry| codes(&table(&[entry]));
    assert_eq!(found(carveout(0x4008_0080, 0x1000)), [Code::SharedMemoryOnProgram]);
    assert_eq!(found(carveout(0x4008_0000, 0x1000)), [], "holds the segment");
    assert_eq!(found(carveout(0x4007_f000, 0x1000)), [], "ends where the code begins");
    assert_eq!(found(vdev(7, &[[0x4008_00f0, 4, 8], [ANY, 4, 8]])), [Code::SharedMemoryOnProgram]);

    let mut elf = TestElf::new().with_resource_table(&table(&[carveout(0x4008_0080, 0x40)]));
    elf.segments[0].data[0x80..0xc0].fill(0);
    assert_eq!(codes_on(&elf, None), [], "a buffer that the linker filled with zeros");
}

/// A file that counts how often it is read.
struct Counting(Vec<u8>, AtomicUsize);

impl ReadAt for Counting {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.read_at(offset, buffer)
    }
}

#[test]
fn thousands_of_segments_under_many_areas_are_not_all_compared() {
    // Both rings of each device lie on all segments, which are full of zeros.
    let device = vdev(7, &[[0x1000, 4096, 1 << 24], [0x1000, 4096, 1 << 24]]);
    let mut elf = TestElf::new().with_resource_table(&table(&vec![device; 32]));
    for address in 0..20_000 {
        elf = elf.with_segment(Segment::load(0x2000 + 2 * address, &[0]));
    }
    elf.segments[0].data.fill(0);
    let file = Counting(elf.bytes(), AtomicUsize::new(0));
    let elf = Elf::read(&file).unwrap();
    check::resource_table(&elf, None, None, &mut Report::default());
    let reads = file.1.load(Ordering::Relaxed);
    assert!(reads < 64 * 500, "{reads} reads");
}

#[test]
fn an_entry_that_is_named_many_times_is_decoded_once() {
    // A device with 255 vrings, named by as many offsets as a megabyte holds.
    let vrings = vec![[ANY, 4, 8]; 255];
    let device: Vec<u8> = vdev(7, &vrings).iter().flat_map(|word| word.to_le_bytes()).collect();
    let count = 200_000u32;
    let mut bytes: Vec<u8> = [1, count, 0, 0].iter().flat_map(|word: &u32| word.to_le_bytes()).collect();
    bytes.extend((0..count).flat_map(|_| (16 + 4 * count).to_le_bytes()));
    bytes.extend(device);
    let table = decode(&bytes).unwrap();
    assert_eq!((table.entries.len(), table.broken.len()), (1, count as usize - 1));
}

#[test]
fn thousands_of_broken_entries_are_not_all_reported() {
    let mut words = vec![1u32, 20_000, 0, 0];
    words.extend((0..20_000).map(|index| index * 4));
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    assert_eq!(codes(&bytes).len(), 16);
}

fn words() -> impl Strategy<Value = Vec<u32>> {
    let word = prop_oneof![0..12u32, (0..80u32).prop_map(|n| n * 4), Just(1 << 9), Just(ANY), any::<u32>()];
    prop::collection::vec(word, 0..120)
}

proptest! {
    #[test]
    fn any_table_is_survived(mut words in words(), count in 0..12u32, tail in 0..4usize) {
        if words.len() > 4 {
            words[0] = 1;
            words[1] = count;
        }
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.truncate(bytes.len().saturating_sub(tail));
        if let Ok(table) = decode(&bytes) {
            prop_assert_eq!(table.entries.len() + table.broken.len(), count as usize);
            // Nothing is decoded twice, so a table never grows beyond its bytes.
            let vrings = table.entries.iter().map(|entry| match &entry.resource {
                resource_table::Resource::Vdev(vdev) => vdev.vrings.len(),
                _ => 0,
            });
            prop_assert!(vrings.sum::<usize>() * 20 <= bytes.len());
        }
        codes(&bytes);
        codes_on(&TestElf::new().with_resource_table(&bytes), Some(Pedestal::Xen));
    }
}
