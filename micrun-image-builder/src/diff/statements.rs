//! Values under names, compared one by one.

use std::collections::{BTreeMap, BTreeSet};

use micrun_image_spec::client_conf::{ClientConf, Key};
use serde::Serialize;

use crate::contents::{ImageContents, entrypoint};
use crate::inspect::Facts;

/// Names and what each stands for, in the order of the names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statements(BTreeMap<String, String>);

/// A value that is not what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What it is the value of.
    pub name: String,
    /// None where it was not said.
    pub before: Option<String>,
    /// None where it is said no more.
    pub after: Option<String>,
}

impl Statements {
    /// What an image says: client.conf, annotations, platform, command.
    pub fn of_image(image: &ImageContents<'_>) -> Self {
        let mut statements = Statements::default();
        statements.put("os", image.config.os().to_string());
        statements.put("architecture", image.config.architecture().to_string());
        if let Some(command) = entrypoint(&image.config) {
            statements.put("entrypoint", command);
        }
        for (name, value) in image.manifest.annotations().iter().flatten() {
            statements.put(format!("annotation {name}"), value.clone());
        }
        if let Some(conf) = &image.client_conf {
            statements.client_conf(conf);
        }
        for (path, entry) in image.root.entries() {
            statements.put(format!("file {path}"), format!("{:o}", entry.mode));
        }
        statements
    }

    fn client_conf(&mut self, conf: &ClientConf) {
        for key in Key::ALL {
            if let Some(value) = conf.get(key) {
                self.put(format!("client.conf {key}"), value.to_owned());
            }
        }
        for (name, value) in conf.micrun() {
            self.put(format!("client.conf {name}"), value.clone());
        }
    }

    /// What a firmware is, apart from its contents.
    pub fn of_facts(facts: &Facts) -> Self {
        let mut statements = Statements::default();
        let core = &facts.core;
        statements.put("architecture", core.arch.to_string());
        statements.0.extend(core.model.clone().map(|model| ("core".to_owned(), model)));
        statements.put("features", core.features.join(" "));
        statements
            .0
            .extend(core.float_abi.as_ref().map(|abi| ("float ABI".to_owned(), abi.value.to_string())));
        statements.put("entry", facts.entry.address.to_string());
        if let Some(rtos) = &facts.rtos {
            statements.put("rtos", rtos.name.clone());
            statements.0.extend(rtos.version.clone().map(|version| ("rtos version".to_owned(), version)));
        }
        for need in &facts.memory {
            let region = need.region.clone().unwrap_or_else(|| need.from.to_string());
            statements.put(
                format!("memory in {region}"),
                format!("{} to {}, {} bytes", need.from, need.to, need.size),
            );
        }
        for reservation in &facts.reservations {
            let size = reservation.size.map_or("of unknown size".to_owned(), |size| format!("{size} bytes"));
            statements.put(format!("{:?} {}", reservation.purpose, reservation.name).to_lowercase(), size);
        }
        if let Some(table) = &facts.resource_table {
            statements.put("resource table", format!("{} entries, {} bytes", table.count, table.size));
        }
        let debug = &facts.debug;
        statements.put("debug information", format!("{} bytes", debug.size));
        statements.0.extend(debug.build_id.clone().map(|id| ("build id".to_owned(), id)));
        statements
    }

    fn put(&mut self, name: impl Into<String>, value: String) {
        self.0.insert(name.into(), value);
    }

    /// What is another value, or none, in `after`.
    pub fn changes_to(&self, after: &Statements) -> Vec<Change> {
        let names: BTreeSet<&String> = self.0.keys().chain(after.0.keys()).collect();
        let changed = names.into_iter().filter(|&name| self.0.get(name) != after.0.get(name));
        changed
            .map(|name| Change {
                name: name.clone(),
                before: self.0.get(name).cloned(),
                after: after.0.get(name).cloned(),
            })
            .collect()
    }
}
