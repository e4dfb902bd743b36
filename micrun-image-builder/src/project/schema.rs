//! The keys of a project file.

use std::fmt;

use micrun_image_spec::board::BoardName;
use micrun_image_spec::firmware::{Arch, Pedestal, Rtos};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::fields::{Annotations, FilePath, Parsed, Resources};
use crate::boot::raw::Address;
use crate::image::{Compression, Platform, Reference};
use crate::project::fields::AllowedCode;
use crate::sbom::SbomSource;
use crate::store::Location;
use crate::yaml::{List, Text};

/// Most firmwares in one file; keeps checks short.
pub(super) const MAX_FIRMWARES: usize = 64;

/// The whole file. What stands here beside `image` is for all firmwares that do not say something else.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct File {
    pub(super) image: Image,
    pub(super) board: Option<Parsed<BoardName>>,
    pub(super) pedestal: Option<Parsed<Pedestal>>,
    pub(super) rtos: Option<Parsed<Rtos>>,
    #[serde(rename = "client-conf")]
    pub(super) client_conf: Option<FilePath>,
    pub(super) resources: Resources,
    pub(super) strip: Option<bool>,
    pub(super) allow: List<Parsed<AllowedCode>, 64>,
    pub(super) firmware: Option<Firmware>,
    pub(super) firmwares: Option<List<Firmware, MAX_FIRMWARES>>,
}

/// What all images have in common.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Image {
    pub(super) name: Option<Parsed<Reference>>,
    pub(super) output: Option<Parsed<Location>>,
    pub(super) platforms: List<Parsed<Platform>, 16>,
    pub(super) compression: Option<Parsed<Compression>>,
    pub(super) annotations: Annotations,
    pub(super) sbom: List<Parsed<SbomSource>, 16>,
}

/// One firmware: its path alone, or with what is different about it.
#[derive(Debug, Clone)]
pub(super) struct Firmware {
    pub(super) path: FilePath,
    pub(super) details: Details,
}

/// What can be different about a firmware.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Details {
    path: Option<FilePath>,
    pub(super) domain: Option<Text<256>>,
    pub(super) tag: Option<Text<128>>,
    pub(super) board: Option<Parsed<BoardName>>,
    pub(super) pedestal: Option<Parsed<Pedestal>>,
    pub(super) rtos: Option<Parsed<Rtos>>,
    pub(super) client_conf: Option<FilePath>,
    pub(super) resources: Resources,
    pub(super) strip: Option<bool>,
    pub(super) annotations: Annotations,
    pub(super) sbom: Option<List<Parsed<SbomSource>, 16>>,
    pub(super) allow: List<Parsed<AllowedCode>, 64>,
    pub(super) boot_image: Option<FilePath>,
    pub(super) load_address: Option<Parsed<Address>>,
    pub(super) arch: Option<Parsed<Arch>>,
    pub(super) entry: Option<Parsed<Address>>,
}

impl<'de> Deserialize<'de> for Firmware {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PathOrDetails;
        impl<'de> Visitor<'de> for PathOrDetails {
            type Value = Firmware;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the path of a firmware, or a section with the key `path`")
            }

            fn visit_str<E: Error>(self, path: &str) -> Result<Firmware, E> {
                Ok(Firmware { path: FilePath::new(path)?, details: Details::default() })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Firmware, A::Error> {
                let mut details = Details::deserialize(MapAccessDeserializer::new(map))?;
                let path = details.path.take().ok_or_else(|| A::Error::missing_field("path"))?;
                Ok(Firmware { path, details })
            }
        }
        deserializer.deserialize_any(PathOrDetails)
    }
}
