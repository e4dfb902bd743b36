//! A firmware is refused before micad is asked for it, with the reason and what to do; what micad can use is not.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

#[allow(dead_code, reason = "shared with the tests of the image builder")]
#[path = "support/test_elf.rs"]
mod test_elf;

use micrun_firmware_elf::ReadError;
use micrun_firmware_elf::resource_table::{ForMicad, for_micad};
use micrun_image_spec::firmware::Pedestal;
use test_elf::{Section, TestElf, resource_table as table, rpmsg_device};

const MICADS: [Pedestal; 4] = [Pedestal::Xen, Pedestal::Baremetal, Pedestal::Jailhouse, Pedestal::Hetero];

fn with(entries: &[Vec<u32>]) -> TestElf {
    TestElf::new().with_resource_table(&table(entries))
}

/// What micad makes of a firmware on a pedestal.
fn on(pedestal: Pedestal, elf: &TestElf) -> ForMicad {
    for_micad(&elf.bytes(), pedestal).unwrap()
}

fn vring_offsets() -> Vec<u32> {
    [vec![130], vec![0; 8]].concat()
}

/// A virtio device whose vrings lie where the firmware says.
fn fixed_device() -> Vec<u32> {
    let vring = |at| [at, 4096, 8, 0, 0];
    [vec![3, 7, 0, 1, 0, 0, 2 << 8], vring(0x7000_1000).to_vec(), vring(0x7000_2000).to_vec()].concat()
}

fn is_broken_with(verdict: &ForMicad, words: &str) -> bool {
    matches!(verdict, ForMicad::Broken(why) if why.contains(words))
}

#[test]
fn what_real_guests_have_is_good_everywhere() {
    let endpoints = [vec![128, 0], vec![0; 640]].concat();
    let trace = [vec![2, 0x4010_0000, 1023, 0], vec![0; 8]].concat();
    for entries in [
        vec![endpoints, rpmsg_device(), vring_offsets()],
        vec![rpmsg_device(), trace, vring_offsets()],
        vec![vec![511], vec![200, 1, 2, 3], fixed_device()],
    ] {
        for pedestal in MICADS {
            assert_eq!(on(pedestal, &with(&entries)), ForMicad::Ok, "{pedestal}: {entries:?}");
        }
    }
}

#[test]
fn a_firmware_without_a_table_is_told_from_one_with_a_bad_table() {
    for pedestal in MICADS {
        let ForMicad::Absent(why) = on(pedestal, &TestElf::new()) else { panic!("{pedestal}") };
        assert!(why.contains("no resource table, which micad needs; build it with OpenAMP"), "{why}");
    }
    let stripped = with(&[fixed_device()]).without_sections();
    let ForMicad::Absent(why) = on(Pedestal::Xen, &stripped) else { panic!() };
    assert!(why.contains("before they were stripped"), "{why}");
    assert!(matches!(on(Pedestal::Xen, &TestElf::new().with_resource_table(&[])), ForMicad::Absent(_)));
}

#[test]
fn a_table_that_micad_would_fail_with_is_refused_with_a_remedy() {
    let data = table(&[fixed_device()]);
    let elsewhere = TestElf::new().with_section(Section { data, ..Section::named(".resource_table") });
    assert!(is_broken_with(&on(Pedestal::Xen, &elsewhere), "no segment that is loaded; make the section"));

    let mut spoilt = table(&[fixed_device()]);
    spoilt[0] = 2;
    let spoilt = TestElf::new().with_resource_table(&spoilt);
    assert!(is_broken_with(&on(Pedestal::Hetero, &spoilt), "its version is 2"));

    let unknown = with(&[vec![77], fixed_device()]);
    assert!(is_broken_with(&on(Pedestal::Baremetal, &unknown), "type 77, which no host knows"));

    let left_to_the_host = with(&[rpmsg_device()]);
    assert!(is_broken_with(&on(Pedestal::Xen, &left_to_the_host), "entry of type 130"));
    assert_eq!(on(Pedestal::Baremetal, &left_to_the_host), ForMicad::Ok, "both see it at the same address");

    let large = [table(&[fixed_device()]), vec![0; 4096]].concat();
    let large = TestElf::new().with_resource_table(&large);
    assert!(is_broken_with(&on(Pedestal::Jailhouse, &large), "micad has 4096 for it"));
    assert_eq!(on(Pedestal::Baremetal, &large), ForMicad::Ok, "there it stays where it is");
}

#[test]
fn a_carveout_without_a_length_is_no_reason_to_refuse() {
    let empty = [vec![0, 0x1000, u32::MAX, 0, 0, 0], vec![0; 8]].concat();
    assert_eq!(on(Pedestal::Baremetal, &with(&[empty, fixed_device()])), ForMicad::Ok);
}

#[test]
fn what_is_no_firmware_is_an_error() {
    let error = for_micad(&&b"#!/bin/sh\n"[..], Pedestal::Xen).unwrap_err();
    assert!(matches!(error, ReadError::NotElf), "{error}");
}
