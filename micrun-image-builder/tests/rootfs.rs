//! Layers laid over each other, as the image specification has it; and layers that mean harm.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

mod support;

use std::io::{self, Read};

use micrun_image_builder::rootfs::{Node, Problem, RootFs, TarError, limits, walk_tar};
use micrun_image_builder::store::directory::DirectorySource;
use micrun_image_spec::digest::Sha256Digest;
use oci_spec::image::Descriptor;
use proptest::prelude::*;
use support::TestElf;
use support::layout::{Layout, TarFile, gzip, tar};
use tar::EntryType::{self, Directory, Link, Symlink};

/// What each layer holds: a path, and what it is. `d` a directory, `f` a file, `-> x` and `=> x` links.
fn layers(specs: &[&[&str]]) -> (Vec<String>, usize) {
    let tars: Vec<Vec<u8>> =
        specs.iter().map(|spec| tar(&spec.iter().map(|line| entry(line)).collect::<Vec<_>>())).collect();
    read(&tars)
}

fn entry(line: &str) -> TarFile<'_> {
    if let Some((path, target)) = line.split_once(" -> ") {
        return TarFile::link(Symlink, path, target);
    }
    if let Some((path, target)) = line.split_once(" => ") {
        return TarFile::link(Link, path, target);
    }
    match line.strip_suffix('/') {
        Some(path) => TarFile::link(Directory, path, ""),
        None => TarFile::new(line, b"data"),
    }
}

/// The files and links at the end, and the number of problems.
fn read(tars: &[Vec<u8>]) -> (Vec<String>, usize) {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::packed(dir.path(), &TestElf::new(), &[]);
    layout.set_layers(tars);
    let source = DirectorySource::open(&layout.dir, None).unwrap();
    let descriptors: Vec<Descriptor> = serde_json::from_value(layout.manifest()["layers"].clone()).unwrap();
    let diff_ids: Vec<_> = tars.iter().map(|tar| Some(Sha256Digest::of(tar))).collect();
    let root = RootFs::read(&source, &descriptors, &diff_ids, &[]);
    let files = root.entries().filter(|(_, entry)| entry.node != Node::Directory);
    (files.map(|(path, _)| path.to_owned()).collect(), root.problems().len())
}

#[test]
fn upper_layers_add_replace_and_take_away() {
    let cases: &[(&[&[&str]], &[&str])] = &[
        (&[&["a", "./b", "/c"]], &["/a", "/b", "/c"]),
        (&[&["d/", "d/a", "e"], &["d/.wh.a"]], &["/e"]),
        (&[&["d/a", "d/b/c"], &[".wh.d"]], &[]),
        (&[&["d/a"], &["d/.wh..wh..opq", "d/b"]], &["/d/b"]),
        // Whatever the order, a whiteout concerns only what is below.
        (&[&["d/a"], &["d/b", "d/.wh..wh..opq"]], &["/d/b"]),
        (&[&["a"], &["a", ".wh.a"]], &["/a"]),
        (&[&["d/a"], &["d"]], &["/d"]),
        (&[&["d"], &["d/", "d/a"]], &["/d/a"]),
        (&[&["a"], &[".wh.a"], &["a"]], &["/a"]),
        (&[&[".wh.nothing"]], &[]),
        (&[&["real/", "link -> real"], &["link/a"]], &["/link", "/real/a"]),
        (&[&["link -> /"], &["link/link/a"]], &["/a", "/link"]),
        (&[&["a", "b => a", "c => /b"]], &["/a", "/b", "/c"]),
        (&[&["a"], &["b => a"]], &["/a", "/b"]),
    ];
    for (specs, expected) in cases {
        let expected: Vec<String> = expected.iter().map(|&path| path.to_owned()).collect();
        assert_eq!(layers(specs), (expected, 0), "{specs:?}");
    }
    assert_eq!(layers(&[&["a", "b => missing"]]), (vec!["/a".to_owned()], 1));
    assert_eq!(layers(&[&["../a", "b/../../c", "d => ../x"]]).1, 3);
}

