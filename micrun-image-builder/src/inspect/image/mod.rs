//! The facts of an image, whoever made it, and of the firmware in it. What is damaged becomes a finding, and the rest is
//! shown nevertheless.
//!
//! | module | what it collects |
//! | --- | --- |
//! | `documents` | index, manifest, configuration |
//! | `files` | layers, and the files in them |
//! | `statements` | client.conf, the boot image's header, where the firmware is |
//! | `referrers` | what stands beside the image: signatures, bills of materials, debug information |

use std::sync::Arc;

use micrun_image_spec::annotation::BOARD;
use micrun_image_spec::board::{BoardProfile, Boards};
use micrun_image_spec::{BOOT_IMAGE_PATH, CLIENT_CONF_PATH, FIRMWARE_PATH};
use oci_spec::image::{Descriptor, ImageConfiguration, ImageManifest};
use serde::Serialize;

mod documents;
mod files;
mod referrers;
mod statements;

pub use documents::{Blob, Config, Difference, HistoryStep, Index, IndexEntry, Manifest};
pub use files::{File, Layer};
pub use referrers::{AttachedFile, Referrer};
pub use statements::{Arm64Header, BootImage, FirmwareFile, Keys};

use super::{Facts, Known};
use crate::audit;
use crate::check::{self, Report};
use crate::contents::{firmware_path, own_annotations};
use crate::image::{Platform, Spool};
use crate::rootfs::RootFs;
use crate::store::Source;
use crate::store::layout::ImageName;

/// What to look at.
pub struct Options<'a> {
    /// The boards that are known.
    pub boards: &'a Boards,
    /// The board whose memory the firmware is compared with; None for the one that the image names, or the usual one.
    pub board: Option<&'a BoardProfile>,
    /// Of an index, the image to look at; None for this machine's, else the first.
    pub platform: Option<Platform>,
}

/// Everything that is known about an image. What could not be read is missing here, and a finding.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ImageFacts {
    /// True if nothing of the image is damaged or missing.
    pub whole: bool,
    /// What the layout or archive calls it.
    pub names: Vec<String>,
    /// Its index or manifest, whichever it is named by.
    pub root: Option<Blob>,
    /// The index, where there is one.
    pub index: Option<Index>,
    /// The platform of the image that the rest is about.
    pub platform: Option<Known<String>>,
    /// The manifest.
    pub manifest: Option<Manifest>,
    /// The configuration.
    pub config: Option<Config>,
    /// The layers, the lowest first.
    pub layers: Vec<Layer>,
    /// What is in the root file system, all layers together, sorted by path.
    pub files: Vec<File>,
    /// client.conf.
    pub client_conf: Option<Keys>,
    /// The file that the pedestal boots in place of the ELF.
    pub boot_image: Option<BootImage>,
    /// Where the firmware is.
    pub firmware_file: Option<FirmwareFile>,
    /// What stands beside the image and refers to it.
    pub referrers: Vec<Referrer>,
}

impl ImageFacts {
    /// True if something is there where the firmware should be.
    pub fn has_firmware(&self) -> bool {
        self.firmware_file.as_ref().is_some_and(|file| file.size.is_some())
    }
}

/// An image, and the firmware in it if there is any that can be read.
#[derive(Debug, Clone, Default)]
pub struct Inspection {
    /// The image.
    pub image: ImageFacts,
    /// The firmware.
    pub firmware: Option<Facts>,
}

/// Collects the facts of an image. The report gets what cannot be read.
pub fn inspect(source: &dyn Source, options: &Options<'_>, report: &mut Report) -> Inspection {
    match source.resolve() {
        Ok(root) => Inspector { source, options, report }.look(&root),
        Err(error) => {
            audit::unreadable(&error, report);
            Inspection::default()
        }
    }
}

struct Inspector<'a> {
    source: &'a dyn Source,
    options: &'a Options<'a>,
    report: &'a mut Report,
}

/// The firmware as it lies in an image.
struct Found {
    path: String,
    data: Arc<Spool>,
    /// The board that the image names.
    board: Option<String>,
}

