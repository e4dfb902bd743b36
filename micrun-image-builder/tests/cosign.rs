//! cosign accepts what the builder signs, and the builder what cosign signs; both refuse the same. Against Debian's
//! docker-registry. Linux only: the programs come from Debian's packages.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop at once")]

mod support {
    pub mod cosign;
    pub mod registry;
    pub mod repository;
    #[allow(dead_code, reason = "each test file uses its part")]
    pub mod signing;
}

use micrun_image_builder::image::Epoch;
use micrun_image_builder::sign::{
    Format, KeyError, KeyFile, Rejection, VerifyError, bundle, legacy, sign_copy, sign_image, verify_image,
};
use micrun_image_builder::store::archive::{ArchiveSink, ArchiveSource};
use micrun_image_builder::store::copy::copy;
use micrun_image_builder::store::layout::ImageName;
use micrun_image_builder::store::progress::Silent;
use micrun_image_builder::store::{MemoryStore, Sink, Source, read_document};
use micrun_image_spec::digest::Sha256Digest;
use oci_spec::image::MediaType;
use serde_json::{Value, json};
use support::cosign::{Cosign, KeyPair, PASSWORD, Series, Stored};
use support::registry::debian::DebianRegistry;
use support::repository::Repository;
use support::signing::{describe, put_image};

const BOTH: [Stored; 2] = [Stored::Bundle, Stored::Tag];

fn sign(repository: &Repository, key: &KeyPair, stored: Stored) {
    let format = match stored {
        Stored::Bundle => Format::Bundle,
        Stored::Tag => Format::Legacy { repository: repository.full_name() },
    };
    sign_image(&repository.source(), &mut repository.sink(), &key.read_private(), &format).unwrap();
}

