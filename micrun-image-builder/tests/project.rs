//! A project file makes the images that it says, and every mistake in it has a line or a name.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use micrun_image_builder::project::{Job, Project};
use micrun_image_builder::sbom::SbomSource;
use micrun_image_builder::store::Location;
use proptest::prelude::*;
use serde_json::Value;
use support::{TestElf, builder, stderr, stdout};

fn parse(text: &str) -> Result<Project, String> {
    Project::parse(Path::new("fw/firmware.yaml"), text).map_err(|error| error.to_string())
}

fn jobs(text: &str) -> Vec<Job> {
    parse(text).unwrap().requests().unwrap()
}

/// Why there are no jobs.
fn refusal(text: &str) -> String {
    match parse(text) {
        Ok(project) => project.requests().unwrap_err().to_string(),
        Err(error) => error,
    }
}

fn tag(job: &Job) -> String {
    job.tag.as_ref().unwrap().to_string()
}

/// The examples of the documentation, in order.
fn documented() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/project-file.md");
    let text = fs::read_to_string(path).unwrap();
    text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn the_documented_examples_mean_what_the_text_says() {
    let examples = documented();
    assert_eq!(examples.len(), 2);
    let [one] = &jobs(&examples[0])[..] else { panic!("one job") };
    assert_eq!(one.firmware, Path::new("fw/build/zephyr/zephyr.elf"));
    assert_eq!((tag(one).as_str(), &one.output), ("registry.example/plant/gateway:1.4", &None));

    let [gateway, sensor, bare] = &jobs(&examples[1])[..] else { panic!("three jobs") };
    assert_eq!(tag(gateway), "registry.example/plant/gateway:1.4-qemu_cortex_a53");
    assert_eq!(tag(sensor), "registry.example/plant/gateway:1.4-sensor");
    assert_eq!(tag(bare), "registry.example/plant/gateway:1.4-qemu_arm");
    assert_eq!(gateway.firmware, Path::new("fw/build-a53"));
    assert_eq!(gateway.domain.as_deref(), Some("gateway"));
    assert_eq!(format!("{}", gateway.output.as_ref().unwrap()), "oci:fw/images");
    assert_eq!((gateway.platforms.len(), gateway.allow.len()), (2, 1));
    let keys = |job: &Job| format!("{:?}", job.keys);
    assert!(keys(gateway).contains("\"128\"") && !keys(gateway).contains("\"64\""), "{}", keys(gateway));
    assert!(keys(sensor).contains("\"64\""), "{}", keys(sensor));
    assert_eq!(gateway.sboms, [SbomSource::Generate]);
    assert_eq!(sensor.sboms, [SbomSource::File(PathBuf::from("fw/build-m3/spdx/zephyr.spdx"))]);
    assert_eq!((gateway.annotations.len(), sensor.annotations.len()), (2, 3));
    assert_eq!(bare.rtos.as_ref().unwrap().as_str(), "baremetal");
    assert_eq!(bare.raw.load_address.unwrap().0, 0x4001_0000);
}

#[test]
fn every_key_of_the_file_is_documented_and_the_other_way_round() {
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/project-file.md")).unwrap();
    for (yaml, section) in [("x: 1", ""), ("image: {x: 1}", "image."), ("firmware: {x: 1}", "")] {
        let error = refusal(yaml);
        let known = error.split("expected one of ").nth(1).unwrap();
        for key in known.split(", ").map(|key| key.trim_matches('`')) {
            let documented = format!("`{section}{key}`");
            assert!(key == "image" || text.contains(&documented), "docs/project-file.md lacks {documented}");
        }
    }
    let error = refusal("firmware: a\nresources: {Speed: 1}");
    for key in error.split("which has ").nth(1).unwrap().split(", ") {
        assert!(text.contains(&format!("`{key}`")), "docs/project-file.md lacks {key}");
    }
}

