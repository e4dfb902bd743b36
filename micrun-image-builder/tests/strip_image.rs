//! `pack --strip`: the image, what stands beside it, and whether other tools still read both.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

mod support;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use micrun_image_builder::elf::Elf;
use micrun_image_builder::image::Epoch;
use micrun_image_builder::source::ReadAt;
use micrun_image_builder::store::Source;
use micrun_image_builder::store::archive::{ArchiveSink, ArchiveSource};
use micrun_image_builder::store::copy::copy;
use micrun_image_builder::store::directory::DirectorySource;
use micrun_image_builder::store::layout::ImageName;
use micrun_image_builder::store::progress::Silent;
use micrun_image_builder::strip::debug::{DebugFile, debug_of};
use micrun_image_builder::strip::strip_bytes;
use micrun_image_spec::digest::Sha256Digest;
use support::{Section, TestElf, builder, note, stderr, tool};

const BUILD_ID: [u8; 4] = [0xde, 0xad, 0xbe, 0xef];

/// A firmware with more debug information than program.
fn firmware() -> Vec<u8> {
    let section = |name, kind, data| Section { kind, flags: 0, data, ..Section::named(name) };
    TestElf::new()
        .with_section(section(".note.gnu.build-id", 7, note("GNU", 3, &BUILD_ID)))
        .with_section(section(".debug_info", 1, (0..40_000u32).flat_map(u32::to_le_bytes).collect()))
        .with_symbols(&["main"])
        .bytes()
}