fn reasons(repository: &Repository, key: &KeyPair) -> Vec<Rejection> {
    match verify_image(&repository.source(), &key.read_public()) {
        Err(VerifyError::NoneCounts { rejected, .. }) => rejected.into_iter().map(|r| r.reason).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn keys_of_cosign_open_with_their_password_alone() {
    for cosign in Cosign::all() {
        let pair = cosign.generate_key_pair("mine");
        assert_eq!(pair.read_private().public(), pair.read_public(), "{:?}", cosign.series);
        let file = std::fs::read_to_string(&pair.private).unwrap();
        let KeyFile::Encrypted(key) = KeyFile::parse(file.as_bytes()).unwrap() else { panic!("{file}") };
        for wrong in ["", "wrong", &format!("{PASSWORD} ")] {
            assert!(matches!(key.decrypt(wrong.as_bytes()), Err(KeyError::Password)), "{wrong:?}");
        }
        let older = file.replace("SIGSTORE", "COSIGN");
        let KeyFile::Encrypted(key) = KeyFile::parse(older.as_bytes()).unwrap() else { panic!("{older}") };
        assert_eq!(key.decrypt(PASSWORD.as_bytes()).unwrap().public(), pair.read_public());
    }
}

#[test]
fn cosign_accepts_what_the_builder_signs() {
    let registry = DebianRegistry::open();
    for cosign in Cosign::all() {
        let (mine, other) = (cosign.generate_key_pair("mine"), cosign.generate_key_pair("other"));
        for stored in BOTH {
            let name = format!("ours/{:?}-{stored:?}", cosign.series).to_lowercase();
            let (repository, digest) = Repository::with_image(&registry, &name);
            let image = repository.at(digest);
            cosign.refuses(&image, &mine.public, stored);
            sign(&repository, &mine, stored);
            cosign.accepts(&image, &mine.public, stored);
            cosign.refuses(&image, &other.public, stored);
            // Both signers' signatures are there afterwards.
            sign(&repository, &other, stored);
            for pair in [&mine, &other] {
                cosign.accepts(&image, &pair.public, stored);
                verify_image(&repository.source(), &pair.read_public()).unwrap();
            }
        }
    }
}

#[test]
fn the_builder_accepts_what_cosign_signs() {
    let registry = DebianRegistry::open();
    for cosign in Cosign::all() {
        let (mine, other) = (cosign.generate_key_pair("mine"), cosign.generate_key_pair("other"));
        for stored in BOTH {
            if cosign.series == Series::Two && stored == Stored::Bundle {
                continue; // It makes none.
            }
            let name = format!("theirs/{:?}-{stored:?}", cosign.series).to_lowercase();
            let (repository, digest) = Repository::with_image(&registry, &name);
            let image = repository.at(digest);
            cosign.sign(&image, &mine, stored);
            let verified = verify_image(&repository.source(), &mine.read_public()).unwrap();
            assert_eq!((verified.image, verified.accepted.len()), (digest, 1));
            let named = (stored == Stored::Tag).then(|| repository.full_name());
            assert_eq!(verified.accepted[0].repository, named);
            assert!(matches!(reasons(&repository, &other)[..], [Rejection::WrongKey { .. }]));
            // Ours beside theirs: theirs is not lost.
            sign(&repository, &other, stored);
            for pair in [&mine, &other] {
                cosign.accepts(&image, &pair.public, stored);
                assert_eq!(
                    verify_image(&repository.source(), &pair.read_public()).unwrap().accepted.len(),
                    1
                );
            }
        }
    }
}

#[test]
fn the_builder_finds_payloads_among_the_referrers() {
    let registry = DebianRegistry::open();
    let [cosign, _] = Cosign::all();
    let mine = cosign.generate_key_pair("mine");
    let (repository, digest) = Repository::with_image(&registry, "experiment");
    cosign.sign_into_referrer(&repository.at(digest), &mine);
    let verified = verify_image(&repository.source(), &mine.read_public()).unwrap();
    assert_eq!(verified.accepted[0].repository, Some(repository.full_name()));
}

/// Its manifests are not signed one by one.
#[test]
fn an_index_is_signed_as_a_whole() {
    let registry = DebianRegistry::open();
    for cosign in Cosign::all() {
        let mine = cosign.generate_key_pair("mine");
        for stored in BOTH {
            let name = format!("index/{:?}-{stored:?}", cosign.series).to_lowercase();
            let (repository, manifest) = Repository::with_image(&registry, &name);
            let media_type = MediaType::ImageIndex;
            let index = json!({
                "schemaVersion": 2,
                "mediaType": media_type.to_string(),
                "manifests": [repository.source().resolve().unwrap()],
            });
            let index = index.to_string().into_bytes();
            Box::new(repository.sink()).finish(&describe(media_type, &index), &index).unwrap();
            sign(&repository, &mine, stored);
            cosign.accepts(&repository.at(Sha256Digest::of(&index)), &mine.public, stored);
            cosign.refuses(&repository.at(manifest), &mine.public, stored);
        }
    }
}

/// Signed on a machine that never sees the registry.
#[test]
fn an_image_signed_in_an_archive_is_signed_in_the_registry() {
    let registry = DebianRegistry::open();
    let cosign = Cosign::all();
    let mine = cosign[1].generate_key_pair("mine");
    let (memory, dir) = (MemoryStore::new(), tempfile::tempdir().unwrap());
    let digest = put_image(Box::new(memory.clone()), "arm64").unwrap();
    let archive = dir.path().join("image.tar");
    let sink = ArchiveSink::create(&archive, ImageName::default(), Epoch::default()).unwrap();
    sign_copy(&memory, Box::new(sink), &mine.read_private(), &Silent).unwrap();
    let (source, repository) =
        (ArchiveSource::open(&archive, None).unwrap(), Repository::new(&registry, "archive"));
    copy(&source, Box::new(repository.sink()), &source.resolve().unwrap(), true, &Silent).unwrap();
    for cosign in cosign {
        cosign.accepts(&repository.at(digest), &mine.public, Stored::Bundle);
    }
}

/// Moves a signature of one image beside another.
#[test]
fn both_refuse_a_signature_of_another_image() {
    let registry = DebianRegistry::open();
    for cosign in Cosign::all() {
        let mine = cosign.generate_key_pair("mine");
        for stored in BOTH {
            let name = format!("moved/{:?}-{stored:?}", cosign.series).to_lowercase();
            let (repository, signed) = Repository::with_image(&registry, &name);
            sign(&repository, &mine, stored);
            let other = put_image(Box::new(repository.sink()), "another").unwrap();
            match stored {
                Stored::Bundle => {
                    for referrer in repository.source().referrers(signed).unwrap() {
                        let document = read_document(&repository.source(), &referrer).unwrap();
                        let document =
                            String::from_utf8(document).unwrap().replace(&signed.hex(), &other.hex());
                        put_referrer(&repository, other, document.as_bytes());
                    }
                }
                Stored::Tag => {
                    let manifest = repository.source().tag(&legacy::tag_of(signed)).unwrap().unwrap();
                    let document = read_document(&repository.source(), &manifest).unwrap();
                    repository.sink().put_tag(&legacy::tag_of(other), &manifest, &document).unwrap();
                }
            }
            let image = repository.at(other);
            cosign.refuses(&image, &mine.public, stored);
            let reasons = reasons(&repository, &mine);
            assert!(matches!(&reasons[..], [Rejection::OtherImage(named)] if *named == signed.to_string()));
        }
    }
}

#[test]
fn both_refuse_a_bundle_whose_statement_was_exchanged() {
    let registry = DebianRegistry::open();
    for cosign in Cosign::all() {
        let mine = cosign.generate_key_pair("mine");
        let name = format!("statement/{:?}", cosign.series).to_lowercase();
        let (repository, digest) = Repository::with_image(&registry, &name);
        let image = repository.at(digest);
        let create = |image| -> Value {
            serde_json::from_slice(&bundle::create(image, &mine.read_private())).unwrap()
        };
        let mut bundle = create(Sha256Digest::of(b"another image"));
        bundle["dsseEnvelope"]["payload"] = create(digest)["dsseEnvelope"]["payload"].clone();
        put_bundle(&repository, digest, bundle.to_string().as_bytes());
        cosign.refuses(&image, &mine.public, Stored::Bundle);
        assert!(matches!(reasons(&repository, &mine)[..], [Rejection::WrongKey { .. }]));
    }
}

#[test]
fn both_refuse_a_payload_that_was_exchanged() {
    let registry = DebianRegistry::open();
    for cosign in Cosign::all() {
        let mine = cosign.generate_key_pair("mine");
        let name = format!("payload/{:?}", cosign.series).to_lowercase();
        let (repository, digest) = Repository::with_image(&registry, &name);
        let image = repository.at(digest);
        let payload = json!({"critical": {
            "identity": {"docker-reference": ""},
            "image": {"docker-manifest-digest": digest.to_string()},
            "type": "cosign container image signature",
        }});
        let signature = mine.read_private().sign(b"another payload");
        put_payload(&repository, digest, payload.to_string().as_bytes(), &signature);
        cosign.refuses(&image, &mine.public, Stored::Tag);
        assert!(matches!(reasons(&repository, &mine)[..], [Rejection::WrongKey { .. }]));
    }
}

fn put_referrer(repository: &Repository, subject: Sha256Digest, document: &[u8]) {
    let descriptor = describe(MediaType::ImageManifest, document);
    repository.sink().put_referrer(subject, &descriptor, document).unwrap();
}

fn put_bundle(repository: &Repository, subject: Sha256Digest, bundle: &[u8]) {
    let mut sink = repository.sink();
    let (layer, config) =
        (describe(MediaType::from(bundle::MEDIA_TYPE), bundle), describe(MediaType::EmptyJSON, b"{}"));
    sink.put_blob(&layer, &bundle.to_vec()).unwrap();
    sink.put_blob(&config, &b"{}".to_vec()).unwrap();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::ImageManifest.to_string(),
        "artifactType": bundle::MEDIA_TYPE,
        "config": config,
        "layers": [layer],
        "subject": repository.source().resolve().unwrap(),
    });
    put_referrer(repository, subject, manifest.to_string().as_bytes());
}

fn put_payload(repository: &Repository, subject: Sha256Digest, payload: &[u8], signature: &[u8]) {
    let mut sink = repository.sink();
    let mut layer = describe(MediaType::from("application/vnd.dev.cosign.simplesigning.v1+json"), payload);
    let config = describe(MediaType::ImageConfig, b"{}");
    sink.put_blob(&layer, &payload.to_vec()).unwrap();
    sink.put_blob(&config, &b"{}".to_vec()).unwrap();
    let signature = ("dev.cosignproject.cosign/signature".to_owned(), support::signing::base64(signature));
    layer.set_annotations(Some([signature].into()));
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::ImageManifest.to_string(),
        "config": config,
        "layers": [layer],
    });
    let manifest = manifest.to_string();
    let descriptor = describe(MediaType::ImageManifest, manifest.as_bytes());
    sink.put_tag(&legacy::tag_of(subject), &descriptor, manifest.as_bytes()).unwrap();
}
