//! The same inputs give the same bytes.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

mod support;

use std::fs;
use std::path::Path;

use support::{TestElf, builder, stderr, stdout};

fn firmware() -> TestElf {
    TestElf::new().with_text("*** Booting Zephyr OS build v3.5.0 ***\0")
}

/// Packs in a directory of its own; gives the archive and what was written about it.
fn packed(compression: &str, epoch: Option<&str>, prepare: impl Fn(&Path)) -> (Vec<u8>, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    firmware().write_to(&dir.path().join("a.elf"));
    prepare(dir.path());
    let mut command = builder();
    command.current_dir(dir.path()).args([
        "pack",
        "a.elf",
        "--compression",
        compression,
        "--platform",
        "linux/arm64",
    ]);
    if let Some(epoch) = epoch {
        command.env("SOURCE_DATE_EPOCH", epoch);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    (fs::read(dir.path().join("a.oci.tar")).unwrap(), output.stdout)
}

#[test]
fn two_runs_in_two_directories_give_the_same_bytes() {
    for compression in ["zstd", "gzip", "none"] {
        let (first, about_first) = packed(compression, None, |_| {});
        let (second, about_second) = packed(compression, None, |_| {});
        assert!(first == second, "{compression}");
        assert_eq!(about_first, about_second);
    }
}

/// Guards the promise that a firmware's diff_id never changes between versions of the builder. It was written down
/// when the format was decided. Compressed bytes may change with libzstd.
#[test]
fn the_uncompressed_layer_never_changes() {
    let dir = tempfile::tempdir().unwrap();
    firmware().write_to(&dir.path().join("a.elf"));
    let mut command = builder();
    command.current_dir(dir.path()).args(["pack", "a.elf", "--compression", "none", "--format", "json"]);
    let output = command.args(["--platform", "linux/arm64"]).output().unwrap();
    let result: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(
        result["image"]["diff_id"],
        "sha256:ee1e415d54c90d5c27ef1f54cfe6c6355f7c634000c288572f2a4c0b9c2e6bef"
    );
}

#[cfg(unix)]
#[test]
fn the_umask_and_the_files_mode_are_not_in_the_image() {
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    let dir = tempfile::tempdir().unwrap();
    let mut images = Vec::new();
    for (umask, mode) in [("000", 0o777), ("077", 0o400)] {
        let file = dir.path().join("a.elf");
        firmware().write_to(&file);
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let archive = format!("{umask}.tar");
        let mut command = Command::new("sh");
        command.args(["-c", &format!("umask {umask}; exec \"$0\" pack a.elf -q -o {archive}")]);
        command.arg(env!("CARGO_BIN_EXE_micrun-image-builder")).current_dir(dir.path());
        assert!(command.status().unwrap().success());
        images.push(fs::read(dir.path().join(&archive)).unwrap());
        let expected = 0o666 & !u32::from_str_radix(umask, 8).unwrap();
        let written = fs::metadata(dir.path().join(&archive)).unwrap().permissions().mode() & 0o777;
        assert_eq!(written, expected, "the archive itself is an ordinary file");
        fs::remove_file(file).unwrap();
    }
    assert!(images[0] == images[1]);
}

#[test]
fn time_comes_from_source_date_epoch_alone() {
    let (plain, _) = packed("none", None, |_| {});
    let (dated, _) = packed("none", Some("1700000000"), |_| {});
    let (emptied, _) = packed("none", Some(""), |_| {});
    assert!(plain == emptied, "an empty variable is an unset one");
    let (again, _) = packed("none", Some("1700000000"), |dir| {
        fs::write(dir.join("unrelated"), "").unwrap();
    });
    assert!(plain != dated && dated == again);
    let text = String::from_utf8_lossy(&dated);
    assert!(text.contains("2023-11-14T22:13:20Z"));
    let mut archive = tar::Archive::new(&dated[..]);
    for entry in archive.entries().unwrap() {
        assert_eq!(entry.unwrap().header().mtime().unwrap(), 1_700_000_000);
    }
}

#[test]
fn a_bad_source_date_epoch_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    firmware().write_to(&dir.path().join("a.elf"));
    for bad in ["yesterday", "-1", "1e9"] {
        let output = builder()
            .current_dir(dir.path())
            .args(["pack", "a.elf"])
            .env("SOURCE_DATE_EPOCH", bad)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{bad}");
        assert!(stderr(&output).contains("SOURCE_DATE_EPOCH"), "{}", stderr(&output));
    }
    assert!(!dir.path().join("a.oci.tar").exists());
}
