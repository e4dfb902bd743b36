//! `check` on images: each defect is found, and nothing else; good images pass, whoever made them.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use support::layout::{Layout, TarFile, gzip, tar};
use support::{RWX, TestElf, builder, stderr, stdout};
use tar::EntryType;

const CONF: &[u8] = b"[Mica]\nClientPath=/firmware.elf\nPedestal=qemu\nPedestalConf=\n";

fn firmware() -> TestElf {
    let mut elf = TestElf::new().with_text("*** Booting Zephyr OS build v3.5.0 ***\0");
    elf.segments[0].flags = RWX;
    elf
}

fn packed(dir: &Path) -> Layout {
    Layout::packed(dir, &firmware(), &[])
}

/// The findings of a check, without those that every firmware of these tests gets.
fn findings(image: &Path, options: &[&str]) -> (Option<i32>, Vec<Value>) {
    let output = builder().args(["check", "--format", "json"]).args(options).arg(image).output().unwrap();
    let result: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}{}", stdout(&output), stderr(&output)));
    let usual = |finding: &Value| finding["code"] == "MIC307";
    let findings = result["findings"].as_array().unwrap().iter().filter(|finding| !usual(finding));
    (output.status.code(), findings.cloned().collect())
}

fn codes(image: &Path) -> BTreeSet<String> {
    let (_, findings) = findings(image, &[]);
    findings.iter().map(|finding| finding["code"].as_str().unwrap().to_owned()).collect()
}

#[track_caller]
fn assert_codes(image: &Path, expected: &[&str]) {
    let (_, found) = findings(image, &[]);
    let codes: BTreeSet<&str> = found.iter().map(|finding| finding["code"].as_str().unwrap()).collect();
    assert_eq!(codes, expected.iter().copied().collect(), "{found:#?}");
}

#[test]
fn what_the_builder_makes_passes() {
    let dir = tempfile::tempdir().unwrap();
    for options in [
        &[][..],
        &["--compression", "gzip"],
        &["--compression", "none"],
        &["--platform", "linux/arm64,linux/amd64,linux/arm/v7", "--tag", "x:1"],
        &[
            "--pedestal",
            "xen",
            "--board",
            "qemu_arm64",
            "--allow",
            "MIC604",
            "--allow",
            "MIC705",
            "--tag",
            "x:2",
        ],
        &["--set", "Memory=64", "--annotation", "org.openeuler.micrun.container.auto_close=yes"],
    ] {
        let _ = fs::remove_dir_all(dir.path().join("layout"));
        let layout = Layout::packed(dir.path(), &firmware(), options);
        let (status, found) = findings(&layout.dir, &["--allow", "MIC604", "--allow", "MIC705"]);
        let allowed = |finding: &Value| {
            ["MIC502", "MIC604", "MIC705", "MIC613"].contains(&finding["code"].as_str().unwrap())
        };
        let found: Vec<_> = found.into_iter().filter(|finding| !allowed(finding)).collect();
        assert_eq!((status, found.as_slice()), (Some(0), &[][..]), "{options:?}");
    }
}