impl<'a> Inspector<'a> {
    fn look(mut self, root: &Descriptor) -> Inspection {
        let ImageName { full, tag } = ImageName::of(root);
        let mut facts = ImageFacts {
            names: full.into_iter().chain(tag).collect(),
            root: Some(Blob::of(root)),
            index: documents::index(self.source, root),
            ..ImageFacts::default()
        };
        let chosen = documents::choose(self.source, root, self.options.platform.as_ref(), self.report);
        let image = chosen.as_ref().map(|chosen| chosen.descriptor.clone());
        let found = chosen.and_then(|chosen| {
            facts.platform = chosen.platform;
            self.look_inside(&chosen.descriptor, &mut facts)
        });
        let subjects = [Some(root), image.as_ref()].into_iter().flatten();
        facts.referrers = referrers::collect(self.source, subjects, self.report);
        // What is wrong with the firmware does not make the image a damaged one.
        facts.whole = !self.report.has_errors();
        let firmware = found.and_then(|found| self.firmware(&found));
        Inspection { image: facts, firmware }
    }

    /// Looks at one image, and gives its firmware.
    fn look_inside(&mut self, descriptor: &Descriptor, facts: &mut ImageFacts) -> Option<Found> {
        let manifest = documents::manifest(self.source, descriptor, self.report)?;
        facts.manifest = Some(Manifest::of(descriptor, &manifest));
        if !documents::is_image(&manifest) {
            facts.layers = files::stored(manifest.layers());
            return None;
        }
        let config = documents::config(self.source, manifest.config(), self.report);
        let labels_of = manifest.annotations().iter().flatten();
        facts.config = config.as_ref().map(|config| Config::of(manifest.config(), config, labels_of));
        let config = config.unwrap_or_default();
        facts.platform.get_or_insert_with(|| documents::platform_of(&config));
        let root = self.root(&manifest, &config);
        facts.layers = files::layers(&root, manifest.layers(), &config);
        facts.files = files::files(&root);
        self.look_at_files(&root, &manifest, &config, facts)
    }

    /// Reads the layers.
    fn root(&mut self, manifest: &ImageManifest, config: &ImageConfiguration) -> RootFs<'a> {
        let diff_ids: Vec<_> = config.rootfs().diff_ids().iter().map(|digest| digest.parse().ok()).collect();
        let keep = [CLIENT_CONF_PATH, FIRMWARE_PATH, BOOT_IMAGE_PATH].into_iter().flat_map(str::parse);
        let root = RootFs::read(self.source, manifest.layers(), &diff_ids, &keep.collect::<Vec<_>>());
        for problem in root.problems() {
            let part = format!("layer {}", problem.layer);
            audit::contents::report_problem(problem, &part, self.report);
        }
        root
    }

    fn look_at_files(
        &mut self,
        root: &RootFs<'_>,
        manifest: &ImageManifest,
        config: &ImageConfiguration,
        facts: &mut ImageFacts,
    ) -> Option<Found> {
        let annotations = own_annotations(manifest.annotations().iter().flatten());
        let conf = statements::client_conf(root, self.report);
        facts.client_conf = conf.as_ref().map(Keys::of);
        facts.boot_image = statements::boot_image(root, conf.as_ref(), self.report);
        let path = firmware_path(conf.as_ref(), &annotations, config);
        let (file, data) = statements::firmware(root, &path, self.report);
        facts.firmware_file = Some(file);
        let said = conf.as_ref().and_then(|conf| conf.micrun().get(BOARD));
        let board = said.or_else(|| annotations.get(BOARD)).cloned();
        Some(Found { path, data: data?, board })
    }

    fn firmware(&mut self, found: &Found) -> Option<Facts> {
        let said = found.board.as_deref().and_then(|name| self.options.boards.get(name));
        let mut report = Report::default();
        let data = found.data.as_ref();
        let facts = check::examine(data, &mut report)
            .map(|elf| Facts::of(&elf, self.options.board.or(said), self.options.boards));
        let facts = facts.transpose().unwrap_or_else(|error| {
            check::unreadable(&error, &mut report);
            None
        });
        self.report.add_part(&found.path, report);
        let said_so = self.options.board.is_none() && said.is_some();
        facts.map(|mut facts| {
            if let Some(board) = facts.board.as_mut().filter(|_| said_so) {
                board.because = "the image says so".to_owned();
            }
            facts
        })
    }
}
