//! Judges an image: its documents, its layers, what client.conf and annotations say, and the firmware inside.
//!
//! | module | what it looks at |
//! | --- | --- |
//! | `documents` | index, manifests, configurations: digests, media types, platforms |
//! | `contents` | layers and files: digests again, what is there and what is missing |
//! | `statements` | client.conf, annotations, labels: whether all of them say the same, and the firmware too |
//!
//! Images that were made without this builder are images like any other: what they lack is a finding, with the way to
//! add it.

use std::collections::BTreeSet;

use micrun_image_spec::CLIENT_CONF_PATH;
use micrun_image_spec::board::{BoardProfile, Boards};
use micrun_image_spec::firmware::{Pedestal, Rtos};
use micrun_image_spec::{BOOT_IMAGE_PATH, FIRMWARE_PATH};
use oci_spec::image::Descriptor;

pub(crate) mod contents;
pub(crate) mod documents;
mod statements;

use crate::check::{Code, Place, Report};
use crate::image::Platform;
use crate::rootfs::RootFs;
use crate::store::{Source, StoreError};
use documents::Documents;

/// What the image is checked for; nothing in particular is what it says itself.
pub struct Options<'a> {
    /// The boards that are known.
    pub boards: &'a Boards,
    /// The board.
    pub board: Option<&'a BoardProfile>,
    /// What the guest runs on.
    pub pedestal: Option<Pedestal>,
    /// The RTOS.
    pub rtos: Option<Rtos>,
    /// The only platform of an index to look at.
    pub platform: Option<Platform>,
    /// Errors that shall be warnings.
    pub allow: Vec<Code>,
}

/// Looks at everything that belongs to an image.
pub fn audit(source: &dyn Source, options: &Options<'_>, report: &mut Report) {
    match source.resolve() {
        Ok(root) => {
            let mut auditor = Auditor { source, options, report, layers: BTreeSet::new() };
            for image in documents::images(source, &root, options.platform.as_ref(), auditor.report) {
                auditor.image(&image);
            }
            contents::check_referrers(source, &root, auditor.report);
        }
        Err(error) => unreadable(&error, report),
    }
    report.allow(&options.allow);
}

/// Reports an image that is not there, or not whole.
pub fn unreadable(error: &StoreError, report: &mut Report) {
    report_store_error("image", error, report);
}

struct Auditor<'a> {
    source: &'a dyn Source,
    options: &'a Options<'a>,
    report: &'a mut Report,
    /// The layers that were looked at: images for several platforms share them.
    layers: BTreeSet<Vec<String>>,
}

impl Auditor<'_> {
    fn image(&mut self, image: &documents::Image) {
        let Some(documents) = Documents::read(self.source, image, self.report) else { return };
        let layers = documents.manifest.layers();
        let digests: Vec<String> = layers.iter().map(|layer| layer.digest().to_string()).collect();
        let is_new = self.layers.insert(digests);
        let keep = [CLIENT_CONF_PATH, FIRMWARE_PATH, BOOT_IMAGE_PATH].map(str::parse);
        let keep: Vec<_> = keep.into_iter().flatten().filter(|_| is_new).collect();
        let root = RootFs::read(self.source, layers, &documents.diff_ids, &keep);
        let part = |name: &str| image.part(name);
        if is_new {
            contents::check(&root, layers, &part, self.report);
        }
        statements::check(&root, &documents, &part, self.options, is_new, self.report);
    }
}

/// A finding about one part of the image.
pub(crate) fn add(
    report: &mut Report,
    part: &str,
    code: Code,
    place: Option<Place>,
    message: impl Into<String>,
    remedy: impl Into<String>,
) {
    let mut finding = Report::default();
    finding.add(code, place, message, remedy);
    report.add_part(part, finding);
}

/// A finding about what a place does not give.
pub(crate) fn report_store_error(part: &str, error: &StoreError, report: &mut Report) {
    let (code, remedy) = match error {
        StoreError::Corrupt { .. } => (Code::BlobDamaged, "copy or pull the image again"),
        StoreError::NotFound(_) => (Code::ImageUnreadable, "name one that is there"),
        _ => (Code::ImageUnreadable, "see that the image is there and whole; copy or pull it again"),
    };
    add(report, part, code, None, error.to_string(), remedy);
}

fn short(descriptor: &Descriptor) -> String {
    descriptor.digest().to_string().chars().take("sha256:".len() + 12).collect()
}