#[test]
fn damage_is_named_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let place = |edit: &dyn Fn(&Layout)| {
        let _ = fs::remove_dir_all(dir.path().join("layout"));
        let layout = packed(dir.path());
        edit(&layout);
        let (status, found) = findings(&layout.dir, &[]);
        assert_eq!(status, Some(1), "{found:#?}");
        let [first, ..] = found.as_slice() else { panic!("nothing was found") };
        (first["code"].as_str().unwrap().to_owned(), first["part"].as_str().unwrap_or_default().to_owned())
    };
    let flip = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).unwrap();
    };
    let named = |code: &str, part: &str| (code.to_owned(), part.to_owned());
    let blob = |layout: &Layout, descriptor: &Value| layout.blob_path(descriptor["digest"].as_str().unwrap());

    let damaged = place(&|layout| flip(&blob(layout, &layout.index()["manifests"][0])));
    assert_eq!(damaged, named("MIC802", "manifest"));
    let damaged = place(&|layout| flip(&blob(layout, &layout.manifest()["config"])));
    assert_eq!(damaged, named("MIC802", "config"));
    let damaged = place(&|layout| flip(&blob(layout, &layout.manifest()["layers"][0])));
    assert_eq!(damaged, named("MIC802", "layer 0"));
    let cut = place(&|layout| {
        let path = blob(layout, &layout.manifest()["layers"][0]);
        let bytes = fs::read(&path).unwrap();
        fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
    });
    assert_eq!(cut, named("MIC802", "layer 0"));
    let missing = place(&|layout| fs::remove_file(blob(layout, &layout.manifest()["layers"][0])).unwrap());
    assert_eq!(missing, named("MIC801", "layer 0"));
    let missing = place(&|layout| fs::remove_file(blob(layout, &layout.manifest()["config"])).unwrap());
    assert_eq!(missing, named("MIC801", "config"));
    let size = place(&|layout| {
        layout.edit_manifest(|manifest| {
            manifest["layers"][0]["size"] = json!(manifest["layers"][0]["size"].as_u64().unwrap() - 1)
        });
    });
    assert_eq!(size, named("MIC802", "layer 0"));
    let index = place(&|layout| fs::write(layout.dir.join("index.json"), "{").unwrap());
    assert_eq!(index, named("MIC801", "image"));
}

/// Each edit of a good image, and the codes that it leads to.
#[test]
fn each_defect_of_the_documents_has_its_code() {
    let dir = tempfile::tempdir().unwrap();
    type Edit = Box<dyn Fn(&Layout)>;
    let config = |edit: fn(&mut Value)| -> Edit { Box::new(move |layout| layout.edit_config(edit)) };
    let manifest = |edit: fn(&mut Value)| -> Edit { Box::new(move |layout| layout.edit_manifest(edit)) };
    const KEY: &str = "org.openeuler.micrun.board";
    let cases: Vec<(&str, Edit, &[&str])> = vec![
        ("diff_id", config(|c| c["rootfs"]["diff_ids"][0] = format!("sha256:{:064}", 7).into()), &["MIC803"]),
        ("number of diff_ids", config(|c| c["rootfs"]["diff_ids"] = json!([])), &["MIC809"]),
        ("another system", config(|c| c["os"] = "windows".into()), &["MIC809"]),
        ("no JSON of a configuration", config(|c| *c = json!([1])), &["MIC809"]),
        ("Entrypoint", config(|c| c["config"]["Entrypoint"] = json!(["/bin/sh"])), &["MIC816"]),
        ("no Entrypoint", config(|c| c["config"]["Entrypoint"] = Value::Null), &["MIC816"]),
        ("label", config(|c| c["config"]["Labels"][KEY] = "qemu_arm".into()), &["MIC819"]),
        (
            "media type",
            manifest(|m| m["layers"][0]["mediaType"] = "text/plain".into()),
            &["MIC804", "MIC814", "MIC815"],
        ),
        (
            "compression",
            manifest(|m| m["layers"][0]["mediaType"] = "application/vnd.oci.image.layer.v1.tar+gzip".into()),
            &["MIC805", "MIC814", "MIC815"],
        ),
        ("artifact", manifest(|m| m["artifactType"] = "application/x".into()), &["MIC804"]),
        (
            "annotation against client.conf",
            manifest(|m| m["annotations"][KEY] = "qemu_arm".into()),
            &["MIC817", "MIC819"],
        ),
        (
            "kind of an annotation",
            manifest(|m| m["annotations"]["org.openeuler.micrun.container.auto_close"] = "perhaps".into()),
            &["MIC708", "MIC818"],
        ),
        (
            "unknown annotation",
            manifest(|m| m["annotations"]["org.openeuler.micrun.bord"] = "x".into()),
            &["MIC709", "MIC818"],
        ),
        (
            "old spelling",
            manifest(|m| {
                let value = m["annotations"].as_object_mut().unwrap().remove(KEY).unwrap();
                m["annotations"]["org.openeuler.micran.board"] = value;
            }),
            &["MIC703"],
        ),
        ("no annotations", manifest(|m| m["annotations"] = Value::Null), &["MIC818", "MIC819"]),
        (
            "pedestal",
            manifest(|m| m["annotations"]["org.openeuler.micrun.ped.pedestal"] = "xen".into()),
            &["MIC817", "MIC819"],
        ),
        (
            "hash",
            manifest(|m| {
                m["annotations"]["org.openeuler.micrun.container.firmware_hash"] =
                    format!("sha256:{:064}", 7).into()
            }),
            &["MIC704", "MIC817", "MIC819"],
        ),
    ];
    for (name, edit, expected) in cases {
        let _ = fs::remove_dir_all(dir.path().join("layout"));
        let layout = packed(dir.path());
        edit(&layout);
        let (_, found) = findings(&layout.dir, &[]);
        let codes: BTreeSet<&str> = found.iter().map(|finding| finding["code"].as_str().unwrap()).collect();
        assert_eq!(codes, expected.iter().copied().collect(), "{name}: {found:#?}");
    }
}

