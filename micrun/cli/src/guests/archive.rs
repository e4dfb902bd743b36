//! Which image an OCI archive holds, without unpacking it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use micrun_image_spec::digest::Sha256Digest;
use serde::Deserialize;

/// Longest index that is read, bytes.
const MAX_INDEX: u64 = 1 << 20;
/// A tar file consists of these (POSIX, pax).
const BLOCK: u64 = 512;

/// Why an archive says nothing.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It cannot be read.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The archive.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// It is something else.
    #[error("{} is no OCI archive with one image ({problem}): pack it with `micrun-image-builder pack -o oci-archive:FILE`", .path.display())]
    NoImage {
        /// The archive.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    digest: Sha256Digest,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// The annotation whose value containerd takes for a name of the image (core/images/archive in containerd).
const NAME: &str = "io.containerd.image.name";

/// The digest of an archive's one image.
///
/// # Errors
///
/// [`ArchiveError`].
pub fn image_in(path: &Path) -> Result<Sha256Digest, ArchiveError> {
    Ok(entry_in(path)?.digest)
}

/// The name that containerd gives to an archive's one image when it imports it.
///
/// # Errors
///
/// [`ArchiveError`].
pub fn name_in(path: &Path) -> Result<Option<String>, ArchiveError> {
    Ok(entry_in(path)?.annotations.remove(NAME))
}

fn entry_in(path: &Path) -> Result<Entry, ArchiveError> {
    let failed = |source| ArchiveError::Io { path: path.to_owned(), source };
    let no_image =
        |problem: &str| ArchiveError::NoImage { path: path.to_owned(), problem: problem.to_owned() };
    // Before it is opened: a pipe would wait for a writer.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(no_image("it is not a file"));
    }
    let file = File::open(path).map_err(failed)?;
    let text = find_index(BufReader::new(file))
        .map_err(failed)?
        .ok_or_else(|| no_image("there is no index.json"))?;
    let mut index: Index = serde_json::from_slice(&text).map_err(|error| no_image(&error.to_string()))?;
    let count = index.manifests.len();
    let one = index.manifests.pop().filter(|_| count == 1);
    one.ok_or_else(|| no_image(&format!("its index names {count} images")))
}

/// The contents of `index.json`, which may be anywhere in a tar file.
fn find_index(mut file: impl Read + Seek) -> io::Result<Option<Vec<u8>>> {
    let mut header = [0; BLOCK as usize];
    loop {
        match file.read_exact(&mut header) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let name = header[..100].split(|byte| *byte == 0).next().unwrap_or_default();
        // Zeros end the file; what has no size where there should be one is no tar file.
        let Some(size) = octal(&header[124..136]).filter(|_| !name.is_empty()) else { return Ok(None) };
        if matches!(name, b"index.json" | b"./index.json") {
            let mut text = Vec::new();
            file.take(size.min(MAX_INDEX)).read_to_end(&mut text)?;
            return Ok(Some(text));
        }
        let skip = i64::try_from(size.div_ceil(BLOCK) * BLOCK).map_err(io::Error::other)?;
        file.seek(SeekFrom::Current(skip))?;
    }
}

fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?.trim_matches(['\0', ' ']);
    u64::from_str_radix(text, 8).ok().filter(|size| *size < 1 << 40)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, bytes: &[u8]) -> Vec<u8> {
        let mut entry = vec![0; 512];
        entry[..name.len()].copy_from_slice(name.as_bytes());
        entry[124..135].copy_from_slice(format!("{:011o}", bytes.len()).as_bytes());
        entry.extend(bytes);
        entry.resize(entry.len().next_multiple_of(512), 0);
        entry
    }

    fn read(bytes: &[u8]) -> Result<Sha256Digest, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tar");
        std::fs::write(&path, bytes).unwrap();
        image_in(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn the_index_is_found_wherever_it_is() {
        let digest = Sha256Digest::of(b"x");
        let index = format!(
            "{{\"manifests\":[{{\"digest\":\"{digest}\",\"size\":1,\"annotations\":{{\"{NAME}\":\"a/b:1\"}}}}]}}"
        );
        let mut tar = entry("blobs/sha256/x", &[7; 700]);
        tar.extend(entry("./index.json", index.as_bytes()));
        tar.extend([0; 1024]);
        assert_eq!(read(&tar), Ok(digest));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tar");
        std::fs::write(&path, &tar).unwrap();
        assert_eq!(name_in(&path).unwrap().as_deref(), Some("a/b:1"));
        let two = format!("{{\"manifests\":[{{\"digest\":\"{digest}\"}},{{\"digest\":\"{digest}\"}}]}}");
        for (bytes, said) in [
            (entry("index.json", two.as_bytes()), "its index names 2 images"),
            (entry("index.json", b"{\"manifests\":[]}"), "its index names 0 images"),
            (entry("other", b""), "there is no index.json"),
            (b"hello".to_vec(), "there is no index.json"),
            (entry("index.json", b"{"), "EOF"),
        ] {
            let error = read(&bytes).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
