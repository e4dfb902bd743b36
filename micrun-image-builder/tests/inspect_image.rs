//! `inspect` of images: everything that stands in them is shown, and of damaged ones what is left. Needs the packages
//! docker-registry and openssl. Images of other tools are in foreign_images.rs.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

#[path = "support/registry/mod.rs"]
mod registry;
mod support;

use std::fs;
use std::path::Path;
use std::process::Output;

use registry::debian::DebianRegistry;
use serde_json::{Value, json};
use support::layout::{Layout, TarFile, tar};
use support::{TestElf, builder, stderr, stdout, tool};

fn inspect(image: &str, options: &[&str], dir: &Path) -> Output {
    builder().arg("inspect").arg(image).args(options).current_dir(dir).output().unwrap()
}

/// What programs get, and the exit status.
fn facts(image: &str, options: &[&str], dir: &Path) -> (Value, Option<i32>) {
    let output = inspect(image, &[options, &["--format", "json"]].concat(), dir);
    let value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", stderr(&output)));
    (value, output.status.code())
}

fn codes(value: &Value) -> Vec<&str> {
    value["findings"].as_array().unwrap().iter().map(|finding| finding["code"].as_str().unwrap()).collect()
}

#[test]
fn everything_in_an_image_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let options = ["--pedestal", "xen", "--allow", "MIC604", "--set", "Memory=64", "--sbom", "generate"];
    let more =
        ["--annotation", "org.example.team=motors", "--tag", "demo/app:1", "--platform", "linux/arm64"];
    let layout = Layout::packed(dir.path(), &TestElf::new(), &[&options[..], &more].concat());
    let (all, status) = facts("oci:layout:1", &[], dir.path());
    assert_eq!(status, Some(0), "{all}");
    let (image, manifest) = (&all["image"], layout.manifest());
    assert_eq!(image["whole"], true);
    assert_eq!(image["names"], json!(["docker.io/demo/app:1", "1"]));
    assert_eq!(image["root"]["digest"], layout.index()["manifests"][0]["digest"]);
    assert_eq!(image["manifest"]["annotations"], manifest["annotations"]);
    assert_eq!(image["platform"], json!({ "value": "linux/arm64", "because": "the only one" }));
    assert_eq!(image["config"]["entrypoint"], json!(["/firmware.elf"]));
    assert_eq!(image["config"]["label_differences"], json!([]));
    let layer = &image["layers"][0];
    assert_eq!(layer["size"], manifest["layers"][0]["size"]);
    assert_eq!(layer["diff_id"], layout.document(&manifest["config"])["rootfs"]["diff_ids"][0]);
    assert_eq!(layer["unpacked_size"].as_u64().unwrap() % 512, 0);
    let files = image["files"].as_array().unwrap();
    let paths: Vec<_> = files.iter().map(|file| json!([file["path"], file["mode"]])).collect();
    assert_eq!(
        json!(paths),
        json!([["/client.conf", "0644"], ["/firmware.elf", "0755"], ["/image.bin", "0644"]])
    );
    assert!(image["client_conf"]["mica"].as_array().unwrap().contains(&json!(["Memory", "64"])));
    assert_eq!(image["client_conf"]["micrun"]["org.example.team"], Value::Null);
    assert_eq!(image["boot_image"]["path"], "/image.bin");
    assert!(image["boot_image"]["header"]["xen_loads_to"].as_str().unwrap().starts_with("0x4"));
    assert_eq!(image["referrers"][0]["what"], "bill of materials");
    assert_eq!(image["referrers"][0]["files"][0]["title"], "sbom.spdx.json");
    let stated = &image["client_conf"]["micrun"]["container.firmware_hash"];
    assert_eq!(&image["firmware_file"]["digest"], stated);
    assert_eq!(all["firmware"]["architecture"], "aarch64");

    let text = stdout(&inspect("oci:layout:1", &[], dir.path()));
    for words in [
        "demo/app:1",
        "linux/arm64 (the only one)",
        "[Mica]",
        "/image.bin",
        "bill of materials",
        "memory map",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(text.lines().all(|line| line == line.trim_end()), "{text}");
}