fn pack(dir: &Path, firmware: &[u8], output: &str) -> serde_json::Value {
    std::fs::write(dir.join("app.elf"), firmware).unwrap();
    let mut pack = builder();
    pack.current_dir(dir).args(["pack", "app.elf", "--rtos", "baremetal", "--strip", "--format", "json"]);
    let output = pack.args(["-t", "demo/app:1", "-o", output]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn debug_file(source: &dyn Source) -> Option<(DebugFile, Vec<u8>)> {
    let found = debug_of(source, &source.resolve().unwrap()).unwrap()?;
    let mut bytes = Vec::new();
    source.open(&found.file, 0).unwrap().read_to_end(&mut bytes).unwrap();
    Some((found, bytes))
}

#[test]
fn debug_information_stands_beside_the_image_as_the_linker_wrote_it() {
    let dir = tempfile::tempdir().unwrap();
    let full = firmware();
    let summary = pack(dir.path(), &full, "oci-archive:app.tar");
    let stripped = strip_bytes(&full).unwrap().unwrap();
    let digest = Sha256Digest::of(&stripped);
    assert_eq!(summary["image"]["firmware_digest"], digest.to_string());
    assert!(!summary["findings"].to_string().contains("MIC403"), "nothing is left to warn of");

    let archive = ArchiveSource::open(&dir.path().join("app.tar"), None).unwrap();
    let (found, bytes) = debug_file(&archive).unwrap();
    assert!(bytes == full, "the debug file is the whole firmware");
    assert_eq!(found.title.as_deref(), Some("app.elf"));
    assert_eq!(found.build_id.as_deref(), Some("deadbeef"));
    assert_eq!(found.firmware, Some(digest));
    let size = dir.path().join("app.tar").metadata().unwrap().len();
    assert!(size > full.len() as u64, "{size}");

    let mut extract = builder();
    extract.current_dir(dir.path()).args(["extract", "app.tar", "--debug", "debug.elf"]);
    let output = extract.output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(std::fs::read(dir.path().join("debug.elf")).unwrap() == full);

    // It comes along when the image is copied.
    let copied = dir.path().join("copy.tar");
    let root = archive.resolve().unwrap();
    let sink = ArchiveSink::create(&copied, ImageName::of(&root), Epoch::default()).unwrap();
    copy(&archive, Box::new(sink), &root, true, &Silent).unwrap();
    assert!(debug_file(&ArchiveSource::open(&copied, None).unwrap()).unwrap().1 == full);
}

#[test]
fn a_firmware_without_debug_information_has_nothing_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let plain = TestElf::new().bytes();
    let summary = pack(dir.path(), &plain, "oci:app");
    assert_eq!(summary["image"]["firmware_digest"], Sha256Digest::of(&plain).to_string());
    assert!(debug_file(&DirectorySource::open(&dir.path().join("app"), None).unwrap()).is_none());
    let output = builder().current_dir(dir.path()).args(["extract", "app", "--debug", "-"]).output().unwrap();
    assert!(stderr(&output).contains("pack --strip puts it there"), "{}", stderr(&output));
}

#[test]
fn the_same_firmware_gives_the_same_image_with_or_without_its_debug_information() {
    let dir = tempfile::tempdir().unwrap();
    let full = firmware();
    let image = |firmware: &[u8], name: &str| pack(dir.path(), firmware, name)["image"]["digest"].to_string();
    let with = image(&full, "with.tar");
    assert_eq!(with, image(&full, "again.tar"));
    assert_eq!(with, image(&strip_bytes(&full).unwrap().unwrap(), "without.tar"));
    let read = |name: &str| std::fs::read(dir.path().join(name)).unwrap();
    assert!(read("with.tar") == read("again.tar"));
}

#[test]
fn other_tools_read_the_image_and_leave_the_rest_alone() {
    let dir = tempfile::tempdir().unwrap();
    pack(dir.path(), &firmware(), "oci-archive:app.tar");
    pack(dir.path(), &firmware(), "oci:app");
    let archive = format!("oci-archive:{}", dir.path().join("app.tar").display());
    let layout = format!("oci:{}", dir.path().join("app").display());
    for place in [&archive, &format!("{archive}:1"), &layout, &format!("{layout}:1")] {
        let inspected = tool("skopeo", Command::new("skopeo").args(["inspect", place]));
        assert!(inspected.contains("org.openeuler.micrun.container.firmware_hash"), "{place}: {inspected}");
    }
    let copied: PathBuf = dir.path().join("copy.tar");
    let target = format!("oci-archive:{}:1", copied.display());
    tool("skopeo", Command::new("skopeo").args(["copy", "--quiet", &format!("{archive}:1"), &target]));
    let image = format!("{}:1", dir.path().join("app").display());
    tool("umoci", Command::new("umoci").args(["stat", "--image", &image]));
}

/// The umoci of Debian 12 reads no zstd, the one of sid does.
#[cfg(target_os = "linux")]
#[test]
fn umoci_unpacks_the_stripped_firmware() {
    use micrun_testkit::{Unpacked, Workspace};

    let dir = tempfile::tempdir().unwrap();
    pack(dir.path(), &firmware(), "oci:app");
    let umoci = Workspace::find().and_then(|workspace| Unpacked::of(&workspace, "umoci", "sid"));
    let umoci = umoci.and_then(|package| package.program("umoci")).unwrap_or_else(|e| panic!("{e:#}"));
    let (image, bundle) = (format!("{}:1", dir.path().join("app").display()), dir.path().join("bundle"));
    tool("umoci", Command::new(umoci).args(["unpack", "--rootless", "--image", &image]).arg(&bundle));
    let unpacked = std::fs::read(bundle.join("rootfs/firmware.elf")).unwrap();
    assert!(unpacked == strip_bytes(&firmware()).unwrap().unwrap());
}

#[test]
fn what_is_strange_is_refused_with_a_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let groups = TestElf::new()
        .with_section(Section { kind: 1, flags: 0, ..Section::named(".debug_info") })
        .with_section(Section { kind: 17, flags: 0, ..Section::named(".group") });
    groups.write_to(&dir.path().join("app.elf"));
    let elf = &groups.bytes();
    assert!(Elf::read(elf).unwrap().file_len() == elf.size());
    let output = builder().current_dir(dir.path()).args(["pack", "app.elf", "--strip"]).output().unwrap();
    let said = stderr(&output);
    assert!(said.contains("MIC713") && said.contains("objcopy --strip-debug"), "{said}");
    assert!(!dir.path().join("app.oci.tar").exists());
}
