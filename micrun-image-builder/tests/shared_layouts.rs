//! OCI layouts that several images, several writers and other tools share: nobody loses what is theirs.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use micrun_image_builder::image::{Artifact, Attachment};
use micrun_image_builder::store::copy::copy;
use micrun_image_builder::store::directory::{DirectorySink, DirectorySource};
use micrun_image_builder::store::join::{Part, join};
use micrun_image_builder::store::layout::{ImageName, REFERRERS};
use micrun_image_builder::store::progress::Silent;
use micrun_image_builder::store::{MemoryStore, Sink, Source, StoreError, digest_of};
use micrun_image_spec::digest::Sha256Digest;
use oci_spec::image::{Descriptor, MediaType};
use serde_json::{Value, json};

fn descriptor(media_type: &str, bytes: &[u8]) -> Descriptor {
    let digest = Sha256Digest::of(bytes).to_string().parse::<oci_spec::image::Digest>().unwrap();
    Descriptor::new(MediaType::from(media_type), bytes.len() as u64, digest)
}

fn name(tag: Option<&str>) -> ImageName {
    ImageName { full: None, tag: tag.map(str::to_owned) }
}

/// Puts the blobs of an image whose layer is this text, and gives its manifest.
fn put_blobs(sink: &mut dyn Sink, text: &str) -> (Descriptor, Vec<u8>) {
    let layer = descriptor("application/vnd.oci.image.layer.v1.tar", text.as_bytes());
    let config = descriptor("application/vnd.oci.image.config.v1+json", b"{}");
    for (blob, bytes) in [(&layer, text.as_bytes().to_vec()), (&config, b"{}".to_vec())] {
        if !sink.has_blob(blob).unwrap() {
            sink.put_blob(blob, &bytes).unwrap();
        }
    }
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": [layer]});
    let manifest = manifest.to_string().into_bytes();
    (descriptor(media_type, &manifest), manifest)
}

fn put(dir: &Path, tag: Option<&str>, text: &str) -> Result<Descriptor, StoreError> {
    let mut sink = DirectorySink::create(dir, name(tag)).unwrap();
    let (root, manifest) = put_blobs(&mut sink, text);
    Box::new(sink).finish(&root, &manifest)?;
    Ok(root)
}

/// Puts an image with a note that refers to it.
fn put_with_note(dir: &Path, tag: &str, text: &str) -> Descriptor {
    let mut sink = DirectorySink::create(dir, name(Some(tag))).unwrap();
    let (root, manifest) = put_blobs(&mut sink, text);
    note_on(&root).put(&mut sink).unwrap();
    Box::new(sink).finish(&root, &manifest).unwrap();
    root
}

fn note_on(root: &Descriptor) -> Artifact<'static> {
    let note = descriptor("text/plain", b"a note");
    let note = vec![Attachment::described(note, Box::new(b"a note".to_vec()))];
    Artifact::new(root, "text/plain", note, BTreeMap::new(), None).unwrap()
}

/// Reads the image of a tag with all that it has; gives the number of its referrers.
fn read(dir: &Path, tag: Option<&str>) -> Result<usize, StoreError> {
    let source = DirectorySource::open(dir, tag.map(str::to_owned))?;
    let sink = Box::new(MemoryStore::new());
    copy(&source, sink, &source.resolve()?, true, &Silent).map(|copied| copied.referrers)
}

fn change_index(dir: &Path, change: impl FnOnce(&mut Value)) {
    let path = dir.join("index.json");
    let mut index: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut index);
    fs::write(path, index.to_string()).unwrap();
}

fn blobs(dir: &Path) -> usize {
    fs::read_dir(dir.join("blobs/sha256")).unwrap().count()
}

#[test]
fn an_image_of_two_tags_keeps_its_referrers_until_both_are_replaced() {
    let dir = tempfile::tempdir().unwrap();
    put_with_note(dir.path(), "v1", "one");
    put(dir.path(), Some("latest"), "one").unwrap();
    put(dir.path(), Some("latest"), "two").unwrap();
    assert_eq!(read(dir.path(), Some("v1")).unwrap(), 1);
    put(dir.path(), Some("v1"), "two").unwrap();
    // The configuration, a layer and a manifest.
    assert_eq!(blobs(dir.path()), 3, "image and note are gone");
}

