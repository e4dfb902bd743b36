//! The program as people and scripts run it.
#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use micrun::bundle::merge_image;
use micrun::config::NodeConfig;
use micrun::id::{Id, Key};
use micrun::store::{State, Store};
use serde_json::Value;

fn micrun(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_micrun")).args(arguments).env("NO_COLOR", "").output().unwrap()
}

/// What it printed; it must have succeeded.
#[track_caller]
fn said(arguments: &[&str]) -> String {
    let output = micrun(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What it complained about; it must have failed with 1.
#[track_caller]
fn complained(arguments: &[&str]) -> String {
    let output = micrun(arguments);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}

/// A line of a table, one blank between columns.
#[track_caller]
fn row(table: &str, name: &str) -> String {
    let line = table.lines().find(|line| line.split_whitespace().next() == Some(name)).unwrap();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

const CONF: &str =
    "[Mica]\nClientPath=/firmware.elf\nPedestal=qemu\nPedestalConf=\nMemory=32\n[MicRun]\nboard=qemu_arm64\n";

/// An image's root.
fn image(dir: &Path) -> std::path::PathBuf {
    let root = dir.join("rootfs");
    fs::create_dir_all(&root).unwrap();
    fs::write(root.join("client.conf"), CONF).unwrap();
    root
}

#[test]
fn the_configuration_is_shown_with_its_files_and_lines() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("micrun.conf");
    let (path, drop_ins) = (text(&file), dir.path().join("micrun.conf.d"));
    assert_eq!(row(&said(&["config", "--file", &path]), "exec.timeout"), "exec.timeout \"30s\" default");
    fs::create_dir(&drop_ins).unwrap();
    fs::write(&file, "[guest]\nweight = 1\n").unwrap();
    fs::write(drop_ins.join("10.conf"), "[exec]\n\ntimeout = \"1m\"\n").unwrap();
    let table = said(&["config", "--file", &path]);
    assert_eq!(row(&table, "guest.weight"), format!("guest.weight 1 {path}:2"));
    assert_eq!(row(&table, "exec.timeout"), format!("exec.timeout \"60s\" {path}.d/10.conf:3"));
    let json: Value = serde_json::from_str(&said(&["config", "--file", &path, "--format", "json"])).unwrap();
    let of = |name: &str| json.as_array().unwrap().iter().find(|it| it["key"] == name).unwrap().clone();
    assert_eq!(of("guest.weight")["value"], "1");
    assert_eq!(of("guest.memory")["value"], Value::Null);
    assert_eq!(of("log.level")["origin"], "default");

    let written = dir.path().join("written.conf");
    fs::write(&written, said(&["config", "--file", &path, "--toml"])).unwrap();
    assert!(said(&["config", "--check", &text(&written)]).ends_with("written.conf: good\n"));
}

#[test]
fn a_file_is_tried_before_it_is_installed() {
    let dir = tempfile::tempdir().unwrap();
    let (good, bad) = (dir.path().join("good.conf"), dir.path().join("bad.conf"));
    fs::write(&good, "").unwrap();
    fs::write(&bad, "[console]\nctrlc = true\n").unwrap();
    let output = micrun(&["config", "--check", &text(&good), &text(&bad)]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{}: good\n", good.display()));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        format!(
            "error: {}:2:1: there is no key `console.ctrlc`; did you mean `console.ctrl_c`?\n",
            bad.display()
        )
    );
    assert!(complained(&["config", "--file", &text(&bad)]).contains("bad.conf:2:1"));
}

#[test]
fn a_container_is_found_by_its_id_and_explained() {
    let dir = tempfile::tempdir().unwrap();
    let state = text(&dir.path().join("state"));
    let merged = merge_image(&image(dir.path()), &NodeConfig::default(), &Default::default()).unwrap();
    for key in ["default/z1", "k8s.io/z1", "k8s.io/z2"] {
        let entry = dir.path().join("state").join(key);
        fs::create_dir_all(&entry).unwrap();
        merged.explanation.save(&entry).unwrap();
    }
    let table = said(&["explain", "z2", "--state", &state]);
    assert_eq!(row(&table, "memory"), "memory 32 MiB Memory in the image's client.conf");
    let json = said(&["explain", "k8s.io/z1", "--state", &state, "--format", "json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["container"], "k8s.io/z1");
    let board = json["values"].as_array().unwrap().iter().find(|it| it["name"] == "board").unwrap();
    assert_eq!(
        (&board["value"], &board["source"], &board["key"]),
        (&"qemu_arm64".into(), &"image".into(), &"board".into())
    );

    let several = complained(&["explain", "z1", "--state", &state]);
    assert!(
        several.contains("there are several; write one of ") && several.contains("default/z1"),
        "{several}"
    );
    assert!(complained(&["explain", "z3", "--state", &state]).contains("container z3: there is none in "));
    assert!(complained(&["explain", "../z", "--state", &state]).starts_with("error: container ../z: "));
    fs::write(dir.path().join("state/k8s.io/z2/explanation.json"), "{").unwrap();
    assert!(complained(&["explain", "z2", "--state", &state]).contains("reading where its values come from"));
}

#[test]
fn a_pods_sandbox_leads_to_its_containers() {
    let dir = tempfile::tempdir().unwrap();
    let (store, pod) = (Store::at(dir.path()), Id::new("pod").unwrap());
    let make = |id: &str| {
        let key = Key { namespace: Id::new("k8s.io").unwrap(), id: Id::new(id).unwrap() };
        let entry = store.reserve(&key).unwrap();
        entry.save(&State::new(pod.clone()).unwrap()).unwrap();
        entry
    };
    let state = text(dir.path());
    let _sandbox = make("pod");
    let alone = complained(&["explain", "pod", "--state", &state]);
    assert!(alone.contains("it is the sandbox of a pod") && alone.contains("there are none yet"), "{alone}");
    let _container = make("c1");
    let told = complained(&["explain", "pod", "--state", &state]);
    assert!(told.contains("it is the sandbox of a pod") && told.contains("ask for k8s.io/c1"), "{told}");
    let other = complained(&["explain", "c1", "--state", &state]);
    assert!(other.contains("reading where its values come from"), "{other}");
}

#[test]
fn what_was_not_run_yet_is_explained_as_it_would_be_run() {
    let dir = tempfile::tempdir().unwrap();
    let root = image(dir.path());
    let conf = dir.path().join("micrun.conf");
    fs::write(&conf, "[guest]\nmemory = 16\nweight = 99\n").unwrap();
    let (root, conf) = (text(&root), text(&conf));
    let with =
        ["explain", "--image", &root, "--config", &conf, "--annotation", "org.openeuler.micrun.board=other"];
    let table = said(&with);
    assert_eq!(
        row(&table, "board"),
        "board other annotation org.openeuler.micrun.board qemu_arm64 (board in the image's client.conf)"
    );
    assert_eq!(
        row(&table, "memory"),
        format!("memory 32 MiB Memory in the image's client.conf 16 MiB ({conf}:2)")
    );
    assert_eq!(row(&table, "weight"), format!("weight 99 {conf}:3"));

    let spec = serde_json::json!({
        "ociVersion": "1.0.2", "root": { "path": "rootfs" },
        "linux": { "resources": { "memory": { "limit": 50 << 20 } } },
    });
    fs::write(dir.path().join("config.json"), spec.to_string()).unwrap();
    let table = said(&["explain", "--bundle", &text(dir.path()), "--config", &conf]);
    assert!(
        row(&table, "memory")
            .starts_with("memory 50 MiB memory limit of linux.resources in config.json 32 MiB")
    );

    let denied = complained(&[
        "explain",
        "--image",
        &root,
        "--config",
        &conf,
        "--annotation",
        "org.openeuler.micrun.runtime.exclusive_dom0_cpu=yes",
    ]);
    assert!(denied.contains("write `exclusive_dom0_cpu = true` under [policy.allow]"), "{denied}");
    assert!(complained(&["explain", "--image", "/nowhere"]).contains("/nowhere"));
}

#[test]
fn a_wrong_command_line_is_wrong_usage() {
    for arguments in [&[][..], &["explain"], &["explain", "a", "--image", "b"], &["config", "--check"]] {
        assert_eq!(micrun(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn every_command_has_a_page_and_examples() {
    let dir = tempfile::tempdir().unwrap();
    said(&["man", "--output", &text(dir.path())]);
    for page in ["micrun.1", "micrun-config.1", "micrun-explain.1"] {
        let page = fs::read_to_string(dir.path().join(page)).unwrap();
        assert!(page.contains("Examples:"), "{page}");
    }
    assert!(said(&["completions", "bash"]).contains("micrun"));
}
