//! `copy` with its other names, `index create`, and a registry as the output of `pack`: images go from place to place
//! and stay what they are.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

#[path = "support/registry/mod.rs"]
mod registry_support;
mod support;

use std::fs;
use std::path::Path;
use std::process::Output;

use base64ct::{Base64, Encoding};
use registry_support::debian::{DebianRegistry, PASSWORD, USER};
use serde_json::Value;
use support::{TestElf, builder, stderr, stdout, tool};

/// A directory with a firmware.
fn workplace() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    TestElf::new().with_text("*** Booting Zephyr OS build v3.5.0 ***\0").write_to(&dir.path().join("a.elf"));
    dir
}

fn run(dir: &Path, args: &[&str]) -> Output {
    // Nobody's credentials of this machine.
    builder().current_dir(dir).env("HOME", dir).env_remove("DOCKER_CONFIG").args(args).output().unwrap()
}

fn succeeds(dir: &Path, args: &[&str]) -> String {
    let output = run(dir, args);
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    stdout(&output)
}

fn json(dir: &Path, args: &[&str]) -> Value {
    serde_json::from_str(&succeeds(dir, &[args, &["--format", "json"]].concat())).unwrap()
}

fn pack(dir: &Path, output: &str, more: &[&str]) -> String {
    let result = json(dir, &[&["pack", "a.elf", "-o", output, "--tag", "demo:1"], more].concat());
    result["image"]["digest"].as_str().unwrap().to_owned()
}

#[test]
fn an_image_stays_the_same_on_its_way_through_every_kind_of_place() {
    let server = DebianRegistry::open();
    let dir = workplace();
    let registry = format!("docker://{}/demo:1", server.address);
    let digest = pack(dir.path(), "a.tar", &["--platform", "linux/arm64,linux/amd64", "--sbom", "generate"]);
    let way = ["a.tar", "oci:layout", &registry, "oci-archive:b.tar:1", "oci:other:2", "oci-archive:c.tar"];
    for step in way.windows(2) {
        let result = json(dir.path(), &["copy", step[0], step[1], "--plain-http"]);
        assert_eq!(result["digest"], *digest, "{step:?}");
        assert_eq!(result["referrers"], 1, "the bill of materials comes along: {step:?}");
    }
    assert_eq!(
        fs::read_dir(dir.path().join("layout/blobs/sha256")).unwrap().count(),
        9,
        "nothing is lost or added"
    );
    let again = json(dir.path(), &["push", "c.tar", &registry, "--plain-http"]);
    assert_eq!(
        (&again["blobs_copied"], &again["bytes_copied"]),
        (&0.into(), &0.into()),
        "all of it is there"
    );
    let without = json(dir.path(), &["pull", &registry, "d.tar", "--plain-http", "--no-referrers"]);
    assert_eq!(without["referrers"], 0);
}

#[test]
fn the_same_image_gives_the_same_archive_whichever_way_it_came() {
    let server = DebianRegistry::open();
    let dir = workplace();
    let registry = format!("docker://{}/demo:1", server.address);
    pack(dir.path(), "a.tar", &[]);
    succeeds(dir.path(), &["push", "a.tar", &registry, "--plain-http"]);
    succeeds(dir.path(), &["copy", "a.tar", "oci:layout"]);
    succeeds(dir.path(), &["copy", "oci:layout", "b.tar"]);
    assert!(fs::read(dir.path().join("a.tar")).unwrap() == fs::read(dir.path().join("b.tar")).unwrap());
    let piped = run(dir.path(), &["copy", "oci:layout", "-"]);
    assert!(piped.stdout == fs::read(dir.path().join("a.tar")).unwrap());
    // From a registry it has the registry's name.
    succeeds(dir.path(), &["pull", &registry, "c.tar", "--plain-http"]);
    let name = tool(
        "tar",
        std::process::Command::new("tar").args(["-xOf", "c.tar", "index.json"]).current_dir(&dir),
    );
    assert!(name.contains(&format!("\"{}/demo:1\"", server.address)), "{name}");
}

