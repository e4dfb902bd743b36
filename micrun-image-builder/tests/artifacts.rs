//! What refers to an image is put beside it, in an order that leaves nothing half there, the same bytes every time.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

use std::collections::BTreeMap;
use std::io::Read as _;

use micrun_image_builder::image::{Artifact, Attachment};
use micrun_image_builder::store::{Data, Sink, StoreError};
use micrun_image_spec::digest::Sha256Digest;
use oci_spec::image::{Descriptor, MediaType};
use serde_json::{Value, json};

/// Writes down what it is given.
#[derive(Default)]
struct Notebook {
    blobs: Vec<(Descriptor, Vec<u8>)>,
    referrers: Vec<(Sha256Digest, Descriptor, Vec<u8>)>,
    order: Vec<&'static str>,
}

impl Sink for Notebook {
    fn has_blob(&mut self, blob: &Descriptor) -> Result<bool, StoreError> {
        Ok(self.blobs.iter().any(|(there, _)| there.digest() == blob.digest()))
    }

    fn put_blob(&mut self, blob: &Descriptor, data: &dyn Data) -> Result<(), StoreError> {
        let mut bytes = Vec::new();
        data.open(0)?.read_to_end(&mut bytes).unwrap();
        self.blobs.push((blob.clone(), bytes));
        self.order.push("blob");
        Ok(())
    }

    fn put_document(&mut self, _: &Descriptor, _: &[u8]) -> Result<(), StoreError> {
        panic!("an artifact is a referrer");
    }

    fn put_referrer(
        &mut self,
        subject: Sha256Digest,
        to: &Descriptor,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        self.referrers.push((subject, to.clone(), bytes.to_vec()));
        self.order.push("referrer");
        Ok(())
    }

    fn finish(self: Box<Self>, _: &Descriptor, _: &[u8]) -> Result<(), StoreError> {
        Ok(())
    }
}

fn image() -> Descriptor {
    let digest = Sha256Digest::of(b"image").to_string();
    let mut image =
        Descriptor::new(MediaType::ImageManifest, 5, digest.parse::<oci_spec::image::Digest>().unwrap());
    image.set_annotations(Some([("org.opencontainers.image.ref.name".to_owned(), "1".to_owned())].into()));
    image
}

fn artifact() -> Artifact<'static> {
    let file = Attachment::in_memory("text/plain", "hello.txt", b"hello".to_vec()).unwrap();
    let notes = BTreeMap::from([("z".to_owned(), "1".to_owned()), ("a".to_owned(), "2".to_owned())]);
    let epoch = Some("86400".parse().unwrap());
    Artifact::new(&image(), "application/vnd.example", vec![file], notes, epoch).unwrap()
}

#[test]
fn the_manifest_refers_to_the_image_and_names_the_files() {
    let artifact = artifact();
    let manifest: Value = serde_json::from_slice(artifact.manifest()).unwrap();
    assert_eq!(
        manifest,
        json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "artifactType": "application/vnd.example",
            "config": {
                "mediaType": "application/vnd.oci.empty.v1+json",
                "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
                "size": 2,
            },
            "layers": [{
                "mediaType": "text/plain",
                "digest": Sha256Digest::of(b"hello").to_string(),
                "size": 5,
                "annotations": { "org.opencontainers.image.title": "hello.txt" },
            }],
            "subject": {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": Sha256Digest::of(b"image").to_string(),
                "size": 5,
            },
            "annotations": { "a": "2", "z": "1", "org.opencontainers.image.created": "1970-01-02T00:00:00Z" },
        })
    );
    let descriptor = artifact.descriptor();
    assert_eq!(descriptor.digest().to_string(), Sha256Digest::of(artifact.manifest()).to_string());
    assert_eq!(descriptor.size(), artifact.manifest().len() as u64);
    assert_eq!(descriptor.artifact_type().as_ref().unwrap().to_string(), "application/vnd.example");
    assert_eq!(descriptor.annotations().as_ref().unwrap()["a"], "2");
}

#[test]
fn the_same_parts_give_the_same_bytes() {
    let first = artifact().manifest().to_vec();
    assert!((0..20).all(|_| artifact().manifest() == first));
}

#[test]
fn files_are_put_once_and_before_the_manifest_that_names_them() {
    let mut notebook = Notebook::default();
    artifact().put(&mut notebook).unwrap();
    artifact().put(&mut notebook).unwrap();
    assert_eq!(notebook.order, ["blob", "blob", "referrer", "referrer"]);
    let contents: Vec<_> = notebook.blobs.iter().map(|(_, bytes)| bytes.as_slice()).collect();
    assert_eq!(contents, [&b"{}"[..], b"hello"]);
    for (descriptor, bytes) in &notebook.blobs {
        assert_eq!(descriptor.digest().to_string(), Sha256Digest::of(bytes).to_string());
        assert_eq!(descriptor.size(), bytes.len() as u64);
    }
    assert_eq!(notebook.referrers[0].0, Sha256Digest::of(b"image"));
}

#[test]
fn an_image_with_another_kind_of_digest_is_refused() {
    let digest = format!("sha512:{}", "a".repeat(128));
    let image =
        Descriptor::new(MediaType::ImageManifest, 5, digest.parse::<oci_spec::image::Digest>().unwrap());
    let error = Artifact::new(&image, "a/b", Vec::new(), BTreeMap::new(), None).err().unwrap();
    assert!(error.to_string().contains("sha512"), "{error}");
}
