//! Signatures that the builder makes and judges, without cosign: keys of every kind, both formats, tampering, nonsense.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

mod support {
    pub mod signing;
}

use std::collections::HashMap;

use micrun_image_builder::image::Epoch;
use micrun_image_builder::sign::{
    Format, KeyError, KeyFile, Place, PrivateKey, PublicKey, Rejection, VerifyError, bundle, legacy, payload,
    sign_copy, sign_image, statement, verify_image,
};
use micrun_image_builder::store::archive::{ArchiveSink, ArchiveSource};
use micrun_image_builder::store::copy::copy;
use micrun_image_builder::store::directory::{DirectorySink, DirectorySource};
use micrun_image_builder::store::layout::ImageName;
use micrun_image_builder::store::progress::Silent;
use micrun_image_builder::store::{Data, MemoryStore, Sink, Source, StoreError, read_document};
use micrun_image_spec::digest::Sha256Digest;
use oci_spec::image::{Descriptor, MediaType};
use p256::SecretKey;
use p256::pkcs8::EncodePublicKey as _;
use proptest::prelude::*;
use serde_json::{Value, json};
use support::signing::{base64, describe, key, key_pem, pem, put_image};

const PAYLOAD_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";

fn legacy_format() -> Format {
    Format::Legacy { repository: "registry.example/demo".to_owned() }
}

fn image() -> (MemoryStore, Sha256Digest) {
    let store = MemoryStore::new();
    let digest = put_image(Box::new(store.clone()), "arm64").unwrap();
    (store, digest)
}

fn sign(store: &MemoryStore, key: &PrivateKey, format: &Format) -> Place {
    sign_image(store, &mut store.clone(), key, format).unwrap().place
}

/// Why each thing that was found does not count.
fn reasons(store: &MemoryStore, key: &PublicKey) -> Vec<Rejection> {
    match verify_image(store, key) {
        Err(VerifyError::NoneCounts { rejected, .. }) => rejected.into_iter().map(|r| r.reason).collect(),
        other => panic!("{other:?}"),
    }
}

fn read(store: &MemoryStore, descriptor: &Descriptor) -> Value {
    serde_json::from_slice(&read_document(store, descriptor).unwrap()).unwrap()
}

/// A referrer with this one layer.
fn put_referrer(store: &MemoryStore, image: Sha256Digest, media_type: &str, layer: &[u8]) {
    let mut store = store.clone();
    let layer_descriptor = describe(MediaType::from(media_type), layer);
    store.put_blob(&layer_descriptor, &layer.to_vec()).unwrap();
    let manifest = json!({"schemaVersion": 2, "layers": [layer_descriptor]}).to_string();
    let descriptor = describe(MediaType::ImageManifest, manifest.as_bytes());
    store.put_referrer(image, &descriptor, manifest.as_bytes()).unwrap();
}

/// A `.sig` tag with this payload and this signature.
fn put_tag(store: &MemoryStore, image: Sha256Digest, payload: &[u8], annotations: &[(&str, &str)]) {
    let mut store = store.clone();
    let mut layer = describe(MediaType::from(PAYLOAD_TYPE), payload);
    let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    layer.set_annotations(Some(annotations.iter().map(own).collect::<HashMap<_, _>>()));
    store.put_blob(&layer, &payload.to_vec()).unwrap();
    let manifest = json!({"schemaVersion": 2, "layers": [layer]}).to_string();
    let descriptor = describe(MediaType::ImageManifest, manifest.as_bytes());
    store.put_tag(&legacy::tag_of(image), &descriptor, manifest.as_bytes()).unwrap();
}

#[test]
fn what_is_signed_verifies_in_both_formats_and_for_no_other_key() {
    for format in [Format::Bundle, legacy_format()] {
        let (store, digest) = image();
        assert!(matches!(
            verify_image(&store, &key(1).public()),
            Err(VerifyError::Unsigned { image, .. }) if image == digest
        ));
        sign(&store, &key(1), &format);
        let verified = verify_image(&store, &key(1).public()).unwrap();
        assert_eq!((verified.image, verified.accepted.len(), verified.rejected.len()), (digest, 1, 0));
        assert!(matches!(reasons(&store, &key(2).public())[..], [Rejection::WrongKey { .. }]));
    }
}