#[test]
fn pack_writes_into_a_registry() {
    let server = DebianRegistry::with_password();
    let dir = workplace();
    let output = format!("docker://{}/demo/zephyr:3.5", server.address);
    let refused = run(dir.path(), &["pack", "a.elf", "-o", &output, "--plain-http"]);
    assert_eq!(refused.status.code(), Some(1));
    let text = stderr(&refused);
    assert!(text.contains("401") && text.contains(&format!("docker login {}", server.address)), "{text}");

    let login = Base64::encode_string(format!("{USER}:{PASSWORD}").as_bytes());
    let auth = format!(r#"{{"auths":{{"{}":{{"auth":"{login}"}}}}}}"#, server.address);
    fs::write(dir.path().join("auth.json"), auth).unwrap();
    let with_login = ["--plain-http", "--authfile", "auth.json"];
    let packed = json(dir.path(), &[&["pack", "a.elf", "-o", &output][..], &with_login].concat());
    assert_eq!(packed["image"]["name"]["value"], output["docker://".len()..]);
    assert_eq!(packed["image"]["output"], *output);
    succeeds(dir.path(), &[&["pull", &output, "back.tar"][..], &with_login].concat());
    let digest = packed["image"]["digest"].as_str().unwrap();
    let by_digest = format!("docker://{}/demo/zephyr@{digest}", server.address);
    let pulled = json(dir.path(), &[&["pull", &by_digest, "oci:d"][..], &with_login].concat());
    assert_eq!(pulled["digest"], *digest);
}

#[test]
fn images_of_several_platforms_join_and_those_of_one_do_not() {
    let dir = workplace();
    pack(dir.path(), "arm.tar", &["--platform", "linux/arm64", "--sbom", "generate"]);
    pack(dir.path(), "oci:x86", &["--platform", "linux/amd64"]);
    pack(dir.path(), "oci:two", &["--platform", "linux/riscv64,linux/arm/v7"]);
    let parts = ["index", "create", "--tag", "demo:2", "-o"];
    let all = json(dir.path(), &[&parts[..], &["oci:all", "arm.tar", "oci:x86", "oci:two"]].concat());
    assert_eq!(
        all["platforms"].to_string(),
        r#"["linux/arm64","linux/amd64","linux/riscv64","linux/arm/v7"]"#
    );
    let inspected = tool(
        "skopeo",
        std::process::Command::new("skopeo").current_dir(&dir).args(["inspect", "--raw", "oci:all:2"]),
    );
    let index: Value = serde_json::from_str(&inspected).unwrap();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 4);
    let copied = json(dir.path(), &["copy", "oci:all:2", "b.tar"]);
    assert_eq!((&copied["digest"], &copied["referrers"]), (&all["digest"], &1.into()));

    let twice = run(dir.path(), &[&parts[..], &["oci:no", "arm.tar", "oci:x86", "oci:all"]].concat());
    assert_eq!(twice.status.code(), Some(1));
    let text = stderr(&twice);
    assert!(text.contains("two images for linux/arm64") && text.contains("a tag of its own"), "{text}");
    assert!(!dir.path().join("no").exists());
    assert_eq!(
        run(dir.path(), &["index", "create", "-o", "c.tar", "arm.tar"]).status.code(),
        Some(2),
        "no name"
    );
}

#[test]
fn nothing_is_left_of_a_copy_that_fails() {
    let dir = workplace();
    pack(dir.path(), "oci:layout", &[]);
    for blob in fs::read_dir(dir.path().join("layout/blobs/sha256")).unwrap() {
        let path = blob.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        // The layer: documents are JSON.
        if !bytes.starts_with(b"{") {
            let mut damaged = bytes.clone();
            damaged[20] ^= 1;
            for damage in [&damaged[..], &bytes[..bytes.len() / 2], &[&bytes[..], b"more"].concat()] {
                fs::write(&path, damage).unwrap();
                for to in ["b.tar", "oci:new"] {
                    let output = run(dir.path(), &["copy", "oci:layout", to]);
                    assert_eq!(output.status.code(), Some(1), "{to}");
                    let digest = path.file_name().unwrap().to_string_lossy().into_owned();
                    assert!(stderr(&output).contains(&digest), "{}", stderr(&output));
                }
            }
            fs::remove_file(&path).unwrap();
            assert_eq!(run(dir.path(), &["copy", "oci:layout", "b.tar"]).status.code(), Some(1));
        }
    }
    let mut names: Vec<_> =
        fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["a.elf", "layout"]);
}
