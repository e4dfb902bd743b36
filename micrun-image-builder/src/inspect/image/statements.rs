//! What client.conf says, the boot image's header, and where the firmware is.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use micrun_image_spec::client_conf::{ClientConf, Key};
use micrun_image_spec::digest::Sha256Digest;
use micrun_image_spec::firmware::Pedestal;
use micrun_image_spec::rootfs_path::RootfsPath;
use micrun_image_spec::{BOOT_IMAGE_PATH, CLIENT_CONF_PATH};
use serde::Serialize;

use crate::audit::{add, contents};
use crate::boot::arm64::{HEADER_SIZE, ImageHeader};
use crate::boot::xen;
use crate::check::{Code, Report};
use crate::image::Spool;
use crate::inspect::Address;
use crate::rootfs::{PathError, RootFs};
use crate::source::{self, ReadAt};

/// client.conf, decoded.
#[derive(Debug, Clone, Serialize)]
pub struct Keys {
    /// Section `[Mica]`, in the order in which it is written.
    pub mica: Vec<(String, String)>,
    /// Keys of that section that micad does not know.
    pub unknown: BTreeMap<String, String>,
    /// Section `[MicRun]`.
    pub micrun: BTreeMap<String, String>,
}

impl Keys {
    pub(super) fn of(conf: &ClientConf) -> Self {
        let known = Key::ALL.into_iter().filter_map(|key| Some((key.to_string(), conf.get(key)?.to_owned())));
        let unknown = conf.unknown().map(|(key, value)| (key.to_owned(), value.to_owned()));
        Keys { mica: known.collect(), unknown: unknown.collect(), micrun: conf.micrun().clone() }
    }
}

/// A boot image.
#[derive(Debug, Clone, Serialize)]
pub struct BootImage {
    /// Its path in the image.
    pub path: String,
    /// Its bytes.
    pub size: u64,
    /// Its digest.
    pub digest: Sha256Digest,
    /// Its arm64 Image header, if it has one.
    pub header: Option<Arm64Header>,
}

/// What an arm64 Image header says (Linux, Documentation/arch/arm64/booting.rst).
#[derive(Debug, Clone, Serialize)]
pub struct Arm64Header {
    /// Distance from the start of memory, in bytes.
    pub text_offset: Address,
    /// Where Xen loads it.
    pub xen_loads_to: Option<Address>,
    /// Bytes of memory that it takes, as it says.
    pub image_size: u64,
    /// Its flags.
    pub flags: Address,
    /// True for a program that wants a big-endian core.
    pub big_endian: bool,
}

/// Where the firmware is.
#[derive(Debug, Clone, Serialize)]
pub struct FirmwareFile {
    /// Its path in the image, by whoever says so: client.conf, an annotation, or Entrypoint.
    pub path: String,
    /// Its bytes; None where nothing is there.
    pub size: Option<u64>,
    /// Its digest.
    pub digest: Option<Sha256Digest>,
    /// Why there is none.
    pub problem: Option<String>,
}

/// None where there is none, or the report says what is wrong with it.
pub(super) fn client_conf(root: &RootFs<'_>, report: &mut Report) -> Option<ClientConf> {
    let data = open(root, CLIENT_CONF_PATH, report).ok()?;
    let bytes = source::bytes(data.as_ref(), 0, ClientConf::MAX_BYTES as u64 + 1);
    let conf = bytes.map_err(|error| error.to_string());
    let conf = conf.and_then(|bytes| ClientConf::from_bytes(&bytes).map_err(|error| error.to_string()));
    let remedy = "correct it and make the image again";
    conf.map_err(|error| add(report, CLIENT_CONF_PATH, Code::BadClientConf, None, error, remedy)).ok()
}

/// The file that client.conf names for a pedestal that boots one; else the one in the builder's own place.
pub(super) fn boot_image(
    root: &RootFs<'_>,
    conf: Option<&ClientConf>,
    report: &mut Report,
) -> Option<BootImage> {
    let boots = conf.map(ClientConf::pedestal).is_some_and(Pedestal::boots_raw_image);
    let named = conf.and_then(ClientConf::pedestal_conf).filter(|_| boots);
    let path = named.map_or(BOOT_IMAGE_PATH.to_owned(), |path| path.to_string());
    let data = open(root, &path, report).ok()?;
    let read = source::digest(data.as_ref())
        .and_then(|digest| Ok((digest, source::bytes(data.as_ref(), 0, HEADER_SIZE)?)));
    let (digest, beginning) = note_unreadable(read, &path, report)?;
    let header = ImageHeader::parse(&beginning).map(|header| Arm64Header {
        text_offset: Address(header.text_offset),
        xen_loads_to: xen::MEMORY.start.checked_add(header.text_offset).map(Address),
        image_size: header.image_size,
        flags: Address(header.flags),
        big_endian: header.is_big_endian(),
    });
    Some(BootImage { path, size: data.size(), digest, header })
}

/// The firmware's file, and its contents if they are there.
pub(super) fn firmware(
    root: &RootFs<'_>,
    path: &str,
    report: &mut Report,
) -> (FirmwareFile, Option<Arc<Spool>>) {
    let mut file = FirmwareFile { path: path.to_owned(), size: None, digest: None, problem: None };
    let data = match open(root, path, report) {
        Ok(data) => data,
        Err(problem) => {
            file.problem = Some(problem);
            return (file, None);
        }
    };
    file.size = Some(data.size());
    file.digest = note_unreadable(source::digest(data.as_ref()), path, report);
    (file, Some(data))
}

/// The temporary file that an image's file waits in can fail like any other.
fn note_unreadable<T>(read: io::Result<T>, path: &str, report: &mut Report) -> Option<T> {
    read.map_err(|error| add(report, path, Code::LayerUnreadable, None, error.to_string(), "try again")).ok()
}

/// The file at a path, or a sentence. That a file is not there is no damage, a layer that cannot be read again is.
fn open(root: &RootFs<'_>, path: &str, report: &mut Report) -> Result<Arc<Spool>, String> {
    let path: RootfsPath = path.parse().map_err(|error| format!("{error}"))?;
    let file = root.find(&path).map_err(|error: PathError| error.to_string())?;
    root.open(file).map_err(|problem| {
        contents::report_problem(&problem, &format!("layer {}", problem.layer), report);
        problem.to_string()
    })
}