#[test]
fn each_format_is_stored_where_cosign_looks() {
    let (store, digest) = image();
    let place = sign(&store, &key(1), &Format::Bundle);
    let referrers = store.referrers(digest).unwrap();
    assert_eq!(place.to_string(), format!("the referrer {}", referrers[0].digest()));
    let manifest = read(&store, &referrers[0]);
    assert_eq!(manifest["artifactType"], bundle::MEDIA_TYPE);
    assert_eq!(manifest["subject"]["digest"], digest.to_string());
    assert_eq!(
        manifest["annotations"],
        json!({
            "dev.sigstore.bundle.content": "dsse-envelope",
            "dev.sigstore.bundle.predicateType": "https://sigstore.dev/cosign/sign/v1",
        })
    );
    assert_eq!(sign(&store, &key(1), &legacy_format()), Place::Tag(legacy::tag_of(digest)));
    assert!(store.tag(&format!("sha256-{}.sig", digest.hex())).unwrap().is_some());
    let verified = verify_image(&store, &key(1).public()).unwrap();
    let repositories: Vec<_> = verified.accepted.iter().map(|a| a.repository.as_deref()).collect();
    assert_eq!(repositories, [None, Some("registry.example/demo")]);
}

#[test]
fn signing_again_changes_nothing_and_signing_with_another_key_loses_nothing() {
    for format in [Format::Bundle, legacy_format()] {
        let (store, digest) = image();
        for seed in [1, 1, 2, 1] {
            sign(&store, &key(seed), &format);
        }
        for seed in [1, 2] {
            let verified = verify_image(&store, &key(seed).public()).unwrap();
            assert_eq!((verified.accepted.len(), verified.rejected.len()), (1, 1), "{format:?}");
        }
        assert!(store.referrers(digest).unwrap().len() <= 2);
    }
}

#[test]
fn an_index_is_signed_as_a_whole() {
    let store = MemoryStore::new();
    let index = json!({"schemaVersion": 2, "manifests": []}).to_string();
    let root = describe(MediaType::ImageIndex, index.as_bytes());
    Box::new(store.clone()).finish(&root, index.as_bytes()).unwrap();
    sign(&store, &key(1), &Format::Bundle);
    let verified = verify_image(&store, &key(1).public()).unwrap();
    assert_eq!(verified.image, Sha256Digest::of(index.as_bytes()));
}

#[test]
fn a_signature_of_another_image_does_not_count() {
    let (store, digest) = image();
    let other = Sha256Digest::of(b"another image");
    put_referrer(&store, digest, bundle::MEDIA_TYPE, &bundle::create(other, &key(1)));
    let payload = json!({"critical": {
        "identity": {"docker-reference": "registry.example/demo"},
        "image": {"docker-manifest-digest": other.to_string()},
        "type": "cosign container image signature",
    }});
    let payload = payload.to_string().into_bytes();
    let signature = base64(&key(1).sign(&payload));
    put_tag(&store, digest, &payload, &[(SIGNATURE, &signature)]);
    let reasons = reasons(&store, &key(1).public());
    assert!(
        matches!(&reasons[..], [Rejection::OtherImage(a), Rejection::OtherImage(b)] if a == b && *a == other.to_string()),
        "{reasons:?}"
    );
}

