//! `pack --client-conf`: the file's values get into the image, and contradictions are findings.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

mod support;

use std::fs;
use std::path::Path;

use serde_json::Value;
use support::{TestElf, builder, stderr};

/// Packs with that file; gives what programs get and the client.conf in the image.
fn pack(dir: &Path, file: &str, options: &[&str]) -> (Value, String) {
    fs::write(dir.join("my.conf"), file).unwrap();
    let _ = fs::remove_file(dir.join("app.oci.tar"));
    let output = builder()
        .args(["pack", "app.elf", "--client-conf", "my.conf", "--format", "json"])
        .args(options)
        .current_dir(dir)
        .output()
        .unwrap();
    let value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", stderr(&output)));
    let conf = builder()
        .args(["extract", "app.oci.tar", "--client-conf", "-"])
        .args(["--platform", "linux/arm64"])
        .current_dir(dir)
        .output()
        .unwrap();
    (value, String::from_utf8(conf.stdout).unwrap())
}

fn codes(value: &Value) -> Vec<&str> {
    let codes = value["findings"].as_array().unwrap().iter().map(|finding| finding["code"].as_str().unwrap());
    codes.filter(|code| code.starts_with("MIC7")).collect()
}

fn firmware() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    TestElf::new().with_text("*** Booting Zephyr OS build v3.5.0 ***").write_to(&dir.path().join("app.elf"));
    dir
}

#[test]
fn options_outweigh_the_file_and_the_file_outweighs_assumptions() {
    let dir = firmware();
    let file = "[Mica]\nMemory=64\nVCPU=2\nPedestal=qemu\nMine=1\n[MicRun]\nboard=qemu_cortex_a53\n\
                container.auto_close_timeout=30s\n";
    let (packed, conf) = pack(dir.path(), file, &["--set", "memory=128", "--platform", "linux/arm64"]);
    for line in
        ["Memory=128", "VCPU=2", "Mine=1", "board=qemu_cortex_a53", "container.auto_close_timeout=30s"]
    {
        assert!(conf.contains(line), "{line}: {conf}");
    }
    assert_eq!(codes(&packed), ["MIC702"]);
    assert_eq!(packed["image"]["pedestal"]["because"], "client.conf my.conf");
    assert_eq!(packed["image"]["board"]["how"], "found");
    let (packed, conf) = pack(dir.path(), "[Mica]\nPedestal=xen\nPedestalConf=\n", &["--allow", "MIC604"]);
    assert_eq!(packed["image"]["pedestal"]["value"], "xen");
    assert!(conf.contains("PedestalConf=/image.bin"), "{conf}");
}

#[test]
fn what_the_builder_sets_is_not_taken_over() {
    let dir = firmware();
    let file = "[Mica]\nName=motor\nClientPath=/lib/firmware/app.elf\nPedestal=qemu\nPedestalConf=\n";
    let (packed, conf) = pack(dir.path(), file, &["--platform", "linux/arm64"]);
    assert_eq!(codes(&packed), ["MIC716", "MIC716"]);
    assert!(conf.contains("ClientPath=/firmware.elf") && !conf.contains("Name="), "{conf}");
}

#[test]
fn contradictions_are_errors() {
    let dir = firmware();
    let refused = |file: &str, options: &[&str], code: &str| {
        let (packed, conf) = pack(dir.path(), file, options);
        assert!(codes(&packed).contains(&code), "{file}: {packed}");
        assert!(conf.is_empty(), "there is no image");
        packed
    };
    refused("[Mica]\nPedestal=xen\n", &["--pedestal", "qemu"], "MIC714");
    refused("[Mica]\n[MicRun]\nboard=qemu_arm\n", &["--board", "qemu_cortex_a53"], "MIC714");
    refused("[Mica]\nPedestal=qemu\n[MicRun]\nped.pedestal=xen\n", &[], "MIC714");
    refused("[Mica]\n[MicRun]\ncontainer.os=nuttx\n", &[], "MIC715");
    refused("[Mica]\nPedestal=xen\nPedestalConf=/boot/app.bin\n", &["--allow", "MIC604"], "MIC710");
    refused("[Mica]\n[MicRun]\ncontainer.firmware_hash=sha256:00\n", &[], "MIC708");
    let packed = refused("[Mica]\nMemory=64\nVCPU=two\n", &[], "MIC701");
    assert!(packed["findings"][0]["message"].as_str().unwrap().contains("line 3"), "{packed}");
    let (packed, conf) = pack(
        dir.path(),
        "[Mica]\nPedestal=xen\n",
        &["--pedestal", "qemu", "--allow", "MIC714", "--platform", "linux/arm64"],
    );
    assert!(conf.contains("Pedestal=qemu"), "the option counts: {packed}");
}

#[test]
fn a_project_file_names_one_too() {
    let dir = firmware();
    fs::create_dir(dir.path().join("conf")).unwrap();
    fs::write(dir.path().join("conf/a.conf"), "[Mica]\nMemory=48\nVCPU=2\n").unwrap();
    let project = "image: { name: a, platforms: [linux/arm64], output: a.tar }\nfirmware: app.elf\nclient-conf: conf/a.conf\n\
                   strip: true\nresources: { VCPU: 1 }\n";
    fs::write(dir.path().join("conf/../p.yaml"), project).unwrap();
    let output = builder().args(["pack", "-q", "-f", "p.yaml"]).current_dir(dir.path()).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let mut extract = builder();
    extract.args(["extract", "a.tar", "--client-conf", "-", "--platform", "linux/arm64"]);
    let conf = String::from_utf8(extract.current_dir(dir.path()).output().unwrap().stdout).unwrap();
    assert!(conf.contains("Memory=48\n") && conf.contains("VCPU=1\n"), "{conf}");
}
