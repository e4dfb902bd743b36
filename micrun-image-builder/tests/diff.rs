//! `diff` shows what changed, and nothing else.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

mod support;

use std::path::Path;
use std::process::Output;

use serde_json::Value;
use support::layout::Layout;
use support::{Section, Segment, TestElf, builder, stderr, stdout};

fn diff(dir: &Path, arguments: &[&str]) -> Output {
    builder().arg("diff").args(arguments).current_dir(dir).output().unwrap()
}

fn json(dir: &Path, before: &str, after: &str) -> Value {
    let output = diff(dir, &["--format", "json", before, after]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_same_is_the_same_wherever_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let elf = TestElf::new();
    elf.write_to(&dir.path().join("a.elf"));
    Layout::packed(dir.path(), &elf, &[]);
    for (before, after) in
        [("a.elf", "a.elf"), ("layout", "layout"), ("layout", "a.elf"), ("a.elf", "oci:layout")]
    {
        let output = diff(dir.path(), &["--exit-code", before, after]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(stdout(&output).contains(" are the same: sha256:"), "{}", stdout(&output));
        assert_eq!(json(dir.path(), before, after)["same"], true);
    }
}

#[test]
fn code_and_rtos_are_compared() {
    let dir = tempfile::tempdir().unwrap();
    let before = TestElf::new().with_text("*** Booting Zephyr OS build v3.5.0 ***\0");
    let mut after = TestElf::new().with_text("*** Booting Zephyr OS build v3.6.0 ***\0");
    after.segments[0].data[..3].copy_from_slice(&[1, 2, 3]);
    let after = after
        .with_segment(Segment::load(0x4100_0000, &[7; 32]))
        .with_section(Section { data: vec![1; 40], ..Section::named(".extra") });
    before.write_to(&dir.path().join("a.elf"));
    after.write_to(&dir.path().join("b.elf"));
    let result = json(dir.path(), "a.elf", "b.elf");
    assert_eq!(result["same"], false);
    let facts = result["facts"].as_array().unwrap();
    let version = facts.iter().find(|change| change["name"] == "rtos version").unwrap();
    assert_eq!((&version["before"], &version["after"]), (&"3.5.0".into(), &"3.6.0".into()));
    // Three bytes of code, and one digit.
    assert_eq!(result["segments"][0]["changed"], 4);
    assert_eq!(result["segments"][1]["before"], Value::Null);
    assert_eq!(result["segments"][1]["after"], 32);
    assert_eq!(result["sections"][0]["name"], ".extra");
    assert_eq!(result["image"], Value::Null);

    let output = diff(dir.path(), &["--exit-code", "a.elf", "b.elf"]);
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(&output);
    assert!(text.contains("rtos version") && text.contains("3.5.0 -> 3.6.0"), "{text}");
    assert!(text.contains("bytes, 4 bytes differ"), "{text}");
}

#[test]
fn what_images_say_is_compared() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let before = Layout::packed(one.path(), &TestElf::new(), &["--set", "Memory=64"]);
    let after =
        Layout::packed(other.path(), &TestElf::new(), &["--set", "Memory=32", "--annotation", "vendor=me"]);
    let result = json(one.path(), before.dir.to_str().unwrap(), after.dir.to_str().unwrap());
    let changes: Vec<_> =
        result["image"].as_array().unwrap().iter().map(|change| change["name"].as_str().unwrap()).collect();
    assert_eq!(changes, ["annotation vendor", "client.conf Memory"]);
    assert_eq!(result["files"][0], result["files"][1]);
    let output = diff(one.path(), &[before.dir.to_str().unwrap(), after.dir.to_str().unwrap()]);
    assert!(stdout(&output).contains("client.conf Memory               64 -> 32\n"), "{}", stdout(&output));
}

#[test]
fn what_cannot_be_compared_is_said() {
    let dir = tempfile::tempdir().unwrap();
    TestElf::new().write_to(&dir.path().join("a.elf"));
    std::fs::write(dir.path().join("text"), "text").unwrap();
    for (other, sentence) in
        [("text", "not an ELF file"), ("absent", "cannot read absent"), ("oci:absent", "absent")]
    {
        let output = diff(dir.path(), &["a.elf", other]);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(sentence), "{}", stderr(&output));
    }
}