#[test]
fn mistakes_have_a_line_and_say_what_is_known() {
    for (text, line, said) in [
        ("firmware: a\nbord: x\n", 2, "unknown field `bord`, expected one of `image`, `board`"),
        ("firmware: a\nimage:\n  name: a\n  tags: b\n", 4, "unknown field `tags`, expected one of `name`"),
        (
            "firmwares:\n  - path: a\n  - path: b\n    bord: x\n",
            4,
            "unknown field `bord`, expected one of `path`",
        ),
        ("firmware: a\npedestal: kvm\n", 2, "use qemu, xen"),
        ("firmware: a\nimage: {name: UPPER}\n", 2, "is no image name"),
        ("firmware: a\nimage:\n  compression: lzma\n", 3, "use zstd, gzip or none"),
        ("firmware: a\nimage:\n  platforms: [windows/amd64]\n", 3, "no platform of a node"),
        ("firmware: a\nimage:\n  output: 'docker-archive:x'\n", 3, "docker-archive"),
        (
            "firmware: a\nresources:\n  Memory: 64\n  Mem: 1\n",
            4,
            "`Mem` is no key of client.conf, which has CPU",
        ),
        ("firmware: a\nresources:\n  Memory: a lot\n", 3, "Memory"),
        ("firmware: a\nresources:\n  Pedestal: qemu\n", 3, "Pedestal is set by the builder"),
        ("firmware: a\nresources:\n  Memory: 1\n  memory: 2\n", 3, "there twice"),
        ("firmware: a\nimage:\n  annotations:\n    org.openeuler.micrun.board: x\n", 4, "--board"),
        ("firmware: a\nallow:\n  - MIC101\n", 3, "cannot be allowed"),
        ("firmware: a\nallow: [MIC999]\n", 2, "no code"),
        ("firmware: {path: a, load-address: here}\n", 1, "no address"),
        ("firmware: a\nboard: ../x\n", 2, "cannot name a board"),
        ("firmware: ''\n", 1, "the path is empty"),
        ("firmware: [a]\n", 1, "the path of a firmware"),
        ("firmware: {board: qemu_arm}\n", 1, "missing field `path`"),
        ("firmware: a\nfirmware: b\n", 1, "duplicate field"),
        ("firmware: a: b\n", 1, "mapping values"),
    ] {
        let error = refusal(text);
        assert!(error.starts_with(&format!("project file fw/firmware.yaml:{line}: ")), "{text}: {error}");
        assert!(error.contains(said), "{text}: {error}");
        assert!(error.len() < 800 && error.lines().count() == 1, "{text}: {error}");
    }
}

#[test]
fn what_makes_no_images_is_refused_by_name() {
    let two = "firmwares: [{path: a, board: b1}, {path: b, board: b1}]\n";
    for (text, said) in [
        ("board: qemu_arm\n".to_owned(), "nothing to pack"),
        ("firmwares: []\n".to_owned(), "nothing to pack"),
        ("firmware: a\nfirmwares: [b]\n".to_owned(), "write one of them"),
        (two.to_owned(), "firmware 1 (a): the image has no name"),
        (
            format!("image: {{name: n}}\n{two}"),
            "firmware 2 (b): it would be called docker.io/library/n:latest-b1, as firmware 1",
        ),
        (
            "image: {name: n}\nfirmwares: [a, b]\n".to_owned(),
            "firmware 1 (a): several firmwares make several images",
        ),
        ("image: {name: n}\nfirmware: {path: a, tag: 'no tag'}\n".to_owned(), "a tag has 1 to 128"),
        ("firmware: {path: a, tag: x}\n".to_owned(), "no name"),
        (format!("image: {{name: n, output: a.tar}}\n{}", two.replacen("b1", "b2", 1)), "write oci:DIR"),
        (format!("image: {{name: n, output: '-'}}\n{}", two.replacen("b1", "b2", 1)), "write oci:DIR"),
        ("firmware: a\nimage: {platforms: [linux/arm64, linux/arm64]}\n".to_owned(), "linux/arm64 twice"),
    ] {
        let error = refusal(&text);
        assert!(
            error.starts_with("project file fw/firmware.yaml: ") && error.contains(said),
            "{text}: {error}"
        );
    }
    let error = Project::read(Path::new("/nowhere/f.yaml")).unwrap_err().to_string();
    assert!(error.contains("/nowhere/f.yaml"), "{error}");
}

#[test]
fn places_follow_the_file() {
    let two = "firmwares: [{path: a, board: x/y@2}, {path: b, tag: t}]\n";
    let places = |output: &str| -> Vec<String> {
        let jobs = jobs(&format!("image: {{name: r.example/n:1{output}}}\n{two}"));
        jobs.iter().map(|job| job.output.as_ref().unwrap().to_string().replace('\\', "/")).collect()
    };
    assert_eq!(places(""), ["fw/n-1-x-y-2.oci.tar", "fw/n-t.oci.tar"]);
    assert_eq!(places(", output: out/"), ["fw/out/n-1-x-y-2.oci.tar", "fw/out/n-t.oci.tar"]);
    assert_eq!(places(", output: 'oci:out'"), ["oci:fw/out", "oci:fw/out"]);
}