#[test]
fn says_why_each_thing_does_not_count() {
    let (store, digest) = image();
    let good: Value = serde_json::from_slice(&bundle::create(digest, &key(1))).unwrap();
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut bundle = good.clone();
        change(&mut bundle);
        bundle.to_string().into_bytes()
    };
    let keyless = changed(&|b| b["verificationMaterial"] = json!({"certificate": {"rawBytes": "AAAA"}}));
    let twice = changed(&|b| {
        let signature = b["dsseEnvelope"]["signatures"][0].clone();
        b["dsseEnvelope"]["signatures"].as_array_mut().unwrap().push(signature);
    });
    let message = changed(&|b| b["dsseEnvelope"] = Value::Null);
    let tampered = changed(&|b| b["dsseEnvelope"]["payloadType"] = json!("text/plain"));
    let cases: [(&[u8], &str); 6] = [
        (&keyless, "certificate"),
        (&twice, "2 signatures instead of one"),
        (&message, "message signature"),
        (&tampered, "another key made it, or it was changed"),
        (b"{}", "cannot be read"),
        (b"", "cannot be read"),
    ];
    for (bundle, reason) in cases {
        let said = bundle::check(bundle, digest, &key(1).public()).unwrap_err().to_string();
        assert!(said.contains(reason), "{said}");
        put_referrer(&store, digest, bundle::MEDIA_TYPE, bundle);
    }
    put_referrer(&store, digest, "application/spdx+json", b"{}");
    put_tag(&store, digest, b"{}", &[(SIGNATURE, "AAAA"), ("dev.sigstore.cosign/certificate", "pem")]);
    let error = verify_image(&store, &key(1).public()).unwrap_err();
    assert!(error.to_string().contains("and 2 more"), "{error}");
    let reasons = reasons(&store, &key(1).public());
    assert_eq!(reasons.len(), 7, "the bill of materials is none: {reasons:?}");
    assert!(matches!(reasons.last(), Some(Rejection::Certificate)));
}

/// Whoever may write beside an image may put any number of things there.
#[test]
fn looks_at_a_thousand_signatures_and_says_so() {
    let (store, digest) = image();
    let mut layer = describe(MediaType::from(PAYLOAD_TYPE), b"{}");
    layer.set_annotations(Some([(SIGNATURE.to_owned(), "AAAA".to_owned())].into()));
    store.clone().put_blob(&layer, &b"{}".to_vec()).unwrap();
    let manifest = json!({"schemaVersion": 2, "layers": vec![layer; 5000]}).to_string();
    let descriptor = describe(MediaType::ImageManifest, manifest.as_bytes());
    store.clone().put_tag(&legacy::tag_of(digest), &descriptor, manifest.as_bytes()).unwrap();
    let reasons = reasons(&store, &key(1).public());
    assert_eq!(reasons.len(), 1001);
    assert!(matches!(reasons.last(), Some(Rejection::TooMany(1000))));
}

#[test]
fn an_envelope_around_another_statement_is_no_signature() {
    let digest = Sha256Digest::of(b"image");
    let good: Value = serde_json::from_slice(&bundle::create(digest, &key(1))).unwrap();
    for (payload_type, payload) in [("text/plain", "hello"), ("application/vnd.in-toto+json", "{}")] {
        let signed = format!("DSSEv1 {} {payload_type} {} {payload}", payload_type.len(), payload.len());
        let mut bundle = good.clone();
        bundle["dsseEnvelope"] = json!({
            "payloadType": payload_type,
            "payload": base64(payload.as_bytes()),
            "signatures": [{"sig": base64(&key(1).sign(signed.as_bytes()))}],
        });
        let reason = bundle::check(bundle.to_string().as_bytes(), digest, &key(1).public()).unwrap_err();
        assert!(!matches!(reason, Rejection::WrongKey { .. }), "{reason}");
    }
}

#[test]
fn an_archive_and_a_layout_are_signed_where_they_are() {
    let (memory, digest) = image();
    let dir = tempfile::tempdir().unwrap();
    let (archive, layout) = (dir.path().join("image.tar"), dir.path().join("layout"));
    let name = || ImageName { full: None, tag: Some("1".to_owned()) };
    let archive_sink = || Box::new(ArchiveSink::create(&archive, name(), Epoch::default()).unwrap());
    let layout_sink = || Box::new(DirectorySink::create(&layout, name()).unwrap());
    let root = memory.resolve().unwrap();
    copy(&memory, archive_sink(), &root, true, &Silent).unwrap();
    copy(&memory, layout_sink(), &root, true, &Silent).unwrap();
    // Twice with the same key, as whoever builds twice does.
    for seed in [1, 1, 2] {
        let source = ArchiveSource::open(&archive, None).unwrap();
        sign_copy(&source, archive_sink(), &key(seed), &Silent).unwrap();
        let source = DirectorySource::open(&layout, Some("1".to_owned())).unwrap();
        sign_copy(&source, layout_sink(), &key(seed), &Silent).unwrap();
    }
    for seed in [1, 2] {
        let archive =
            verify_image(&ArchiveSource::open(&archive, None).unwrap(), &key(seed).public()).unwrap();
        let layout =
            verify_image(&DirectorySource::open(&layout, None).unwrap(), &key(seed).public()).unwrap();
        for verified in [archive, layout] {
            assert_eq!((verified.image, verified.accepted.len(), verified.rejected.len()), (digest, 1, 1));
        }
    }
    let mut tar = tar::Archive::new(std::fs::File::open(&archive).unwrap());
    let mut names: Vec<_> = tar.entries().unwrap().map(|e| e.unwrap().path_bytes().into_owned()).collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count, "a file is twice in the archive");
}

