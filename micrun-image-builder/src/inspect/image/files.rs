//! Layers, and the files in them.

use oci_spec::image::{Descriptor, ImageConfiguration};
use serde::Serialize;

use super::Blob;
use crate::rootfs::{Node, RootFs};

/// A layer.
#[derive(Debug, Clone, Serialize)]
pub struct Layer {
    /// Its bytes.
    #[serde(flatten)]
    pub blob: Blob,
    /// Bytes of its tar; None where it cannot be unpacked.
    pub unpacked_size: Option<u64>,
    /// The digest of its tar as the configuration states it.
    pub diff_id: Option<String>,
}

/// A file, directory or link in the root file system.
#[derive(Debug, Clone, Serialize)]
pub struct File {
    /// Its path.
    pub path: String,
    /// `file`, `directory`, `link` or `other`.
    pub kind: &'static str,
    /// Bytes of a file.
    pub size: Option<u64>,
    /// What a symbolic link says.
    pub target: Option<String>,
    /// Its permissions, in octal digits.
    pub mode: String,
    /// The layer that it comes from, counted from 0.
    pub layer: usize,
}

/// The layers of an image.
pub(super) fn layers(root: &RootFs<'_>, layers: &[Descriptor], config: &ImageConfiguration) -> Vec<Layer> {
    let layer = |(index, descriptor): (usize, &Descriptor)| Layer {
        blob: Blob::of(descriptor),
        unpacked_size: root.tars().get(index).copied().flatten().map(|tar| tar.size),
        diff_id: config.rootfs().diff_ids().get(index).cloned(),
    };
    layers.iter().enumerate().map(layer).collect()
}

/// The layers of what is no image.
pub(super) fn stored(layers: &[Descriptor]) -> Vec<Layer> {
    let layer = |descriptor| Layer { blob: Blob::of(descriptor), unpacked_size: None, diff_id: None };
    layers.iter().map(layer).collect()
}

/// All files.
pub(super) fn files(root: &RootFs<'_>) -> Vec<File> {
    let file = |(path, entry): (&str, &crate::rootfs::Entry)| {
        let (kind, size, target) = match &entry.node {
            Node::File(_, size) => ("file", Some(*size), None),
            Node::Directory => ("directory", None, None),
            Node::Symlink(target) => ("link", None, Some(target.clone())),
            Node::Other => ("other", None, None),
        };
        let mode = format!("{:04o}", entry.mode & 0o7777);
        File { path: path.to_owned(), kind, size, target, mode, layer: entry.layer }
    };
    root.entries().map(file).collect()
}
