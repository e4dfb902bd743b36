//! client.conf and annotations: the same facts twice. The shim reads client.conf, since containerd does not hand
//! image annotations to a runtime; registries, policies and people read the annotations.

use std::collections::BTreeMap;
use std::str::FromStr;

use micrun_image_spec::annotation::{
    self, BOARD, CONTAINER_FIRMWARE_HASH, CONTAINER_FIRMWARE_PATH, CONTAINER_OS, PED_CONF, PED_PEDESTAL,
};
use micrun_image_spec::client_conf::{ClientConf, ClientConfError, Key};
use micrun_image_spec::digest::Sha256Digest;
use micrun_image_spec::units::Mib;
use micrun_image_spec::{CLIENT_CONF_PATH, FIRMWARE_PATH};

use super::{Decisions, Metadata, Request};
use crate::check::{Code, Place, Report};
use crate::elf::Elf;

/// `KEY=VALUE` for client.conf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserKey {
    key: String,
    value: String,
}

/// A text that sets no key of client.conf.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserKeyError {
    /// No equals sign.
    #[error("write KEY=VALUE, such as Memory=64")]
    NoEquals,
    /// A key that is not free to choose.
    #[error("{key} is set by the builder: {instead}")]
    Reserved {
        /// The key.
        key: Key,
        /// What to do.
        instead: &'static str,
    },
}

impl FromStr for UserKey {
    type Err = UserKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (key, value) = text.split_once('=').ok_or(UserKeyError::NoEquals)?;
        let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
        let instead = match Key::from_name(&key) {
            Some(Key::Pedestal) => "use --pedestal",
            Some(Key::ClientPath) => "the firmware is always /firmware.elf",
            Some(Key::Name) => "the runtime puts the container's name there",
            _ => return Ok(UserKey { key, value }),
        };
        Err(UserKeyError::Reserved { key: Key::from_name(&key).unwrap_or(Key::Name), instead })
    }
}

/// `KEY=VALUE` for the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserAnnotation {
    key: String,
    value: String,
}

/// A text that makes no annotation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnnotationError {
    /// No equals sign, or nothing before it.
    #[error("write KEY=VALUE, such as org.opencontainers.image.vendor=me")]
    NoKey,
    /// A key for which there is an option.
    #[error("{key} is set by the builder: {instead}")]
    Reserved {
        /// The key.
        key: String,
        /// What to do.
        instead: &'static str,
    },
}

impl FromStr for UserAnnotation {
    type Err = AnnotationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (key, value) = text.split_once('=').ok_or(AnnotationError::NoKey)?;
        if key.is_empty() || key.contains(char::is_whitespace) {
            return Err(AnnotationError::NoKey);
        }
        let instead = match annotation::strip(key).map(|key| key.name) {
            Some(CONTAINER_OS) => "use --rtos",
            Some(BOARD) => "use --board",
            Some(PED_PEDESTAL) => "use --pedestal",
            Some(PED_CONF) => "use --set PedestalConf=...",
            Some(CONTAINER_FIRMWARE_PATH) => "the firmware is always /firmware.elf",
            _ => return Ok(UserAnnotation { key: key.to_owned(), value: value.to_owned() }),
        };
        Err(AnnotationError::Reserved { key: key.to_owned(), instead })
    }
}

/// Puts client.conf and annotations together.
pub(super) fn assemble(
    request: &Request<'_>,
    decisions: &Decisions,
    elf: &Elf<'_>,
    report: &mut Report,
) -> Metadata {
    let mut writer = Writer { conf: ClientConf::default(), annotations: BTreeMap::new(), report };
    writer.decided(decisions);
    for key in &request.keys {
        let set = writer.conf.set(&key.key, &key.value);
        writer.judge(set, "--set");
    }
    for annotation in &request.annotations {
        writer.user_annotation(annotation, decisions);
    }
    writer.image_spec_annotations(request, decisions);
    writer.check_whole(elf);
    Metadata { client_conf: writer.conf, annotations: writer.annotations }
}

struct Writer<'a> {
    conf: ClientConf,
    annotations: BTreeMap<String, String>,
    report: &'a mut Report,
}