#[test]
fn what_refers_to_a_referrer_goes_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let root = put_with_note(dir.path(), "v1", "one");
    let note = note_on(&root);
    let mut sink = DirectorySink::create(dir.path(), name(Some("v1"))).unwrap();
    let (root, manifest) = put_blobs(&mut sink, "one");
    note_on(note.descriptor()).put(&mut sink).unwrap();
    Box::new(sink).finish(&root, &manifest).unwrap();
    assert_eq!(blobs(dir.path()), 6, "with two notes and their file");
    put(dir.path(), Some("v1"), "two").unwrap();
    assert_eq!(blobs(dir.path()), 3);
}

#[test]
fn an_image_without_a_tag_replaces_one_alone() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), None, "one").unwrap();
    put(dir.path(), None, "two").unwrap();
    assert_eq!(blobs(dir.path()), 3, "in its place");
    // Other tools may put a second one beside it.
    put(dir.path(), Some("x"), "three").unwrap();
    change_index(dir.path(), |index| index["manifests"][1]["annotations"] = json!({"tool": "theirs"}));
    let before = fs::read(dir.path().join("index.json")).unwrap();
    let error = put(dir.path(), None, "four").unwrap_err().to_string();
    assert!(error.contains("2 images without a tag") && error.contains("oci:DIR:TAG"), "{error}");
    assert_eq!(fs::read(dir.path().join("index.json")).unwrap(), before);
    put(dir.path(), None, "two").unwrap();
    put(dir.path(), Some("v4"), "four").unwrap();
    assert_eq!(blobs(dir.path()), 7);
    // One with a full name and no tag is not nameless.
    let named = tempfile::tempdir().unwrap();
    put(named.path(), Some("x"), "one").unwrap();
    change_index(named.path(), |index| {
        index["manifests"][0]["annotations"] = json!({"io.containerd.image.name": "reg.example/a@sha256:00"});
    });
    put(named.path(), None, "two").unwrap();
    assert_eq!(blobs(named.path()), 5);
}

#[test]
fn nothing_is_collected_where_an_entry_is_not_understood() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), Some("v1"), "one").unwrap();
    change_index(dir.path(), |index| {
        index["manifests"].as_array_mut().unwrap().push(json!({"from": "the future"}));
    });
    put(dir.path(), Some("v1"), "two").unwrap();
    assert_eq!(blobs(dir.path()), 5);
    assert!(fs::read_to_string(dir.path().join("index.json")).unwrap().contains("the future"));
}

#[cfg(unix)]
#[test]
fn nothing_is_collected_of_blobs_that_layouts_share() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    for layout in [&one, &two] {
        fs::create_dir_all(layout.join("blobs")).unwrap();
        fs::create_dir_all(dir.path().join("shared")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("shared"), layout.join("blobs/sha256")).unwrap();
        fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        put(layout, Some("v1"), "one").unwrap();
    }
    put(&one, Some("v1"), "two").unwrap();
    assert_eq!(read(&two, Some("v1")).unwrap(), 0);
}

#[test]
fn writers_at_the_same_time_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let layout = dir.path().join("layout");
    let all: Vec<String> = (0..8).map(|number| format!("v{number}")).collect();
    std::thread::scope(|scope| {
        for tag in &all {
            let layout = &layout;
            scope.spawn(move || {
                // A tag that is replaced over and over, so that its image is garbage now and then.
                put(layout, Some("latest"), tag).unwrap();
                put(layout, Some(tag), tag).unwrap();
            });
        }
    });
    for tag in all.iter().map(String::as_str).chain(["latest"]) {
        assert_eq!(read(&layout, Some(tag)).unwrap(), 0, "{tag}");
    }
    let mut left = fs::read_dir(&layout).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    left.sort();
    assert_eq!(left, ["blobs", "index.json", "oci-layout"]);
}

#[test]
fn a_blob_that_was_found_stays_although_somebody_collects_it() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), Some("v1"), "one").unwrap();
    let mut sink = DirectorySink::create(dir.path(), name(Some("v2"))).unwrap();
    let (root, manifest) = put_blobs(&mut sink, "one");
    put(dir.path(), Some("v1"), "two").unwrap();
    Box::new(sink).finish(&root, &manifest).unwrap();
    assert_eq!(read(dir.path(), Some("v2")).unwrap(), 0);
}

