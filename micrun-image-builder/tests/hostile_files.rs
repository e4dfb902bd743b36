//! A file may be anything: it is read or refused, without a panic, in time that follows its own size.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

mod support;

use std::time::{Duration, Instant};

use micrun_image_builder::boot;
use micrun_image_builder::check::{Report, advise, examine, resource_table};
use micrun_image_builder::detect::{guess_board, identify};
use micrun_image_builder::inspect::Facts;
use micrun_image_builder::source::ReadAt;
use micrun_image_spec::board::Boards;
use micrun_image_spec::firmware::Pedestal;
use proptest::prelude::*;
use support::{ARM, Section, Segment, TestElf, cortex_m_attributes, note};

/// Everything that is done with a file before it is packed.
fn look_at(bytes: &[u8]) {
    let mut report = Report::default();
    if let Some(elf) = examine(&bytes, &mut report) {
        let identity = identify(&elf).unwrap();
        advise(&elf, identity.as_ref(), &mut report);
        let _ = guess_board(&elf, identity.as_ref().map(|i| &i.rtos), &Boards::builtin());
        resource_table(&elf, Some(Pedestal::Xen), None, &mut report);
        let facts = Facts::of(&elf, None, &Boards::builtin()).unwrap();
        assert!(facts.segments.len() + facts.reservations.len() + facts.memory.len() < 1000);
        for pedestal in [Pedestal::Xen, Pedestal::Hetero] {
            if let Some(image) = boot::make(&elf, pedestal, &mut report).unwrap() {
                let size = image.size();
                assert!(size <= 2 * bytes.len() as u64 + (16 << 20) + 4096, "{size} bytes");
                image.read_at(size / 2, &mut [0; 64]).unwrap();
            }
        }
    }
    for finding in report.iter() {
        assert!(finding.message.len() < 1000 && !finding.remedy.is_empty(), "{finding:?}");
    }
}

#[test]
fn many_headers_over_the_same_bytes_take_linear_time() {
    let shared = [note("GNU", 3, &[0; 20]), vec![0; 4 << 20]].concat();
    let one = TestElf::new().with_segment(Segment::of_kind(4, &shared));
    let mut bytes = one.bytes();
    // 60000 note segments and loads over nearly the whole file, each from another offset and with the same bytes.
    let most_of_the_file = |kind: u32, offset: u64| {
        let mut header = Vec::new();
        header.extend_from_slice(&kind.to_le_bytes());
        header.extend_from_slice(&5u32.to_le_bytes());
        for value in [offset, 0x4000_0000, 0x4000_0000, 3 << 20, 3 << 20, 4] {
            header.extend_from_slice(&value.to_le_bytes());
        }
        header
    };
    let table_at = bytes.len() as u64;
    for index in 0..60_000 {
        bytes.extend(most_of_the_file(if index % 2 == 0 { 1 } else { 4 }, 4096 + index));
    }
    bytes[0x20..0x28].copy_from_slice(&table_at.to_le_bytes());
    bytes[0x38..0x3a].copy_from_slice(&60_000u16.to_le_bytes());

    let start = Instant::now();
    look_at(&bytes);
    // Quadratic time would be hours; a busy machine may take a second.
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

/// A file with everything that the reader looks at.
fn rich_file(is_64_bit: bool) -> Vec<u8> {
    let elf = if is_64_bit { TestElf::new() } else { TestElf::new_32_bit(ARM, 0) };
    elf.with_text("*** Booting Zephyr OS build v3.5.0 ***\0")
        .with_segment(Segment::of_kind(4, &note("GNU", 3, &[0; 20])))
        .with_segment(Segment::of_kind(2, &[0; 64]))
        .with_section(Section::named("initlevel"))
        .with_section(Section { flags: 0, data: vec![0; 300], ..Section::named(".debug_info") })
        .with_section(cortex_m_attributes())
        .with_resource_table(&support::resource_table(&[support::rpmsg_device()]))
        .with_symbols(&["main", "CONFIG_X", "__bss_start", "__bss_end", "__StackTop"])
        .bytes()
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        look_at(&bytes);
        look_at(&[&b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xb7\0"[..], &bytes].concat());
    }

    #[test]
    fn any_change_of_a_good_file_is_survived(
        is_64_bit in any::<bool>(),
        changes in prop::collection::vec((0.0..1.0f64, prop_oneof![Just(0u8), Just(1), Just(0x7f), Just(0xff), any::<u8>()]), 1..12),
        in_headers in any::<bool>(),
        length in prop_oneof![Just(1.0f64), 0.0..1.0f64],
    ) {
        let mut bytes = rich_file(is_64_bit);
        // Most of what matters is in the ELF header, the program headers and, at the end, the section headers.
        let span = if in_headers { 240 } else { bytes.len() };
        for (place, value) in changes {
            let at = (place * span as f64) as usize;
            bytes[at] = value;
            let from_end = bytes.len() - 1 - at;
            bytes[from_end] ^= value;
        }
        bytes.truncate((bytes.len() as f64 * length) as usize);
        look_at(&bytes);
    }
}
