//! Images that other tools made: umoci, skopeo and buildah, with several layers, deletions and other compressions. Needs
//! the packages umoci, skopeo, buildah and u-boot-qemu.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use micrun_testkit::{Unpacked, Workspace};
use serde_json::{Value, json};
use support::{builder, debian_firmware, stderr, stdout, tool};

const CONF: &str = "[Mica]\nClientPath=/firmware.elf\nPedestal=qemu\nPedestalConf=\n";

fn firmware() -> std::path::PathBuf {
    debian_firmware("/usr/lib/u-boot/qemu_arm64/uboot.elf")
}

/// The codes of all findings, and the exit status.
fn check(dir: &Path, image: &str) -> (Option<i32>, BTreeSet<String>) {
    let output = builder().args(["check", "--format", "json", image]).current_dir(dir).output().unwrap();
    let result: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", stderr(&output)));
    let codes = result["findings"].as_array().unwrap().iter().map(|f| f["code"].as_str().unwrap().to_owned());
    (output.status.code(), codes.collect())
}

fn extracted(dir: &Path, image: &str) -> Vec<u8> {
    let output = builder()
        .args(["extract", image, "--elf", "-", "--platform", "linux/arm64"])
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    output.stdout
}

/// The files that `inspect` shows, with their layers, and whether it got to the firmware.
fn inspected(dir: &Path, image: &str) -> (Vec<String>, Value) {
    let output = builder().args(["inspect", "--format", "json", image]).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["firmware"]["rtos"]["name"], "u-boot", "{image}");
    let files = result["image"]["files"].as_array().unwrap();
    let files = files.iter().filter(|file| file["kind"] != "directory");
    let named = |file: &Value| format!("{} in {}", file["path"].as_str().unwrap(), file["layer"]);
    (files.map(named).collect(), result["image"].clone())
}

fn codes(codes: &[&str]) -> BTreeSet<String> {
    codes.iter().map(|&code| code.to_owned()).collect()
}

/// The machine's own umoci, 0.4 on Debian 12, and sid's, which compresses with zstd too.
#[test]
fn images_of_umoci_are_read_layer_by_layer() {
    layer_by_layer(Path::new("umoci"), &[]);
    let workspace = Workspace::find().unwrap();
    let newer = Unpacked::of(&workspace, "umoci", "sid").unwrap_or_else(|error| panic!("{error:#}"));
    layer_by_layer(&newer.bin().join("umoci"), &[]);
    layer_by_layer(&newer.bin().join("umoci"), &["--compress", "zstd"]);
}

fn layer_by_layer(program: &Path, repack: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let umoci = |command: &str, arguments: &[&str]| {
        let extra: &[&str] = if command == "repack" { repack } else { &[] };
        tool("umoci", Command::new(program).arg(command).args(extra).args(arguments).current_dir(dir));
    };
    umoci("init", &["--layout", "img"]);
    umoci("new", &["--image", "img:v1"]);
    umoci("unpack", &["--rootless", "--image", "img:v1", "one"]);
    fs::copy(firmware(), dir.join("one/rootfs/firmware.elf")).unwrap();
    fs::create_dir(dir.join("one/rootfs/junk")).unwrap();
    fs::write(dir.join("one/rootfs/junk/a"), "x").unwrap();
    umoci("repack", &["--image", "img:v1", "one"]);
    assert_eq!(extracted(dir, "oci:img:v1"), fs::read(firmware()).unwrap());
    let (status, found) = check(dir, "oci:img:v1");
    assert_eq!(status, Some(1), "there is no client.conf");
    assert!(found.is_superset(&codes(&["MIC814", "MIC813", "MIC816"])), "{found:?}");

    umoci(
        "config",
        &["--image", "img:v1", "--config.entrypoint", "/firmware.elf", "--architecture", "arm64"],
    );
    umoci("unpack", &["--rootless", "--image", "img:v1", "two"]);
    fs::remove_dir_all(dir.join("two/rootfs/junk")).unwrap();
    fs::write(dir.join("two/rootfs/client.conf"), CONF).unwrap();
    umoci("repack", &["--image", "img:v2", "two"]);
    let (status, found) = check(dir, "oci:img:v2");
    assert_eq!(status, Some(0), "{found:?}");
    assert!(
        found.contains("MIC812") && !found.contains("MIC813"),
        "what was deleted is not there: {found:?}"
    );
    assert_eq!(extracted(dir, "oci:img:v2"), fs::read(firmware()).unwrap());
    let (files, image) = inspected(dir, "oci:img:v2");
    assert_eq!(files, ["/client.conf in 1", "/firmware.elf in 0"]);
    let compression = repack.last().unwrap_or(&"gzip");
    assert!(image["layers"][1]["media_type"].as_str().unwrap().ends_with(compression));
    assert_eq!((&image["names"], &image["manifest"]["annotations"]), (&json!(["v2"]), &json!({})));
    assert!(!image["config"]["history"].as_array().unwrap().is_empty());
}