#[test]
fn a_blob_that_came_half_counts_as_none() {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = DirectorySink::create(dir.path(), name(None)).unwrap();
    let layer = descriptor("application/vnd.oci.image.layer.v1.tar", b"whole");
    assert!(matches!(sink.put_blob(&layer, &b"who".to_vec()), Err(StoreError::Corrupt { .. })));
    assert!(!sink.has_blob(&layer).unwrap());
    sink.put_blob(&layer, &b"whole".to_vec()).unwrap();
    assert!(sink.has_blob(&layer).unwrap());
}

#[test]
fn referrers_that_another_tool_has_collected_are_no_obstacle() {
    let dir = tempfile::tempdir().unwrap();
    let root = put_with_note(dir.path(), "v1", "one");
    let note = digest_of(note_on(&root).descriptor()).unwrap();
    fs::remove_file(dir.path().join("blobs/sha256").join(note.hex())).unwrap();
    assert_eq!(read(dir.path(), Some("v1")).unwrap(), 0);
    put(dir.path(), Some("v2"), "two").unwrap();
    let index = fs::read_to_string(dir.path().join("index.json")).unwrap();
    assert!(!index.contains(REFERRERS), "{index}");
}

#[test]
fn an_image_is_read_although_another_one_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    put_with_note(dir.path(), "v1", "one");
    let other = put(dir.path(), Some("v2"), "two").unwrap();
    fs::write(dir.path().join("blobs/sha256").join(digest_of(&other).unwrap().hex()), "damaged").unwrap();
    assert_eq!(read(dir.path(), Some("v1")).unwrap(), 1);
    assert!(read(dir.path(), Some("v2")).is_err());
}

#[test]
fn a_list_that_names_one_document_over_and_over_is_read_once() {
    let dir = tempfile::tempdir().unwrap();
    let root = put_with_note(dir.path(), "v1", "one");
    // Four MiB, ten thousand times: days, if each were read.
    let padded = json!({"subject": root, "padding": "x".repeat(4_000_000)}).to_string().into_bytes();
    let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &padded);
    entry.set_annotations(Some(HashMap::from([("a".to_owned(), "b".to_owned())])));
    fs::write(dir.path().join("blobs/sha256").join(digest_of(&entry).unwrap().hex()), padded).unwrap();
    change_index(dir.path(), |index| {
        let list = index["manifests"].as_array_mut().unwrap();
        list.extend(std::iter::repeat_n(serde_json::to_value(&entry).unwrap(), 10_000));
    });
    let source = DirectorySource::open(dir.path(), Some("v1".to_owned())).unwrap();
    for _ in 0..1000 {
        assert_eq!(source.referrers(digest_of(&root).unwrap()).unwrap().len(), 2);
    }
}

/// An index whose one image is for this platform, with an attestation as docker's build tool adds it.
fn built(dir: &Path, platform: Value) -> Part<'static> {
    let mut image = serde_json::to_value(put(dir, Some("image"), &platform.to_string()).unwrap()).unwrap();
    let mut attestation = serde_json::to_value(put(dir, Some("note"), "attestation").unwrap()).unwrap();
    attestation["platform"] = json!({"os": "unknown", "architecture": "unknown"});
    attestation["annotations"] = json!({"vnd.docker.reference.digest": image["digest"]});
    image["platform"] = platform;
    let media_type = "application/vnd.oci.image.index.v1+json";
    let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": [image, attestation]});
    let index = index.to_string().into_bytes();
    let root = descriptor(media_type, &index);
    Box::new(DirectorySink::create(dir, name(Some("all"))).unwrap()).finish(&root, &index).unwrap();
    let source = DirectorySource::open(dir, Some("all".to_owned())).unwrap();
    Part { name: "a part".to_owned(), source: Box::new(source) }
}

#[test]
fn images_join_with_their_attestations_and_arm64_is_one_platform() {
    let dir = tempfile::tempdir().unwrap();
    let part = |number: &str, platform: Value| built(&dir.path().join(number), platform);
    let arm = |number| part(number, json!({"os": "linux", "architecture": "arm64", "variant": "v8"}));
    let amd = part("amd", json!({"os": "linux", "architecture": "amd64"}));
    let joined = join(vec![arm("1"), amd]).unwrap();
    assert_eq!(joined.platforms().collect::<Vec<_>>(), ["linux/arm64", "linux/amd64"]);
    joined.write(Box::new(MemoryStore::new()), &Silent).unwrap();
    let plain = part("plain", json!({"os": "linux", "architecture": "arm64"}));
    assert!(join(vec![arm("2"), plain]).is_err_and(|error| error.to_string().contains("linux/arm64")));
}
