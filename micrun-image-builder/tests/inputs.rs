//! `pack` takes what firmware projects have: a Zephyr build directory, bills of materials.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use micrun_image_spec::digest::Sha256Digest;
use serde_json::Value;
use support::{TestElf, builder, stderr, tool};
use tempfile::TempDir;

const BUILD_INFO: &str = "cmake:\n  application:\n    source-dir: /src/blinky\n  board:\n    name: BOARD\n    \
                          qualifiers: QUALIFIERS\n  zephyr:\n    version: 4.1.0\nversion: 0.1.0\n";

/// A build directory for a board, with a firmware that tells its RTOS to nobody.
fn build(board: &str, qualifiers: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let zephyr = dir.path().join("build/zephyr");
    fs::create_dir_all(&zephyr).unwrap();
    let info = BUILD_INFO.replace("BOARD", board).replace("QUALIFIERS", qualifiers);
    fs::write(dir.path().join("build/build_info.yml"), info).unwrap();
    fs::write(zephyr.join(".config"), "CONFIG_BOARD=\"x\"\n").unwrap();
    TestElf::new().write_to(&zephyr.join("zephyr.elf"));
    dir
}

/// Packs in that directory and gives the result as JSON.
fn pack(dir: &Path, args: &[&str]) -> Value {
    let output =
        builder().current_dir(dir).arg("pack").args(args).args(["--format", "json"]).output().unwrap();
    assert!(output.status.success(), "{}{}", stderr(&output), support::stdout(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn refuse(dir: &Path, args: &[&str]) -> String {
    let output = builder().current_dir(dir).arg("pack").args(args).output().unwrap();
    assert!(!output.status.success(), "{}", support::stdout(&output));
    stderr(&output)
}

#[test]
fn a_build_directory_is_packed_with_what_it_says() {
    let dir = build("qemu_cortex_a53", "qemu_cortex_a53");
    for firmware in ["build", "build/zephyr", "./build/zephyr/"] {
        let image = &pack(dir.path(), &[firmware])["image"];
        assert_eq!(image["name"]["value"], "docker.io/library/blinky:latest");
        assert_eq!((&image["rtos"]["value"], &image["rtos_version"]), (&"zephyr".into(), &"4.1.0".into()));
        assert_eq!(image["board"]["value"], "qemu_cortex_a53");
        assert_eq!(
            (&image["board"]["how"], &image["board"]["because"]),
            (&"found".into(), &"build_info.yml".into())
        );
    }
    assert!(dir.path().join("build/zephyr/zephyr.oci.tar").is_file());
}

#[test]
fn a_variant_takes_the_nearest_profile_and_says_so() {
    let dir = build("qemu_cortex_a53", "qemu_cortex_a53/smp");
    let image = &pack(dir.path(), &["build"])["image"];
    assert_eq!(image["board"]["value"], "qemu_cortex_a53");
    let because = image["board"]["because"].as_str().unwrap();
    assert!(because.contains("qemu_cortex_a53/qemu_cortex_a53/smp"), "{because}");
}

#[test]
fn an_option_outweighs_the_build() {
    let dir = build("qemu_cortex_a53", "qemu_cortex_a53");
    let image = &pack(
        dir.path(),
        &["build", "--board", "qemu_arm64", "--tag", "mine:1", "--rtos", "freertos"],
    )["image"];
    assert_eq!(image["board"]["value"], "qemu_arm64");
    assert_eq!(image["name"]["value"], "docker.io/library/mine:1");
    assert_eq!((&image["rtos"]["value"], &image["rtos_version"]), (&"freertos".into(), &Value::Null));
    // The node's own core, not the emulated board.
    let image = &pack(dir.path(), &["build", "--pedestal", "baremetal", "--allow", "MIC501"])["image"];
    assert_eq!(image["board"]["value"], Value::Null);
}

#[test]
fn a_board_without_a_profile_is_not_replaced_by_a_guess() {
    let dir = build("kv260", "r5");
    let result = pack(dir.path(), &["build"]);
    assert_eq!(result["image"]["board"]["value"], Value::Null);
    let finding = &result["findings"].as_array().unwrap().iter().find(|f| f["code"] == "MIC404").unwrap();
    assert!(finding["message"].as_str().unwrap().contains("kv260/r5"), "{finding}");
}

#[test]
fn a_directory_that_is_no_build_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let error = refuse(dir.path(), &["."]);
    assert!(error.contains("no Zephyr build directory"), "{error}");
    let built = build("qemu_cortex_a53", "qemu_cortex_a53");
    let error = refuse(built.path(), &["build", "--domain", "radio"]);
    assert!(error.contains("`radio`"), "{error}");
}

#[test]
fn bills_of_materials_are_attached_beside_the_image() {
    let dir = build("qemu_cortex_a53", "qemu_cortex_a53");
    let spdx = dir.path().join("build/spdx");
    fs::create_dir(&spdx).unwrap();
    let given = "SPDXVersion: SPDX-2.3\nSPDXID: SPDXRef-DOCUMENT\nDocumentNamespace: http://example.org/a\n";
    fs::write(spdx.join("zephyr.spdx"), given).unwrap();

    let result = pack(dir.path(), &["build"]);
    let note = result["findings"].as_array().unwrap().iter().find(|f| f["code"] == "MIC712").unwrap();
    assert!(note["remedy"].as_str().unwrap().contains("zephyr.spdx"), "{note}");

    let result = pack(
        dir.path(),
        &["build", "--sbom", "build/spdx/zephyr.spdx", "--sbom", "generate", "-o", "oci:out"],
    );
    assert!(result["findings"].as_array().unwrap().iter().all(|finding| finding["code"] != "MIC712"));
    let blob = |digest: &Value| {
        let digest = digest.as_str().unwrap();
        let bytes = fs::read(dir.path().join("out/blobs").join(digest.replace(':', "/"))).unwrap();
        assert_eq!(Sha256Digest::of(&bytes).to_string(), digest);
        bytes
    };
    let index: Value = serde_json::from_slice(&fs::read(dir.path().join("out/index.json")).unwrap()).unwrap();
    let mut documents = Vec::new();
    let listed = index["annotations"]["org.openeuler.micrun.referrers"].as_str().unwrap();
    for entry in serde_json::from_str::<Vec<Value>>(listed).unwrap() {
        let manifest: Value = serde_json::from_slice(&blob(&entry["digest"])).unwrap();
        if manifest["subject"]["digest"] == result["image"]["digest"] {
            documents.push((manifest["artifactType"].clone(), blob(&manifest["layers"][0]["digest"])));
        }
    }
    documents.sort_by_key(|(kind, _)| kind.to_string());
    assert_eq!(documents.len(), 2, "{index}");
    assert_eq!(documents[1], ("text/spdx".into(), given.as_bytes().to_vec()));
    // Others find the image by its tag.
    let at = format!("oci:{}:latest", dir.path().join("out").display());
    let inspected = tool("skopeo", Command::new("skopeo").args(["inspect", &at]));
    assert!(inspected.contains(result["image"]["digest"].as_str().unwrap()), "{inspected}");

    let generated: Value = serde_json::from_slice(&documents[0].1).unwrap();
    assert_eq!(generated["packages"][1]["versionInfo"], "4.1.0");
    let firmware = fs::read(dir.path().join("build/zephyr/zephyr.elf")).unwrap();
    let files = generated["files"].as_array().unwrap();
    let elf = files.iter().find(|file| file["fileName"] == "./firmware.elf").unwrap();
    assert_eq!(elf["checksums"][1]["checksumValue"], Sha256Digest::of(&firmware).hex());
}

#[test]
fn a_bill_of_materials_that_is_none_stops_everything() {
    let dir = build("qemu_cortex_a53", "qemu_cortex_a53");
    let error = refuse(dir.path(), &["build", "--sbom", "build/build_info.yml"]);
    assert!(error.contains("no SPDX document"), "{error}");
    assert!(!dir.path().join("build/zephyr/zephyr.oci.tar").exists());
}
