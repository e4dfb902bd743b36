//! Zephyr build directories of several ages and layouts are understood; what is none, or is damaged, is refused.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use micrun_image_builder::zephyr::{BoardTarget, Build, BuildInfo, Domains, Kconfig, kernel_version};
use micrun_image_spec::board::{BoardProfile, Boards, Origin};
use proptest::prelude::*;
use tempfile::TempDir;

/// Shared with the fuzzer; what begins with `good-` is read, the rest refused.
fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../recipes-test/fuzz/corpus/zephyr_yaml")
}

fn text(name: &str) -> String {
    fs::read_to_string(corpus().join(format!("good-{name}"))).unwrap()
}

fn write(path: impl AsRef<Path>, text: &str) {
    let path = path.as_ref();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A build directory; `files` are relative to it.
fn build(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    files.iter().for_each(|(name, text)| write(dir.path().join(name), text));
    dir
}

const OLD_CONFIG: &str = "#\n# Automatically generated file; DO NOT EDIT.\n#\nCONFIG_BOARD=\"qemu_cortex_a53_smp\"\n\
                          CONFIG_SOC=\"qemu_cortex_a53\"\nCONFIG_ARCH=\"arm64\"\nCONFIG_KERNEL_BIN_NAME=\"zephyr\"\n\
                          CONFIG_SRAM_SIZE=131072\nCONFIG_SRAM_BASE_ADDRESS=0x40000000\n# CONFIG_OPENAMP is not set\n\
                          CONFIG_SMP=y\n";
const VERSION_H: &str = "#ifndef _KERNEL_VERSION_H_\n#define KERNEL_VERSION_NUMBER 0x30500\n\
                         #define KERNEL_VERSION_STRING           \"3.5.0\"\n#endif\n";

#[test]
fn a_new_build_says_everything_in_build_info() {
    let dir = build(&[
        ("build_info.yml", &text("build_info.yml")),
        ("zephyr/.config", OLD_CONFIG),
        ("zephyr/zephyr.elf", "x"),
        ("zephyr/include/generated/zephyr/version.h", VERSION_H),
        ("spdx/zephyr.spdx", ""),
        ("spdx/app.spdx", ""),
        ("spdx/notes.txt", ""),
    ]);
    let found = Build::open(dir.path(), None).unwrap();
    assert_eq!(found.elf, dir.path().join("zephyr/zephyr.elf"));
    let board = found.board.unwrap();
    assert_eq!(
        (board.value.to_string().as_str(), board.by),
        ("qemu_cortex_a53/qemu_cortex_a53/smp", "build_info.yml")
    );
    let version = found.version.unwrap();
    assert_eq!((version.value.as_str(), version.by), ("4.1.0", "build_info.yml"));
    assert_eq!(found.application.unwrap().value, "blinky");
    assert!(found.kconfig.is_set("SMP") && !found.kconfig.is_set("OPENAMP"));
    assert_eq!(found.spdx, [dir.path().join("spdx/app.spdx"), dir.path().join("spdx/zephyr.spdx")]);
}

#[test]
fn an_old_build_says_enough_in_its_config() {
    let dir = build(&[
        ("zephyr/.config", OLD_CONFIG),
        ("zephyr/zephyr.elf", "x"),
        ("zephyr/include/generated/version.h", VERSION_H),
    ]);
    let found = Build::open(dir.path(), None).unwrap();
    let board = found.board.unwrap();
    assert_eq!((board.value.to_string().as_str(), board.by), ("qemu_cortex_a53_smp", "zephyr/.config"));
    let version = found.version.unwrap();
    assert_eq!((version.value.as_str(), version.by), ("3.5.0", "zephyr/include/generated/version.h"));
    assert_eq!(found.application, None);
    assert_eq!(found.kconfig.number("SRAM_BASE_ADDRESS"), Some(0x4000_0000));
    assert_eq!(found.kconfig.number("SRAM_SIZE"), Some(131_072));
    assert_eq!(found.kconfig.string("SOC"), Some("qemu_cortex_a53"));
}

#[test]
fn the_inner_directory_means_the_same_build() {
    let dir = build(&[
        ("build_info.yml", &text("revision.yml")),
        ("zephyr/.config", ""),
        ("zephyr/zephyr.elf", "x"),
    ]);
    let found = Build::open(&dir.path().join("zephyr"), None).unwrap();
    assert_eq!(found.elf, dir.path().join("zephyr/zephyr.elf"));
    assert_eq!(found.board.unwrap().value.to_string(), "nrf9160dk@0.14.0/nrf9160/ns");
    assert_eq!(found.application.unwrap().value, "modem");
}

#[test]
fn the_firmware_has_the_name_that_was_configured() {
    let config = "CONFIG_KERNEL_BIN_NAME=\"gateway\"\nCONFIG_BOARD_TARGET=\"qemu_x86/atom\"\nCONFIG_BOARD_REVISION=\"\"\n";
    let dir = build(&[("zephyr/.config", config), ("zephyr/gateway.elf", "x")]);
    let found = Build::open(dir.path(), None).unwrap();
    assert!(found.elf.ends_with("zephyr/gateway.elf"));
    assert_eq!(found.board.unwrap().value.to_string(), "qemu_x86/atom");

    let outside =
        build(&[("zephyr/.config", "CONFIG_KERNEL_BIN_NAME=\"../../x\"\n"), ("zephyr/zephyr.elf", "x")]);
    assert!(Build::open(outside.path(), None).is_err());
}

/// The paths in domains.yaml are those of the machine that built; here it is another one.
#[test]
fn of_several_domains_the_default_is_taken_unless_one_is_named() {
    let dir = build(&[
        ("domains.yaml", &text("domains.yaml")),
        ("mcuboot/zephyr/.config", "CONFIG_KERNEL_BIN_NAME=\"mcuboot\"\n"),
        ("mcuboot/zephyr/mcuboot.elf", "x"),
        ("blinky/build_info.yml", &text("build_info.yml")),
        ("blinky/zephyr/.config", OLD_CONFIG),
        ("blinky/zephyr/zephyr.elf", "x"),
        ("spdx/build.spdx", ""),
    ]);
    let found = Build::open(dir.path(), None).unwrap();
    assert_eq!(found.elf, dir.path().join("blinky/zephyr/zephyr.elf"));
    assert_eq!(found.spdx, [dir.path().join("spdx/build.spdx")]);
    let domains = found.domains.unwrap();
    assert_eq!(
        (domains.default.as_str(), domains.names().collect::<Vec<_>>()),
        ("blinky", vec!["mcuboot", "blinky"])
    );

    let other = Build::open(dir.path(), Some("mcuboot")).unwrap();
    assert_eq!(other.elf, dir.path().join("mcuboot/zephyr/mcuboot.elf"));

    let error = Build::open(dir.path(), Some("radio")).unwrap_err().to_string();
    assert!(error.contains("`radio`") && error.contains("mcuboot, blinky"), "{error}");
    let error = Build::open(&dir.path().join("blinky"), Some("radio")).unwrap_err().to_string();
    assert!(error.contains("no domains.yaml"), "{error}");
}

#[test]
fn a_domain_may_lie_elsewhere() {
    let elsewhere = build(&[("zephyr/.config", OLD_CONFIG), ("zephyr/zephyr.elf", "x")]);
    let path = elsewhere.path().display();
    let dir = build(&[(
        "domains.yaml",
        &format!("default: a\nbuild_dir: x\ndomains: [{{name: a, build_dir: '{path}'}}]\n"),
    )]);
    assert_eq!(Build::open(dir.path(), None).unwrap().elf, elsewhere.path().join("zephyr/zephyr.elf"));
}

#[test]
fn what_is_no_build_or_not_built_is_told_apart() {
    let empty = build(&[]);
    let error = Build::open(empty.path(), None).unwrap_err().to_string();
    assert!(error.contains("no Zephyr build directory") && error.contains("zephyr/.config"), "{error}");

    let configured = build(&[("zephyr/.config", OLD_CONFIG)]);
    let error = Build::open(configured.path(), None).unwrap_err().to_string();
    assert!(error.contains("configured but not built") && error.contains("zephyr.elf"), "{error}");

    let damaged = build(&[
        ("zephyr/.config", ""),
        ("zephyr/zephyr.elf", ""),
        ("build_info.yml", "cmake:\n  board: 5\n"),
    ]);
    let error = Build::open(damaged.path(), None).unwrap_err().to_string();
    assert!(error.contains("build_info.yml:2: cmake.board"), "{error}");

    let huge =
        build(&[("zephyr/.config", ""), ("zephyr/zephyr.elf", ""), ("build_info.yml", &"#".repeat(300_000))]);
    let error = Build::open(huge.path(), None).unwrap_err().to_string();
    assert!(error.contains("300000 bytes"), "{error}");
}

#[test]
fn board_targets_are_looked_up_from_the_most_specific_name() {
    for (target, names) in [
        ("qemu_x86", vec!["qemu_x86"]),
        ("nrf5340dk/nrf5340/cpuapp", vec!["nrf5340dk/nrf5340/cpuapp", "nrf5340dk/nrf5340", "nrf5340dk"]),
        (
            "nrf9160dk@0.14.0/nrf9160/ns",
            vec![
                "nrf9160dk@0.14.0/nrf9160/ns",
                "nrf9160dk/nrf9160/ns",
                "nrf9160dk@0.14.0/nrf9160",
                "nrf9160dk/nrf9160",
                "nrf9160dk@0.14.0",
                "nrf9160dk",
            ],
        ),
    ] {
        assert_eq!(target.parse::<BoardTarget>().unwrap().candidates(), names, "{target}");
    }
    for text in ["", "/soc", "a@", "a/", "a//b", "a@1@2", "a b", "@1", "a/../b/", "ä"] {
        assert!(text.parse::<BoardTarget>().is_err(), "{text}");
    }
}

#[test]
fn a_target_leads_to_a_profile() {
    let mut boards = Boards::builtin();
    let mine = Boards::builtin().get("qemu_arm").unwrap().to_yaml();
    for (name, alias) in
        [("nrf5340dk/nrf5340/cpuapp", "x1"), ("gateway@2", "x2"), ("gateway", "gateway_plain")]
    {
        let yaml = mine.replace("name: qemu_arm\n", &format!("name: {name}\naliases: [{alias}]\n"));
        boards.add(BoardProfile::parse("test", &yaml).unwrap(), Origin::BuiltIn).unwrap();
    }
    for (target, found, exact) in [
        ("qemu_cortex_a53/qemu_cortex_a53", Some("qemu_cortex_a53"), true),
        ("qemu_cortex_a53/qemu_cortex_a53/smp", Some("qemu_cortex_a53"), false),
        ("qemu_cortex_m3/ti_lm3s6965", Some("qemu_cortex_m3"), true),
        ("nrf5340dk_nrf5340_cpuapp", Some("nrf5340dk/nrf5340/cpuapp"), true),
        ("nrf5340dk/nrf5340/cpuapp/ns", Some("nrf5340dk/nrf5340/cpuapp"), false),
        ("nrf5340dk/nrf5340/cpunet", None, false),
        ("gateway@2/soc", Some("gateway@2"), false),
        ("gateway@3/soc", Some("gateway"), false),
        // No guesses from parts of a word.
        ("qemu_x86_64", None, false),
    ] {
        let matched = target.parse::<BoardTarget>().unwrap().find(&boards);
        assert_eq!(matched.as_ref().map(|m| m.board.name.as_str()), found, "{target}");
        assert_eq!(matched.is_some_and(|m| m.exact), exact, "{target}");
    }
}

#[test]
fn every_age_of_config_names_its_board() {
    for (config, target) in [
        ("CONFIG_BOARD=\"lm3s6965evb\"\n", Some("lm3s6965evb")),
        ("CONFIG_BOARD=\"nrf9160dk\"\nCONFIG_BOARD_REVISION=\"0.14.0\"\n", Some("nrf9160dk@0.14.0")),
        (
            "CONFIG_BOARD=\"a\"\nCONFIG_BOARD_QUALIFIERS=\"soc/cpu\"\nCONFIG_BOARD_REVISION=\"1\"\n",
            Some("a@1/soc/cpu"),
        ),
        ("CONFIG_BOARD=\"a\"\nCONFIG_BOARD_TARGET=\"a/soc\"\nCONFIG_BOARD_REVISION=\"1\"\n", Some("a@1/soc")),
        ("CONFIG_BOARD=\"a\"\nCONFIG_BOARD_TARGET=\"a@2/soc\"\n", Some("a@2/soc")),
        ("CONFIG_BOARD=\"\"\n", None),
        ("# CONFIG_BOARD is not set\n", None),
        ("CONFIG_BOARD=\"a\\\"b\"\n", None),
        ("\r\nCONFIG_BOARD=\"a\"\r\n", Some("a")),
    ] {
        let found = BoardTarget::from_kconfig(&Kconfig::parse(config));
        assert_eq!(found.map(|board| board.to_string()).as_deref(), target, "{config}");
    }
}

#[test]
fn only_a_version_is_a_version() {
    assert_eq!(kernel_version(VERSION_H).as_deref(), Some("3.5.0"));
    for header in [
        "",
        "#define KERNEL_VERSION_STRING",
        "#define KERNEL_VERSION_STRING \"%s\"",
        "KERNEL_VERSION_STRING \"3\"",
    ] {
        assert_eq!(kernel_version(header), None, "{header}");
    }
}

#[test]
fn the_corpus_is_read_or_refused() {
    for name in ["build_info.yml", "revision.yml", "empty.yml"] {
        BuildInfo::parse(&text(name)).unwrap();
    }
    let mut count = 0;
    for entry in fs::read_dir(corpus()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("good-") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let error = BuildInfo::parse(&text).expect_err(&path.display().to_string());
        assert!(error.to_string().len() < 1000, "{}: {error}", path.display());
        assert!(Domains::parse(&text).is_err(), "{}", path.display());
        count += 1;
    }
    assert!(count >= 10, "the corpus is gone");
}

#[test]
fn hostile_yaml_takes_linear_time_and_little_memory() {
    let start = Instant::now();
    for unit in ["[", "{", "[{a: ", "- ", "- - ", "? ", "&a ", "!a ", "a:\n", "'", "\"\\", "- &a x\n- *a\n"] {
        let text = unit.repeat((256 << 10) / unit.len());
        let _ = (BuildInfo::parse(&text), Domains::parse(&text));
    }
    let large = "y".repeat(100 << 10);
    let aliases = "  - {name: *x, build_dir: *x}\n".repeat(5000);
    assert!(Domains::parse(&format!("x: &x {large}\ndefault: a\ndomains:\n{aliases}")).is_err());
    // Quadratic time is minutes.
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
}

proptest! {
    #[test]
    fn any_text_is_survived(text in "(CONFIG_BOARD=\"|cmake:\n  board:\n    name: |default: )?(\\PC|\n| |:|-){0,200}") {
        let _ = (BuildInfo::parse(&text), Domains::parse(&text), kernel_version(&text));
        let _ = BoardTarget::from_kconfig(&Kconfig::parse(&text));
    }

    #[test]
    fn any_change_of_a_good_file_is_survived(at in 0usize..1200, cut in 0usize..40, put in "[\\PC\n]{0,12}") {
        for name in ["build_info.yml", "domains.yaml"] {
            let mut chars: Vec<char> = text(name).chars().collect();
            let at = at.min(chars.len());
            let end = (at + cut).min(chars.len());
            chars.splice(at..end, put.chars());
            let text: String = chars.into_iter().collect();
            let _ = (BuildInfo::parse(&text), Domains::parse(&text));
        }
    }

    #[test]
    fn a_board_is_written_as_it_is_read(text in "[a-z0-9_@/.]{1,20}") {
        if let Ok(target) = text.parse::<BoardTarget>() {
            prop_assert_eq!(target.to_string(), text);
        }
    }
}
