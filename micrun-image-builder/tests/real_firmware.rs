//! Real third-party firmware from Debian is packed, real files that are none are refused, and other tools read
//! the images. Needs the packages u-boot-qemu, opensbi, skopeo, umoci and gcc.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::{builder, debian_firmware, stderr, tool};

/// File, RTOS, board.
const FIRMWARE: [(&str, &str, &str); 5] = [
    ("/usr/lib/u-boot/qemu_arm64/uboot.elf", "u-boot", "qemu_arm64"),
    ("/usr/lib/u-boot/qemu_arm/uboot.elf", "u-boot", "qemu_arm"),
    ("/usr/lib/u-boot/qemu-riscv64/uboot.elf", "u-boot", "qemu-riscv64"),
    ("/usr/lib/u-boot/qemu-x86/uboot.elf", "u-boot", "qemu_x86"),
    ("/usr/lib/riscv64-linux-gnu/opensbi/generic/fw_jump.elf", "opensbi", "qemu-riscv64"),
];

/// Packs and gives the result as JSON.
fn pack(firmware: &Path, args: &[&str]) -> Value {
    let output = builder().arg("pack").arg(firmware).args(["--format", "json"]).args(args).output().unwrap();
    assert!(
        output.status.success(),
        "{}: {}{}",
        firmware.display(),
        stderr(&output),
        support::stdout(&output)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn real_firmware_is_packed_without_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("a.tar");
    for (path, rtos, board) in FIRMWARE {
        let result = pack(&debian_firmware(path), &["-o", archive.to_str().unwrap()]);
        assert_eq!(result["image"]["rtos"]["value"], rtos, "{path}");
        assert_eq!(result["image"]["board"]["value"], board, "{path}");
        for finding in result["findings"].as_array().unwrap() {
            // The x86 build lies where a PC's flash is, which QEMU does not fill from an ELF file.
            let elsewhere = board == "qemu_x86" && finding["code"] == "MIC309";
            assert!(finding["severity"] == "note" || elsewhere, "{path}: {finding}");
        }
    }
}

#[test]
fn the_version_of_u_boot_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("a.tar");
    let result = pack(&debian_firmware(FIRMWARE[0].0), &["-o", archive.to_str().unwrap()]);
    let version = result["image"]["rtos_version"].as_str().unwrap();
    assert!(version.starts_with("20"), "{version}");
}

#[test]
fn skopeo_reads_zstd_and_umoci_reads_gzip_with_the_same_diff_id() {
    let dir = tempfile::tempdir().unwrap();
    for (number, (path, ..)) in FIRMWARE.into_iter().enumerate() {
        let firmware = debian_firmware(path);
        let archive = dir.path().join(format!("{number}.tar"));
        let zstd = pack(&firmware, &["-o", archive.to_str().unwrap()]);
        let inspected = tool(
            "skopeo",
            Command::new("skopeo").arg("inspect").arg(format!("oci-archive:{}", archive.display())),
        );
        let inspected: Value = serde_json::from_str(&inspected).unwrap();
        assert_eq!(inspected["Digest"], zstd["image"]["digest"], "{path}");

        let layout = dir.path().join(format!("{number}.oci"));
        let output = format!("oci:{}", layout.display());
        let gzip = pack(&firmware, &["-o", &output, "--compression", "gzip", "-t", "demo/guest:1.0"]);
        assert_eq!(gzip["image"]["diff_id"], zstd["image"]["diff_id"], "{path}");
        let config =
            tool("skopeo", Command::new("skopeo").args(["inspect", "--config"]).arg(format!("{output}:1.0")));
        let config: Value = serde_json::from_str(&config).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"][0], zstd["image"]["diff_id"], "{path}");

        let bundle = dir.path().join(format!("{number}.bundle"));
        let image = format!("{}:1.0", layout.display());
        tool("umoci", Command::new("umoci").args(["unpack", "--rootless", "--image", &image]).arg(&bundle));
        let unpacked = fs::read(bundle.join("rootfs/firmware.elf")).unwrap();
        assert!(unpacked == fs::read(&firmware).unwrap(), "{path} was changed");
    }
}

#[test]
fn skopeo_finds_the_tag_in_an_archive() {
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("a.tar");
    pack(&debian_firmware(FIRMWARE[4].0), &["-o", archive.to_str().unwrap(), "-t", "demo/sbi:v1"]);
    tool(
        "skopeo",
        Command::new("skopeo").arg("inspect").arg(format!("oci-archive:{}:v1", archive.display())),
    );
}

#[test]
fn a_linux_program_without_a_library_is_doubted() {
    let dir = tempfile::tempdir().unwrap();
    let (source, program) = (dir.path().join("a.c"), dir.path().join("a.elf"));
    fs::write(&source, "void _start(void) { for (;;); }\n").unwrap();
    tool(
        "gcc",
        Command::new("cc").args(["-static", "-nostdlib", "-no-pie", "-o"]).arg(&program).arg(&source),
    );
    let archive = dir.path().join("a.tar");
    let result = pack(&program, &["-o", archive.to_str().unwrap()]);
    assert!(result["findings"].as_array().unwrap().iter().any(|f| f["code"] == "MIC205"), "{result}");
}

/// The kinds of file that people have at hand when they mean a firmware.
fn wrong_files(dir: &Path) -> Vec<(PathBuf, &'static str)> {
    let file = |name: &str, contents: &[u8]| {
        let path = dir.join(name);
        fs::write(&path, contents).unwrap();
        path
    };
    let source = file("program.c", b"int main(void) { return 0; }\n");
    let (object, program) = (dir.join("object.o"), dir.join("static"));
    tool("gcc", Command::new("cc").arg("-c").arg("-o").arg(&object).arg(&source));
    tool("gcc", Command::new("cc").arg("-static").arg("-o").arg(&program).arg(&source));
    let u_boot = fs::read(debian_firmware(FIRMWARE[0].0)).unwrap();
    vec![
        (file("empty.elf", b""), "MIC101"),
        (file("text.elf", b"hello\n"), "MIC102"),
        (file("half.elf", &u_boot[..u_boot.len() / 2]), "MIC106"),
        (debian_firmware("/usr/lib/u-boot/qemu-ppce500/uboot.elf"), "MIC108"),
        (PathBuf::from("/bin/ls"), "MIC201"),
        (program, "MIC202"),
        (object, "MIC203"),
    ]
}

#[test]
fn every_wrong_file_is_refused_with_its_own_code_and_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("refused.tar");
    let mut remedies = Vec::new();
    for (path, code) in wrong_files(dir.path()) {
        let mut command = builder();
        let output = command
            .arg("pack")
            .arg(&path)
            .arg("-o")
            .arg(&archive)
            .args(["--format", "json"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", path.display());
        let result: Value = serde_json::from_slice(&output.stdout).unwrap();
        let errors: Vec<_> =
            result["findings"].as_array().unwrap().iter().filter(|f| f["severity"] == "error").collect();
        assert_eq!(errors.len(), 1, "{}: {errors:?}", path.display());
        assert_eq!(errors[0]["code"], code, "{}", path.display());
        remedies.push(errors[0]["remedy"].as_str().unwrap().to_owned());
        assert!(!archive.exists());
    }
    let count = remedies.len();
    remedies.sort();
    remedies.dedup();
    assert!(remedies.len() >= count - 1, "the two Linux programs share theirs: {remedies:?}");
}
