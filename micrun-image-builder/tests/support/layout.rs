//! An OCI layout that tests take apart and put together again, with all digests right unless a test spoils one.
#![allow(dead_code, reason = "each test file uses its part")]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use micrun_image_spec::digest::Sha256Digest;
use serde_json::{Value, json};

use super::{TestElf, builder, stderr};

/// A layout with one image.
pub struct Layout {
    pub dir: PathBuf,
}

/// A file or link of a layer.
pub struct TarFile<'a> {
    pub path: &'a str,
    pub kind: tar::EntryType,
    pub link: &'a str,
    pub data: &'a [u8],
}

impl<'a> TarFile<'a> {
    pub fn new(path: &'a str, data: &'a [u8]) -> Self {
        TarFile { path, kind: tar::EntryType::Regular, link: "", data }
    }

    pub fn link(kind: tar::EntryType, path: &'a str, link: &'a str) -> Self {
        TarFile { path, kind, link, data: b"" }
    }
}

/// A tar whose names are taken as they come, `..` included.
pub fn tar(files: &[TarFile<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for file in files {
        let mut header = tar::Header::new_ustar();
        header.as_mut_bytes()[..file.path.len()].copy_from_slice(file.path.as_bytes());
        header.as_mut_bytes()[157..157 + file.link.len()].copy_from_slice(file.link.as_bytes());
        header.set_entry_type(file.kind);
        header.set_mode(0o644);
        header.set_size(file.data.len() as u64);
        header.set_cksum();
        out.extend_from_slice(header.as_bytes());
        out.extend_from_slice(file.data);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

impl Layout {
    /// What the builder makes of a firmware.
    pub fn packed(dir: &Path, elf: &TestElf, options: &[&str]) -> Self {
        let firmware = dir.join("app.elf");
        elf.write_to(&firmware);
        let layout = dir.join("layout");
        let output = builder()
            .arg("pack")
            .arg(&firmware)
            .args(["--quiet", "-o"])
            .arg(format!("oci:{}", layout.display()))
            .args(options)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        Layout { dir: layout }
    }

    pub fn blob_path(&self, digest: &str) -> PathBuf {
        self.dir.join("blobs/sha256").join(digest.trim_start_matches("sha256:"))
    }

    pub fn put(&self, bytes: &[u8]) -> Value {
        let digest = Sha256Digest::of(bytes).to_string();
        fs::write(self.blob_path(&digest), bytes).unwrap();
        json!({ "digest": digest, "size": bytes.len() })
    }

    pub fn document(&self, descriptor: &Value) -> Value {
        let path = self.blob_path(descriptor["digest"].as_str().unwrap());
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }

    pub fn index(&self) -> Value {
        serde_json::from_slice(&fs::read(self.dir.join("index.json")).unwrap()).unwrap()
    }

    pub fn edit_index(&self, edit: impl FnOnce(&mut Value)) {
        let mut index = self.index();
        edit(&mut index);
        fs::write(self.dir.join("index.json"), index.to_string()).unwrap();
    }

    pub fn manifest(&self) -> Value {
        self.document(&self.index()["manifests"][0])
    }

    pub fn edit_manifest(&self, edit: impl FnOnce(&mut Value)) {
        let mut manifest = self.manifest();
        edit(&mut manifest);
        let new = self.put(manifest.to_string().as_bytes());
        self.edit_index(|index| {
            for key in ["digest", "size"] {
                index["manifests"][0][key] = new[key].clone();
            }
        });
    }

    pub fn edit_config(&self, edit: impl FnOnce(&mut Value)) {
        let mut config = self.document(&self.manifest()["config"]);
        edit(&mut config);
        let new = self.put(config.to_string().as_bytes());
        self.edit_manifest(|manifest| {
            for key in ["digest", "size"] {
                manifest["config"][key] = new[key].clone();
            }
        });
    }

    /// Other layers, uncompressed.
    pub fn set_layers(&self, tars: &[Vec<u8>]) {
        let media_type = "application/vnd.oci.image.layer.v1.tar";
        let layers: Vec<_> = tars.iter().map(|tar| (media_type, tar.clone(), tar.clone())).collect();
        self.set_blobs(&layers);
    }

    /// Other layers: media type, blob, and the tar for the digest in the configuration.
    pub fn set_blobs(&self, layers: &[(&str, Vec<u8>, Vec<u8>)]) {
        let mut descriptors = Vec::new();
        let mut diff_ids = Vec::new();
        for (media_type, blob, tar) in layers {
            let mut descriptor = self.put(blob);
            descriptor["mediaType"] = (*media_type).into();
            descriptors.push(descriptor);
            diff_ids.push(Sha256Digest::of(tar).to_string());
        }
        self.edit_config(|config| config["rootfs"]["diff_ids"] = json!(diff_ids));
        self.edit_manifest(|manifest| manifest["layers"] = json!(descriptors));
    }
}
