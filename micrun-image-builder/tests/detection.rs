//! What is recognised in a firmware, and what is not made up.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

mod support;

use micrun_image_builder::detect::{guess_board, identify, outside_memory};
use micrun_image_builder::elf::Elf;
use micrun_image_spec::board::Boards;
use micrun_image_spec::firmware::Rtos;
use support::{ARM, RISCV, Section, Segment, TestElf, cortex_m_attributes};

/// RTOS and version.
fn recognised(elf: &TestElf) -> Option<(String, Option<String>)> {
    let bytes = elf.bytes();
    let identity = identify(&Elf::read(&bytes).unwrap()).unwrap()?;
    Some((identity.rtos.to_string(), identity.version))
}

fn board(elf: &TestElf, rtos: Option<Rtos>) -> Option<String> {
    let bytes = elf.bytes();
    let boards = Boards::builtin();
    guess_board(&Elf::read(&bytes).unwrap(), rtos.as_ref(), &boards).map(|guess| guess.board.name.to_string())
}

fn some(rtos: &str, version: Option<&str>) -> Option<(String, Option<String>)> {
    Some((rtos.to_owned(), version.map(str::to_owned)))
}

#[test]
fn zephyr_is_known_by_any_of_its_traces() {
    let elf = TestElf::new;
    let sections =
        |names: &[&'static str]| names.iter().fold(elf(), |elf, name| elf.with_section(Section::named(name)));
    assert_eq!(recognised(&sections(&["initlevel", "device_area"])), some("zephyr", None));
    assert_eq!(recognised(&sections(&["initlevel", "devices"])), some("zephyr", None), "3.2");
    assert_eq!(recognised(&sections(&["text", "rodata", "datas"])), some("zephyr", None), "stripped");
    assert_eq!(recognised(&sections(&["text", "rodata"])), None, "others have these");
    assert_eq!(recognised(&elf().with_symbols(&["main", "z_cstart"])), some("zephyr", None));
    assert_eq!(recognised(&elf().with_symbols(&["CONFIG_FLASH_SIZE"])), some("zephyr", None));
    assert_eq!(recognised(&elf().with_text("ZEPHYR FATAL ERROR %d\0")), some("zephyr", None));
}

#[test]
fn a_version_is_reported_only_if_it_is_one() {
    let banner = |rest: &str| TestElf::new().with_text(&format!("*** Booting Zephyr OS build {rest}\0"));
    assert_eq!(recognised(&banner("zephyr-v3.5.0 ***")), some("zephyr", Some("3.5.0")));
    assert_eq!(recognised(&banner("v3.5.0-12-gabcdef ***")), some("zephyr", Some("3.5.0-12-gabcdef")));
    assert_eq!(recognised(&banner("%s %s ***")), some("zephyr", None));
    assert_eq!(recognised(&banner(" ***")), some("zephyr", None));
}

#[test]
fn other_systems_are_known_too() {
    let uniproton = TestElf::new().with_text("UniProton 24.03-LTS\0");
    assert_eq!(recognised(&uniproton), some("uniproton", Some("24.03-LTS")));
    let by_section = TestElf::new().with_section(Section::named(".start_bspinit"));
    assert_eq!(recognised(&by_section), some("uniproton", None));
    assert_eq!(recognised(&TestElf::new().with_symbols(&["OsHwInit"])), some("uniproton", None));
    let freertos = TestElf::new_32_bit(ARM, 0).with_symbols(&["vTaskStartScheduler"]);
    assert_eq!(recognised(&freertos), some("freertos", None));
    assert_eq!(recognised(&TestElf::new().with_symbols(&["rtthread_startup"])), some("rt-thread", None));
    let nuttx = TestElf::new().with_text("\nNuttShell (NSH) NuttX-12.0.0\n\0");
    assert_eq!(recognised(&nuttx), some("nuttx", Some("12.0.0")));
    assert_eq!(recognised(&TestElf::new().with_text("hello\0")), None);
}

#[test]
fn text_that_is_never_loaded_proves_nothing() {
    let debug = Section { flags: 0, data: b"ZEPHYR FATAL ERROR\0".to_vec(), ..Section::named(".debug_str") };
    assert_eq!(recognised(&TestElf::new().with_section(debug)), None);
}

#[test]
fn the_board_follows_from_system_core_and_address() {
    assert_eq!(board(&TestElf::new(), None).unwrap(), "qemu_arm64");
    assert_eq!(board(&TestElf::new(), Some(Rtos::Zephyr)).unwrap(), "qemu_cortex_a53");
    let riscv64 = TestElf { machine: RISCV, ..TestElf::new() };
    assert_eq!(board(&riscv64, None).unwrap(), "qemu-riscv64");
    assert_eq!(board(&riscv64, Some(Rtos::Zephyr)).unwrap(), "qemu_riscv64");
    assert_eq!(board(&TestElf::new_32_bit(RISCV, 0x8000_0000), None).unwrap(), "qemu_riscv32");
    assert_eq!(board(&TestElf::new_32_bit(ARM, 0), None).unwrap(), "qemu_arm");
    assert_eq!(board(&TestElf { machine: 62, ..TestElf::new() }, None), None);
}

#[test]
fn a_microcontroller_is_known_by_attributes_or_vector_table() {
    let with_attributes = TestElf::new_32_bit(ARM, 0).with_section(cortex_m_attributes());
    assert_eq!(board(&with_attributes, None).unwrap(), "qemu_cortex_m3");

    let mut with_vectors = TestElf { entry: 0x41, ..TestElf::new_32_bit(ARM, 0).without_sections() };
    with_vectors.segments[0].data[..8].copy_from_slice(&[0, 0, 1, 0x20, 0x41, 0, 0, 0]);
    assert_eq!(board(&with_vectors, None).unwrap(), "qemu_cortex_m3");
}

#[test]
fn a_board_that_does_not_fit_is_better_than_none() {
    let bytes = TestElf::new_32_bit(3, 0xfff0_0000).bytes();
    let (elf, boards) = (Elf::read(&bytes).unwrap(), Boards::builtin());
    let guess = guess_board(&elf, None, &boards).unwrap();
    assert_eq!(guess.board.name.as_str(), "qemu_x86");
    assert_eq!(outside_memory(&elf, guess.board).unwrap().start, 0xfff0_0000);
}

#[test]
fn variables_need_memory_as_well() {
    let board_of = |arch, vaddr, paddr| {
        let variables = Segment { vaddr, paddr, flags: 6, memsz: 0x1_0001, ..Segment::load(0, &[1; 4]) };
        let elf = TestElf::new_32_bit(ARM, 0).with_segment(variables);
        let bytes = if arch == "m" { elf.with_section(cortex_m_attributes()) } else { elf }.bytes();
        let boards = Boards::builtin();
        let elf = Elf::read(&bytes).unwrap();
        let board = boards.get("qemu_cortex_m3").unwrap();
        outside_memory(&elf, board).map(|outside| (outside.start, outside.size))
    };
    let too_much = Some((0x2000_0000, 0x1_0001));
    assert_eq!(board_of("m", 0x2000_0000, 0x1000), too_much, "a byte more than the board's RAM");
    assert_eq!(board_of("m", 0x2000_0000, 0x2000_0000), too_much);
    assert_eq!(board_of("a", 0x2000_0000, 0x1000), None, "a virtual address");
}
