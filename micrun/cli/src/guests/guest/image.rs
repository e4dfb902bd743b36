//! Which version is wanted, and everything that it needs in containerd before the old one stops.

use std::path::Path;

use micrun_image_spec::digest::Sha256Digest;

use super::Guest;
use crate::guests::folder::log_file;
use crate::guests::model::{Generation, Image};
use crate::guests::node::containers::snapshot_key;
use crate::guests::node::{NodeError, programs};
use crate::guests::step::pass;
use crate::guests::{GuestError, archive, say};

impl Guest<'_> {
    /// An image's digest, as far as this node knows it.
    pub(super) fn digest_at_hand(&self, image: &Image) -> Option<Sha256Digest> {
        match image {
            Image::Archive(path) => archive::image_in(path).ok(),
            Image::Exact { digest, .. } => Some(*digest),
            Image::Named(name) => self.node.image(name).ok().flatten(),
        }
    }

    /// The version that is wanted.
    pub(super) fn generation(&self, source: &Image) -> Result<Generation, GuestError> {
        let digest = match source {
            Image::Archive(path) => archive::image_in(path)?,
            Image::Exact { digest, .. } => *digest,
            Image::Named(name) => self.digest_of_name(name)?,
        };
        Ok(Generation {
            image: source.to_string(),
            digest,
            log: self.places.log_uri(self.name, &self.declaration.log),
            resources: self.declaration.resources.clone(),
            annotations: self.declaration.annotations.clone(),
        })
    }

    fn digest_of_name(&self, name: &str) -> Result<Sha256Digest, GuestError> {
        if let Some(digest) = self.node.image(name)? {
            return Ok(digest);
        }
        // Whoever removed the name did not remove what runs.
        if let Some(current) = self.state.current.as_ref().filter(|current| current.image == name) {
            return Ok(current.digest);
        }
        say(self.name, format_args!("pulling {name}"));
        self.node.pull(name).map_err(NodeError::from)?;
        let odd =
            || NodeError::Odd { what: name.to_owned(), problem: "it was pulled and is not there".to_owned() };
        Ok(self.node.image(name)?.ok_or_else(odd)?)
    }

    /// Has containerd keep the image. What runs is not touched.
    pub(super) fn bring(&self, source: &Image, wanted: &Generation) -> Result<(), GuestError> {
        let (name, digest) = (self.name, wanted.digest);
        if let Some(key) = &self.declaration.verify_key {
            say(name, format_args!("verifying {source}"));
            let location = match source {
                Image::Archive(path) => programs::archive_location(path),
                Image::Exact { name, .. } | Image::Named(name) => {
                    // A digest alone: with a tag beside it, registries disagree about what is meant.
                    let tag = name.rfind(':').filter(|at| !name[*at..].contains('/'));
                    format!("docker://{}@{digest}", &name[..tag.unwrap_or(name.len())]).into()
                }
            };
            programs::verify(key, &location, digest).map_err(NodeError::from)?;
        }
        if !self.node.is_pinned(name, digest)? && !self.node.pin(name, digest)? {
            self.fetch(source, digest)?;
            if !self.node.pin(name, digest)? {
                return Err(GuestError::Lost { digest });
            }
        }
        pass("brought");
        Ok(())
    }

    fn fetch(&self, source: &Image, digest: Sha256Digest) -> Result<(), GuestError> {
        match source {
            Image::Archive(path) => {
                say(self.name, format_args!("importing {}", path.display()));
                // The link may lead elsewhere by now; the digest decides what is kept.
                self.import(path, digest)?;
            }
            Image::Exact { .. } | Image::Named(_) => {
                let full = match source {
                    Image::Named(name) => name.clone(),
                    exact => exact.to_string(),
                };
                let was_there = self.node.image(&full)?.is_some();
                say(self.name, format_args!("pulling {full}"));
                self.node.pull(&full).map_err(NodeError::from)?;
                self.node.pin(self.name, digest)?;
                if !was_there && matches!(source, Image::Exact { .. }) {
                    self.node.remove_image(&full)?;
                }
            }
        }
        Ok(())
    }

    /// Imports an archive. The name that it brings along is somebody else's, and leads where it led before.
    fn import(&self, path: &Path, digest: Sha256Digest) -> Result<(), GuestError> {
        let foreign = archive::name_in(path)?;
        let before = foreign.as_deref().map(|name| self.node.image(name)).transpose()?.flatten();
        if let Some(before) = before {
            // Or its content would be gone before the name leads there again.
            self.node.pin(self.name, before)?;
        }
        let imported = self.node.import(self.name, path).map_err(NodeError::from);
        self.node.pin(self.name, digest)?;
        if let Some(name) = foreign {
            self.node.put_back(self.name, &name, before)?;
        }
        Ok(imported?)
    }

    /// Unpacks a kept image and prepares a root file system of it.
    pub(super) fn prepare(&self, generation: &Generation) -> Result<(), GuestError> {
        let digest = generation.digest;
        make_log_folder(generation)?;
        if !self.node.is_pinned(self.name, digest)? && !self.node.pin(self.name, digest)? {
            return Err(GuestError::Lost { digest });
        }
        let chain = self.node.chain(digest)?;
        if !self.node.has_snapshot(&chain)? {
            say(self.name, format_args!("unpacking {digest}"));
            self.node.unpack(digest).map_err(NodeError::from)?;
        }
        self.node.prepare_snapshot(self.name, &snapshot_key(self.name, generation), &chain)?;
        pass("prepared");
        Ok(())
    }

    /// Whether a version's image can be had there, as far as is known.
    pub(super) fn is_origin(&self, source: &Image, generation: &Generation) -> bool {
        match (source, self.digest_at_hand(source)) {
            (_, Some(digest)) => digest == generation.digest,
            (Image::Named(name), None) => *name == generation.image,
            _ => false,
        }
    }

    /// Lets go of what no version needs any more.
    pub(super) fn prune(&self) -> Result<(), GuestError> {
        let digests: Vec<Sha256Digest> = self.state.kept().map(|generation| generation.digest).collect();
        let snapshots: Vec<String> =
            self.state.kept().map(|generation| snapshot_key(self.name, generation)).collect();
        self.node.prune(self.name, &digests, &snapshots)?;
        pass("pruned");
        Ok(())
    }
}

/// Before anything else is done: it may be that only some folders can be written.
pub(super) fn make_log_folder(generation: &Generation) -> Result<(), GuestError> {
    let log = log_file(generation);
    let Some(folder) = log.as_deref().and_then(Path::parent) else { return Ok(()) };
    std::fs::create_dir_all(folder).map_err(|source| GuestError::Log { path: folder.to_owned(), source })
}
