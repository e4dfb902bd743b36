//! What was packed comes out again, byte for byte.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

mod support;

use std::fs;
use std::path::Path;

use micrun_image_builder::check::Report;
use micrun_image_builder::contents::ImageContents;
use micrun_image_builder::image::Compression;
use micrun_image_builder::pack::{Request, pack};
use micrun_image_builder::source::{self, ReadAt};
use micrun_image_builder::store::archive::{ArchiveSink, ArchiveSource};
use micrun_image_builder::store::layout::ImageName;
use micrun_image_spec::board::Boards;
use proptest::prelude::*;
use support::layout::{Layout, TarFile, tar};
use support::{Segment, TestElf, builder, stderr, stdout};

/// Packs into an archive and reads it back.
fn there_and_back(firmware: &Vec<u8>, compression: Compression) -> Vec<u8> {
    let boards = Boards::load(&[]).unwrap();
    let request = Request { file_stem: "app", compression, ..Request::new(&boards) };
    let packed = pack(&request, firmware, &mut Report::default()).unwrap().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.tar");
    let sink = ArchiveSink::create(&path, ImageName::default(), Default::default()).unwrap();
    packed.image.write(Box::new(sink), &[]).unwrap();
    let source = ArchiveSource::open(&path, None).unwrap();
    let contents = ImageContents::open(&source, None).unwrap();
    let data = contents.firmware().unwrap();
    source::bytes(data.as_ref(), 0, data.size()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_firmware_comes_out_as_it_went_in(
        data in proptest::collection::vec(any::<u8>(), 4..20_000),
        more in proptest::collection::vec(any::<u8>(), 0..3000),
        behind in proptest::collection::vec(any::<u8>(), 0..1030),
        compression in prop_oneof![Just(Compression::Zstd), Just(Compression::Gzip), Just(Compression::None)],
    ) {
        let mut elf = TestElf::new().with_segment(Segment::load(0x5000_0000, &more));
        elf.segments[0] = Segment::load(0x4008_0000, &data);
        let firmware = [elf.bytes(), behind].concat();
        prop_assert_eq!(there_and_back(&firmware, compression), firmware);
    }
}

fn extract(image: &Path, options: &[&str], dir: &Path) -> std::process::Output {
    builder().arg("extract").arg(image).args(options).current_dir(dir).output().unwrap()
}

#[test]
fn each_file_goes_where_it_is_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let elf = TestElf::new();
    let layout =
        Layout::packed(dir.path(), &elf, &["--pedestal", "xen", "--allow", "MIC604", "--set", "Memory=64"]);
    let output = extract(&layout.dir, &["--output-dir", "out"], dir.path());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stdout(&output).lines().count(), 3, "{}", stdout(&output));
    assert_eq!(fs::read(dir.path().join("out/firmware.elf")).unwrap(), elf.bytes());
    assert_eq!(fs::read(dir.path().join("out/image.bin")).unwrap()[0x38..0x3c], *b"ARM\x64");
    assert!(fs::read_to_string(dir.path().join("out/client.conf")).unwrap().contains("\nMemory=64\n"));
    assert_eq!(dir.path().join("out").read_dir().unwrap().count(), 3, "no temporary file stays");

    let output = extract(&layout.dir, &["--elf", "-"], dir.path());
    assert_eq!(output.stdout, elf.bytes());
    let output =
        extract(&layout.dir, &["--elf", "a.elf", "--client-conf", "-", "--format", "json"], dir.path());
    assert!(stdout(&output).starts_with("[Mica]\n"));
    assert!(stderr(&output).contains("\"firmware\""));
    assert_eq!(fs::read(dir.path().join("a.elf")).unwrap(), elf.bytes());
}

#[test]
fn what_cannot_be_extracted_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::packed(dir.path(), &TestElf::new(), &["--platform", "linux/arm64,linux/s390x"]);
    let said = |options: &[&str], status: i32, sentence: &str| {
        let output = extract(&layout.dir, options, dir.path());
        assert_eq!(output.status.code(), Some(status), "{}", stderr(&output));
        assert!(stderr(&output).contains(sentence), "{}", stderr(&output));
    };
    said(&[], 2, "say what to extract");
    said(&["--elf", "-", "--client-conf", "-"], 2, "only one file");
    said(&["--platform", "linux/arm64", "--boot-image", "x"], 1, "has no boot image");
    said(&["--platform", "linux/mips", "--elf", "x"], 1, "it has linux/arm64, linux/s390x");
    said(&["--platform", "linux/arm64", "--elf", "no/such/dir/x"], 1, "its directory does not exist");
    assert!(!dir.path().join("x").exists());
}

#[test]
fn nothing_comes_out_of_a_damaged_image() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::packed(dir.path(), &TestElf::new(), &[]);
    layout.edit_config(|config| config["rootfs"]["diff_ids"][0] = format!("sha256:{:064}", 1).into());
    let output = extract(&layout.dir, &["--elf", "x"], dir.path());
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("the configuration says sha256:0000"), "{}", stderr(&output));
    assert!(!dir.path().join("x").exists());
}

#[test]
fn links_lead_to_files_inside_the_image_alone() {
    let dir = tempfile::tempdir().unwrap();
    let conf = b"[Mica]\nClientPath=/boot/fw\nPedestal=qemu\nPedestalConf=\n";
    let elf = TestElf::new().bytes();
    let link = TarFile::link;
    let (symbolic, hard) = (tar::EntryType::Symlink, tar::EntryType::Link);
    let layer = |link_to: &'static str| {
        tar(&[
            TarFile::new("client.conf", conf),
            TarFile::new("real/a.elf", &elf),
            link(hard, "real/b.elf", "real/a.elf"),
            link(symbolic, "boot", "../../..//real"),
            link(symbolic, "real/fw", link_to),
            link(symbolic, "real/circle", "circle"),
        ])
    };
    let layout = Layout::packed(dir.path(), &TestElf::new(), &[]);
    for target in ["/real/b.elf", "b.elf", "../../../../../../boot/./a.elf"] {
        layout.set_layers(&[layer(target)]);
        assert_eq!(extract(&layout.dir, &["--elf", "-"], dir.path()).stdout, elf, "{target}");
    }
    for (target, sentence) in [
        ("/etc/passwd", "the image has no /boot/fw"),
        ("circle", "circle"),
        ("/real", "the image has no /boot/fw"),
    ] {
        layout.set_layers(&[layer(target)]);
        let output = extract(&layout.dir, &["--elf", "-"], dir.path());
        assert!(stderr(&output).contains(sentence), "{target}: {}", stderr(&output));
    }
}
