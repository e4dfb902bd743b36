//! A firmware engineer at a command line.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

mod support;

use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::Value;
use support::{RISCV, TestElf, builder, resource_table, rpmsg_device, stderr, stdout};

/// A folder with a good firmware in it.
fn workplace() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    TestElf::new()
        .with_text("*** Booting Zephyr OS build v3.5.0 ***\0")
        .write_to(&dir.path().join("zephyr.elf"));
    dir
}

fn run(dir: &Path, args: &[&str]) -> Output {
    builder().current_dir(dir).args(args).output().unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The files of an OCI archive.
fn archive(bytes: &[u8]) -> std::collections::BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(bytes);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
        (path, bytes)
    });
    entries.collect()
}

#[test]
fn pack_needs_nothing_but_the_firmware() {
    let dir = workplace();
    let output = run(dir.path(), &["pack", "zephyr.elf"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(names(dir.path()), ["zephyr.elf", "zephyr.oci.tar"]);
    let text = stdout(&output);
    for said in [
        "docker.io/library/zephyr:latest",
        "sha256:",
        "zephyr 3.5.0",
        "found: text",
        "qemu_cortex_a53",
        "--board changes it",
        "ctr image import zephyr.oci.tar && ctr run --rm -t --runtime io.containerd.mica.v2 \
         docker.io/library/zephyr:latest zephyr",
    ] {
        assert!(text.contains(said), "{said} is missing in:\n{text}");
    }
}

#[test]
fn the_image_says_everything_twice() {
    let dir = workplace();
    let output = run(
        dir.path(),
        &[
            "pack",
            "zephyr.elf",
            "--format",
            "json",
            "--compression",
            "none",
            "-t",
            "demo/z:1",
            "--platform",
            "linux/arm64",
            "--set",
            "Memory=64",
            "--annotation",
            "org.openeuler.micrun.container.Min_Memory_MB= 32 ",
            "--annotation",
            "org.opencontainers.image.vendor=me",
        ],
    );
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    let image = &result["image"];
    assert_eq!(image["rtos"]["how"], "found");
    assert_eq!(image["board"]["how"], "assumed");
    assert_eq!(image["platform"]["how"], "given");
    assert_eq!(image["board"]["option"], "--board");

    let files = archive(&fs::read(dir.path().join("zephyr.oci.tar")).unwrap());
    let blob = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().unwrap();
        files[&format!("blobs/sha256/{}", digest.strip_prefix("sha256:").unwrap())].clone()
    };
    let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
    let named = &index["manifests"][0];
    assert_eq!(named["digest"], image["digest"]);
    assert_eq!(named["annotations"]["io.containerd.image.name"], "docker.io/demo/z:1");
    assert_eq!(named["annotations"]["org.opencontainers.image.ref.name"], "1");
    let manifest: Value = serde_json::from_slice(&blob(named)).unwrap();
    let config: Value = serde_json::from_slice(&blob(&manifest["config"])).unwrap();
    assert_eq!(config["architecture"], "arm64");
    assert_eq!(config["config"]["Entrypoint"], serde_json::json!(["/firmware.elf"]));
    assert_eq!(config["config"]["StopSignal"], "SIGTERM");
    assert_eq!(config["config"]["Labels"], manifest["annotations"]);
    assert_eq!(config["rootfs"]["diff_ids"][0], manifest["layers"][0]["digest"], "not compressed");
    assert_eq!(manifest["annotations"]["org.openeuler.micrun.container.os"], "zephyr");
    assert_eq!(
        manifest["annotations"]["org.openeuler.micrun.container.min_memory_mb"], "32",
        "as in client.conf"
    );
    assert_eq!(manifest["annotations"]["org.opencontainers.image.vendor"], "me");

    let layer = archive(&blob(&manifest["layers"][0]));
    assert_eq!(layer["firmware.elf"], fs::read(dir.path().join("zephyr.elf")).unwrap());
    let digest = image["firmware_digest"].as_str().unwrap();
    let conf = String::from_utf8(layer["client.conf"].clone()).unwrap();
    assert_eq!(
        conf,
        format!(
            "[Mica]\nClientPath=/firmware.elf\nPedestal=qemu\nPedestalConf=\nMemory=64\n\n[MicRun]\n\
             board=qemu_cortex_a53\ncontainer.firmware_hash={digest}\ncontainer.firmware_path=/firmware.elf\n\
             container.min_memory_mb=32\ncontainer.os=zephyr\n"
        )
    );
}

#[test]
fn a_refused_firmware_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.elf"), "text").unwrap();
    let output = run(dir.path(), &["pack", "a.elf"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("error[MIC102]: "), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("--> a.elf: offset 0x0\n   |  0x0000: 74 65 78 74  text\n  help: "),
        "{}",
        stderr(&output)
    );
    assert!(!stderr(&output).contains('\x1b'), "no colours in a pipe");
    assert_eq!(names(dir.path()), ["a.elf"]);

    let output = run(dir.path(), &["pack", "a.elf", "--format", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["findings"][0]["code"], "MIC102");
    assert_eq!(result["findings"][0]["place"]["offset"], 0);
}

#[test]
fn a_file_that_cannot_be_read_is_a_finding_too() {
    let dir = workplace();
    for (file, said) in [("absent.elf", "No such file"), (".", "no regular file")] {
        let output = run(dir.path(), &["pack", file, "-o", "a.tar", "--format", "json"]);
        assert_eq!(output.status.code(), Some(1));
        let result: Value = serde_json::from_slice(&output.stdout).unwrap();
        let finding = &result["findings"][0];
        assert_eq!(finding["code"], "MIC111");
        assert!(finding["message"].as_str().unwrap().contains(said), "{finding}");
    }
}

#[test]
fn an_allowed_error_is_marked() {
    let dir = tempfile::tempdir().unwrap();
    TestElf { entry: 0, ..TestElf::new() }.write_to(&dir.path().join("a.elf"));
    let output = run(dir.path(), &["pack", "a.elf", "--allow", "MIC302", "--format", "json"]);
    assert!(output.status.success());
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    let allowed = |code: &str| {
        let finding =
            result["findings"].as_array().unwrap().iter().find(|f| f["code"] == code).unwrap().clone();
        (finding["severity"].clone(), finding["allowed"].clone())
    };
    assert_eq!(allowed("MIC302"), ("warning".into(), true.into()));
    assert_eq!(allowed("MIC401"), ("warning".into(), false.into()));
}

#[cfg(unix)]
#[test]
fn nothing_steers_the_terminal() {
    let dir = workplace();
    let name = "a\x1b[31m\n.elf";
    fs::copy(dir.path().join("zephyr.elf"), dir.path().join(name)).unwrap();
    fs::create_dir(dir.path().join("boards.d")).unwrap();
    let shown = stdout(&run(dir.path(), &["boards", "show", "qemu_arm"]));
    let description = shown.lines().find(|line| line.starts_with("description: ")).unwrap();
    let board = shown.replace(description, "description: \"\\e[31m\"").replace("name: qemu_arm", "name: red");
    fs::write(dir.path().join("boards.d/red.yaml"), board).unwrap();
    for args in [
        &["pack", name][..],
        &["pack", name, "--board", "qemu_x86"],
        &["pack", "zephyr.elf", "-o", "absent\x1b/a"],
        &["boards", "list", "--boards-dir", "boards.d"],
        &["boards", "show", "red", "--boards-dir", "boards.d"],
    ] {
        let output = run(dir.path(), args);
        let text = stdout(&output) + &stderr(&output);
        assert!(!text.contains('\x1b') && text.len() > 20, "{args:?}: {text:?}");
    }
}

#[test]
fn what_cannot_be_written_leaves_no_file() {
    let dir = workplace();
    assert_eq!(run(dir.path(), &["pack", "zephyr.elf", "-o", "absent/a.tar"]).status.code(), Some(1));
    fs::create_dir(dir.path().join("taken")).unwrap();
    assert_eq!(run(dir.path(), &["pack", "zephyr.elf", "-o", "taken"]).status.code(), Some(1));
    fs::write(dir.path().join("taken/mine"), "").unwrap();
    let output = run(dir.path(), &["pack", "zephyr.elf", "-o", "oci:taken"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("not an OCI image layout"), "{}", stderr(&output));
    assert_eq!(names(dir.path()), ["taken", "zephyr.elf"]);
    assert_eq!(names(&dir.path().join("taken")), ["mine"]);
}

#[test]
fn an_oci_layout_can_be_packed_again_and_again() {
    let dir = workplace();
    for _ in 0..2 {
        let output = run(dir.path(), &["pack", "zephyr.elf", "-o", "oci:layout"]);
        assert!(output.status.success(), "{}", stderr(&output));
    }
    assert_eq!(names(&dir.path().join("layout")), ["blobs", "index.json", "oci-layout"]);
    assert_eq!(names(&dir.path().join("layout/blobs/sha256")).len(), 3, "nothing is left of the first");
    assert_eq!(names(dir.path()), ["layout", "zephyr.elf"]);
}

#[test]
fn an_oci_layout_keeps_the_images_of_other_tags() {
    let dir = workplace();
    for args in [["--tag", "a:1"], ["--tag", "a:2"], ["--tag", "b:2"]] {
        let output = run(dir.path(), &[&["pack", "zephyr.elf", "-o", "oci:layout"][..], &args].concat());
        assert!(output.status.success(), "{}", stderr(&output));
    }
    let index = fs::read(dir.path().join("layout/index.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    let names: Vec<_> =
        index["manifests"].as_array().unwrap().iter().map(|image| &image["annotations"]).collect();
    let name = |annotations: &Value| annotations["io.containerd.image.name"].as_str().unwrap().to_owned();
    let names: Vec<_> = names.into_iter().map(name).collect();
    assert_eq!(names, ["docker.io/library/a:1", "docker.io/library/b:2"], "skopeo knows tags alone");
}

#[test]
fn a_layout_that_others_added_to_loses_nothing() {
    let dir = workplace();
    assert!(run(dir.path(), &["pack", "zephyr.elf", "-o", "oci:layout"]).status.success());
    let index = dir.path().join("layout/index.json");
    let mut images: Value = serde_json::from_slice(&fs::read(&index).unwrap()).unwrap();
    let mut other = images["manifests"][0].clone();
    other["annotations"] = serde_json::json!({ "org.opencontainers.image.ref.name": "other" });
    images["manifests"].as_array_mut().unwrap().push(other.clone());
    images["theirs"] = "kept".into();
    fs::write(&index, images.to_string()).unwrap();
    let output = run(dir.path(), &["pack", "zephyr.elf", "-o", "oci:layout", "--compression", "none"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let after: Value = serde_json::from_slice(&fs::read(&index).unwrap()).unwrap();
    assert_eq!((&after["theirs"], &after["manifests"][0]), (&"kept".into(), &other));
    assert_eq!(
        names(&dir.path().join("layout/blobs/sha256")).len(),
        5,
        "the other image needs the old blobs; the configuration is the same"
    );
}

#[test]
fn several_platforms_make_one_index_over_one_layer() {
    let dir = workplace();
    let platforms = "linux/arm64,linux/amd64,linux/arm/v7";
    let output = run(dir.path(), &["pack", "zephyr.elf", "-o", "oci:layout", "--platform", platforms]);
    assert!(output.status.success(), "{}", stderr(&output));
    // Three manifests, three configurations, the index and one layer.
    assert_eq!(names(&dir.path().join("layout/blobs/sha256")).len(), 8);
    for (args, status, said) in [
        (&["--platform", "linux/arm64", "--platform", "linux/arm64"][..], 2, "--platform"),
        (&["--pedestal", "baremetal", "--platform", platforms], 1, "MIC711"),
    ] {
        let output = run(dir.path(), &[&["pack", "zephyr.elf"][..], args].concat());
        assert_eq!(output.status.code(), Some(status), "{}", stderr(&output));
        assert!(stderr(&output).contains(said), "{}", stderr(&output));
    }
}

#[test]
fn a_failure_leaves_the_old_oci_layout_whole() {
    let dir = workplace();
    assert!(run(dir.path(), &["pack", "zephyr.elf", "-o", "oci:layout"]).status.success());
    let old = fs::read(dir.path().join("layout/index.json")).unwrap();
    fs::remove_file(dir.path().join("layout/oci-layout")).unwrap();
    fs::create_dir_all(dir.path().join("layout/oci-layout/in-the-way")).unwrap();
    let output = run(dir.path(), &["pack", "zephyr.elf", "-o", "oci:layout", "--compression", "none"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("the OCI layout layout: "), "the user's path: {}", stderr(&output));
    assert_eq!(fs::read(dir.path().join("layout/index.json")).unwrap(), old);
    assert_eq!(names(&dir.path().join("layout")), ["blobs", "index.json", "oci-layout"]);
}

#[test]
fn an_oci_layout_goes_into_the_current_directory() {
    let dir = workplace();
    let inner = dir.path().join("inner");
    fs::create_dir(&inner).unwrap();
    for _ in 0..2 {
        let output = run(&inner, &["pack", "../zephyr.elf", "-o", "oci:."]);
        assert!(output.status.success(), "{}", stderr(&output));
        assert_eq!(names(&inner), ["blobs", "index.json", "oci-layout"]);
    }
    assert_eq!(names(dir.path()), ["inner", "zephyr.elf"]);
}

#[cfg(unix)]
#[test]
fn links_devices_and_pipes_stay_what_they_are() {
    use std::os::unix::fs::symlink;
    let dir = workplace();
    let path = |name: &str| dir.path().join(name);
    for (name, target) in
        [("file", "a.tar"), ("layout", "a.oci"), ("null", "/dev/null"), ("full", "/dev/full")]
    {
        symlink(target, path(name)).unwrap();
    }
    fs::write(path("a.tar"), "old").unwrap();
    fs::create_dir(path("a.oci")).unwrap();
    for output in ["file", "null", "oci:layout"] {
        let output = run(dir.path(), &["pack", "zephyr.elf", "-o", output]);
        assert!(output.status.success(), "{}", stderr(&output));
    }
    assert!(archive(&fs::read(path("a.tar")).unwrap()).contains_key("index.json"));
    assert!(path("a.oci/index.json").exists());
    let full = run(dir.path(), &["pack", "zephyr.elf", "-o", "full"]);
    assert_eq!(full.status.code(), Some(1));
    for link in ["file", "layout", "null", "full"] {
        assert!(path(link).is_symlink(), "{link}");
    }
}

#[test]
fn an_archive_can_go_down_a_pipe() {
    let dir = workplace();
    let output = run(dir.path(), &["pack", "zephyr.elf", "-o", "-"]);
    assert!(output.status.success());
    assert!(archive(&output.stdout).contains_key("index.json"));
    assert!(stderr(&output).contains("docker.io/library/zephyr:latest"), "the summary is on standard error");
    assert_eq!(names(dir.path()), ["zephyr.elf"]);
}

#[test]
fn nonsense_is_wrong_usage() {
    let dir = workplace();
    for args in [
        &["pack"][..],
        &["pack", "zephyr.elf", "--bogus"],
        &["pack", "zephyr.elf", "-o", "zephyr.elf"],
        &["pack", "zephyr.elf", "-o", "./zephyr.elf"],
        &["pack", "zephyr.elf", "-o", "oci:"],
        &["pack", "zephyr.elf", "-o", "oci:layout:1.0"],
        &["pack", "zephyr.elf", "-o", "docker-archive:a.tar"],
        &["pack", "zephyr.elf", "-t", "UPPER"],
        &["pack", "zephyr.elf", "--board", "nope"],
        &["pack", "zephyr.elf", "--pedestal", "kvm"],
        &["pack", "zephyr.elf", "--rtos", "My OS"],
        &["pack", "zephyr.elf", "--platform", "windows/amd64"],
        &["pack", "zephyr.elf", "--compression", "xz"],
        &["pack", "zephyr.elf", "--set", "Memory"],
        &["pack", "zephyr.elf", "--set", "Pedestal=qemu"],
        &["pack", "zephyr.elf", "--annotation", "=x"],
        &["pack", "zephyr.elf", "--allow", "MIC101"],
        &["pack", "zephyr.elf", "--annotation", "org.openeuler.micrun.board=x"],
        &["boards", "show", "nope"],
        &["pack", "zephyr.elf", "--annotation", "org.openeuler.micrun.Board=x"],
        &["pack", "zephyr.elf", "--annotation", "io.containerd.image.name=x"],
        &["pack", "zephyr.elf", "--annotation", "org.opencontainers.image.ref.name=x"],
        &["pack", "zephyr.elf", "--annotation", "a=1", "--annotation", "a=2"],
        &["pack", "zephyr.elf", "--set", "Memory=1", "--set", "memory=2"],
        &["validate", "zephyr.elf"],
    ] {
        let output = run(dir.path(), args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).starts_with("error: "), "{args:?}: {}", stderr(&output));
    }
    assert_eq!(names(dir.path()), ["zephyr.elf"]);
}

#[test]
fn what_is_asked_for_is_checked() {
    let dir = workplace();
    let shown = stdout(&run(dir.path(), &["boards", "show", "qemu_arm64"]));
    let narrow = shown.replace("name: qemu_arm64", "name: narrow").replace("0x40000000", "0x50000000");
    fs::write(dir.path().join("narrow.yaml"), narrow).unwrap();
    let hash = |digits: &str| format!("org.openeuler.micrun.container.firmware_hash={digits}");
    let (wrong_hash, no_hash) = (hash(&"00".repeat(32)), hash("00"));
    for (args, code) in [
        (&["--set", "VCPU=two"][..], "error[MIC701]"),
        (&["--set", "Memory=64", "--set", "MaxMemory=32"], "error[MIC701]"),
        (&["--set", "IOMem=50%"], "error[MIC701]"),
        (&["--annotation", "org.openeuler.micrun.config_path=a%b"], "error[MIC701]"),
        (&["--set", "PedestalConf=/cell.bin"], "error[MIC710]"),
        (&["--set", "PedestalConf="], ""),
        (&["--annotation", "org.openeuler.micrun.container.auto_close=perhaps"], "error[MIC708]"),
        (&["--annotation", "org.openeuler.micrun.container.min_memory_mb=64M"], "error[MIC708]"),
        (&["--annotation", "org.openeuler.micrun.container.atuo_close=yes"], "warning[MIC709]"),
        (&["--annotation", &wrong_hash], "error[MIC704]"),
        (&["--annotation", &no_hash], "error[MIC708]"),
        (&["--pedestal", "xen"], ""),
        (&["--pedestal", "baremetal", "--board", "qemu_arm64"], "error[MIC705]"),
        (&["--board", "qemu_x86"], "error[MIC706]"),
        (&["--board", "narrow", "--boards-dir", "."], "warning[MIC309]"),
        (&["--set", "Memry=64"], "warning[MIC702]"),
        (&["--annotation", "org.openeuler.micran.container.auto_close=no"], "warning[MIC703]"),
    ] {
        let output = run(dir.path(), &[&["pack", "zephyr.elf", "-o", "a.tar"], args].concat());
        assert!(stderr(&output).contains(code), "{args:?}: {}", stderr(&output));
        assert_eq!(output.status.code(), Some(code.starts_with("error").into()), "{args:?}");
    }
}

#[test]
fn a_client_conf_that_is_too_large_is_not_packed() {
    let dir = workplace();
    let values: Vec<_> = (0..17).map(|n| format!("IOMem{n}={}", "x".repeat(4000))).collect();
    let args = values.iter().flat_map(|value| ["--set", value]);
    let output = run(dir.path(), &["pack", "zephyr.elf"].into_iter().chain(args).collect::<Vec<_>>());
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("error[MIC701]"), "{}", stderr(&output));
    assert_eq!(names(dir.path()), ["zephyr.elf"]);
}

#[test]
fn a_firmware_with_little_memory_gets_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let mut elf = TestElf::new();
    elf.segments[0].memsz = 3 << 20;
    elf.write_to(&dir.path().join("a.elf"));
    let output = run(dir.path(), &["pack", "a.elf", "--set", "Memory=2"]);
    assert!(output.status.success());
    assert!(stderr(&output).contains("warning[MIC707]"), "{}", stderr(&output));
    assert!(stderr(&output).contains("warning[MIC401]"), "the RTOS is unknown");
    let output = run(dir.path(), &["pack", "a.elf", "--set", "Memory=3", "--rtos", "baremetal", "-q"]);
    assert_eq!((stderr(&output).as_str(), stdout(&output).as_str()), ("", ""), "quiet");
}

#[test]
fn other_pedestals_take_the_node_for_the_board() {
    let dir = workplace();
    let guest = TestElf::new().with_resource_table(&resource_table(&[rpmsg_device()]));
    guest.write_to(&dir.path().join("guest.elf"));
    let output = run(dir.path(), &["pack", "guest.elf", "--pedestal", "baremetal", "--format", "json"]);
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["image"]["board"]["value"], Value::Null);
    assert_eq!(result["image"]["platform"]["value"], "linux/arm64");
}

#[test]
fn a_node_has_boards_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let elf = TestElf { machine: RISCV, ..TestElf::new() };
    elf.write_to(&dir.path().join("a.elf"));
    let shown = stdout(&run(dir.path(), &["boards", "show", "qemu-riscv64"]));
    fs::create_dir(dir.path().join("boards.d")).unwrap();
    fs::write(dir.path().join("boards.d/mine.yaml"), shown.replace("name: qemu-riscv64", "name: mine"))
        .unwrap();

    let validated = run(dir.path(), &["boards", "validate", "boards.d/mine.yaml"]);
    assert_eq!(stdout(&validated), "boards.d/mine.yaml: board mine is valid\n");
    let listed = run(dir.path(), &["boards", "list", "--boards-dir", "boards.d", "--format", "json"]);
    let boards: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let mine = boards.as_array().unwrap().iter().find(|board| board["name"] == "mine").unwrap();
    assert_eq!(mine["origin"], "boards.d/mine.yaml");
    let packed = run(dir.path(), &["pack", "a.elf", "--board", "mine", "--boards-dir", "boards.d"]);
    assert!(packed.status.success(), "{}", stderr(&packed));

    fs::write(dir.path().join("boards.d/bad.yaml"), "name: [").unwrap();
    let output = run(dir.path(), &["boards", "validate", "boards.d/bad.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("boards.d/bad.yaml"), "{}", stderr(&output));
    let output = run(dir.path(), &["boards", "--boards-dir", "boards.d", "list"]);
    assert_eq!(output.status.code(), Some(1));
    let output = run(dir.path(), &["boards", "list", "--boards-dir", "bords.d"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("bords.d: there is no such directory"), "{}", stderr(&output));
}

#[test]
fn a_board_file_is_validated_beside_the_boards_that_are_there() {
    let dir = tempfile::tempdir().unwrap();
    let shown = stdout(&run(dir.path(), &["boards", "show", "qemu_arm64"]));
    let board = |name: &str, alias: &str| {
        let names = format!("name: {name}\naliases: [{alias}]");
        fs::write(dir.path().join(format!("{name}.yaml")), shown.replace("name: qemu_arm64", &names))
            .unwrap();
    };
    board("first", "qemu_arm");
    let output = run(dir.path(), &["boards", "validate", "first.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("already belongs to the board qemu_arm"), "{}", stderr(&output));
    board("first", "mine");
    board("second", "mine");
    assert!(run(dir.path(), &["boards", "validate", "first.yaml"]).status.success());
    assert!(!run(dir.path(), &["boards", "validate", "first.yaml", "second.yaml"]).status.success());
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_nobody_takes_is_no_panic() {
    let dir = workplace();
    let commands = [
        &["completions", "bash"][..],
        &["boards", "list"],
        &["boards", "show", "qemu_arm"],
        &["pack", "zephyr.elf"],
    ];
    for args in commands {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = builder().current_dir(dir.path()).args(args).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(stderr(&output).contains("error: cannot print"), "{args:?}: {}", stderr(&output));
    }
    for args in commands.into_iter().chain([&["pack", "zephyr.elf", "-q", "-o", "-"][..]]) {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = builder().current_dir(dir.path()).args(args).stdout(writer).output().unwrap();
        assert_eq!((output.status.code(), stderr(&output).contains("error")), (Some(141), false), "{args:?}");
    }
}

#[test]
fn shells_can_complete_it() {
    let output = run(Path::new("."), &["completions", "bash"]);
    assert!(stdout(&output).contains("--compression"));
}

#[test]
fn every_command_has_a_manual_page_with_examples() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(dir.path(), &["man", "--output", "."]);
    assert!(output.status.success(), "{}", stderr(&output));
    let pages = names(dir.path());
    assert!(
        pages.len() > 15 && pages.iter().any(|page| page == "micrun-image-builder-index-create.1"),
        "{pages:?}"
    );
    for page in &pages {
        let text = fs::read_to_string(dir.path().join(page)).unwrap();
        assert!(text.starts_with(".ie") && text.contains("Examples:"), "{page}: {text}");
    }
    assert!(stdout(&run(dir.path(), &["man"])).contains(".TH micrun"));
    assert!(run(dir.path(), &["man", "--output", "new/man1"]).status.success());
    assert_eq!(names(&dir.path().join("new/man1")), pages);
    let page = run(dir.path(), &["man", "--output", "micrun-image-builder.1"]);
    assert_eq!(page.status.code(), Some(1), "a file is no directory");
}

#[test]
fn unknown_values_list_the_known_ones() {
    let dir = workplace();
    let codes = ["MIC101", "MIC302", "MIC801"];
    for (args, known) in [
        (&["pack", "zephyr.elf", "--board", "none"][..], &["qemu_cortex_a53", "qemu_cortex_m3"][..]),
        (&["check", "zephyr.elf", "--board", "none"], &["qemu_cortex_a53", "qemu_cortex_m3"]),
        (&["boards", "show", "none"], &["qemu_cortex_a53", "qemu_cortex_m3"]),
        (&["pack", "zephyr.elf", "--pedestal", "kvm"], &["qemu", "xen", "hetero", "remoteproc"]),
        (&["pack", "zephyr.elf", "--compression", "lz4"], &["zstd", "gzip", "none"]),
        (&["pack", "zephyr.elf", "--platform", "linux/arm46"], &["arm64", "amd64", "riscv64"]),
        (&["pack", "zephyr.elf", "--arch", "arm9"], &["aarch64", "riscv32", "x86_64"]),
        (&["pack", "zephyr.elf", "-o", "dir:x"], &["oci-archive:", "oci:", "docker://"]),
        (&["pack", "zephyr.elf", "--allow", "MIC999"], &["check --explain all"]),
        (&["check", "--explain", "MIC999"], &codes),
        (&["check", "zephyr.elf", "--format", "xml"], &["text", "json", "sarif"]),
        (&["completions", "tcsh"], &["bash", "zsh", "fish"]),
        (&["copy", "a.tar", "b.tar", "--retries", "-1"], &["0..=4294967295"]),
    ] {
        let output = run(dir.path(), args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        for known in known {
            assert!(stderr(&output).contains(known), "{args:?} does not say {known}: {}", stderr(&output));
        }
    }
    let list = run(dir.path(), &["check", "--explain", "all"]);
    assert!(list.status.success() && codes.iter().all(|code| stdout(&list).contains(code)));
    let unknown = run(dir.path(), &["pack", "zephyr.elf", "--set", "Size=64"]);
    assert!(stderr(&unknown).contains("MaxMemory, IOMem"), "{}", stderr(&unknown));
}

#[test]
fn a_registry_without_its_transport_is_recognised() {
    let dir = workplace();
    run(dir.path(), &["pack", "zephyr.elf", "-q"]);
    for args in [
        &["push", "zephyr.oci.tar", "registry.example/demo:1"][..],
        &["push", "zephyr.oci.tar", "https://registry.example/demo:1"],
        &["push", "zephyr.oci.tar", "docker:registry.example/demo:1"],
        &["pull", "registry.example/demo:1", "a.tar"],
        &["check", "registry.example/demo:1"],
        &["extract", "registry.example/demo:1", "--elf", "a.elf"],
        &["diff", "zephyr.elf", "registry.example/demo:1"],
        &["load", "registry.example/demo:1"],
        &["verify", "--key", "zephyr.elf", "registry.example/demo:1"],
        &["pack", "zephyr.elf", "-o", "registry.example/demo:1"],
        &["index", "create", "-t", "a:1", "-o", "registry.example/demo:1", "zephyr.oci.tar"],
    ] {
        let output = run(dir.path(), args);
        let text = stderr(&output);
        let is_key = args[0] == "verify";
        assert_eq!(output.status.code(), Some(if is_key { 1 } else { 2 }), "{args:?}: {text}");
        assert!(is_key || text.contains("write docker://registry.example/demo:1"), "{args:?}: {text}");
        assert_eq!(text.lines().filter(|line| line.starts_with("error")).count(), 1, "{args:?}: {text}");
    }
    // A directory of that name is a directory.
    fs::create_dir(dir.path().join("registry.example")).unwrap();
    let output = run(dir.path(), &["copy", "zephyr.oci.tar", "registry.example/demo.tar"]);
    assert!(output.status.success(), "{}", stderr(&output));
}

#[cfg(unix)]
#[test]
fn names_of_files_need_not_be_text() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let dir = workplace();
    let elf = OsStr::from_bytes(b"z\xff.elf");
    let archive = OsStr::from_bytes(b"z\xff.oci.tar");
    fs::rename(dir.path().join("zephyr.elf"), dir.path().join(elf)).unwrap();
    let succeeds = |args: &[&OsStr]| {
        let output = builder().current_dir(dir.path()).args(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    };
    let os = OsStr::new;
    succeeds(&[os("check"), elf]);
    succeeds(&[os("pack"), elf]);
    succeeds(&[os("check"), archive]);
    succeeds(&[os("copy"), archive, OsStr::from_bytes(b"\xfe.tar")]);
    succeeds(&[os("diff"), archive, OsStr::from_bytes(b"\xfe.tar"), os("--exit-code")]);
    let output = builder().arg("check").arg(OsStr::from_bytes(b"oci:\xff")).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("give the path alone"), "{}", stderr(&output));
}

#[test]
fn what_is_packed_or_compared_by_mistake_is_named() {
    let dir = workplace();
    run(dir.path(), &["pack", "zephyr.elf", "-q"]);
    fs::write(dir.path().join("notes.txt"), "text").unwrap();
    for (args, code, said) in [
        (&["pack", "zephyr.oci.tar"][..], 1, "extract ARCHIVE --elf FILE"),
        (&["pack", "-"], 2, "put it into a file"),
        (&["check", "-"], 2, "put it into a file"),
        (&["diff", "zephyr.elf", "notes.txt"], 1, "the second of the two is no firmware"),
        (&["push", "zephyr.oci.tar", "docker://"], 2, "write docker://HOST/NAME:TAG"),
        (&["extract", "zephyr.oci.tar", "--debug", "x.elf"], 1, "no debug information"),
    ] {
        let output = run(dir.path(), args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(said), "{args:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty(), "{args:?}: {}", stdout(&output));
    }
}

#[test]
fn programs_get_the_same_names_for_the_same_things() {
    let dir = workplace();
    let json = |args: &[&str]| -> serde_json::Map<String, Value> {
        let output = run(dir.path(), &[args, &["--format", "json", "--quiet"]].concat());
        assert!(output.status.success() && stderr(&output).is_empty(), "{args:?}: {}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let packed = json(&["pack", "zephyr.elf", "-o", "oci:a", "-t", "demo:1"]);
    let checked = json(&["check", "zephyr.elf"]);
    assert_eq!((&packed["file"], &checked["file"]), (&"zephyr.elf".into(), &"zephyr.elf".into()));
    assert_eq!(packed["image"]["output"], "oci:a", "as the next command takes it");
    let of_image = json(&["check", "oci:a"]);
    assert!(checked.keys().eq(of_image.keys()), "no name comes and goes");
    let copied = json(&["copy", "oci:a", "b.tar"]);
    let joined = json(&["index", "create", "-t", "all:1", "-o", "c.tar", "b.tar"]);
    assert_eq!((&copied["source"], &copied["output"]), (&"oci:a".into(), &"b.tar".into()));
    assert_eq!(joined["output"], "c.tar");
    assert_eq!(copied["digest"], packed["image"]["digest"]);

    // Where the image is on standard output, the rest is not.
    for args in [
        &["pack", "zephyr.elf", "-o", "-"][..],
        &["copy", "oci:a", "-"],
        &["index", "create", "-t", "all:1", "-o", "-", "b.tar"],
    ] {
        let output = run(dir.path(), &[args, &["--format", "json"]].concat());
        assert!(archive(&output.stdout).contains_key("index.json"), "{args:?}");
        assert!(serde_json::from_slice::<Value>(&output.stderr).is_ok(), "{args:?}: {}", stderr(&output));
        let output = run(dir.path(), args);
        assert!(stderr(&output).contains("standard output"), "{args:?}: {}", stderr(&output));
    }
}

#[test]
fn examples_survive_the_width_of_a_terminal() {
    let help = |args: &[&str]| stdout(&builder().args(args).arg("--help").output().unwrap());
    let top = help(&[]);
    let commands = top.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names =
        commands.take_while(|line| !line.is_empty()).filter_map(|line| line.split_whitespace().next());
    let mut seen = 0;
    for name in names.filter(|name| *name != "help") {
        for args in [&[name][..], &[name, "create"], &[name, "list"]] {
            let text = help(args);
            let examples = text.lines().skip_while(|line| *line != "Examples:").skip(1);
            for line in examples.take_while(|line| !line.is_empty()) {
                assert!(
                    ["  micrun-image-builder ", "  cosign ", "  source <(micrun-image-builder "]
                        .iter()
                        .any(|start| line.starts_with(start)),
                    "{name}: an example is broken in two: {line}"
                );
                seen += 1;
            }
        }
    }
    assert!(seen > 40, "only {seen} examples");
}
