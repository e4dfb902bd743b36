//! Bills of materials: what the builder writes is valid by SPDX's own checker, and what others write is recognised.
//! Needs pyspdxtools (spdx-tools from the Python package index; `cargo xtask test unit` brings it).
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

mod support;

use std::path::Path;
use std::process::Command;

use micrun_image_builder::image::Reference;
use micrun_image_builder::sbom::{Facts, FileDigests, Format, PackedFile, Sbom, SbomSource, generate};
use micrun_image_spec::digest::Sha256Digest;
use micrun_image_spec::firmware::Rtos;
use oci_spec::image::{Descriptor, Digest, MediaType};
use proptest::prelude::*;
use serde_json::{Value, json};
use support::tool;

fn file(path: &str, bytes: &[u8]) -> PackedFile {
    PackedFile { path: path.to_owned(), digests: FileDigests::read(bytes).unwrap() }
}

fn write(rtos: Option<&Rtos>, version: Option<&str>, firmware: &[u8]) -> Sbom {
    let reference: Reference = "registry.example/demo/blinky:1.2".parse().unwrap();
    let files = [file("/firmware.elf", firmware), file("/client.conf", b"[Mica]\n")];
    let epoch = Some("86400".parse().unwrap());
    generate(&Facts {
        firmware: "/firmware.elf",
        reference: &reference,
        rtos,
        rtos_version: version,
        files: &files,
        epoch,
    })
}

fn parsed(sbom: &Sbom) -> Value {
    serde_json::from_slice(sbom.bytes()).unwrap()
}

/// SPDX's own checker and converter.
fn pyspdxtools(args: &[&Path]) -> String {
    let flags = ["-i", "-o"].iter().zip(args).flat_map(|(flag, path)| [Path::new(flag), path]);
    tool("spdx-tools, with pip or through `cargo xtask test unit`", Command::new("pyspdxtools").args(flags))
}

#[test]
fn what_is_written_is_valid() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.spdx.json");
    for (rtos, version) in [
        (Some(&Rtos::Zephyr), Some("3.7.0")),
        (Some(&Rtos::Freertos), None),
        (Some(&Rtos::U_BOOT), Some("2023.01+dfsg-2+deb12u3")),
        (Some(&Rtos::Baremetal), None),
        (None, None),
    ] {
        std::fs::write(&path, write(rtos, version, b"firmware").bytes()).unwrap();
        pyspdxtools(&[&path]);
    }
}

#[test]
fn it_names_the_image_its_files_and_the_rtos() {
    let sbom = write(Some(&Rtos::Zephyr), Some("3.7.0"), b"abc");
    let document = parsed(&sbom);
    assert_eq!(document["spdxVersion"], "SPDX-2.3");
    assert_eq!(document["name"], "registry.example/demo/blinky:1.2");
    assert_eq!(document["creationInfo"]["created"], "1970-01-02T00:00:00Z");
    assert_eq!(document["packages"][0]["name"], "blinky");
    assert_eq!(document["packages"][1]["name"], "zephyr");
    assert_eq!(document["packages"][1]["versionInfo"], "3.7.0");
    // FIPS 180's own example.
    assert_eq!(
        document["files"][0]["checksums"][0],
        json!({ "algorithm": "SHA1", "checksumValue": "a9993e364706816aba3e25717850c26c9cd0d89d" })
    );
    assert_eq!(document["files"][0]["checksums"][1]["checksumValue"], Sha256Digest::of(b"abc").hex());
    let relations: Vec<_> = document["relationships"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| {
            format!("{} {} {}", r["spdxElementId"], r["relationshipType"], r["relatedSpdxElement"])
                .replace('"', "")
        })
        .collect();
    assert_eq!(
        relations,
        [
            "SPDXRef-DOCUMENT DESCRIBES SPDXRef-Image",
            "SPDXRef-Image CONTAINS SPDXRef-File-1",
            "SPDXRef-Image CONTAINS SPDXRef-File-2",
            "SPDXRef-File-1 GENERATED_FROM SPDXRef-RTOS",
        ]
    );
}