impl Writer<'_> {
    fn decided(&mut self, decisions: &Decisions) {
        let pedestal = decisions.pedestal.value;
        for (key, value) in
            [(Key::ClientPath, FIRMWARE_PATH), (Key::Pedestal, pedestal.as_str()), (Key::PedestalConf, "")]
        {
            let set = self.conf.set(key.as_str(), value);
            self.judge(set, CLIENT_CONF_PATH);
        }
        self.annotations.insert(annotation::key(PED_PEDESTAL), pedestal.to_string());
        self.ours(CONTAINER_FIRMWARE_PATH, FIRMWARE_PATH, CLIENT_CONF_PATH);
        self.ours(CONTAINER_FIRMWARE_HASH, &decisions.firmware_digest.to_string(), CLIENT_CONF_PATH);
        if let Some(rtos) = &decisions.rtos.value {
            self.ours(CONTAINER_OS, rtos.as_str(), CLIENT_CONF_PATH);
        }
        if let Some(board) = &decisions.board.value {
            self.ours(BOARD, board, CLIENT_CONF_PATH);
        }
    }

    /// One of our annotations: for the manifest, and for the shim.
    fn ours(&mut self, name: &str, value: &str, from: &str) {
        self.annotations.insert(annotation::key(name), value.to_owned());
        let set = self.conf.set_micrun(name, value);
        self.judge(set, from);
    }

    fn user_annotation(&mut self, user: &UserAnnotation, decisions: &Decisions) {
        let Some(key) = annotation::strip(&user.key) else {
            self.annotations.insert(user.key.clone(), user.value.clone());
            return;
        };
        let place = || Some(Place::Option(format!("--annotation {}", user.key)));
        if key.legacy {
            self.report.add(
                Code::LegacyAnnotation,
                place(),
                format!("{} is an old spelling", user.key),
                format!("write {}", annotation::key(key.name)),
            );
        }
        if key.name == CONTAINER_FIRMWARE_HASH {
            if user.value.parse::<Sha256Digest>() != Ok(decisions.firmware_digest) {
                self.report.add(
                    Code::HashMismatch,
                    place(),
                    format!("the firmware's digest is {}, not {}", decisions.firmware_digest, user.value),
                    "give the file that the digest was made of, or leave the annotation out",
                );
            }
            return;
        }
        self.ours(key.name, &user.value, &format!("--annotation {}", user.key));
    }

    /// The keys that every registry knows (image-spec, "Annotations"); the user's own values stay.
    fn image_spec_annotations(&mut self, request: &Request<'_>, decisions: &Decisions) {
        let title = Some(decisions.reference.value.short_name().to_owned());
        let created = request.epoch.map(|epoch| epoch.to_string());
        for (name, value) in [("title", title), ("created", created)] {
            if let Some(value) = value {
                self.annotations.entry(format!("org.opencontainers.image.{name}")).or_insert(value);
            }
        }
        if let Some(file) = self.conf.pedestal_conf() {
            self.annotations.insert(annotation::key(PED_CONF), file.to_string());
        }
    }

    fn check_whole(&mut self, elf: &Elf<'_>) {
        let valid = self.conf.validate();
        self.judge(valid, "--set");
        for key in self.conf.unknown_keys() {
            self.report.add(
                Code::UnknownClientConfKey,
                Some(Place::Option(format!("--set {key}"))),
                format!("micad does not know the key {key}"),
                "check the spelling; micad's manual lists the keys",
            );
        }
        let need = elf.loads().fold(0u64, |sum, segment| sum.saturating_add(segment.memsz));
        if let (Some(memory), Some(need)) = (self.conf.memory(), Mib::holding(need))
            && memory < need
        {
            self.report.add(
                Code::MemoryBelowNeed,
                Some(Place::Option("--set Memory".to_owned())),
                format!("the guest gets {memory}, but its segments alone need {need}"),
                format!("give at least Memory={}", need.0),
            );
        }
    }

    fn judge(&mut self, result: Result<(), ClientConfError>, from: &str) {
        if let Err(error) = result {
            let place = Some(Place::Option(from.to_owned()));
            self.report.add(Code::BadClientConf, place, error.to_string(), "change the value");
        }
    }
}