#[test]
fn images_that_skopeo_recompressed_are_the_same_to_us() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::copy(firmware(), dir.join("u.elf")).unwrap();
    let packed = builder()
        .args(["pack", "u.elf", "-q", "-o", "ours.tar", "--tag", "u:1"])
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(packed.status.success(), "{}", stderr(&packed));
    let ours = check(dir, "ours.tar");
    assert_eq!(ours.0, Some(0));
    for (compression, format) in [("gzip", "oci"), ("zstd", "oci")] {
        let to = format!("oci:{compression}-{format}:1");
        tool(
            "skopeo",
            Command::new("skopeo")
                .args(["copy", "-q", "--format", format, "--dest-compress-format", compression])
                .args(["--dest-decompress=false", "oci-archive:ours.tar", &to])
                .current_dir(dir),
        );
        assert_eq!(check(dir, &to), ours, "{to}");
        let (files, image) = inspected(dir, &to);
        assert_eq!(files, ["/client.conf in 0", "/firmware.elf in 0"]);
        assert!(image["layers"][0]["media_type"].as_str().unwrap().ends_with(compression));
        let output =
            builder().args(["diff", "--exit-code", "ours.tar", &to]).current_dir(dir).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    }
}

/// buildah, with its storage in a directory of the test. Needs root, or user namespaces.
struct Buildah<'a>(&'a Path);

impl Buildah<'_> {
    fn run(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("buildah");
        command.env("BUILDAH_ISOLATION", "chroot").args(["--storage-driver", "vfs", "--root"]);
        command.arg(self.0.join("storage")).arg("--runroot").arg(self.0.join("run"));
        tool("buildah", command.args(arguments).current_dir(self.0)).trim().to_owned()
    }
}

#[test]
fn images_of_buildah_are_read_through_their_whiteouts() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let buildah = Buildah(dir);
    let elf = firmware().display().to_string();
    fs::write(dir.join("client.conf"), CONF).unwrap();
    let first = buildah.run(&["from", "scratch"]);
    buildah.run(&["copy", "-q", &first, &elf, "/boot/u.elf"]);
    buildah.run(&["copy", "-q", &first, &elf, "/etc/old/trash"]);
    buildah.run(&[
        "config",
        "--entrypoint",
        "[\"/firmware.elf\"]",
        "--os",
        "linux",
        "--arch",
        "arm64",
        &first,
    ]);
    buildah.run(&["commit", "-q", &first, "one"]);
    let second = buildah.run(&["from", "one"]);
    let root = buildah.run(&["mount", &second]);
    fs::remove_dir_all(Path::new(&root).join("etc")).unwrap();
    fs::rename(Path::new(&root).join("boot/u.elf"), Path::new(&root).join("firmware.elf")).unwrap();
    fs::remove_dir(Path::new(&root).join("boot")).unwrap();
    buildah.run(&["umount", &second]);
    buildah.run(&["copy", "-q", &second, "client.conf", "/client.conf"]);
    for (format, to) in
        [("oci", "oci-archive:two.tar:v2"), ("docker", "oci:docker:v2"), ("oci", "oci:two:v2")]
    {
        buildah.run(&["commit", "-q", "--format", format, &second, to]);
        let (status, found) = check(dir, to);
        assert_eq!(status, Some(0), "{to}: {found:?}");
        assert!(found.contains("MIC812") && !found.contains("MIC813"), "{to}: {found:?}");
        assert_eq!(extracted(dir, to), fs::read(firmware()).unwrap(), "{to}");
        let files = inspected(dir, to).0;
        assert!(
            files[0].starts_with("/client.conf in ") && files[1].starts_with("/firmware.elf in "),
            "{files:?}"
        );
        assert_eq!(files.len(), 2, "{to}: {files:?}");
    }
    buildah.run(&["rm", "--all"]);
}