#[test]
fn equal_facts_give_equal_documents_and_others_another_namespace() {
    let of = |firmware: &[u8]| write(Some(&Rtos::Zephyr), None, firmware);
    assert_eq!(of(b"a").bytes(), of(b"a").bytes());
    let namespace = |sbom: &Sbom| parsed(sbom)["documentNamespace"].as_str().unwrap().to_owned();
    assert_ne!(namespace(&of(b"a")), namespace(&of(b"b")));
    assert_ne!(namespace(&of(b"a")), namespace(&write(Some(&Rtos::Zephyr), Some("1"), b"a")));
}

/// The same document in all the forms of SPDX 2, written by somebody else.
#[test]
fn the_forms_that_other_tools_write_are_recognised() {
    let dir = tempfile::tempdir().unwrap();
    let original = dir.path().join("a.spdx.json");
    std::fs::write(&original, write(Some(&Rtos::Zephyr), Some("3.7.0"), b"firmware").bytes()).unwrap();
    for (name, form) in [("b.spdx", Format::TagValue), ("b.json", Format::Json)] {
        let path = dir.path().join(name);
        pyspdxtools(&[&original, &path]);
        let sbom = Sbom::read(&path).unwrap();
        assert_eq!((sbom.format(), sbom.version()), (form, "2.3"), "{name}");
        assert_eq!(sbom.bytes(), std::fs::read(&path).unwrap(), "{name}");
    }
    for (name, form) in [("b.yaml", "YAML"), ("b.rdf", "XML")] {
        let path = dir.path().join(name);
        pyspdxtools(&[&original, &path]);
        let error = Sbom::read(&path).unwrap_err().to_string();
        assert!(error.contains(form) && error.contains("pyspdxtools"), "{name}: {error}");
    }
}

const TAGS: &str = "SPDXVersion: SPDX-2.2\nDataLicense: CC0-1.0\nSPDXID: SPDXRef-DOCUMENT\nDocumentName: a\n\
                    DocumentNamespace: http://example.org/a\n";

