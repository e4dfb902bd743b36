//! `inspect` says what is in a firmware, and nothing that the file does not say. Needs the packages u-boot-qemu,
//! opensbi, make, gcc-arm-none-eabi and gcc-aarch64-linux-gnu.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

mod support;

use std::process::Command;

use micrun_image_builder::elf::Elf;
use micrun_image_builder::inspect::{Address, Facts, FloatAbi, MemoryNeed, Purpose};
use micrun_image_spec::board::Boards;
use micrun_image_spec::firmware::Pedestal;
use serde_json::Value;
use support::{
    ARM, RISCV, RWX, Section, Segment, Symbol, TestElf, builder, cortex_m_attributes, debian_firmware, note,
    resource_table, rpmsg_device, stderr, stdout, tool,
};

fn facts(elf: &TestElf) -> Facts {
    facts_on(elf, None)
}

fn facts_on(elf: &TestElf, board: Option<&str>) -> Facts {
    let (file, boards) = (elf.bytes(), Boards::builtin());
    let board = board.map(|name| boards.get(name).unwrap());
    Facts::of(&Elf::read(&file).unwrap(), board, &boards).unwrap()
}

/// Region and size of each need.
fn needs(facts: &Facts) -> Vec<(Option<&str>, u64)> {
    facts.memory.iter().map(|need: &MemoryNeed| (need.region.as_deref(), need.size)).collect()
}

