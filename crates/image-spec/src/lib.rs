//! What a MicRun image is made of, as types that cannot be built wrong.
//!
//! The image builder writes these things on a developer's machine, the shim reads them back on the node; both
//! use this crate, so that neither can misunderstand the other. Nothing here knows about containerd, QEMU
//! processes or registries, and nothing here does I/O except reading profiles.
//!
//! | module | what it says |
//! | --- | --- |
//! | [`annotation`] | the keys under `org.openeuler.micrun.` |
//! | [`board`] | board profiles: memory map and the QEMU machine, read from YAML |
//! | [`client_conf`] | `/client.conf`, the INI file that travels inside the image |
//! | [`digest`] | `sha256:…` and hashing while copying |
//! | [`firmware`] | the vocabulary: architecture, RTOS, pedestal |
//! | [`os`] | OS profiles: a guest's own shell and how to type at it, read from YAML |
//! | [`profile`] | what board and OS profiles share: files, and what can be wrong with them |
//! | [`rootfs_path`] | a path that cannot leave the image's root |
//! | [`text`] | how texts from outside are quoted in messages |
//! | [`units`] | MiB and byte sizes |
//! | [`yaml`] | what keeps reading YAML linear |

#![warn(clippy::missing_errors_doc)]

pub mod annotation;
pub mod board;
pub mod client_conf;
pub mod digest;
pub mod firmware;
pub mod os;
pub mod profile;
pub mod rootfs_path;
pub mod text;
pub mod units;
pub mod yaml;

/// Where the builder puts the firmware ELF inside the image.
pub const FIRMWARE_PATH: &str = "/firmware.elf";
/// Where the builder puts the boot image, for the pedestals that boot a raw binary.
pub const BOOT_IMAGE_PATH: &str = "/image.bin";
/// Where the builder puts client.conf, and where the shim looks for it.
pub const CLIENT_CONF_PATH: &str = "/client.conf";