#[test]
fn the_platform_that_is_shown_is_said() {
    let dir = tempfile::tempdir().unwrap();
    Layout::packed(dir.path(), &TestElf::new(), &["--platform", "linux/mips64,linux/s390x"]);
    let (all, _) = facts("layout", &[], dir.path());
    assert_eq!(all["image"]["platform"]["value"], all["image"]["index"]["entries"][0]["platform"]);
    assert!(all["image"]["platform"]["because"].as_str().unwrap().starts_with("the first, for lack of"));
    let (all, status) = facts("layout", &["--platform", "linux/s390x"], dir.path());
    assert_eq!((all["image"]["config"]["platform"].as_str(), status), (Some("linux/s390x"), Some(0)));
    assert_eq!(all["image"]["index"]["entries"].as_array().unwrap().len(), 2);
    let (all, status) = facts("layout", &["--platform", "linux/amd64"], dir.path());
    assert_eq!((codes(&all), status), (vec!["MIC801"], Some(1)));
}

#[test]
fn of_a_damaged_image_the_rest_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let damaged = |spoil: &dyn Fn(&Layout)| {
        let _ = fs::remove_dir_all(dir.path().join("layout"));
        spoil(&Layout::packed(dir.path(), &TestElf::new(), &[]));
        let (all, status) = facts("layout", &[], dir.path());
        assert_eq!((status, &all["image"]["whole"]), (Some(1), &json!(false)), "{all}");
        all
    };
    let path = |layout: &Layout, part: &Value| layout.blob_path(part["digest"].as_str().unwrap());
    let layer = |layout: &Layout| path(layout, &layout.manifest()["layers"][0]);

    let all = damaged(&|layout| fs::write(layer(layout), "x").unwrap());
    assert_eq!(codes(&all), ["MIC802"]);
    assert_eq!(all["image"]["layers"][0]["unpacked_size"], Value::Null);
    assert_eq!(all["image"]["config"]["entrypoint"], json!(["/firmware.elf"]));

    let all = damaged(&|layout| fs::remove_file(layer(layout)).unwrap());
    assert_eq!(all["findings"][0]["part"], "layer 0");

    let all = damaged(&|layout| fs::remove_file(path(layout, &layout.manifest()["config"])).unwrap());
    assert_eq!(all["findings"][0]["part"], "config");
    assert_eq!(all["image"]["firmware_file"]["path"], "/firmware.elf");
    assert_eq!(all["firmware"]["architecture"], "aarch64");

    let all = damaged(&|layout| {
        layout.edit_config(|config| config["rootfs"]["diff_ids"][0] = format!("sha256:{:064}", 1).into());
    });
    assert_eq!(codes(&all), ["MIC803"]);
    assert_eq!(all["image"]["files"].as_array().unwrap().len(), 2, "what is in the layer is shown");

    let all = damaged(&|layout| fs::write(path(layout, &layout.index()["manifests"][0]), "{}").unwrap());
    assert_eq!(all["findings"][0]["part"], "manifest");
    assert!(all["image"]["root"]["digest"].is_string());

    let all =
        damaged(&|layout| layout.set_layers(&[tar(&[TarFile::new("client.conf", b"[Mica]\nVCPU=x\n")])]));
    assert_eq!(codes(&all), ["MIC701"]);
    assert_eq!(all["findings"][0]["part"], "/client.conf");

    fs::remove_file(dir.path().join("layout/index.json")).unwrap();
    let (all, status) = facts("oci:layout", &[], dir.path());
    assert_eq!((codes(&all), status), (vec!["MIC801"], Some(1)));
}

