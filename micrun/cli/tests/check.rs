//! `micrun check` as an operator runs it.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

use std::path::Path;
use std::process::{Command, Output};

use micrun::id::{Id, Key};
use micrun::store::Store;

fn check(state: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_micrun"));
    command.arg("check").arg("--state").arg(state).args(more).output().unwrap()
}

fn key(id: &str) -> Key {
    Key { namespace: Id::new("default").unwrap(), id: Id::new(id).unwrap() }
}

#[test]
fn what_a_killed_shim_left_is_told_with_its_remedy_and_a_live_one_is_not() {
    let state = tempfile::tempdir().unwrap();
    let store = Store::at(state.path());
    let live = store.reserve(&key("live")).unwrap();
    assert!(!said(&check(state.path(), &[])).contains("left behind"));
    drop(store.reserve(&key("dead")).unwrap());
    let output = check(state.path(), &[]);
    assert_eq!(output.status.code(), Some(1));
    let said = said(&output);
    assert!(said.contains("container    default/dead  its shim is gone"), "{said}");
    assert!(!said.contains("default/live"), "{said}");
    drop(live);
}

#[test]
fn programs_read_the_same() {
    let state = tempfile::tempdir().unwrap();
    drop(Store::at(state.path()).reserve(&key("dead")).unwrap());
    let output = check(state.path(), &["--format", "json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["left_behind"][0]["kind"], "container");
    assert_eq!(report["left_behind"][0]["name"], "default/dead");
    let serving = |pedestal: &str| {
        let all = report["pedestals"].as_array().unwrap();
        all.iter().find(|one| one["pedestal"] == pedestal).unwrap()["driver"].clone()
    };
    assert_eq!(serving("remoteproc"), serde_json::Value::Null, "no driver yet");
    assert_eq!(report["boards"].as_array().unwrap().len(), 10, "all built-in boards");
}

#[test]
fn a_cluster_reads_the_boards_as_labels() {
    let state = tempfile::tempdir().unwrap();
    let report = check(state.path(), &["--format", "json"]);
    let report: serde_json::Value = serde_json::from_slice(&report.stdout).unwrap();
    let boards = report["boards"].as_array().unwrap();
    let usable = boards.iter().filter(|board| !board["usable_on"].as_array().unwrap().is_empty());
    let name = |board: &serde_json::Value| board["name"].as_str().unwrap().replace('/', ".");
    let mut expected: Vec<String> =
        usable.map(|board| format!("micrun.openeuler.org/board-{}=true", name(board))).collect();
    let cores = report["own_cores"].as_array().unwrap().len();
    if !expected.is_empty() && cores > 0 {
        expected.push(format!("micrun.openeuler.org/cores={cores}"));
    }
    if !expected.is_empty() {
        expected.insert(0, "micrun.openeuler.org/runtime=mica".to_owned());
    }
    let labels = check(state.path(), &["--format", "labels"]);
    let labels = String::from_utf8(labels.stdout).unwrap();
    assert_eq!(labels.lines().collect::<Vec<_>>(), expected);
    for label in labels.lines() {
        let name = label.split(['/', '=']).nth(1).unwrap();
        assert!(
            name.len() <= 63 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)),
            "{label}"
        );
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
