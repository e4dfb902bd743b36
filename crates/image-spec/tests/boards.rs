//! A node's administrator adds boards; firmware people ask for them by name.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop at once")]

use std::fs;

use micrun_image_spec::board::{BoardError, BoardProfile, Boards, ExitConvention, Origin, XenConsole};
use micrun_image_spec::firmware::{Arch, Pedestal};
use micrun_image_spec::units::Mib;

const MINE: &str = "\
name: my_board
aliases: [mine]
description: a board of ours
arch: aarch64
pedestals: [qemu]
memory:
  - { name: ram, base: 0x40000000, size: 64M, kind: ram }
qemu:
  machine: virt
  memory: 64M
";

#[test]
fn every_builtin_board_is_there() {
    let boards = Boards::builtin();
    let names: Vec<_> = boards.iter().map(|(board, _)| board.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "qemu-riscv64",
            "qemu_arm",
            "qemu_arm64",
            "qemu_cortex_a53",
            "qemu_cortex_m3",
            "qemu_riscv32",
            "qemu_riscv64",
            "qemu_x86",
            "xen_arm64",
            "xen_arm64_vuart",
        ]
    );
    for (board, origin) in boards.iter() {
        assert_eq!(origin, &Origin::BuiltIn);
        assert_eq!(&BoardProfile::parse("again", &board.to_yaml()).unwrap(), board);
        for name in std::iter::once(&board.name).chain(&board.aliases) {
            assert_eq!(boards.get(name.as_str()), Some(board), "{name} belongs to one board");
        }
        let mut replaced = boards.clone();
        replaced.add(board.clone(), Origin::File("a.yaml".into())).unwrap();
        assert_eq!(replaced.iter().count(), names.len(), "the file is named like its board");
    }
    let zephyr = boards.get("qemu_riscv64").unwrap();
    let qemu = zephyr.qemu.as_ref().unwrap();
    assert_eq!((zephyr.arch, qemu.memory, qemu.exit), (Arch::Riscv64, Mib(256), ExitConvention::Status));
    assert_eq!(qemu.args.as_slice(), ["-bios", "none"]);
    assert_eq!(boards.get("lm3s6965evb").unwrap().name.as_str(), "qemu_cortex_m3");
    assert!(boards.get("qemu_z80").is_none());
    let consoles = ["xenvm", "xen_arm64_vuart"].map(|name| {
        let board = boards.get(name).unwrap();
        assert_eq!((board.pedestals.as_slice(), &board.qemu), (&[Pedestal::Xen][..], &None));
        board.xen.clone().unwrap_or_default().console
    });
    assert_eq!(consoles, [XenConsole::Pv, XenConsole::Vuart]);
}

#[test]
fn a_directory_adds_boards_and_replaces_builtin_ones() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("10-mine.yaml"), MINE).unwrap();
    fs::write(
        dir.path().join("20-arm64.yaml"),
        MINE.replace("my_board", "qemu_arm64").replace("[mine]", "[]"),
    )
    .unwrap();
    fs::write(dir.path().join("README"), "not a board").unwrap();

    let boards = Boards::load(&[dir.path().to_owned(), dir.path().join("absent")]).unwrap();

    assert_eq!(boards.get("mine").unwrap().name.as_str(), "my_board");
    assert_eq!(boards.get("qemu_arm64").unwrap().description, "a board of ours");
    assert_eq!(boards.origin("mine"), Some(&Origin::File(dir.path().join("10-mine.yaml"))));
}

#[test]
fn a_section_belongs_to_a_pedestal() {
    let console = "xen: { console: vuart }\n";
    let error = BoardProfile::parse("mine", &format!("{MINE}{console}")).unwrap_err();
    assert!(error.to_string().contains("pedestals does not list xen"), "{error}");
    let both = MINE.replace("[qemu]", "[qemu, xen]") + console;
    assert_eq!(BoardProfile::parse("mine", &both).unwrap().xen.unwrap().console, XenConsole::Vuart);
    assert!(BoardProfile::parse("mine", &both.replace("vuart", "telegraph")).is_err());
}

#[test]
fn a_board_may_say_which_memory_is_shared_with_the_node() {
    let board = BoardProfile::parse("mine", MINE).unwrap();
    assert_eq!(board.memory.reserved().count(), 0);
    let shared =
        MINE.replace("qemu:", "  - { name: shared, base: 0x70000000, size: 1M, kind: reserved }\nqemu:");
    let board = BoardProfile::parse("mine", &shared).unwrap();
    let reserved: Vec<_> = board.memory.reserved().map(|region| region.name.as_str()).collect();
    assert_eq!(reserved, ["shared"]);
    assert_eq!(BoardProfile::parse("again", &board.to_yaml()).unwrap(), board);
}

#[test]
fn an_error_names_the_file_and_the_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("typo.yaml");
    fs::write(&file, MINE.replace("machine: virt", "machine: virt\n  cpu: \"a b\"")).unwrap();
    let error = Boards::load(&[dir.path().to_owned()]).unwrap_err();
    assert!(
        matches!(error, BoardError::Invalid { line: Some(9), .. }),
        "where the section begins: {error:?}"
    );
    assert!(error.to_string().contains("typo.yaml line 9: qemu: `a b`"), "{error}");

    fs::write(&file, MINE.replace("mine", "qemu_arm")).unwrap();
    let error = Boards::load(&[dir.path().to_owned()]).unwrap_err();
    assert!(matches!(error, BoardError::NameTaken { .. }), "{error}");

    fs::write(&file, "#".repeat(100_000)).unwrap();
    let error = Boards::load(&[dir.path().to_owned()]).unwrap_err();
    assert!(matches!(error, BoardError::TooLarge { .. }), "{error}");

    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    let error = Boards::load(&[dir.path().to_owned()]).unwrap_err();
    assert!(matches!(error, BoardError::Read { .. }), "{error}");
}

#[test]
fn the_exit_convention_reads_qemus_status() {
    use ExitConvention::*;
    assert_eq!(None.guest_code(0), Option::None);
    assert_eq!(Status.guest_code(7), Some(7));
    assert_eq!(IsaDebugExit.guest_code(7 << 1 | 1), Some(7));
    assert_eq!(IsaDebugExit.guest_code(0), Option::None, "QEMU's own end");
}

#[test]
fn the_documented_example_is_a_valid_board() {
    let document = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/boards.md")).unwrap();
    let example = document.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert_eq!(BoardProfile::parse("docs/boards.md", example).unwrap().name.as_str(), "my_board");
    for (board, _) in Boards::builtin().iter() {
        assert!(document.contains(&format!("| `{board}` |")), "{board} is missing in docs/boards.md");
    }
}
