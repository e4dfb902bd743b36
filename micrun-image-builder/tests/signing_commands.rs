//! `sign` and `verify` as users type them, in every place for images.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

mod support {
    #[allow(dead_code, reason = "each test file uses its part")]
    pub mod cosign;
    pub mod registry;
    #[allow(dead_code, reason = "each test file uses its part")]
    pub mod repository;
    #[allow(dead_code, reason = "each test file uses its part")]
    pub mod signing;
}

use std::path::Path;
use std::process::{Command, Output};

use micrun_image_builder::image::Epoch;
use micrun_image_builder::store::archive::ArchiveSink;
use micrun_image_builder::store::directory::DirectorySink;
use micrun_image_builder::store::layout::ImageName;
use p256::SecretKey;
use p256::pkcs8::EncodePublicKey as _;
use serde_json::Value;
use support::cosign::{Cosign, PASSWORD};
use support::registry::debian::DebianRegistry;
use support::repository::Repository;
use support::signing::{key_pem, pem, put_image};

/// Runs the builder where the keys are.
fn builder(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_micrun-image-builder"));
    command.args(arguments).current_dir(dir).env("HOME", dir).env_remove("COSIGN_PASSWORD");
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].concat().iter().map(|&byte| char::from(byte)).collect()
}

#[track_caller]
fn succeeds(output: &Output) -> String {
    assert!(output.status.success(), "{}", said(output));
    said(output)
}

#[track_caller]
fn fails(output: &Output, status: i32, reason: &str) {
    assert_eq!(output.status.code(), Some(status), "{}", said(output));
    assert!(said(output).contains(reason), "{reason:?} is not in: {}", said(output));
}

/// A directory with a pair of keys, and another public one.
fn keys() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let public = |seed| {
        let public = SecretKey::from_slice(&[seed; 32]).unwrap().public_key();
        pem("PUBLIC KEY", public.to_public_key_der().unwrap().as_bytes())
    };
    std::fs::write(dir.path().join("my.key"), key_pem(1)).unwrap();
    std::fs::write(dir.path().join("my.pub"), public(1)).unwrap();
    std::fs::write(dir.path().join("other.pub"), public(2)).unwrap();
    dir
}

#[test]
fn every_place_is_signed_and_verified() {
    let (registry, dir) = (DebianRegistry::open(), keys());
    let (repository, _) = Repository::with_image(&registry, "demo");
    let path = |name: &str| dir.path().join(name);
    let sink = ArchiveSink::create(&path("a.tar"), ImageName::default(), Epoch::default()).unwrap();
    put_image(Box::new(sink), "arm64").unwrap();
    for tag in ["1", "2"] {
        let name = ImageName { full: None, tag: Some(tag.to_owned()) };
        put_image(Box::new(DirectorySink::create(&path("layout"), name).unwrap()), tag).unwrap();
    }
    let remote = format!("docker://{}", repository.full_name());
    for (image, more) in [
        (remote.as_str(), &["--plain-http"][..]),
        (&remote, &["--plain-http", "--legacy"]),
        ("oci:layout:2", &[]),
        ("oci-archive:a.tar", &[]),
        ("a.tar", &[]),
    ] {
        let sign = builder(dir.path(), &[&["sign", "--key", "my.key", image][..], more].concat());
        assert!(succeeds(&sign).contains("signed "), "{image}");
        let plain = if image == remote { &["--plain-http"][..] } else { &[] };
        let verify = |key| builder(dir.path(), &[&["verify", "--key", key, image][..], plain].concat());
        assert!(succeeds(&verify("my.pub")).contains("verified "), "{image}");
        fails(&verify("other.pub"), 1, "another key made it");
    }
    fails(&builder(dir.path(), &["verify", "--key", "my.pub", "oci:layout:1"]), 1, "is not signed");
    fails(&builder(dir.path(), &["verify", "--key", "my.pub", "oci:layout:3"]), 1, "no image `3`");
}

#[test]
fn programs_get_json_whatever_the_verdict() {
    let dir = keys();
    let sink = ArchiveSink::create(&dir.path().join("a.tar"), ImageName::default(), Epoch::default());
    let digest = put_image(Box::new(sink.unwrap()), "arm64").unwrap();
    let run = |arguments: &[&str]| {
        let output = builder(dir.path(), &[arguments, &["--format", "json", "a.tar"]].concat());
        (output.status.code(), serde_json::from_slice::<Value>(&output.stdout).unwrap())
    };
    let (status, unsigned) = run(&["verify", "--key", "my.pub"]);
    assert_eq!((status, &unsigned["verified"]), (Some(1), &Value::Bool(false)));
    let (status, signed) = run(&["sign", "--key", "my.key"]);
    assert_eq!((status, signed["digest"].as_str()), (Some(0), Some(digest.to_string().as_str())));
    let (status, verified) = run(&["verify", "--key", "my.pub"]);
    assert_eq!((status, &verified["verified"]), (Some(0), &Value::Bool(true)));
    assert_eq!(verified["signatures"][0]["place"], signed["signature"]);
    let (status, other) = run(&["verify", "--key", "other.pub"]);
    assert_eq!((status, &other["signatures"][0]["accepted"]), (Some(1), &Value::Bool(false)));
    assert!(other["signatures"][0]["reason"].is_string());
}