#[test]
fn the_command_line_outweighs_the_file() {
    let project = parse("image: {name: n:1}\npedestal: qemu\nresources: {Memory: 1, vcpu: 2}\nfirmwares: [{path: a, board: x}, {path: b, tag: t}]\n").unwrap();
    let over = Job {
        tag: Some("other:2".parse().unwrap()),
        output: Some("oci:here".parse().unwrap()),
        pedestal: Some("xen".parse().unwrap()),
        keys: vec!["MEMORY=5".parse().unwrap()],
        ..Job::default()
    };
    let jobs = project.requests_with(&over).unwrap();
    let tags: Vec<_> = jobs.iter().map(tag).collect();
    assert_eq!(tags, ["docker.io/library/other:2-x", "docker.io/library/other:t"]);
    for job in &jobs {
        assert_eq!(job.output, Some("oci:here".parse::<Location>().unwrap()));
        assert_eq!(job.pedestal, over.pedestal);
        assert_eq!(format!("{:?}", job.keys).matches("value").count(), 2, "{:?}", job.keys);
        assert!(format!("{:?}", job.keys).contains("\"5\""), "{:?}", job.keys);
    }
}

#[test]
fn a_file_with_several_firmwares_makes_several_images() {
    let dir = tempfile::tempdir().unwrap();
    let fw = dir.path().join("fw");
    fs::create_dir(&fw).unwrap();
    TestElf::new().write_to(&fw.join("a.elf"));
    TestElf::new().with_text("other").write_to(&fw.join("b.elf"));
    fs::write(fw.join("broken.elf"), "no firmware").unwrap();
    let text = "image: {name: demo:1, output: 'oci:out', sbom: [generate]}\nrtos: zephyr\nfirmwares:\n  \
                - {path: a.elf, board: qemu_cortex_a53}\n  - {path: b.elf, board: qemu_arm64, resources: {Memory: 32}}\n";
    fs::write(fw.join("firmware.yaml"), text).unwrap();
    let run = |args: &[&str]| {
        builder()
            .current_dir(dir.path())
            .args(["pack", "-f", "fw/firmware.yaml"])
            .args(args)
            .output()
            .unwrap()
    };

    let output = run(&["--format", "json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    let names: Vec<_> = result
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["image"]["name"]["value"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["docker.io/library/demo:1-qemu_cortex_a53", "docker.io/library/demo:1-qemu_arm64"]);
    let index: Value = serde_json::from_slice(&fs::read(fw.join("out/index.json")).unwrap()).unwrap();
    let entries = index["manifests"].as_array().unwrap();
    let tags: Vec<_> = entries
        .iter()
        .filter_map(|e| e["annotations"]["org.opencontainers.image.ref.name"].as_str())
        .collect();
    assert_eq!(tags, ["1-qemu_cortex_a53", "1-qemu_arm64"], "{index}");

    let output = run(&["-o", "fw/"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stdout(&output).matches("packed ").count(), 2, "{}", stdout(&output));
    assert!(fw.join("demo-1-qemu_arm64.oci.tar").is_file());

    // One that is broken keeps nobody else from being packed.
    fs::write(fw.join("firmware.yaml"), text.replace("a.elf", "broken.elf")).unwrap();
    let output = run(&["--format", "json", "-o", "oci:second"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result[0]["image"], Value::Null);
    assert!(result[1]["image"]["digest"].is_string(), "{result}");
}

#[test]
fn a_firmware_and_a_project_file_exclude_each_other() {
    for args in [&["pack"][..], &["pack", "a.elf", "-f", "b.yaml"]] {
        let output = builder().args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    }
}

#[test]
fn hostile_yaml_takes_linear_time_and_little_memory() {
    let start = Instant::now();
    for unit in ["[", "{", "[{a: ", "- ", "- - ", "? ", "&a ", "a:\n", "'"] {
        assert!(parse(&unit.repeat((60 << 10) / unit.len())).is_err());
    }
    assert!(parse(&" ".repeat(70 << 10)).is_err());
    let large = "y".repeat(30 << 10);
    let keys: String = (0..1000).map(|n| format!("  k{n}: *x\n")).collect();
    assert!(parse(&format!("board: &x {large}\nfirmware: a\nimage: {{annotations: \n{keys}}}")).is_err());
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
}

proptest! {
    #[test]
    fn any_text_is_survived(text in "(firmware: |firmwares:\n- |image:\n  )?(\\PC|\n| |:|-){0,200}") {
        if let Ok(project) = parse(&text) {
            let _ = project.requests();
        }
    }

    #[test]
    fn any_change_of_the_example_is_survived(at in 0usize..1800, cut in 0usize..40, put in "[\\PC\n]{0,12}") {
        let mut chars: Vec<char> = documented()[1].chars().collect();
        let at = at.min(chars.len());
        let end = (at + cut).min(chars.len());
        chars.splice(at..end, put.chars());
        if let Ok(project) = parse(&chars.into_iter().collect::<String>()) {
            let _ = project.requests();
        }
    }
}
