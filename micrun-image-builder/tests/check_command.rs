//! `check` on firmware: what it prints, and how it ends.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

mod support;

use std::path::PathBuf;

use micrun_image_builder::check::Code;
use serde_json::Value;
use support::{RWX, Segment, TestElf, builder, stderr, stdout};

fn firmware(elf: &TestElf) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.elf");
    elf.write_to(&path);
    (dir, path)
}

/// Recognised, with a version, and on a board: nothing to warn of.
fn good() -> TestElf {
    let mut elf = TestElf::new().with_text("*** Booting Zephyr OS build v3.5.0 ***\0");
    elf.segments[0].flags = RWX;
    elf
}

fn spoiled() -> TestElf {
    TestElf { entry: 0x10, ..good() }
}

#[test]
fn a_good_firmware_passes_and_leaves_nothing() {
    let (dir, path) = firmware(&good());
    let output = builder().arg("check").arg(&path).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.starts_with("note[MIC307]: "), "{text}");
    assert!(text.contains("\n   |  LOAD rwx  loaded to 0x40080000, "), "{text}");
    assert!(text.contains("\n  board     qemu_cortex_a53 "), "{text}");
    assert!(text.ends_with("app.elf: 0 errors, 0 warnings, 1 note\n"), "{text}");
    assert_eq!(dir.path().read_dir().unwrap().count(), 1, "a check makes no file");
}

#[test]
fn errors_end_with_1_and_warnings_only_if_asked() {
    let (_dir, path) = firmware(&spoiled());
    let check = |arguments: &[&str]| builder().arg("check").arg(&path).args(arguments).output().unwrap();
    let output = check(&[]);
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(&output);
    assert!(text.contains("app.elf: offset 0x18\n   |  0x0018: 10 00 00 00"), "{text}");
    assert!(text.ends_with("1 error, 0 warnings, 1 note\n"), "{text}");
    assert_eq!(stderr(&output), "");

    assert_eq!(check(&["--allow", "MIC302"]).status.code(), Some(0));
    assert_eq!(check(&["--allow", "MIC302", "--deny-warnings"]).status.code(), Some(1));
    let quiet = check(&["--allow", "MIC302", "--quiet"]);
    assert_eq!(stdout(&quiet), "");
    for (arguments, sentence) in [
        (&["--allow", "MIC102"][..], "cannot be allowed"),
        (&["--format", "xml"], "possible values: text, json, sarif"),
        (&["--board", "none"], "is unknown; known are"),
    ] {
        let output = check(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains(sentence), "{}", stderr(&output));
    }
}

#[test]
fn what_pack_would_refuse_a_check_finds() {
    let outside = good().with_segment(Segment::load(0x1000, &[1; 16]));
    for elf in [good(), spoiled(), outside] {
        let (dir, path) = firmware(&elf);
        let findings = |command: &str| {
            let output = builder()
                .args([command, "--format", "json", "--board", "qemu_arm"])
                .arg(&path)
                .output()
                .unwrap();
            let result: Value = serde_json::from_slice(&output.stdout).unwrap();
            (output.status.code(), result["findings"].clone())
        };
        assert_eq!(findings("check"), findings("pack"));
        drop(dir);
    }
}

#[test]
fn programs_get_counts_and_quotations() {
    let (_dir, path) = firmware(&spoiled());
    let output =
        builder().args(["check", "--format", "json", "--allow", "MIC302"]).arg(&path).output().unwrap();
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&result["errors"], &result["warnings"], &result["notes"]), (&0.into(), &1.into(), &1.into()));
    let error = result["findings"].as_array().unwrap().iter().find(|f| f["code"] == "MIC302").unwrap();
    assert_eq!(error["allowed"], true);
    assert_eq!(error["place"]["offset"], 0x18);
    assert!(error["excerpt"].as_str().unwrap().starts_with("0x0018: 10 "), "{error}");
    assert_eq!(result["board"]["value"], "qemu_cortex_a53");
}

#[test]
fn every_code_is_explained() {
    for code in Code::ALL {
        let output = builder().args(["check", "--explain", code.as_str()]).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        let text = stdout(&output);
        assert!(text.starts_with(&format!("{code}: {} ({})", code.title(), code.severity())), "{text}");
        assert!(text.contains(code.explanation()), "{text}");
        assert_eq!(text.contains("--allow"), code.can_be_allowed(), "{text}");
        assert_eq!(text.contains("\nFor example:\n\n    "), code.example().is_some(), "{text}");
    }
    let output = builder().args(["check", "--explain", "MIC999"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(stderr(&output).lines().count(), 1 + Code::ALL.len());
}

#[test]
fn a_zephyr_build_directory_is_checked_by_its_elf() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("zephyr")).unwrap();
    std::fs::write(dir.path().join("zephyr/.config"), "CONFIG_BOARD=\"qemu_cortex_a53\"\n").unwrap();
    spoiled().write_to(&dir.path().join("zephyr/zephyr.elf"));
    let output = builder().arg("check").arg(dir.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stdout(&output).contains("error[MIC302]"), "{}", stdout(&output));
    let empty = tempfile::tempdir().unwrap();
    let output = builder().arg("check").arg(empty.path()).output().unwrap();
    assert!(stdout(&output).contains("error[MIC111]"), "{}", stdout(&output));
}

#[test]
fn a_file_that_cannot_be_read_is_a_finding() {
    let output = builder().args(["check", "/nowhere/app.elf"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).starts_with("error[MIC111]: "), "{}", stdout(&output));
    let output = builder().arg("check").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