#[test]
fn each_defect_of_the_files_has_its_code() {
    let dir = tempfile::tempdir().unwrap();
    let elf = firmware().bytes();
    let file = TarFile::new;
    let conf = |text: &'static str| text.as_bytes();
    let layers = |layers: &[Vec<u8>]| {
        let _ = fs::remove_dir_all(dir.path().join("layout"));
        let layout = packed(dir.path());
        layout.set_layers(layers);
        // Only what the files say counts here.
        layout.edit_manifest(|manifest| manifest["annotations"] = Value::Null);
        layout.edit_config(|config| config["config"]["Labels"] = Value::Null);
        let mut codes = codes(&layout.dir);
        assert!(codes.remove("MIC818") || codes.contains("MIC814") || codes.contains("MIC701"));
        codes.remove("MIC820");
        codes
    };
    let set = |codes: &[&str]| -> BTreeSet<String> { codes.iter().map(|&code| code.to_owned()).collect() };
    let good = [file("client.conf", CONF), file("firmware.elf", &elf)];

    assert_eq!(layers(&[tar(&good)]), set(&[]));
    assert_eq!(layers(&[tar(&good[1..])]), set(&["MIC814"]));
    assert_eq!(layers(&[tar(&good[..1])]), set(&["MIC815"]));
    assert_eq!(
        layers(&[tar(&[file("client.conf", CONF), file("firmware.elf", b"#!/bin/sh")])]),
        set(&["MIC102"])
    );
    let bad_conf = conf("[Mica]\nCPUWeight=100000\n");
    assert_eq!(
        layers(&[tar(&[file("client.conf", bad_conf), file("firmware.elf", &elf)])]),
        set(&["MIC701"])
    );
    let misspelt = conf("[Mica]\nClientPath=/firmware.elf\nPedestal=qemu\nPedestalConf=\nMemroy=1\n");
    assert_eq!(
        layers(&[tar(&[file("client.conf", misspelt), file("firmware.elf", &elf)])]),
        set(&["MIC702"])
    );
    let xen = conf("[Mica]\nClientPath=/firmware.elf\nPedestal=xen\nPedestalConf=/image.bin\n");
    let codes = layers(&[tar(&[file("client.conf", xen), file("firmware.elf", &elf)])]);
    assert!(codes.contains("MIC710"), "{codes:?}");
    let board =
        conf("[Mica]\nClientPath=/firmware.elf\nPedestal=qemu\nPedestalConf=\n[MicRun]\nboard=moon\n");
    assert_eq!(layers(&[tar(&[file("client.conf", board), file("firmware.elf", &elf)])]), set(&["MIC821"]));
    let arm =
        conf("[Mica]\nClientPath=/firmware.elf\nPedestal=qemu\nPedestalConf=\n[MicRun]\nboard=qemu_arm\n");
    assert_eq!(layers(&[tar(&[file("client.conf", arm), file("firmware.elf", &elf)])]), set(&["MIC706"]));

    assert_eq!(layers(&[tar(&good), tar(&[file("etc/motd", b"x")])]), set(&["MIC812", "MIC813"]));
    assert_eq!(layers(&[tar(&good), tar(&[file(".wh.firmware.elf", b"")])]), set(&["MIC812", "MIC815"]));
    let above = [file("../evil", b"x")];
    assert_eq!(layers(&[tar(&good), tar(&above)]), set(&["MIC807", "MIC812"]));
    let dangling = [TarFile::link(EntryType::Link, "a", "b")];
    assert_eq!(layers(&[tar(&good), tar(&dangling)]), set(&["MIC808", "MIC812"]));
    let deep = "a/".repeat(40) + "x";
    assert!(layers(&[tar(&good), tar(&[file(&deep, b"x")])]).contains("MIC813"));
    let mut cut = tar(&good);
    cut.truncate(700);
    assert!(layers(&[cut]).contains("MIC805"));
}