#[test]
fn a_tag_with_something_else_is_not_replaced() {
    let (store, digest) = image();
    let image = json!({"layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar"}]}).to_string();
    let descriptor = describe(MediaType::ImageManifest, image.as_bytes());
    store.clone().put_tag(&legacy::tag_of(digest), &descriptor, image.as_bytes()).unwrap();
    let refused = sign_image(&store, &mut store.clone(), &key(1), &legacy_format()).unwrap_err();
    assert!(refused.to_string().contains("is not changed"), "{refused}");
    assert_eq!(store.tag(&legacy::tag_of(digest)).unwrap(), Some(descriptor));
}

/// A place that keeps one image and what refers to it, as a layout does.
struct Directory(MemoryStore);

impl Source for Directory {
    fn resolve(&self) -> Result<Descriptor, StoreError> {
        self.0.resolve()
    }

    fn open(
        &self,
        descriptor: &Descriptor,
        offset: u64,
    ) -> Result<Box<dyn std::io::Read + Send + '_>, StoreError> {
        self.0.open(descriptor, offset)
    }

    fn referrers(&self, subject: Sha256Digest) -> Result<Vec<Descriptor>, StoreError> {
        self.0.referrers(subject)
    }
}

impl Sink for Directory {
    fn has_blob(&mut self, blob: &Descriptor) -> Result<bool, StoreError> {
        self.0.has_blob(blob)
    }

    fn put_blob(&mut self, blob: &Descriptor, data: &dyn Data) -> Result<(), StoreError> {
        self.0.put_blob(blob, data)
    }

    fn put_document(&mut self, descriptor: &Descriptor, document: &[u8]) -> Result<(), StoreError> {
        self.0.put_document(descriptor, document)
    }

    fn put_referrer(
        &mut self,
        subject: Sha256Digest,
        descriptor: &Descriptor,
        document: &[u8],
    ) -> Result<(), StoreError> {
        self.0.put_referrer(subject, descriptor, document)
    }

    fn finish(self: Box<Self>, root: &Descriptor, document: &[u8]) -> Result<(), StoreError> {
        Box::new(self.0).finish(root, document)
    }
}

#[test]
fn a_place_without_tags_says_that_it_takes_no_older_signatures() {
    let (store, _) = image();
    let refused = sign_image(&store, &mut Directory(store.clone()), &key(1), &legacy_format()).unwrap_err();
    assert!(refused.to_string().contains("only a registry"), "{refused}");
    assert!(matches!(verify_image(&Directory(store), &key(1).public()), Err(VerifyError::Unsigned { .. })));
}

