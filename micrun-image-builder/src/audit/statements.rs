//! client.conf, annotations and labels: whether all of them say the same, and the firmware says so too.
//!
//! The shim reads client.conf alone, since containerd does not hand image annotations to a runtime. So what only the
//! annotations say is said to people and policies, and to nobody else.

use std::collections::BTreeMap;
use std::sync::Arc;

use micrun_image_spec::CLIENT_CONF_PATH;
use micrun_image_spec::annotation::{
    self, BOARD, CONTAINER_FIRMWARE_HASH, CONTAINER_FIRMWARE_PATH, CONTAINER_OS, Kind, PED_CONF, PED_PEDESTAL,
};
use micrun_image_spec::client_conf::{ClientConf, Key};
use micrun_image_spec::digest::Sha256Digest;
use micrun_image_spec::firmware::Pedestal;
use micrun_image_spec::rootfs_path::RootfsPath;
use micrun_image_spec::units::Mib;

use super::documents::Documents;
use super::{Options, add};
use crate::check::{Code, Place, Report};
use crate::contents::{entrypoint, firmware_path, own_annotations};
use crate::image::Spool;
use crate::pack::{self, Request};
use crate::rootfs::{PathError, RootFs};
use crate::source::{self, ReadAt};

/// Checks what is said, and with `with_files`, the files that it is said about.
pub(super) fn check(
    root: &RootFs<'_>,
    documents: &Documents,
    part: &dyn Fn(&str) -> String,
    options: &Options<'_>,
    with_files: bool,
    report: &mut Report,
) {
    let manifest = documents.manifest.annotations().clone().unwrap_or_default();
    let labels = documents.config.config().as_ref().and_then(|process| process.labels().clone());
    let mut files = Report::default();
    let conf = read_client_conf(root, &part(CLIENT_CONF_PATH), &mut files);
    let mut statements =
        Statements { conf: &conf, annotations: own_annotations(&manifest), part, report: &mut *report };
    statements.check_annotations(&manifest);
    statements.check_labels(&own_annotations(&labels.unwrap_or_default()));
    if conf.is_some() {
        statements.compare_with_conf();
    }
    let path = firmware_path(conf.as_ref(), &statements.annotations, &documents.config);
    statements.check_entrypoint(documents, &path);
    if !with_files {
        return;
    }
    let mut firmware = Firmware { root, conf: &conf, part, options, report: &mut files };
    let hashes = statements.hashes();
    firmware.check(&path, &hashes);
    report.append(files);
}

/// None where there is none; then the report says so.
fn read_client_conf(root: &RootFs<'_>, part: &str, report: &mut Report) -> Option<ClientConf> {
    const REMEDY: &str = "add it with the lines [Mica], ClientPath=/firmware.elf, Pedestal=qemu and PedestalConf=, \
                          or let this program make the image: micrun-image-builder pack";
    let data = match open(root, CLIENT_CONF_PATH) {
        Ok(data) => data,
        Err(problem) => {
            add(report, part, Code::NoClientConf, None, problem, REMEDY);
            return None;
        }
    };
    let bytes = source::bytes(data.as_ref(), 0, ClientConf::MAX_BYTES as u64 + 1);
    let parsed = bytes.map_err(|error| error.to_string());
    let parsed = parsed.and_then(|bytes| ClientConf::from_bytes(&bytes).map_err(|error| error.to_string()));
    match parsed.and_then(|conf| conf.validate().map_err(|error| error.to_string()).map(|()| conf)) {
        Ok(conf) => {
            for key in conf.unknown_keys() {
                let message = format!("micad does not know the key {key}");
                let place = Some(Place::Key(key.to_owned()));
                add(report, part, Code::UnknownClientConfKey, place, message, "check the spelling");
            }
            Some(conf)
        }
        Err(error) => {
            add(report, part, Code::BadClientConf, None, error, "correct the line and make the image again");
            None
        }
    }
}

