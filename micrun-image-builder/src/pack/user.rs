//! What the user gives as KEY=VALUE: keys of client.conf, and annotations. What the builder decides cannot be given.

use std::collections::BTreeSet;
use std::str::FromStr;

use micrun_image_spec::annotation::{
    self, BOARD, CONTAINER_FIRMWARE_PATH, CONTAINER_OS, PED_CONF, PED_PEDESTAL,
};
use micrun_image_spec::client_conf::Key;

use crate::store::layout::{CONTAINERD_NAME, REF_NAME};

/// `KEY=VALUE` for client.conf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserKey {
    pub(super) key: String,
    pub(super) value: String,
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
        key: String,
        /// What to do.
        instead: &'static str,
    },
}

impl FromStr for UserKey {
    type Err = UserKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (key, value) = text.split_once('=').ok_or(UserKeyError::NoEquals)?;
        let (key, value) = (key.trim(), value.trim());
        let instead = match Key::from_name(key) {
            Some(Key::Pedestal) => "use --pedestal",
            Some(Key::ClientPath) => "the firmware is always /firmware.elf",
            Some(Key::Name) => "the runtime puts the container's name there",
            _ => return Ok(UserKey { key: key.to_owned(), value: value.to_owned() }),
        };
        Err(UserKeyError::Reserved { key: key.to_owned(), instead })
    }
}

/// `KEY=VALUE` for the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserAnnotation {
    /// As it was written.
    pub(super) key: String,
    /// For one of MicRun's own: the name behind the prefix, and whether the prefix is the old one.
    pub(super) ours: Option<(String, bool)>,
    pub(super) value: String,
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
        let Some(ours) = annotation::strip(key) else {
            return match key {
                CONTAINERD_NAME | REF_NAME => Err(reserved(key, "use --tag")),
                _ => Ok(UserAnnotation { key: key.to_owned(), ours: None, value: value.to_owned() }),
            };
        };
        // client.conf, where the shim reads them, knows neither case nor blanks around a value.
        let name = ours.name.to_ascii_lowercase();
        let instead = match name.as_str() {
            CONTAINER_OS => "use --rtos",
            BOARD => "use --board",
            PED_PEDESTAL => "use --pedestal",
            PED_CONF => "use --set PedestalConf=...",
            CONTAINER_FIRMWARE_PATH => "the firmware is always /firmware.elf",
            _ => {
                let value = value.trim().to_owned();
                return Ok(UserAnnotation { key: key.to_owned(), ours: Some((name, ours.legacy)), value });
            }
        };
        Err(reserved(key, instead))
    }
}

fn reserved(key: &str, instead: &'static str) -> AnnotationError {
    AnnotationError::Reserved { key: key.to_owned(), instead }
}

/// The first key that is given twice, as the user wrote it the second time.
pub fn duplicate_key<T: UserValue>(values: &[T]) -> Option<&str> {
    let mut seen = BTreeSet::new();
    values.iter().find(|value| !seen.insert(value.identity())).map(UserValue::written_key)
}

/// What the user gives as `KEY=VALUE`.
pub trait UserValue {
    /// The key as it was written.
    fn written_key(&self) -> &str;
    /// What two spellings of the same key have in common.
    fn identity(&self) -> String;
}

impl UserValue for UserKey {
    fn written_key(&self) -> &str {
        &self.key
    }

    fn identity(&self) -> String {
        self.key.to_ascii_lowercase()
    }
}

impl UserValue for UserAnnotation {
    fn written_key(&self) -> &str {
        &self.key
    }

    fn identity(&self) -> String {
        self.ours.as_ref().map_or(self.key.clone(), |(name, _)| annotation::key(name))
    }
}