#[test]
fn what_others_left_out_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::packed(dir.path(), &TestElf::new(), &[]);
    layout.set_layers(&[tar(&[TarFile::new("etc/motd", b"x")]), tar(&[TarFile::new("etc/.wh.motd", b"")])]);
    layout.edit_config(|config| {
        config["config"] = json!({ "Labels": { "org.example.a": "1" }, "Env": ["A=\u{1b}[2J"] });
        config["history"] =
            json!([{ "created_by": "/bin/sh -c ".to_owned() + &"x".repeat(200) }, { "empty_layer": true }]);
        config["author"] = "me".into();
    });
    layout.edit_manifest(|manifest| drop(manifest.as_object_mut().unwrap().remove("annotations")));
    let (all, status) = facts("layout", &[], dir.path());
    assert_eq!((status, codes(&all)), (Some(0), vec![]), "{all}");
    let image = &all["image"];
    assert_eq!(
        (&image["client_conf"], &image["files"]),
        (&Value::Null, &json!([])),
        "the whiteout took it away"
    );
    assert!(image["firmware_file"]["problem"].as_str().unwrap().contains("/firmware.elf"));
    assert_eq!(image["config"]["label_differences"][0]["annotation"], Value::Null);
    let text = stdout(&inspect("layout", &[], dir.path()));
    assert!(
        text.contains("no annotations") && text.contains("xxx...") && text.contains("no layer"),
        "{text}"
    );
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[test]
fn an_image_in_a_registry_is_shown_with_what_refers_to_it() {
    let server = DebianRegistry::open();
    let dir = tempfile::tempdir().unwrap();
    TestElf::new().write_to(&dir.path().join("app.elf"));
    let image = format!("docker://{}/demo/app:1", server.address);
    let run = |arguments: &[&str]| {
        let mut command = builder();
        command.args(arguments).arg("--plain-http").current_dir(dir.path()).env("COSIGN_PASSWORD", "");
        tool("nothing", &mut command)
    };
    run(&["pack", "app.elf", "-q", "--sbom", "generate", "-o", &image]);
    tool(
        "openssl",
        std::process::Command::new("openssl").current_dir(dir.path()).args([
            "genpkey",
            "-algorithm",
            "EC",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-out",
            "key.pem",
        ]),
    );
    run(&["sign", &image, "--key", "key.pem"]);
    run(&["sign", &image, "--key", "key.pem", "--legacy"]);
    let (all, status) = facts(&image, &["--plain-http"], dir.path());
    assert_eq!(status, Some(0), "{all}");
    let referrers = all["image"]["referrers"].as_array().unwrap();
    let what: Vec<_> = referrers.iter().map(|referrer| referrer["what"].as_str().unwrap()).collect();
    assert_eq!(what.iter().filter(|&&what| what == "signature").count(), 2, "{what:?}");
    assert!(what.contains(&"bill of materials"), "{what:?}");
    let tagged = referrers.iter().find_map(|referrer| referrer["tag"].as_str()).unwrap();
    assert!(tagged.ends_with(".sig"), "{tagged}");
    let gone = format!("docker://{}/demo/gone:1", server.address);
    let (all, status) = facts(&gone, &["--plain-http"], dir.path());
    assert_eq!((codes(&all), status), (vec!["MIC801"], Some(1)));
}

#[test]
fn build_directories_and_raw_firmware_are_firmware_too() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("build/zephyr")).unwrap();
    TestElf::new().write_to(&dir.path().join("build/zephyr/zephyr.elf"));
    fs::write(
        dir.path().join("build/zephyr/.config"),
        "CONFIG_BOARD=\"qemu_cortex_a53\"\nCONFIG_KERNEL_BIN_NAME=\"zephyr\"\n",
    )
    .unwrap();
    fs::write(dir.path().join("app.bin"), [0x55; 512]).unwrap();
    let (all, status) = facts("build", &[], dir.path());
    assert_eq!((all["firmware"]["architecture"].as_str(), status), (Some("aarch64"), Some(0)), "{all}");
    let raw = ["--arch", "aarch64", "--load-address", "0x40080000"];
    let (all, status) = facts("app.bin", &raw, dir.path());
    assert_eq!(
        (all["firmware"]["entry"]["address"].as_str(), status),
        (Some("0x40080000"), Some(0)),
        "{all}"
    );
    let check =
        |arguments: &[&str]| builder().arg("check").args(arguments).current_dir(dir.path()).output().unwrap();
    let output = check(&["build"]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    assert!(stdout(&output).contains("qemu_cortex_a53"), "{}", stdout(&output));
    let output = check(&[&["app.bin"], &raw[..]].concat());
    assert!(stdout(&output).contains("MIC624"), "{}", stdout(&output));
    fs::create_dir(dir.path().join("empty")).unwrap();
    let (all, status) = facts("empty", &[], dir.path());
    assert_eq!((codes(&all), status), (vec!["MIC111"], Some(1)));
    Layout::packed(dir.path(), &TestElf::new(), &[]);
    assert_eq!(inspect("layout", &raw, dir.path()).status.code(), Some(2));
}