#[test]
fn long_names_of_both_dialects_are_read() {
    let long = format!("{}/x", "n".repeat(200));
    let record = |key: &str, value: &str| {
        let rest = format!(" {key}={value}\n");
        let length = rest.len() + 3;
        format!("{length}{rest}").into_bytes()
    };
    let gnu_name = [long.as_bytes(), b"\0"].concat();
    let pax = record("path", &long);
    let header = |kind: EntryType, data| TarFile { path: "header", kind, link: "", data };
    for headers in [
        vec![header(EntryType::GNULongName, &gnu_name[..])],
        vec![header(EntryType::XHeader, &pax[..])],
        vec![header(EntryType::XGlobalHeader, b"17 comment=hello\n"), header(EntryType::XHeader, &pax[..])],
    ] {
        let files: Vec<TarFile<'_>> =
            headers.into_iter().chain([TarFile::new("short", b"1"), TarFile::new("next", b"2")]).collect();
        let (found, problems) = read(&[tar(&files)]);
        assert_eq!((found, problems), (vec!["/next".to_owned(), format!("/{long}")], 0));
    }
    let size = record("size", &"9".repeat(10));
    let lying =
        [TarFile { path: "h", kind: EntryType::XHeader, link: "", data: &size }, TarFile::new("a", b"1")];
    assert_eq!(read(&[tar(&lying)]).1, 1, "a file of two sizes");
}

#[test]
fn more_than_any_image_has_is_refused() {
    let deep = tar(&[TarFile::new(&"a/".repeat(45), b"")]);
    assert_eq!(read(&[deep]).1, 0);
    let name = "d/".repeat(limits::MAX_DEPTH + 1) + "x\0";
    let long = TarFile { path: "h", kind: EntryType::GNULongName, link: "", data: name.as_bytes() };
    assert_eq!(read(&[tar(&[long, TarFile::new("a", b"")])]).1, 1);
    let name = "n".repeat(limits::MAX_PATH + 1);
    let long = TarFile { path: "h", kind: EntryType::GNULongName, link: "", data: name.as_bytes() };
    assert_eq!(read(&[tar(&[long, TarFile::new("a", b"")])]).1, 1);
}

#[test]
fn a_file_of_many_gigabytes_takes_no_memory_and_is_refused() {
    // The header says so; nothing of it is there.
    let mut header = tar::Header::new_gnu();
    header.set_path("huge").unwrap();
    header.set_size(limits::MAX_FILE + 1);
    header.set_cksum();
    let result: Result<(), Refusal> =
        walk_tar(&header.as_bytes()[..], |item, _| Err(Refusal(format!("{:?}", item.kind))));
    assert_eq!(result.unwrap_err().0, format!("File({})", limits::MAX_FILE + 1));
    let (_, problems) = read(&[header.as_bytes().to_vec()]);
    assert_eq!(problems, 1);
}

struct Refusal(String);

impl From<TarError> for Refusal {
    fn from(error: TarError) -> Self {
        Refusal(error.to_string())
    }
}

impl std::fmt::Debug for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[test]
fn links_that_lead_to_each_other_end() {
    let circle: Vec<String> = (0..2000).map(|i| format!("l{i} -> l{}/x", (i + 1) % 2000)).collect();
    let lines: Vec<&str> = circle.iter().map(String::as_str).collect();
    let below: Vec<String> = (0..2000).map(|i| format!("l{i}/f{i}")).collect();
    let below: Vec<&str> = below.iter().map(String::as_str).collect();
    let (files, problems) = layers(&[&lines, &below]);
    assert_eq!((files.len(), problems), (4000, 0));
}

#[test]
fn a_link_or_directory_with_contents_is_refused() {
    // What follows it would be another file for containerd than for us.
    for kind in [Link, Symlink, Directory, EntryType::Fifo] {
        let hidden = tar(&[TarFile::new("hidden", b"data")]);
        let entry = TarFile { path: "a", kind, link: "b", data: &hidden };
        let refused: Result<(), Refusal> = walk_tar(&tar(&[entry])[..], |_, _| Ok(()));
        assert!(refused.unwrap_err().0.contains("no two tools"), "{kind:?}");
    }
}