fn inspect(args: &[&str]) -> (String, Value) {
    let run = |args: &[&str]| {
        let output = builder().arg("inspect").args(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        stdout(&output)
    };
    let json = run(&[args, &["--format", "json"]].concat());
    (run(args), serde_json::from_str(&json).unwrap())
}

#[test]
fn the_float_abi_is_what_the_toolchain_said() {
    let abi = |elf: &TestElf| facts(elf).core.float_abi.map(|abi| abi.value);
    assert_eq!(abi(&TestElf::new()), Some(FloatAbi::Hard));
    let arm = |flags| TestElf { flags, ..TestElf::new_32_bit(ARM, 0) };
    assert_eq!(abi(&arm(0x500_0200)), Some(FloatAbi::Soft));
    assert_eq!(abi(&arm(0x500_0400)), Some(FloatAbi::Hard));
    assert_eq!(abi(&arm(0x500_0000)), None, "nobody said it");
    let vfp_args = b"A\x13\0\0\0aeabi\0\x01\x09\0\0\0\x07M\x1c\x01".to_vec();
    let attributes = Section { data: vfp_args, ..cortex_m_attributes() };
    assert_eq!(abi(&arm(0x500_0200).with_section(attributes)), Some(FloatAbi::Hard), "attributes come first");
    let riscv = |flags| TestElf { flags, ..TestElf::new_32_bit(RISCV, 0x8000_0000) };
    for (flags, expected) in [(1, FloatAbi::Soft), (3, FloatAbi::Single), (5, FloatAbi::Double)] {
        assert_eq!(abi(&riscv(flags)), Some(expected));
    }
    assert_eq!(facts(&riscv(9)).core.features, ["compressed instructions (RVC)", "16 registers (RVE)"]);
    assert_eq!(abi(&TestElf::new_32_bit(3, 0x10_0000)), None, "x86");
}

#[test]
fn an_unknown_rtos_and_version_stay_unknown() {
    assert_eq!(facts(&TestElf::new()).rtos, None);
    let format_string = TestElf::new().with_text("*** Booting Zephyr OS build %s %s ***\0");
    let rtos = facts(&format_string).rtos.unwrap();
    assert_eq!((rtos.name.as_str(), rtos.version), ("zephyr", None));
}

#[test]
fn a_thumb_entry_is_an_address_and_a_mark() {
    let entry = facts(&TestElf { entry: 0x41, ..TestElf::new_32_bit(ARM, 0) }).entry;
    assert_eq!((entry.address, entry.thumb), (Address(0x40), true));
    assert!(!facts(&TestElf::new()).entry.thumb);
}

#[test]
fn ram_is_needed_from_the_beginning_of_its_region() {
    let mut elf = TestElf::new();
    elf.segments[0].memsz = 0x1000;
    let facts = facts(&elf);
    assert_eq!(facts.board.as_ref().unwrap().value, "qemu_arm64");
    assert_eq!(needs(&facts), [(Some("ram"), 0x8_1000)]);
    assert_eq!(facts.memory[0].because, "from the beginning of the region to the end of segment 0");
}

/// Code in flash, data that are copied to RAM, and a stack at the very top of it.
fn microcontroller() -> TestElf {
    let data =
        Segment { vaddr: 0x2000_0000, paddr: 0x100, flags: 6, memsz: 0x400, ..Segment::load(0, &[1; 64]) };
    let mut elf = TestElf::new_32_bit(ARM, 0).with_segment(data).with_section(cortex_m_attributes());
    elf.segments[0].data[..8].copy_from_slice(&[0, 0x80, 0, 0x20, 0x41, 0, 0, 0]);
    elf
}

fn ram_needed(elf: &TestElf) -> u64 {
    facts(elf).memory[1].size
}

#[test]
fn flash_and_ram_of_a_microcontroller_are_told_apart() {
    let facts = facts(&microcontroller());
    assert_eq!(needs(&facts), [(Some("flash"), 0x140), (Some("sram"), 0x8000)], "the stack is at the top");
    assert!(facts.memory[1].because.contains("vector table"), "{}", facts.memory[1].because);
    let mut no_vectors = microcontroller();
    no_vectors.segments[0].data[4] = 0x40;
    assert_eq!(ram_needed(&no_vectors), 0x400, "no Thumb code where the reset vector would be");
    let data = &facts.segments[1];
    assert_eq!((data.what, data.permissions.as_str()), ("data, bss", "rw-"));
    assert_eq!((data.load_region.as_deref(), data.run_region.as_deref()), (Some("flash"), Some("sram")));
}

#[test]
fn without_a_board_large_gaps_divide_memory() {
    let far = |address| Segment { flags: RWX, ..Segment::load(address, &[1; 64]) };
    let elf = TestElf { machine: 62, ..TestElf::new() }
        .with_segment(far(0x4008_2000))
        .with_segment(far(0x9000_0000))
        .with_segment(far(u64::MAX - 63));
    let facts = facts(&elf);
    assert_eq!(facts.board, None);
    assert_eq!(needs(&facts), [(None, 0x2040), (None, 0x40)], "what wraps is nothing to be added");
}

#[test]
fn stacks_and_heaps_are_listed_with_what_says_so() {
    let object = |name, value, size| Symbol { name, value, size, is_object: true };
    let number = |name, value| Symbol { name, value, ..Symbol::default() };
    let mut elf = TestElf::new();
    elf.segments[0].memsz = 0x200;
    let elf = elf.with_symbol_table(&[
        object("z_main_stack", 0x4009_0000, 4096),
        object("kheap__system_heap", 0x400a_0000, 65536),
        object("ucHeap", 0x400b_0000, 3000),
        object("_heap_stack", 0x400b_0000, 8),
        object("a_stackless_thing", 0x400b_0000, 100),
        number("z_idle_stacks", 0),
        number("__bss_start__", 0x1000),
        number("__bss_end__", 0x400c_0000),
        number("__bss_start", 0x4008_0100),
        number("__bss_end", 0x4008_0200),
        number("CONFIG_MAIN_STACK_SIZE", 4096),
        number("__StackTop", 0x400d_0000),
    ]);
    let facts = facts(&elf);
    let listed: Vec<_> = facts.reservations.iter().map(|r| (r.purpose, r.name.as_str(), r.size)).collect();
    assert_eq!(
        listed,
        [
            (Purpose::Stack, "CONFIG_MAIN_STACK_SIZE", Some(4096)),
            (Purpose::Stack, "z_main_stack", Some(4096)),
            (Purpose::Stack, "__StackTop", None),
            (Purpose::Heap, "kheap__system_heap", Some(65536)),
            (Purpose::Heap, "ucHeap", Some(3000)),
            (Purpose::Bss, "__bss_start..__bss_end", Some(0x100)),
        ]
    );
    assert_eq!(facts.debug.symbols, 12);
}

#[test]
fn sections_tell_where_symbols_were_stripped() {
    let no_bits = |name| Section { kind: 8, flags: 3, ..Section::named(name) };
    let elf = TestElf::new().with_section(no_bits(".stack")).with_section(no_bits("bss"));
    let names: Vec<_> = facts(&elf).reservations.into_iter().map(|r| r.name).collect();
    assert_eq!(names, ["section .stack", "section bss"]);
}

#[test]
fn debug_information_has_a_version_and_a_build_an_id() {
    let debug = |data: &[u8]| Section { flags: 0, data: data.to_vec(), ..Section::named(".debug_info") };
    let elf = TestElf::new()
        .with_section(debug(&[60, 0, 0, 0, 5, 0, 1, 8]))
        .with_section(Section { data: note("GNU", 3, &[0xab; 20]), ..Section::named(".note.gnu.build-id") });
    let found = facts(&elf).debug;
    assert_eq!((found.size, found.dwarf), (8, Some(5)));
    assert_eq!(found.build_id.unwrap(), "ab".repeat(20));
    let wide = TestElf::new().with_section(debug(b"\xff\xff\xff\xff\x40\0\0\0\0\0\0\0\x04\0"));
    assert_eq!(facts(&wide).debug.dwarf, Some(4));
    let compressed = TestElf::new().with_section(debug(&[1, 0, 0, 0, 0, 0, 0, 0]));
    assert_eq!(facts(&compressed).debug.dwarf, None);
}

#[test]
fn pedestals_are_possible_or_not_for_a_reason() {
    let possible = |elf: &TestElf| -> Vec<Pedestal> {
        facts(elf).pedestals.into_iter().filter(|fit| fit.possible).map(|fit| fit.pedestal).collect()
    };
    assert_eq!(possible(&TestElf::new()), [Pedestal::Qemu, Pedestal::Xen, Pedestal::Remoteproc]);
    let guest = TestElf::new().with_resource_table(&resource_table(&[rpmsg_device()]));
    assert!(possible(&guest).contains(&Pedestal::Baremetal));
}

#[test]
fn a_resource_table_is_shown_with_its_places_on_the_board() {
    let dir = tempfile::tempdir().unwrap();
    let board = dir.path().join("boards.d");
    std::fs::create_dir(&board).unwrap();
    std::fs::write(
        board.join("mine.yaml"),
        "name: mine\ndescription: a gateway\narch: aarch64\npedestals: [baremetal]\nmemory:\n  \
         - { name: ram, base: 0x40000000, size: 256M, kind: ram }\n  \
         - { name: shared, base: 0x70000000, size: 64K, kind: reserved }\n",
    )
    .unwrap();
    let carveout =
        [vec![0, 0x7000_0000, u32::MAX, 4096, 0, 0], vec![u32::from_le_bytes(*b"buf\0")], vec![0; 7]];
    let table = resource_table(&[carveout.concat(), rpmsg_device(), vec![200, 1]]);
    let firmware = dir.path().join("guest.elf");
    TestElf::new().with_resource_table(&table).write_to(&firmware);
    let (text, json) =
        inspect(&[firmware.to_str().unwrap(), "--board", "mine", "--boards-dir", board.to_str().unwrap()]);
    for line in [
        "  0  carveout           \"buf\", 4 KiB, at 0x70000000, physical anywhere, flags 0x0",
        "  1  vdev               virtio id 7 (RPMsg), features 0x1, 0 bytes of configuration, notify id 2",
        "     vring 0            anywhere, 8 buffers, aligned to 4, notify id 0",
        "  2  vendor type (200)",
        "    carveout \"buf\"  4 KiB  0x70000000  in shared, which the board reserves",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    let table = &json["firmware"]["resource_table"];
    assert_eq!(table["table"]["entries"][0]["da"], "0x70000000");
    assert_eq!(table["table"]["entries"][1]["vrings"][0]["da"], Value::Null);
    assert_eq!(table["shared_memory"][0]["reserved"], true);
}

#[test]
fn real_firmware_is_described() {
    let u_boot = debian_firmware("/usr/lib/u-boot/qemu_arm/uboot.elf");
    let (text, json) = inspect(&[u_boot.to_str().unwrap()]);
    assert!(text.contains("  float ABI     soft (flag of the ELF header)\n"), "{text}");
    let firmware = &json["firmware"];
    assert_eq!(firmware["architecture"], "arm");
    assert_eq!(firmware["model"], "7-A");
    assert_eq!(firmware["rtos"]["name"], "u-boot");
    assert_eq!(firmware["memory"][0]["region"], "flash");
    assert_eq!(firmware["resource_table"], Value::Null);

    let opensbi = debian_firmware("/usr/lib/riscv64-linux-gnu/opensbi/generic/fw_jump.elf");
    let (text, json) = inspect(&[opensbi.to_str().unwrap()]);
    assert!(text.contains("code, data, bss  rwx"), "{text}");
    assert!(json["firmware"]["model"].as_str().unwrap().starts_with("rv64i"), "{json}");
    assert_eq!(json["firmware"]["memory"][0]["from"], "0x80000000");
    assert_eq!(json["firmware"]["reservations"][0]["name"], "section .bss");
}

#[test]
fn our_test_firmware_is_described() {
    let dir = tempfile::tempdir().unwrap();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../recipes-test/firmware");
    let out = format!("OUT={}", dir.path().display());
    tool("make gcc-arm-none-eabi", Command::new("make").args(["-sC", source, "BOARD=qemu_cortex_m3", &out]));
    let (text, json) = inspect(&[dir.path().join("qemu_cortex_m3.elf").to_str().unwrap()]);
    let firmware = &json["firmware"];
    assert_eq!(
        (&firmware["board"]["value"], &firmware["entry"]["thumb"]),
        (&"qemu_cortex_m3".into(), &true.into())
    );
    assert!(text.contains("flash, runs in sram"), "{text}");
    assert_eq!(firmware["reservations"][0]["name"], "__stack_start..__stack_end");
    assert_eq!(firmware["reservations"][0]["size"], 8192);
    assert_eq!(firmware["rtos"], Value::Null, "it has none");
}

/// A packed structure, as firmware has it: the compiler lays it out, not this test.
const GUEST: &str = r#"
#include <stddef.h>
#include <stdint.h>
struct __attribute__((packed)) table {
    uint32_t version, count, reserved[2], offsets[2];
    struct __attribute__((packed)) { uint32_t type, da, len, reserved; char name[32]; } trace;
    struct __attribute__((packed)) {
        uint32_t type, id, notify_id, features, accepted, config_len;
        uint8_t status, vrings, reserved[2];
        struct __attribute__((packed)) { uint32_t da, align, num, notify_id, pa; } vring[2];
    } vdev;
};
__attribute__((section(".resource_table"), used)) struct table resources = {
    1, 2, {0, 0}, {offsetof(struct table, trace), offsetof(struct table, vdev)},
    {2, 0x40100000, 1023, 0, "console"},
    {3, 7, 0, 1, 0, 0, 0, 2, {0, 0}, {{-1u, 4096, 256, 0, 0}, {-1u, 4096, 256, 1, 0}}},
};
void _start(void) { for (;;); }
"#;

#[test]
fn a_resource_table_is_read_as_a_compiler_writes_it() {
    let dir = tempfile::tempdir().unwrap();
    let (source, firmware) = (dir.path().join("guest.c"), dir.path().join("guest.elf"));
    std::fs::write(&source, GUEST).unwrap();
    let mut compiler = Command::new("aarch64-linux-gnu-gcc");
    compiler.args([
        "-g",
        "-gdwarf-5",
        "-ffreestanding",
        "-nostdlib",
        "-static",
        "-Wl,--nmagic,-Ttext=0x40080000",
    ]);
    tool("gcc-aarch64-linux-gnu", compiler.arg("-o").arg(&firmware).arg(&source));
    let (_, json) = inspect(&[firmware.to_str().unwrap()]);
    let table = &json["firmware"]["resource_table"]["table"];
    assert_eq!(table["entries"][0]["name"], "console");
    assert_eq!(table["entries"][0]["len"], 1023);
    assert_eq!(table["entries"][1]["vrings"][1]["notify_id"], 1);
    assert_eq!(table["broken"], Value::Null);
    assert_eq!(json["firmware"]["debug"]["dwarf"], 5);
    let mut pedestals = json["firmware"]["pedestals"].as_array().unwrap().iter();
    assert!(pedestals.any(|fit| fit["pedestal"] == "baremetal" && fit["possible"] == true), "{json}");
}

#[test]
fn what_is_no_firmware_is_refused_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("text");
    std::fs::write(&file, "hello\n").unwrap();
    let output = builder().arg("inspect").arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("error[MIC102]"), "{}", stderr(&output));
    let output = builder().arg("inspect").arg(&file).args(["--format", "json"]).output().unwrap();
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json["firmware"], &json["findings"][0]["code"]), (&Value::Null, &Value::from("MIC102")));

    let cut = dir.path().join("cut.elf");
    std::fs::write(&cut, &TestElf::new().bytes()[..200]).unwrap();
    let output = builder().arg("inspect").arg(&cut).output().unwrap();
    assert!(output.status.success() && stdout(&output).contains("0x40080000"), "{}", stdout(&output));
    assert!(stderr(&output).contains("error[MIC106]"), "{}", stderr(&output));
}