#[test]
fn the_password_comes_from_the_environment_and_the_key_may() {
    let dir = keys();
    let sink = ArchiveSink::create(&dir.path().join("a.tar"), ImageName::default(), Epoch::default());
    put_image(Box::new(sink.unwrap()), "arm64").unwrap();
    let [_, cosign] = Cosign::all();
    let pair = cosign.generate_key_pair("mine");
    let run = |password: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_micrun-image-builder"));
        command.args(["sign", "--key", "env://MY_KEY", "a.tar"]).current_dir(dir.path());
        command.env("MY_KEY", std::fs::read_to_string(&pair.private).unwrap());
        command.env("COSIGN_PASSWORD", password).output().unwrap()
    };
    fails(&run("wrong"), 1, "env://MY_KEY: the password is wrong");
    succeeds(&run(PASSWORD));
    let public = pair.public.to_str().unwrap();
    succeeds(&builder(dir.path(), &["verify", "--key", public, "a.tar"]));
}

#[test]
fn says_what_is_wrong_with_keys_and_places() {
    let dir = keys();
    let sink = DirectorySink::create(&dir.path().join("layout"), ImageName::default()).unwrap();
    put_image(Box::new(sink), "arm64").unwrap();
    let run = |arguments: &[&str]| builder(dir.path(), arguments);
    fails(&run(&["sign", "--key", "none.key", "oci:layout"]), 1, "none.key");
    fails(&run(&["sign", "--key", "env://NONE", "oci:layout"]), 1, "there is no such variable");
    fails(&run(&["sign", "--key", "my.pub", "oci:layout"]), 1, "where a private key is needed");
    fails(&run(&["verify", "--key", "my.key", "oci:layout"]), 1, "where a public key (cosign.pub) is needed");
    fails(&run(&["sign", "--key", "my.key", "--legacy", "oci:layout"]), 2, "--legacy needs a registry");
    fails(&run(&["sign", "--key", "my.key", "-"]), 2, "into a file");
    fails(&run(&["sign", "--key", "my.key", "docker://A B"]), 2, "no image name");
    fails(&run(&["sign", "--key", "my.key", "nothing.tar"]), 1, "nothing.tar");
}

/// It would be written anew with one image.
#[test]
fn an_archive_with_several_images_loses_none() {
    let dir = keys();
    for tag in ["1", "2"] {
        let name = ImageName { full: None, tag: Some(tag.to_owned()) };
        put_image(Box::new(DirectorySink::create(&dir.path().join("layout"), name).unwrap()), tag).unwrap();
    }
    let archive = dir.path().join("two.tar");
    let mut tar = tar::Builder::new(std::fs::File::create(&archive).unwrap());
    tar.append_dir_all("", dir.path().join("layout")).unwrap();
    tar.finish().unwrap();
    let before = std::fs::read(&archive).unwrap();
    let refused = builder(dir.path(), &["sign", "--key", "my.key", "oci-archive:two.tar:1"]);
    fails(&refused, 2, "an archive is signed only if it holds one image");
    assert_eq!(std::fs::read(&archive).unwrap(), before);
}

/// The program that the documentation offers to containerd, asked as containerd asks at each pull.
#[test]
fn an_image_verifier_lets_through_what_the_key_of_its_repository_has_signed() {
    use std::os::unix::fs::PermissionsExt as _;

    let (registry, dir) = (DebianRegistry::open(), keys());
    let path = |name: &str| dir.path().join(name);
    // This registry has no TLS, which the program does not know.
    let builder_path = env!("CARGO_BIN_EXE_micrun-image-builder");
    std::fs::create_dir_all(path("bin")).unwrap();
    let wrapper = path("bin/micrun-image-builder");
    std::fs::write(&wrapper, format!("#!/bin/sh\nexec {builder_path} \"$@\" --plain-http\n")).unwrap();
    std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755)).unwrap();
    let keys = path("keys").join(registry.address.to_string());
    std::fs::create_dir_all(&keys).unwrap();
    std::fs::copy(path("my.pub"), keys.join("plant.pub")).unwrap();

    let ask = |name: &str, digest: &str| {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/kubernetes/micrun-verify-image");
        let own = std::env::var("PATH").unwrap();
        let mut command = Command::new(program);
        command.args(["-name", name, "-digest", digest]);
        command.args(["-stdin-media-type", "application/vnd.oci.descriptor.v1+json"]);
        command.env("PATH", format!("{}:{own}", path("bin").display())).env("MICRUN_KEYS", path("keys"));
        command.env("HOME", dir.path()).output().unwrap()
    };
    let (motor, digest) = Repository::with_image(&registry, "plant/motor");
    let (name, digest) = (motor.full_name(), digest.to_string());
    let names = [format!("{name}:latest"), name.clone(), motor.at(digest.parse().unwrap())];
    for name in &names {
        fails(&ask(name, &digest), 1, "has no signature of");
    }
    let remote = format!("docker://{name}");
    succeeds(&builder(dir.path(), &["sign", "--key", "my.key", &remote, "--plain-http"]));
    for name in &names {
        assert!(succeeds(&ask(name, &digest)).contains("plant.pub"));
    }
    std::fs::copy(path("other.pub"), keys.join("plant/motor.pub")).unwrap_err();
    std::fs::create_dir(keys.join("plant")).unwrap();
    std::fs::copy(path("other.pub"), keys.join("plant/motor.pub")).unwrap();
    fails(&ask(&name, &digest), 1, "another key made it");

    let free = format!("{}/other/free:latest", registry.address);
    assert!(succeeds(&ask(&free, &digest)).contains("no key for"), "nobody demands a signature of others");
    fails(&ask("", &digest), 1, "named no image");
}