#[test]
fn of_very_many_problems_the_first_are_told() {
    let outside: Vec<String> = (0..5000).map(|number| format!("../{number}")).collect();
    let lines: Vec<&str> = outside.iter().map(String::as_str).collect();
    assert_eq!(layers(&[&lines, &["a"]]), (vec!["/a".to_owned()], 101));
}

#[test]
fn the_last_of_many_contents_of_one_path_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::packed(dir.path(), &TestElf::new(), &[]);
    let tars: Vec<Vec<u8>> = (0..3u8)
        .map(|layer| {
            let contents: Vec<[u8; 2]> = (0..9).map(|number| [layer, number]).collect();
            tar(&contents.iter().map(|data| TarFile::new("./a", data)).collect::<Vec<_>>())
        })
        .collect();
    layout.set_layers(&tars);
    let source = DirectorySource::open(&layout.dir, None).unwrap();
    let descriptors: Vec<Descriptor> = serde_json::from_value(layout.manifest()["layers"].clone()).unwrap();
    let root = RootFs::read(&source, &descriptors, &[], &["/a".parse().unwrap()]);
    let data = root.open(root.find(&"/a".parse().unwrap()).unwrap()).unwrap();
    assert_eq!(micrun_image_builder::source::bytes(data.as_ref(), 0, 9).unwrap(), [2, 8]);
}

proptest! {
    #[test]
    fn any_bytes_are_walked_to_an_end(
        bytes in proptest::collection::vec(any::<u8>(), 0..4096),
        spots in proptest::collection::vec((0usize..4096, any::<u8>()), 0..12),
    ) {
        let walk = |bytes: &[u8]| {
            let _: Result<(), Refusal> = walk_tar(bytes, |_, contents| {
                io::copy(contents, &mut io::sink()).map_err(TarError::from)?;
                Ok(())
            });
        };
        walk(&bytes);
        let mut archive = tar(&[
            TarFile { path: "h", kind: EntryType::XHeader, link: "", data: b"12 path=abc\n" },
            TarFile::new("a", b"1"),
            TarFile { path: "h", kind: EntryType::GNULongName, link: "", data: b"long\0" },
            TarFile::new("b", &[2; 600]),
        ]);
        for (at, byte) in spots {
            let at = at % archive.len();
            archive[at] = byte;
        }
        walk(&archive);
    }
}

#[test]
fn a_small_layer_that_unpacks_to_a_huge_one_is_read_as_a_stream() {
    // 64 MiB of zeros behind the end of the tar: allowed, hashed, never held.
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::packed(dir.path(), &TestElf::new(), &[]);
    let mut long = tar(&[TarFile::new("a", b"1")]);
    long.resize(64 << 20, 0);
    layout.set_blobs(&[("application/vnd.oci.image.layer.v1.tar+gzip", gzip(&long), long.clone())]);
    let source = DirectorySource::open(&layout.dir, None).unwrap();
    let descriptors: Vec<Descriptor> = serde_json::from_value(layout.manifest()["layers"].clone()).unwrap();
    let root =
        RootFs::read(&source, &descriptors, &[Some(Sha256Digest::of(&long))], &["/a".parse().unwrap()]);
    assert!(root.problems().is_empty(), "{:?}", root.problems());
    let mut text = String::new();
    let data = root.open(root.find(&"/a".parse().unwrap()).unwrap()).unwrap();
    micrun_image_builder::source::reader(data.as_ref(), 0..1).read_to_string(&mut text).unwrap();
    assert_eq!(text, "1");
    let wrong = RootFs::read(&source, &descriptors, &[Some(Sha256Digest::of(b"other"))], &[]);
    assert!(matches!(wrong.problems()[0].problem, Problem::DiffId { .. }));
}