#[test]
fn an_index_is_checked_for_every_platform() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::packed(dir.path(), &firmware(), &["--platform", "linux/arm64,linux/amd64"]);
    let root = layout.manifest();
    let edit_root = |edit: &dyn Fn(&mut Value)| {
        let mut index = root.clone();
        edit(&mut index);
        let new = layout.put(index.to_string().as_bytes());
        layout.edit_index(|top| {
            for key in ["digest", "size"] {
                top["manifests"][0][key] = new[key].clone();
            }
        });
    };
    edit_root(&|index| index["manifests"][1]["platform"]["architecture"] = "arm64".into());
    assert_codes(&layout.dir, &["MIC810", "MIC811"]);
    edit_root(&|index| {
        let attestation = json!({ "mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 2,
            "digest": format!("sha256:{:064}", 0), "platform": { "os": "unknown", "architecture": "unknown" } });
        index["manifests"].as_array_mut().unwrap().push(attestation);
    });
    assert_codes(&layout.dir, &[]);
    let (status, found) = findings(&layout.dir, &["--platform", "linux/riscv64"]);
    assert_eq!((status, &found[0]["code"]), (Some(1), &"MIC801".into()));
    assert_eq!(findings(&layout.dir, &["--platform", "linux/arm64"]).0, Some(0));
}

#[test]
fn indexes_that_name_one_another_over_and_over_are_read_once() {
    const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    let dir = tempfile::tempdir().unwrap();
    let layout = packed(dir.path());
    let mut child = layout.index()["manifests"][0].clone();
    for _ in 0..4 {
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": vec![child; 500] });
        child = layout.put(index.to_string().as_bytes());
        child["mediaType"] = INDEX.into();
    }
    layout.edit_index(|index| index["manifests"] = json!([child]));
    assert_codes(&layout.dir, &["MIC811"]);
}

#[test]
fn a_layer_that_unpacks_to_nothing_real_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let layout = packed(dir.path());
    // An extended header that claims, and has, two MiB.
    let long = vec![b'a'; 2 << 20];
    let name = TarFile { path: "././@LongLink", kind: EntryType::GNULongName, link: "", data: &long };
    let bomb = tar(&[name, TarFile::new("x", b"")]);
    let media_type = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    layout.set_blobs(&[(media_type, gzip(&bomb), bomb)]);
    let codes = codes(&layout.dir);
    assert!(codes.contains("MIC806"), "{codes:?}");
}

#[test]
fn a_place_without_an_image_is_a_finding_or_wrong_usage() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("empty.tar");
    fs::write(&image, tar(&[TarFile::new("a", b"b")])).unwrap();
    assert_codes(&image, &["MIC801"]);
    let layout = packed(dir.path());
    let (_, found) = findings(Path::new(&format!("oci:{}:nothing", layout.dir.display())), &[]);
    assert_eq!(found[0]["code"], "MIC801");
    let output = builder().args(["check", "docker-archive:x"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
