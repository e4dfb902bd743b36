//! One image to make.

use std::path::PathBuf;

use micrun_image_spec::firmware::{Pedestal, Rtos};

use crate::boot::raw::RawOptions;
use crate::check::Code;
use crate::image::{Compression, Platform, Reference};
use crate::pack::{UserAnnotation, UserKey, UserValue};
use crate::sbom::SbomSource;
use crate::store::Location;

/// One image to make, and what was said about it. What is empty was not said.
#[derive(Debug, Clone, Default)]
pub struct Job {
    /// The ELF file, another file of firmware, or a Zephyr build directory.
    pub firmware: PathBuf,
    /// The domain of a Zephyr build directory.
    pub domain: Option<String>,
    /// The image's name.
    pub tag: Option<Reference>,
    /// Where it goes.
    pub output: Option<Location>,
    /// The board's name.
    pub board: Option<String>,
    /// What the guest runs on.
    pub pedestal: Option<Pedestal>,
    /// The RTOS.
    pub rtos: Option<Rtos>,
    /// The nodes' platforms.
    pub platforms: Vec<Platform>,
    /// How the layer is compressed.
    pub compression: Option<Compression>,
    /// The boot image.
    pub boot_image: Option<PathBuf>,
    /// What firmware that is no ELF file does not say.
    pub raw: RawOptions,
    /// The user's client.conf.
    pub client_conf: Option<PathBuf>,
    /// Values for client.conf.
    pub keys: Vec<UserKey>,
    /// Annotations.
    pub annotations: Vec<UserAnnotation>,
    /// Bills of materials.
    pub sboms: Vec<SbomSource>,
    /// Whether debug information is left out of the image.
    pub strip: Option<bool>,
    /// Errors that shall be warnings.
    pub allow: Vec<Code>,
}

impl Job {
    /// This job where the other one says nothing. Keys and annotations of both count; of a key that both have, the
    /// other's value. Whatever one of them allows is allowed.
    pub fn overridden_by(self, over: &Job) -> Job {
        let raw = RawOptions {
            load_address: over.raw.load_address.or(self.raw.load_address),
            arch: over.raw.arch.or(self.raw.arch),
            entry: over.raw.entry.or(self.raw.entry),
        };
        Job {
            firmware: if over.firmware.as_os_str().is_empty() {
                self.firmware
            } else {
                over.firmware.clone()
            },
            domain: over.domain.clone().or(self.domain),
            tag: over.tag.clone().or(self.tag),
            output: over.output.clone().or(self.output),
            board: over.board.clone().or(self.board),
            pedestal: over.pedestal.or(self.pedestal),
            rtos: over.rtos.clone().or(self.rtos),
            platforms: either(self.platforms, &over.platforms),
            compression: over.compression.or(self.compression),
            boot_image: over.boot_image.clone().or(self.boot_image),
            raw,
            client_conf: over.client_conf.clone().or(self.client_conf),
            keys: merged(self.keys, &over.keys),
            annotations: merged(self.annotations, &over.annotations),
            sboms: either(self.sboms, &over.sboms),
            strip: over.strip.or(self.strip),
            allow: [self.allow, over.allow.clone()].concat(),
        }
    }
}

fn either<T: Clone>(own: Vec<T>, over: &[T]) -> Vec<T> {
    if over.is_empty() { own } else { over.to_vec() }
}

fn merged<T: UserValue + Clone>(own: Vec<T>, over: &[T]) -> Vec<T> {
    let outweighed = |value: &T| over.iter().any(|other| other.identity() == value.identity());
    let mut values: Vec<T> = own.into_iter().filter(|value| !outweighed(value)).collect();
    values.extend_from_slice(over);
    values
}
