//! The root file system of an image, seen without unpacking it.
//!
//! ```text
//! layer 0   etc/          app.elf             -> /etc/, /app.elf
//! layer 1   etc/motd      .wh.app.elf         -> /etc/, /etc/motd
//! ```
//!
//! Layers are read in order, each once, and only as a stream: compressed bytes and tar are hashed while names are
//! collected. Nothing is written to the disk but the contents of the few files that somebody asks for. What a layer
//! may claim is bounded ([`limits`]), so that no image takes more memory or time than real ones do.

use std::collections::BTreeMap;
use std::sync::Arc;

use micrun_image_spec::digest::Sha256Digest;
use micrun_image_spec::rootfs_path::RootfsPath;
use oci_spec::image::Descriptor;

mod layer;
pub mod limits;
mod problem;
mod tar_walk;
mod tree;

pub use layer::LayerTar;
pub use problem::{LayerProblem, Problem};
pub use tar_walk::{Item, ItemKind, TarError, walk as walk_tar};
pub use tree::{Entry, FileRef, Node, PathError};

use crate::image::Spool;
use crate::store::Source;
use tree::Tree;

/// An image's root, as its last layer leaves it.
pub struct RootFs<'a> {
    source: &'a dyn Source,
    layers: Vec<Descriptor>,
    diff_ids: Vec<Option<Sha256Digest>>,
    tree: Tree,
    kept: BTreeMap<FileRef, Arc<Spool>>,
    tars: Vec<Option<LayerTar>>,
    problems: Vec<LayerProblem>,
}

impl<'a> RootFs<'a> {
    /// Reads the layers of a manifest. `diff_ids` are the digests of their tars, as the configuration states them; the
    /// contents of the files at `keep` stay at hand. What is wrong with a layer is a problem, not an error: the others
    /// are still looked at.
    pub fn read(
        source: &'a dyn Source,
        layers: &[Descriptor],
        diff_ids: &[Option<Sha256Digest>],
        keep: &[RootfsPath],
    ) -> Self {
        let mut root = RootFs {
            source,
            layers: layers.to_vec(),
            diff_ids: diff_ids.to_vec(),
            tree: Tree::default(),
            kept: BTreeMap::new(),
            tars: Vec::new(),
            problems: Vec::new(),
        };
        let mut budget = limits::Budget::default();
        for (index, descriptor) in layers.iter().enumerate() {
            let wanted = |item: &Item| keep.iter().any(|path| item.is_at(path));
            let diff_id = diff_ids.get(index).copied().flatten();
            let mut read = layer::read(source, descriptor, diff_id, &mut budget, wanted);
            root.tars.push(read.tar);
            let kept = read.kept.into_values();
            root.kept.extend(kept.map(|(number, data)| (FileRef { layer: index, number }, Arc::new(data))));
            read.problems.extend(root.tree.add_layer(index, read.items));
            // What this layer has replaced is not held any longer.
            let current: Vec<FileRef> = keep.iter().filter_map(|path| root.find(path).ok()).collect();
            root.kept.retain(|file, _| current.contains(file));
            root.problems.extend(read.problems.into_iter().map(|problem| LayerProblem {
                layer: index,
                digest: descriptor.digest().to_string(),
                problem,
            }));
        }
        root
    }

    /// What is wrong with the layers, in order.
    pub fn problems(&self) -> &[LayerProblem] {
        &self.problems
    }

    /// The tars of the layers, in order; None for one that could not be read to its end.
    pub fn tars(&self) -> &[Option<LayerTar>] {
        &self.tars
    }

    /// Takes out the first problem, for callers to whom one is enough.
    pub fn take_problem(&mut self) -> Option<LayerProblem> {
        if self.problems.is_empty() { None } else { Some(self.problems.remove(0)) }
    }

    /// All files, directories and links by their path, `/etc/motd`.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.tree.entries()
    }

    /// The file at a path. Symbolic links are followed, and lead nowhere but into the image.
    ///
    /// # Errors
    /// If there is none.
    pub fn find(&self, path: &RootfsPath) -> Result<FileRef, PathError> {
        self.tree.find(path.as_str())
    }

    /// A file's contents, in memory or in a temporary file.
    ///
    /// # Errors
    /// If the file was not kept, and its layer cannot be read once more.
    pub fn open(&self, file: FileRef) -> Result<Arc<Spool>, LayerProblem> {
        if let Some(data) = self.kept.get(&file) {
            return Ok(Arc::clone(data));
        }
        let failed = |problem| {
            let digest = self.layers.get(file.layer).map(|layer| layer.digest().to_string());
            LayerProblem { layer: file.layer, digest: digest.unwrap_or_default(), problem }
        };
        let Some(descriptor) = self.layers.get(file.layer) else {
            return Err(failed(Problem::Vanished));
        };
        let diff_id = self.diff_ids.get(file.layer).copied().flatten();
        let mut budget = limits::Budget::default();
        let wanted = |item: &Item| item.number == file.number;
        let mut read = layer::read(self.source, descriptor, diff_id, &mut budget, wanted);
        match (read.problems.pop(), read.kept.pop_first()) {
            (Some(problem), _) => Err(failed(problem)),
            (None, Some((_, (_, data)))) => Ok(Arc::new(data)),
            (None, None) => Err(failed(Problem::Vanished)),
        }
    }
}
