//! Values of a project file. Each is checked where it stands, so that an error has its line.

use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::path::PathBuf;
use std::str::FromStr;

use micrun_image_spec::client_conf::{ClientConf, Key};
use micrun_image_spec::text::excerpt;
use serde::de::{DeserializeSeed, Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::check::Code;
use crate::pack::{UserAnnotation, UserKey, UserValue, duplicate_key};
use crate::yaml::Text;

/// Longest value, bytes.
const MAX_VALUE: usize = 4096;
/// Most entries of one section.
const MAX_ENTRIES: usize = 256;

/// A text that is read as on the command line.
#[derive(Debug, Clone)]
pub(super) struct Parsed<T>(pub(super) T);

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Parsed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FromText<T>(PhantomData<T>);
        impl<T: FromStr<Err: Display>> Visitor<'_> for FromText<T> {
            type Value = Parsed<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            // Inside the visitor, the reader adds the line of this value.
            fn visit_str<E: Error>(self, text: &str) -> Result<Parsed<T>, E> {
                bounded(text)?.parse().map(Parsed).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(FromText(PhantomData))
    }
}

fn bounded<E: Error>(text: &str) -> Result<&str, E> {
    match text.len() {
        length if length > MAX_VALUE => {
            Err(E::custom(format_args!("a text of {length} bytes: at most {MAX_VALUE} are read")))
        }
        _ => Ok(text),
    }
}

/// The path of a file or directory; not empty.
#[derive(Debug, Clone)]
pub(super) struct FilePath(pub(super) PathBuf);

impl FilePath {
    pub(super) fn new<E: Error>(text: &str) -> Result<Self, E> {
        match bounded(text)? {
            "" => Err(E::custom("the path is empty")),
            path => Ok(FilePath(path.into())),
        }
    }
}

impl<'de> Deserialize<'de> for FilePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Path;
        impl Visitor<'_> for Path {
            type Value = FilePath;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<FilePath, E> {
                FilePath::new(text)
            }
        }
        deserializer.deserialize_str(Path)
    }
}

/// The code of an error that may be a warning.
#[derive(Debug, Clone, Copy)]
pub(super) struct AllowedCode(pub(super) Code);

impl FromStr for AllowedCode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let code: Code = text.parse().map_err(|error| format!("{error}"))?;
        match code.can_be_allowed() {
            true => Ok(AllowedCode(code)),
            false => Err(format!("{code} ({}) cannot be allowed", code.title())),
        }
    }
}

/// Keys of client.conf.
#[derive(Debug, Clone, Default)]
pub(super) struct Resources(pub(super) Vec<UserKey>);

/// Annotations of the image.
#[derive(Debug, Clone, Default)]
pub(super) struct Annotations(pub(super) Vec<UserAnnotation>);

impl<'de> Deserialize<'de> for Resources {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Entries(resource)).map(Resources)
    }
}

impl<'de> Deserialize<'de> for Annotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Entries(annotation)).map(Annotations)
    }
}

fn resource(key: &str, value: &str) -> Result<UserKey, String> {
    let known = Key::from_name(key).ok_or_else(|| {
        let known: Vec<_> = Key::ALL.iter().filter(|key| is_free(**key)).map(|key| key.as_str()).collect();
        format!("`{}` is no key of client.conf, which has {}", excerpt(key), known.join(", "))
    })?;
    ClientConf::default().set(known.as_str(), value).map_err(|error| error.problem.to_string())?;
    format!("{known}={value}").parse().map_err(|error| format!("{error}"))
}

/// True for a key that is not the builder's own.
fn is_free(key: Key) -> bool {
    !matches!(key, Key::Name | Key::ClientPath | Key::Pedestal)
}

fn annotation(key: &str, value: &str) -> Result<UserAnnotation, String> {
    if key.contains('=') {
        return Err(format!("`{}` is no annotation: a key has no equals sign", excerpt(key)));
    }
    format!("{key}={value}").parse().map_err(|error| format!("{error}"))
}

/// Reads a section of free keys with texts as values, each made into a `T` by the function.
struct Entries<T>(fn(&str, &str) -> Result<T, String>);

impl<'de, T: UserValue> Visitor<'de> for Entries<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a section of keys with values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<T>, A::Error> {
        let mut entries = Vec::new();
        while let Some(Text(key)) = map.next_key::<Text<256>>()? {
            if entries.len() == MAX_ENTRIES {
                return Err(A::Error::custom(format_args!("a section of more than {MAX_ENTRIES} keys")));
            }
            entries.push(map.next_value_seed(Value { key: &key, make: self.0 })?);
        }
        match duplicate_key(&entries) {
            Some(key) => Err(A::Error::custom(format_args!("`{}` is there twice", excerpt(key)))),
            None => Ok(entries),
        }
    }
}

/// The value that belongs to a key; numbers and truth values are texts here, too.
struct Value<'k, T> {
    key: &'k str,
    make: fn(&str, &str) -> Result<T, String>,
}

impl<'de, T> DeserializeSeed<'de> for Value<'_, T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<T> Visitor<'_> for Value<'_, T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a value for `{}`", excerpt(self.key))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<T, E> {
        (self.make)(self.key, bounded(value)?).map_err(E::custom)
    }
}