/// The file at a path, or a sentence.
fn open(root: &RootFs<'_>, path: &str) -> Result<Arc<Spool>, String> {
    let path: RootfsPath = path.parse().map_err(|error| format!("{error}"))?;
    let file = root.find(&path).map_err(|error: PathError| error.to_string())?;
    root.open(file).map_err(|error| error.to_string())
}

struct Statements<'a> {
    conf: &'a Option<ClientConf>,
    annotations: BTreeMap<String, String>,
    part: &'a dyn Fn(&str) -> String,
    report: &'a mut Report,
}

impl Statements<'_> {
    fn add(&mut self, part: &str, code: Code, key: &str, message: String, remedy: impl Into<String>) {
        add(self.report, &(self.part)(part), code, Some(Place::Key(key.to_owned())), message, remedy);
    }

    /// Each by itself: its spelling, and whether its value is of its kind.
    fn check_annotations<'k>(&mut self, annotations: impl IntoIterator<Item = (&'k String, &'k String)>) {
        let mut sorted: Vec<_> = annotations.into_iter().collect();
        sorted.sort();
        for (key, value) in sorted {
            let Some(ours) = annotation::strip(key) else { continue };
            if ours.legacy {
                let remedy = format!("write {}", annotation::key(ours.name));
                self.add(
                    "manifest",
                    Code::LegacyAnnotation,
                    key,
                    format!("{key} is an old spelling"),
                    remedy,
                );
            }
            match Kind::of(ours.name).map(|kind| kind.check(value)) {
                Some(Err(error)) => {
                    let message = format!("{key}: {error}");
                    self.add("manifest", Code::BadAnnotation, key, message, "change the value");
                }
                None => {
                    let message = format!("MicRun has no annotation {}", ours.name);
                    self.add("manifest", Code::UnknownAnnotation, key, message, "check the spelling");
                }
                Some(Ok(())) => {}
            }
        }
    }

    /// Labels are what tools show that know no annotations.
    fn check_labels(&mut self, labels: &BTreeMap<String, String>) {
        let names: Vec<&String> =
            labels.keys().filter(|name| self.annotations.get(*name) != labels.get(*name)).collect();
        for name in names {
            let (label, key) = (&labels[name], annotation::key(name));
            let message = match self.annotations.get(name) {
                Some(value) => format!("the label {key} is `{label}`, and the annotation is `{value}`"),
                None => format!("the label {key} is `{label}`, and there is no such annotation"),
            };
            self.add(
                "config",
                Code::LabelContradiction,
                &key,
                message,
                "make the image again, with both the same",
            );
        }
    }

    /// What client.conf says under the name of an annotation.
    fn said_by_conf(&self, name: &str) -> Option<String> {
        let conf = self.conf.as_ref()?;
        let said = conf.micrun().get(name).cloned();
        said.or_else(|| match name {
            PED_PEDESTAL => Some(conf.pedestal().to_string()),
            PED_CONF => conf.pedestal_conf().map(|path| path.to_string()),
            CONTAINER_FIRMWARE_PATH => conf.client_path().map(|path| path.to_string()),
            _ => None,
        })
    }

    fn compare_with_conf(&mut self) {
        let names: Vec<String> = self.annotations.keys().cloned().collect();
        for name in names {
            let (value, key) = (self.annotations[&name].clone(), annotation::key(&name));
            match self.said_by_conf(&name) {
                Some(said) if means_the_same(&name, &said, &value) => {}
                Some(said) => {
                    let message = format!("the annotation {key} is `{value}`, and client.conf says `{said}`");
                    let remedy = "make both say the same: the node goes by client.conf";
                    self.add("manifest", Code::ConfContradiction, &key, message, remedy);
                }
                None => {
                    let message = format!("{key} is `{value}`, and client.conf does not say so");
                    let remedy = format!(
                        "add the line {name}={value} to the section [MicRun] of client.conf: the node reads that alone"
                    );
                    self.add("manifest", Code::SaidOnce, &key, message, remedy);
                }
            }
        }
        let conf: Vec<(String, String)> =
            self.conf.iter().flat_map(ClientConf::micrun).map(|(k, v)| (k.clone(), v.clone())).collect();
        let missing: Vec<_> =
            conf.into_iter().filter(|(name, _)| !self.annotations.contains_key(name)).collect();
        if self.annotations.is_empty() {
            let message =
                "the manifest has no annotation of MicRun, so registries and policies see a nameless image";
            let remedy = "add them as client.conf has them, such as --annotation org.openeuler.micrun.board=NAME with buildah config";
            self.add("manifest", Code::SaidOnce, "annotations", message.to_owned(), remedy);
            return;
        }
        for (name, value) in missing {
            let message = format!("client.conf says {name}={value}, and no annotation does");
            let remedy = format!("add the annotation {}", annotation::key(&name));
            self.add(CLIENT_CONF_PATH, Code::SaidOnce, &name, message, remedy);
        }
    }

    fn check_entrypoint(&mut self, documents: &Documents, firmware: &str) {
        let message = match entrypoint(&documents.config) {
            Some(path) if means_the_same(CONTAINER_FIRMWARE_PATH, &path, firmware) => return,
            Some(path) => format!("Entrypoint is {path}, and the firmware is {firmware}"),
            None => format!("there is no Entrypoint, and the firmware is {firmware}"),
        };
        let remedy = format!("set it: Entrypoint [\"{firmware}\"]; ctr refuses an image without any");
        self.add("config", Code::EntrypointElsewhere, "Entrypoint", message, remedy);
    }

    /// The digests that the firmware is said to have, and who says so.
    fn hashes(&self) -> Vec<(String, String)> {
        let conf = self.conf.as_ref().and_then(|conf| conf.micrun().get(CONTAINER_FIRMWARE_HASH));
        let conf = conf.map(|hash| ((self.part)(CLIENT_CONF_PATH), hash.clone()));
        let annotation = self.annotations.get(CONTAINER_FIRMWARE_HASH);
        conf.into_iter().chain(annotation.map(|hash| ((self.part)("manifest"), hash.clone()))).collect()
    }
}