#[test]
fn documents_are_told_by_their_contents() {
    let json = r#"{"spdxVersion":"SPDX-2.3","SPDXID":"SPDXRef-DOCUMENT","documentNamespace":"http://example.org/a"}"#;
    let ld = |context: &str| format!(r#"{{"@context":{context},"@graph":[{{"type":"SpdxDocument"}}]}}"#);
    let address = r#""https://spdx.org/rdf/3.0.1/spdx-context.jsonld""#;
    for (text, form, version) in [
        (json.to_owned(), Format::Json, "2.3"),
        (format!("\u{feff}\r\n {json}"), Format::Json, "2.3"),
        (TAGS.to_owned(), Format::TagValue, "2.2"),
        (format!("# a remark\r\n\r\n{}", TAGS.replace('\n', "\r\n")), Format::TagValue, "2.2"),
        (ld(address), Format::JsonLd, "3.0.1"),
        (ld(&format!(r#"[{{"a":"b"}},{address}]"#)), Format::JsonLd, "3.0.1"),
    ] {
        let sbom = Sbom::parse(text.clone().into_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!((sbom.format(), sbom.version()), (form, version), "{text}");
        assert_eq!(sbom.bytes(), text.as_bytes());
    }
}

#[test]
fn what_is_no_spdx_is_called_by_its_name() {
    let hidden = TAGS
        .replace("DocumentName: a", "DocumentComment: <text>a\nDocumentNamespace: b\n</text>")
        .replace("DocumentNamespace: http", "x: http");
    for (text, said) in [
        ("", "no SPDX document"),
        ("\u{7f}ELF\u{1}", "no SPDX document"),
        ("hello: world\n", "no SPDX document"),
        ("{", "begins like JSON"),
        (r#"{"spdxVersion": 5}"#, "neither"),
        (r#"{"name": "x"}"#, "neither"),
        (r#"{"bomFormat": "CycloneDX", "specVersion": "1.5"}"#, "CycloneDX"),
        (r#"{"spdxVersion":"SPDX-2.3","documentNamespace":"a"}"#, "SPDXRef-DOCUMENT"),
        (r#"{"spdxVersion":"SPDX-2.3","SPDXID":"SPDXRef-DOCUMENT"}"#, "documentNamespace"),
        (r#"{"spdxVersion":"SPDX-1.2"}"#, "SPDX-1.2"),
        (r#"{"spdxVersion":"SPDX-2.\u001b[31m"}"#, "SPDX-2."),
        (r#"{"@context":"https://spdx.org/rdf/3.0.1/spdx-context.jsonld"}"#, "@graph"),
        (r#"{"@context":"https://spdx.org/rdf/4.0/spdx-context.jsonld","@graph":[1]}"#, "neither"),
        ("<?xml version='1.0'?><rdf/>", "XML"),
        ("spdxVersion: SPDX-2.3\n", "YAML"),
        ("SPDXVersion: SPDX-2.3\n", "SPDXRef-DOCUMENT"),
        (&hidden, "DocumentNamespace"),
    ] {
        let error = Sbom::parse(text.as_bytes().to_vec()).unwrap_err().to_string();
        assert!(error.contains(said), "{text}: {error}");
        assert!(!error.contains('\u{1b}'), "{text}: {error}");
    }
    let error = Sbom::read(Path::new("/nowhere/a.spdx")).unwrap_err().to_string();
    assert!(error.contains("/nowhere/a.spdx"), "{error}");
}

#[test]
fn it_is_attached_unchanged_under_the_type_of_its_form() {
    let digest: Digest = Sha256Digest::of(b"image").to_string().parse().unwrap();
    let image = Descriptor::new(MediaType::ImageManifest, 5, digest);
    let artifact = Sbom::parse(TAGS.as_bytes().to_vec()).unwrap().attach(&image, None).unwrap();
    let manifest: Value = serde_json::from_slice(artifact.manifest()).unwrap();
    assert_eq!(manifest["artifactType"], "text/spdx");
    assert_eq!(manifest["layers"][0]["mediaType"], "text/spdx");
    assert_eq!(manifest["layers"][0]["digest"], Sha256Digest::of(TAGS.as_bytes()).to_string());
    assert_eq!(manifest["layers"][0]["annotations"]["org.opencontainers.image.title"], "sbom.spdx");
}

#[test]
fn a_source_is_a_word_or_a_file() {
    assert_eq!("generate".parse(), Ok(SbomSource::Generate));
    assert_eq!("./generate".parse(), Ok(SbomSource::File("./generate".into())));
    assert!("".parse::<SbomSource>().is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_survived(
        start in prop_oneof![Just(""), Just("{"), Just("SPDXVersion: SPDX-2.3\n"), Just("{\"@context\":[")],
        bytes in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let _ = Sbom::parse([start.as_bytes(), &bytes].concat());
    }

    #[test]
    fn any_change_of_a_document_is_survived(at in 0usize..4000, put in "[\\PC\n]{0,8}", cut in 0usize..40) {
        let mut bytes = write(Some(&Rtos::Zephyr), Some("1"), b"x").bytes().to_vec();
        let at = at.min(bytes.len());
        let end = (at + cut).min(bytes.len());
        bytes.splice(at..end, put.bytes());
        let _ = Sbom::parse(bytes);
    }
}

#[test]
fn deep_nesting_is_refused_and_not_followed() {
    for text in ["{\"@context\":", "{\"a\":"] {
        for bracket in ["[", "{\"x\":"] {
            let deep = format!("{text}{}", bracket.repeat(100_000));
            assert!(Sbom::parse(deep.into_bytes()).is_err());
        }
    }
}