#[test]
fn reads_keys_of_openssl_and_names_those_it_cannot_use() {
    let secret = SecretKey::from_slice(&[1; 32]).unwrap();
    let sec1 = format!(
        "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n{}",
        pem("EC PRIVATE KEY", &secret.to_sec1_der().unwrap())
    );
    let Ok(KeyFile::Plain(from_sec1)) = KeyFile::parse(sec1.as_bytes()) else { panic!("SEC 1") };
    assert_eq!(from_sec1.public(), key(1).public());
    let public = pem("PUBLIC KEY", secret.public_key().to_public_key_der().unwrap().as_bytes());
    assert_eq!(PublicKey::parse(public.as_bytes()).unwrap(), key(1).public());

    let refused = |file: &str| KeyFile::parse(file.as_bytes()).unwrap_err();
    assert!(matches!(refused("hello"), KeyError::NotPem));
    assert!(matches!(refused(&public), KeyError::Other { .. }));
    assert!(matches!(PublicKey::parse(key_pem(1).as_bytes()), Err(KeyError::Other { .. })));
    assert!(matches!(refused(&pem("RSA PRIVATE KEY", b"")), KeyError::Kind(_)));
    assert!(matches!(refused(&pem("ENCRYPTED PRIVATE KEY", b"")), KeyError::OpenSslEncryption));
    let old =
        "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END EC PRIVATE KEY-----\n";
    assert!(matches!(refused(old), KeyError::OpenSslEncryption));
    assert!(matches!(refused(&pem("PRIVATE KEY", b"\x30\x00")), KeyError::Damaged(_)));
    assert!(matches!(refused("-----BEGIN PRIVATE KEY-----\nAAAA\n"), KeyError::Damaged(_)));
    // Ed25519 (RFC 8410, section 10.1).
    let ed25519 = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
                   -----END PUBLIC KEY-----\n";
    let said = PublicKey::parse(ed25519.as_bytes()).unwrap_err().to_string();
    assert!(said.contains("Ed25519") && said.contains("P-256"), "{said}");
}

/// Everything that reads bytes of others. None of these can be a signature of this key.
fn judge(bytes: &[u8]) {
    let (image, key) = (Sha256Digest::of(b"image"), key(1).public());
    assert!(bundle::check(bytes, image, &key).is_err());
    assert!(statement::check(bytes, image).is_err());
    assert!(payload::check(bytes, image).is_err());
    assert!(!key.verify(b"message", bytes));
    let _ = legacy::layers(bytes);
    let _ = KeyFile::parse(bytes);
    let _ = PublicKey::parse(bytes);
}

/// A text with some bytes of it replaced.
fn mutated(text: String) -> impl Strategy<Value = Vec<u8>> {
    let length = text.len();
    proptest::collection::vec((0..length, any::<u8>()), 1..4).prop_map(move |changes| {
        let mut bytes = text.clone().into_bytes();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        bytes
    })
}

fn bundle_text() -> String {
    String::from_utf8(bundle::create(Sha256Digest::of(b"image"), &key(1))).unwrap()
}

/// An encrypted key in JSON with any parameters.
fn encrypted_key() -> impl Strategy<Value = String> {
    (any::<u64>(), any::<u32>(), any::<u32>(), 0..40usize, any::<bool>()).prop_map(
        |(n, r, p, nonce, power)| {
            let n = if power { 1 << (n % 64) } else { n };
            let nonce = "A".repeat(nonce);
            let json = json!({
                "kdf": {"name": "scrypt", "params": {"N": n, "r": r % 64, "p": p % 64}, "salt": "AAAA"},
                "cipher": {"name": "nacl/secretbox", "nonce": nonce},
                "ciphertext": "AAAA",
            });
            pem("ENCRYPTED SIGSTORE PRIVATE KEY", json.to_string().as_bytes())
        },
    )
}

proptest! {
    #[test]
    fn any_bytes_are_judged(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        judge(&bytes);
    }

    #[test]
    fn any_text_is_judged(text in r#"[\[\]{}":,\-A-Za-z0-9=+/ \n]{0,200}"#) {
        judge(text.as_bytes());
    }

    #[test]
    fn any_key_file_is_read_or_refused(bytes in mutated(key_pem(1))) {
        judge(&bytes);
    }

    #[test]
    fn any_parameters_are_bounded(key in encrypted_key()) {
        judge(key.as_bytes());
    }

    /// A changed bundle is refused, or says the same as before: bytes that mean nothing may change.
    #[test]
    fn a_changed_bundle_never_signs_another_image(bytes in mutated(bundle_text())) {
        prop_assert!(bundle::check(&bytes, Sha256Digest::of(b"other"), &key(1).public()).is_err());
        let _ = bundle::check(&bytes, Sha256Digest::of(b"image"), &key(1).public());
    }

    #[test]
    fn a_signature_is_for_its_message_alone(a in any::<Vec<u8>>(), b in any::<Vec<u8>>()) {
        let signature = key(1).sign(&a);
        prop_assert!(key(1).public().verify(&a, &signature));
        prop_assert_eq!(key(1).public().verify(&b, &signature), a == b);
    }
}