/// True if two values are spellings of one.
fn means_the_same(name: &str, a: &str, b: &str) -> bool {
    match Kind::of(name) {
        Some(Kind::Path | Kind::OptionalPath) => {
            a == b || a.parse::<RootfsPath>().is_ok_and(|a| Ok(a) == b.parse::<RootfsPath>())
        }
        Some(Kind::Digest) => a.parse::<Sha256Digest>().is_ok_and(|a| Ok(a) == b.parse::<Sha256Digest>()),
        _ => a.trim() == b.trim(),
    }
}

/// The firmware in the image.
struct Firmware<'a> {
    root: &'a RootFs<'a>,
    conf: &'a Option<ClientConf>,
    part: &'a dyn Fn(&str) -> String,
    options: &'a Options<'a>,
    report: &'a mut Report,
}

impl Firmware<'_> {
    fn check(&mut self, path: &str, hashes: &[(String, String)]) {
        let part = (self.part)(path);
        let data = match open(self.root, path) {
            Ok(data) => data,
            Err(problem) => {
                let remedy =
                    "put the firmware's ELF file there, or name in client.conf where it is (ClientPath)";
                return add(self.report, &part, Code::FirmwareMissing, None, problem, remedy);
            }
        };
        self.check_hashes(data.as_ref(), &part, hashes);
        self.check_elf(data.as_ref(), &part);
    }

    fn check_hashes(&mut self, data: &dyn ReadAt, part: &str, hashes: &[(String, String)]) {
        if hashes.is_empty() {
            let message = "nothing says what the firmware's digest must be, so a node runs whatever is there";
            let remedy = "state container.firmware_hash in client.conf and in the annotations";
            return add(self.report, part, Code::NoFirmwareHash, None, message, remedy);
        }
        let actual = match source::digest(data) {
            Ok(actual) => actual,
            Err(error) => {
                return add(self.report, part, Code::LayerUnreadable, None, error.to_string(), "try again");
            }
        };
        for (who, hash) in hashes.iter().filter(|(_, hash)| hash.parse() != Ok(actual)) {
            let message =
                format!("the firmware's digest is {actual}, and {CONTAINER_FIRMWARE_HASH} says {hash}");
            let remedy = "make the image again: the node refuses it";
            let place = Some(Place::Key(annotation::key(CONTAINER_FIRMWARE_HASH)));
            add(self.report, who, Code::HashMismatch, place, message, remedy);
        }
    }

    /// Everything that is checked before a firmware is packed.
    fn check_elf(&mut self, data: &dyn ReadAt, part: &str) {
        let said = |name: &str| self.conf.as_ref().and_then(|conf| conf.micrun().get(name));
        let pedestal = self.options.pedestal.or_else(|| {
            let said = said(PED_PEDESTAL).and_then(|word| word.parse().ok());
            said.or_else(|| self.conf.as_ref().map(ClientConf::pedestal))
        });
        let rtos =
            self.options.rtos.clone().or_else(|| said(CONTAINER_OS).and_then(|word| word.parse().ok()));
        let board = self.options.board.or_else(|| self.options.boards.get(said(BOARD)?));
        let unknown = said(BOARD).filter(|_| board.is_none()).cloned();
        if let Some(name) = unknown {
            let message = format!("the image names the board {name}, which is not known here");
            let remedy = "give its profile with --boards-dir, or another board with --board";
            let (part, place) = ((self.part)(CLIENT_CONF_PATH), Some(Place::Key(BOARD.to_owned())));
            add(self.report, &part, Code::UnknownBoard, place, message, remedy);
        }
        let boot_image = self.boot_image(pedestal);
        let request = Request {
            board,
            pedestal,
            rtos,
            allow: self.options.allow.clone(),
            boot_image: boot_image.as_deref().map(|data| data as &dyn ReadAt),
            ..Request::new(self.options.boards)
        };
        let mut findings = Report::default();
        let checked = pack::check(&request, data, &mut findings);
        self.report.add_part(part, findings);
        if let Some(checked) = checked {
            self.check_memory(checked.memory_need);
        }
    }

    /// The file that client.conf names for the pedestal; on those that boot raw bytes, what they boot.
    fn boot_image(&mut self, pedestal: Option<Pedestal>) -> Option<Arc<Spool>> {
        let boots = pedestal.is_some_and(Pedestal::boots_raw_image);
        let path = self.conf.as_ref().and_then(ClientConf::pedestal_conf);
        let (message, key) = match (path, pedestal) {
            (Some(path), _) => match open(self.root, path.as_str()) {
                Ok(data) => return Some(data).filter(|_| boots),
                Err(problem) => (problem, Key::PedestalConf.as_str()),
            },
            (None, Some(pedestal)) if boots && self.conf.is_some() => (
                format!("pedestal {pedestal} boots a raw image, and client.conf names none"),
                Key::PedestalConf.as_str(),
            ),
            _ => return None,
        };
        let (part, place) = ((self.part)(CLIENT_CONF_PATH), Some(Place::Key(key.to_owned())));
        let remedy = "put the file into the image and name it as PedestalConf";
        add(self.report, &part, Code::PedestalConfMissing, place, message, remedy);
        None
    }

    fn check_memory(&mut self, need: u64) {
        let memory = self.conf.as_ref().and_then(ClientConf::memory);
        if let (Some(memory), Some(need)) = (memory, Mib::holding(need))
            && memory < need
        {
            let message = format!("the guest gets {memory}, but its program alone needs {need}");
            let place = Some(Place::Key(Key::Memory.as_str().to_owned()));
            let remedy = format!("give at least Memory={}", need.0);
            add(self.report, &(self.part)(CLIENT_CONF_PATH), Code::MemoryBelowNeed, place, message, remedy);
        }
    }
}
