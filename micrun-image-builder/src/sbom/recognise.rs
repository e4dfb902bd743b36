//! Tells the forms of SPDX apart, in one pass over the text and without keeping any of it.

use micrun_image_spec::text::excerpt;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Format, Problem, tag_value};

/// Windows programs put it in front of UTF-8. It is attached with the rest, and only skipped here.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The form and version of a document.
pub(super) fn recognise(bytes: &[u8]) -> Result<(Format, String), Problem> {
    let text = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes).trim_ascii_start();
    match text.first() {
        Some(b'{') => json(text),
        Some(b'<') => Err(Problem::OtherForm("XML")),
        _ => tag_value::version(std::str::from_utf8(text).map_err(|_| Problem::NotSpdx)?)
            .map(|version| (Format::TagValue, version)),
    }
}

/// What tells the JSON documents apart. Everything else is skipped.
#[derive(Deserialize)]
struct Json {
    #[serde(rename = "spdxVersion")]
    spdx_version: Option<String>,
    #[serde(rename = "SPDXID")]
    id: Option<String>,
    #[serde(rename = "documentNamespace")]
    namespace: Option<String>,
    #[serde(rename = "@context")]
    context: Option<Context>,
    #[serde(rename = "@graph")]
    graph: Option<Vec<IgnoredAny>>,
    #[serde(rename = "bomFormat")]
    bom_format: Option<IgnoredAny>,
}

/// JSON-LD has one context or a list of them, each the address of a file or the file's contents.
#[derive(Deserialize)]
#[serde(untagged)]
enum Context {
    One(String),
    Several(Vec<Context>),
    Other(IgnoredAny),
}

fn json(text: &[u8]) -> Result<(Format, String), Problem> {
    let document: Json = serde_json::from_slice(text).map_err(|error| match error.classify() {
        // `spdxVersion: 5` and the like: JSON, but not that of anybody who meant SPDX.
        serde_json::error::Category::Data => Problem::OtherJson,
        _ => Problem::BadJson(error.to_string()),
    })?;
    if let Some(said) = &document.spdx_version {
        let version = version_2(said)?;
        let incomplete = |what| Err(Problem::Incomplete { version: version.clone(), what });
        return match (&document.id, &document.namespace) {
            (Some(id), Some(_)) if id == "SPDXRef-DOCUMENT" => Ok((Format::Json, version)),
            (Some(_), Some(_)) | (None, _) => incomplete("the SPDXID SPDXRef-DOCUMENT"),
            (_, None) => incomplete("a documentNamespace"),
        };
    }
    match document.context.as_ref().and_then(Context::spdx_version) {
        Some(version) if document.graph.as_ref().is_some_and(|graph| !graph.is_empty()) => {
            Ok((Format::JsonLd, version))
        }
        Some(version) => Err(Problem::Incomplete { version, what: "a @graph with elements" }),
        None if document.bom_format.is_some() => Err(Problem::CycloneDx),
        None => Err(Problem::OtherJson),
    }
}

/// The 2.3 of `SPDX-2.3`.
pub(super) fn version_2(said: &str) -> Result<String, Problem> {
    let version = said.strip_prefix("SPDX-").filter(|version| is_version(version, "2."));
    version.map(str::to_owned).ok_or_else(|| Problem::Version(excerpt(said)))
}

fn is_version(text: &str, major: &str) -> bool {
    let digits = |part: &str| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    text.strip_prefix(major)
        .is_some_and(|minor| minor.split('.').count() <= 2 && minor.split('.').all(digits))
}

impl Context {
    /// The 3.0.1 of `https://spdx.org/rdf/3.0.1/spdx-context.jsonld` (SPDX 3, "Serialization in JSON-LD").
    fn spdx_version(&self) -> Option<String> {
        match self {
            Context::One(address) => {
                let (_, path) = address.split_once("://spdx.org/rdf/")?;
                let version = path.strip_suffix("/spdx-context.jsonld")?;
                is_version(version, "3.").then(|| version.to_owned())
            }
            Context::Several(contexts) => contexts.iter().find_map(Context::spdx_version),
            Context::Other(_) => None,
        }
    }
}
