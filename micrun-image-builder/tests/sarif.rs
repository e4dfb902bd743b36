//! What `check --format sarif` prints is valid SARIF 2.1.0, by the format's own schema and a validator that is not ours.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop at once")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use micrun_image_builder::check::{Code, Place, Report, sarif::Log};
use serde_json::Value;
use support::layout::Layout;
use support::{RWX, TestElf, builder, stdout, tool};

/// Hands all files of a directory to the validator. One pattern of the schema is a regular expression only in the older
/// of JavaScript's dialects.
fn validator(dir: &Path) -> Command {
    let schema = std::env::var_os("MICRUN_SARIF_SCHEMA").expect(
        "MICRUN_SARIF_SCHEMA is to name SARIF's schema: run `cargo xtask test unit`, which fetches it",
    );
    let files: Vec<PathBuf> = dir.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!files.is_empty());
    let mut command = Command::new("check-jsonschema");
    command.args(["--regex-variant", "nonunicode", "--schemafile"]).arg(schema).args(files);
    command
}

fn validate(dir: &Path) {
    tool("check-jsonschema, with `cargo xtask test unit`", &mut validator(dir));
}

fn check(subject: &Path, options: &[&str]) -> Value {
    let dir = subject.parent().unwrap();
    let output = builder()
        .args(["check", "--format", "sarif"])
        .args(options)
        .arg(subject)
        .current_dir(dir)
        .output()
        .unwrap();
    let log: Value = serde_json::from_slice(&output.stdout).unwrap();
    let status = &log["runs"][0]["invocations"][0]["exitCode"];
    assert_eq!(status.as_i64(), output.status.code().map(i64::from));
    log
}

#[test]
fn every_code_and_every_kind_of_place_is_valid() {
    let dir = tempfile::tempdir().unwrap();
    let places = || {
        let (section, option, key) = ("\u{1}.text\"".to_owned(), "--board".to_owned(), "Memory".to_owned());
        [None, Some(Place::Offset(0)), Some(Place::Offset(u64::MAX)), Some(Place::Segment(3))]
            .into_iter()
            .chain([Place::Section(section), Place::Option(option), Place::Key(key)].map(Some))
    };
    let mut report = Report::default();
    for &code in Code::ALL {
        places().for_each(|place| report.add(code, place, "what\n", "how"));
    }
    let mut inner = report.clone();
    inner.allow(Code::ALL);
    report.add_part("/firmware.elf", inner);
    for (name, report, uri) in
        [("all", report, "a%20b.elf"), ("none", Report::default(), "docker://r.example/a:1")]
    {
        let log = serde_json::to_string(&Log::new(&report, uri, 1)).unwrap();
        fs::write(dir.path().join(format!("{name}.sarif")), log).unwrap();
    }
    validate(dir.path());
}

#[test]
fn what_the_command_prints_is_valid() {
    let dir = tempfile::tempdir().unwrap();
    let logs = tempfile::tempdir().unwrap();
    let elf = |elf: &TestElf, name: &str| {
        let path = dir.path().join(name);
        elf.write_to(&path);
        path
    };
    let mut rwx = TestElf::new();
    rwx.segments[0].flags = RWX;
    let layout = Layout::packed(dir.path(), &rwx, &["--platform", "linux/arm64,linux/amd64"]);
    let no_entry = elf(&TestElf { entry: 1, ..TestElf::new() }, "no entry.elf");
    fs::write(dir.path().join("text.elf"), "text").unwrap();
    for (i, (subject, options)) in [
        (&no_entry, &[][..]),
        (&no_entry, &["--allow", "MIC302"]),
        (&dir.path().join("text.elf"), &[]),
        (&dir.path().join("absent.elf"), &[]),
        (&layout.dir, &[]),
        (&layout.dir, &["--board", "qemu_arm"]),
    ]
    .into_iter()
    .enumerate()
    {
        fs::write(logs.path().join(format!("{i}.sarif")), check(subject, options).to_string()).unwrap();
    }
    validate(logs.path());

    let mut wrong = check(&no_entry, &[]);
    wrong["runs"][0]["results"][0]["level"] = "fatal".into();
    fs::write(logs.path().join("wrong.sarif"), wrong.to_string()).unwrap();
    let output = validator(logs.path()).output().unwrap();
    assert!(!output.status.success() && stdout(&output).contains("fatal"), "the validator sees nothing");
}

#[test]
fn findings_keep_their_rule_place_and_level() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("no entry.elf");
    TestElf { entry: 1, ..TestElf::new() }.write_to(&path);
    let log = check(&path, &["--allow", "MIC302"]);
    let run = &log["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    assert_eq!(rules.len(), Code::ALL.len());
    for result in run["results"].as_array().unwrap() {
        let index = result["ruleIndex"].as_u64().unwrap() as usize;
        assert_eq!(rules[index]["id"], result["ruleId"]);
        assert_eq!(result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"], "no%20entry.elf");
    }
    let result =
        run["results"].as_array().unwrap().iter().find(|result| result["ruleId"] == "MIC302").unwrap();
    assert_eq!(result["level"], "warning");
    assert_eq!(result["suppressions"][0]["kind"], "external");
    assert_eq!(result["locations"][0]["physicalLocation"]["region"]["byteOffset"], 0x18);
    let ids: BTreeSet<_> = rules.iter().map(|rule| rule["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), rules.len());
}
