//! The entries of a layer's tar, with long names from both of tar's dialects: GNU's and POSIX' (pax).
//!
//! The tar crate reads the headers; the extended ones are put together here, since their sizes come from the file.

use std::io::{self, Read};

use micrun_image_spec::rootfs_path::RootfsPath;
use tar::{EntryType, PaxExtensions};

use super::limits::{MAX_EXTENSION, MAX_PATH};

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its place among the layer's entries.
    pub number: u64,
    /// As it stands there: `./etc/motd`, `etc/`.
    pub path: String,
    /// What it is.
    pub kind: ItemKind,
    /// Permissions.
    pub mode: u32,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemKind {
    /// A regular file and its size in bytes.
    File(u64),
    /// A directory.
    Directory,
    /// A symbolic link and what it says.
    Symlink(String),
    /// Another name for a file of this layer or of one below.
    HardLink(String),
    /// A device, a FIFO, or something that is not known here.
    Other,
}

impl Item {
    /// True if that is where it lies.
    pub fn is_at(&self, path: &RootfsPath) -> bool {
        let components = |text: &str| -> Vec<String> {
            text.split('/').filter(|part| !part.is_empty() && *part != ".").map(str::to_owned).collect()
        };
        self.path.ends_with(path.relative()) && components(&self.path) == components(path.relative())
    }
}

/// A tar that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The bytes are no tar, or do not come.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is one that is not read here.
    #[error("{0}")]
    Refused(String),
}

/// Shows every entry with its contents, in order, until `visit` fails. Extended headers are no entries of their own.
///
/// # Errors
/// If the bytes are no tar, if an extended header or a name is longer than any real one, or what `visit` gives.
pub fn walk<E: From<TarError>>(
    reader: impl Read,
    mut visit: impl FnMut(Item, &mut dyn Read) -> Result<(), E>,
) -> Result<(), E> {
    let mut archive = tar::Archive::new(reader);
    let mut extended = Extended::default();
    let mut number = 0;
    for entry in archive.entries().map_err(TarError::from)?.raw(true) {
        let mut entry = entry.map_err(TarError::from)?;
        if extended.takes(&mut entry)? {
            continue;
        }
        let item = std::mem::take(&mut extended).item(number, entry.header())?;
        number += 1;
        visit(item, &mut entry)?;
    }
    Ok(())
}

/// What the extended headers in front of an entry say about it.
#[derive(Default)]
struct Extended {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

impl Extended {
    /// False for an entry that is no extended header.
    fn takes(&mut self, entry: &mut tar::Entry<'_, impl Read>) -> Result<bool, TarError> {
        match entry.header().entry_type() {
            EntryType::GNULongName => self.path = Some(until_nul(body(entry)?)),
            EntryType::GNULongLink => self.link = Some(until_nul(body(entry)?)),
            EntryType::XHeader => self.pax(&body(entry)?)?,
            // About the archive as a whole: a comment, usually.
            EntryType::XGlobalHeader => drop(body(entry)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn pax(&mut self, records: &[u8]) -> Result<(), TarError> {
        for record in PaxExtensions::new(records) {
            let record = record?;
            match record.key_bytes() {
                b"path" => self.path = Some(record.value_bytes().to_vec()),
                b"linkpath" => self.link = Some(record.value_bytes().to_vec()),
                b"size" => self.size = record.value().ok().and_then(|size| size.parse().ok()),
                _ => {}
            }
        }
        Ok(())
    }

    fn item(self, number: u64, header: &tar::Header) -> Result<Item, TarError> {
        let size = header.entry_size()?;
        if self.size.is_some_and(|stated| stated != size) {
            return Err(TarError::Refused("a file has two sizes".to_owned()));
        }
        // GNU's tar looks for the next entry behind that many bytes, Go's, which is containerd's, right behind the header.
        if size > 0 && has_no_contents(header.entry_type()) {
            return Err(TarError::Refused(
                "a directory or link has contents, which no two tools read alike".to_owned(),
            ));
        }
        let path = text(self.path.unwrap_or_else(|| header.path_bytes().into_owned()))?;
        let link = || {
            let own = || header.link_name_bytes().map(|link| link.into_owned()).unwrap_or_default();
            text(self.link.unwrap_or_else(own))
        };
        let kind = match header.entry_type() {
            EntryType::Regular | EntryType::Continuous if path.ends_with('/') => ItemKind::Directory,
            EntryType::Regular | EntryType::Continuous => ItemKind::File(size),
            EntryType::Directory => ItemKind::Directory,
            EntryType::Symlink => ItemKind::Symlink(link()?),
            EntryType::Link => ItemKind::HardLink(link()?),
            _ => ItemKind::Other,
        };
        Ok(Item { number, path, kind, mode: header.mode().unwrap_or_default() })
    }
}

fn has_no_contents(kind: EntryType) -> bool {
    matches!(
        kind,
        EntryType::Link
            | EntryType::Symlink
            | EntryType::Char
            | EntryType::Block
            | EntryType::Directory
            | EntryType::Fifo
    )
}

/// The contents of an extended header.
fn body(entry: &mut impl Read) -> Result<Vec<u8>, TarError> {
    let mut bytes = Vec::new();
    entry.take(MAX_EXTENSION + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_EXTENSION {
        return Err(TarError::Refused(format!("an extended header has more than {MAX_EXTENSION} bytes")));
    }
    Ok(bytes)
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|&byte| byte == 0) {
        bytes.truncate(end);
    }
    bytes
}

fn text(bytes: Vec<u8>) -> Result<String, TarError> {
    if bytes.len() > MAX_PATH {
        return Err(TarError::Refused(format!("a name has more than {MAX_PATH} bytes")));
    }
    Ok(String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}
