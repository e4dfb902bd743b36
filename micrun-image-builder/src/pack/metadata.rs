//! client.conf and annotations: the same facts twice. The shim reads client.conf, since containerd does not hand
//! image annotations to a runtime; registries, policies and people read the annotations.

use std::collections::BTreeMap;

use micrun_image_spec::annotation::{
    self, BOARD, CONTAINER_FIRMWARE_HASH, CONTAINER_FIRMWARE_PATH, CONTAINER_OS, Kind, PED_CONF, PED_PEDESTAL,
};
use micrun_image_spec::client_conf::{ClientConf, ClientConfError, Key};
use micrun_image_spec::digest::Sha256Digest;
use micrun_image_spec::firmware::Pedestal;
use micrun_image_spec::units::Mib;
use micrun_image_spec::{BOOT_IMAGE_PATH, CLIENT_CONF_PATH, FIRMWARE_PATH};

use super::{Decisions, Metadata, Request, UserAnnotation, UserConf, UserKey};
use crate::check::{Code, Place, Report};

/// Puts client.conf and annotations together.
pub(super) fn assemble(
    request: &Request<'_>,
    decisions: &Decisions,
    firmware: Sha256Digest,
    memory_need: u64,
    report: &mut Report,
) -> Metadata {
    let mut writer = Writer { conf: ClientConf::default(), annotations: BTreeMap::new(), request, report };
    writer.decided(decisions, firmware);
    if let Some(given) = request.client_conf {
        writer.user_conf(given, decisions.pedestal.value, firmware);
    }
    for key in &request.keys {
        let set = writer.conf.set(&key.key, &key.value);
        writer.judge(set, "--set");
    }
    for annotation in &request.annotations {
        writer.user_annotation(annotation, firmware, &format!("--annotation {}", annotation.key));
    }
    writer.image_spec_annotations(request, decisions);
    writer.pedestal_conf(decisions);
    writer.check_whole(memory_need);
    Metadata { client_conf: writer.conf, annotations: writer.annotations }
}

/// The keys that a user can set.
fn known_keys() -> String {
    let names = Key::ALL.iter().map(|key| key.as_str());
    let free = names.filter(|name| format!("{name}=").parse::<UserKey>().is_ok());
    free.collect::<Vec<_>>().join(", ")
}

struct Writer<'a> {
    conf: ClientConf,
    annotations: BTreeMap<String, String>,
    request: &'a Request<'a>,
    report: &'a mut Report,
}

impl Writer<'_> {
    fn decided(&mut self, decisions: &Decisions, firmware: Sha256Digest) {
        let pedestal = decisions.pedestal.value;
        let file = if pedestal.boots_raw_image() { BOOT_IMAGE_PATH } else { "" };
        for (key, value) in
            [(Key::ClientPath, FIRMWARE_PATH), (Key::Pedestal, pedestal.as_str()), (Key::PedestalConf, file)]
        {
            let set = self.conf.set(key.as_str(), value);
            self.judge(set, CLIENT_CONF_PATH);
        }
        self.annotations.insert(annotation::key(PED_PEDESTAL), pedestal.to_string());
        self.ours(CONTAINER_FIRMWARE_PATH, FIRMWARE_PATH, CLIENT_CONF_PATH);
        self.ours(CONTAINER_FIRMWARE_HASH, &firmware.to_string(), CLIENT_CONF_PATH);
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

    /// Everything in the user's client.conf but what the builder decides.
    fn user_conf(&mut self, given: &UserConf, pedestal: Pedestal, firmware: Sha256Digest) {
        let conf = &given.conf;
        let known = Key::ALL.into_iter().filter_map(|key| Some((key, conf.get(key)?)));
        for (key, value) in known {
            match key {
                // Decided, with client.conf among the reasons.
                Key::Pedestal => {}
                Key::Name => self.rewritten(given, "Name", "the runtime puts the container's name there"),
                Key::ClientPath if value != FIRMWARE_PATH => {
                    self.rewritten(given, "ClientPath", "the firmware is always /firmware.elf");
                }
                Key::ClientPath => {}
                Key::PedestalConf => self.user_pedestal_conf(given, value, pedestal),
                _ => self.set(key.as_str(), value, &given.option()),
            }
        }
        for (key, value) in conf.unknown() {
            self.set(key, value, &given.option());
        }
        for (name, value) in conf.micrun() {
            match name.as_str() {
                BOARD | CONTAINER_OS | PED_PEDESTAL => {}
                PED_CONF if conf.get(Key::PedestalConf).is_some() => {}
                PED_CONF => self.user_pedestal_conf(given, value, pedestal),
                CONTAINER_FIRMWARE_PATH if value == FIRMWARE_PATH => {}
                CONTAINER_FIRMWARE_PATH => {
                    self.rewritten(given, name, "the firmware is always /firmware.elf");
                }
                _ => {
                    let ours = Some((name.clone(), false));
                    let key = annotation::key(name);
                    self.user_annotation(
                        &UserAnnotation { key, ours, value: value.clone() },
                        firmware,
                        &given.option(),
                    );
                }
            }
        }
    }

    /// A file of the user's disk is not in the image; the boot image gets into it by an option.
    fn user_pedestal_conf(&mut self, given: &UserConf, value: &str, pedestal: Pedestal) {
        let ours = if pedestal.boots_raw_image() { BOOT_IMAGE_PATH } else { "" };
        let outweighed =
            self.request.keys.iter().any(|key| Key::from_name(&key.key) == Some(Key::PedestalConf));
        if value == ours || value.is_empty() || outweighed {
            return;
        }
        if pedestal.boots_raw_image() && self.request.boot_image.is_some() {
            return self.rewritten(given, "PedestalConf", "the boot image is always /image.bin");
        }
        if !pedestal.boots_raw_image() {
            // Judged like any other value, where the whole is looked at.
            return self.set(Key::PedestalConf.as_str(), value, &given.option());
        }
        self.report.add(
            Code::PedestalConfMissing,
            Some(given.place()),
            format!("PedestalConf names {value}, which does not get into the image by that"),
            "give that file with --boot-image; or leave PedestalConf out, and the boot image is made from the ELF",
        );
    }

    fn rewritten(&mut self, given: &UserConf, key: &str, instead: &str) {
        let message = format!("{key} in client.conf is not taken over: {instead}");
        self.report.add(Code::ConfRewritten, Some(given.place()), message, "nothing, or leave the line out");
    }

    fn set(&mut self, key: &str, value: &str, from: &str) {
        let set = self.conf.set(key, value);
        self.judge(set, from);
    }

    /// Who set a key of client.conf.
    fn place_of(&self, key: &str) -> Place {
        let by_option = self.request.keys.iter().any(|user| user.key.eq_ignore_ascii_case(key));
        match self.request.client_conf.filter(|_| !by_option) {
            Some(given) => given.place(),
            None => Place::Option(format!("--set {key}")),
        }
    }

    fn user_annotation(&mut self, user: &UserAnnotation, firmware: Sha256Digest, option: &str) {
        let Some((name, legacy)) = &user.ours else {
            self.annotations.insert(user.key.clone(), user.value.clone());
            return;
        };
        let place = || Some(Place::Option(option.to_owned()));
        if *legacy {
            self.report.add(
                Code::LegacyAnnotation,
                place(),
                format!("{} is an old spelling", user.key),
                format!("write {}", annotation::key(name)),
            );
        }
        match Kind::of(name).map(|kind| kind.check(&user.value)) {
            Some(Err(error)) => {
                let message = format!("{}: {error}", user.key);
                self.report.add(Code::BadAnnotation, place(), message, "change the value");
                return;
            }
            None => self.report.add(
                Code::UnknownAnnotation,
                place(),
                format!("MicRun has no annotation {name}"),
                "check the spelling, or use a prefix of your own",
            ),
            Some(Ok(())) => {}
        }
        if name == CONTAINER_FIRMWARE_HASH {
            self.check_hash(&user.value, firmware, place());
        } else {
            self.ours(name, &user.value, option);
        }
    }

    /// The annotation itself is the builder's, whatever its spelling.
    fn check_hash(&mut self, given: &str, actual: Sha256Digest, place: Option<Place>) {
        if given.parse() != Ok(actual) {
            self.report.add(
                Code::HashMismatch,
                place,
                format!("the firmware's digest is {actual}, not {given}"),
                "give the file that the digest was made of, or leave the annotation out",
            );
        }
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
    }

    /// Only the image's own files can be named, and where a boot image is booted, only that.
    fn pedestal_conf(&mut self, decisions: &Decisions) {
        let Some(file) = self.conf.pedestal_conf() else { return };
        let (usable, remedy): (&[&str], _) = if decisions.pedestal.value.boots_raw_image() {
            (&[BOOT_IMAGE_PATH], "leave PedestalConf out; --boot-image gives a boot image of your own")
        } else {
            (&[FIRMWARE_PATH, CLIENT_CONF_PATH], "leave PedestalConf out: the image holds the firmware alone")
        };
        if !usable.contains(&file.as_str()) {
            self.report.add(
                Code::PedestalConfMissing,
                Some(self.place_of(Key::PedestalConf.as_str())),
                format!("the image does not hold the file {file}"),
                remedy,
            );
        }
        self.annotations.insert(annotation::key(PED_CONF), file.to_string());
    }

    fn check_whole(&mut self, memory_need: u64) {
        let valid = self.conf.validate();
        self.judge(valid, "--set");
        for key in self.conf.unknown_keys() {
            let place = self.place_of(key);
            self.report.add(
                Code::UnknownClientConfKey,
                Some(place),
                format!("micad does not know the key {key}"),
                format!("check the spelling; the keys are {}", known_keys()),
            );
        }
        if let (Some(memory), Some(need)) = (self.conf.memory(), Mib::holding(memory_need))
            && memory < need
        {
            self.report.add(
                Code::MemoryBelowNeed,
                Some(self.place_of(Key::Memory.as_str())),
                format!("the guest gets {memory}, but its program alone needs {need}"),
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
