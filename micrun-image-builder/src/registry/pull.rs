//! Reads images out of a registry.

use std::io::{self, Read};
use std::sync::OnceLock;

use micrun_image_spec::digest::Sha256Digest;
use oci_spec::image::{Descriptor, Digest, MediaType};
use serde::Deserialize;
use ureq::http::{Method, Uri, header};

use super::call::{Answer, Call, Whole, text_of};
use super::client::Client;
use super::connect::body_problem;
use super::retry::Tries;
use super::{At, RegistryError, referrers, wire};
use crate::store::{MAX_DOCUMENT, Source, StoreError, digest_of, is_document};

/// Every kind of document that an image can begin with.
const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                      application/vnd.docker.distribution.manifest.list.v2+json, \
                      application/vnd.docker.distribution.manifest.v2+json";

/// An image in a registry.
pub struct RegistrySource {
    client: Client,
    /// The root, once it was resolved: a tag may stand for something else a moment later.
    root: OnceLock<(Sha256Digest, Vec<u8>)>,
}

/// A manifest as it came.
pub(super) struct Manifest {
    pub(super) descriptor: Descriptor,
    pub(super) bytes: Vec<u8>,
    /// What a change of it can be made to depend on.
    pub(super) etag: Option<String>,
}

impl RegistrySource {
    pub(super) fn new(client: Client) -> Self {
        RegistrySource { client, root: OnceLock::new() }
    }

    /// The manifests whose subject is this one and that are of one kind (their `artifactType`).
    ///
    /// # Errors
    /// If the registry cannot be read.
    pub fn referrers_of_type(
        &self,
        subject: Sha256Digest,
        artifact_type: &str,
    ) -> Result<Vec<Descriptor>, StoreError> {
        Ok(referrers::list(&self.client, subject, Some(artifact_type))?)
    }
}

impl Source for RegistrySource {
    fn resolve(&self) -> Result<Descriptor, StoreError> {
        let name = self.client.name();
        let manifest = manifest(&self.client, &name.manifest())?;
        let digest = digest_of(&manifest.descriptor)?;
        // Resolved twice is resolved to the first, as far as `open` is concerned; the digest decides there.
        self.root.get_or_init(|| (digest, manifest.bytes));
        Ok(manifest.descriptor)
    }

    fn open(&self, descriptor: &Descriptor, offset: u64) -> Result<Box<dyn Read + Send + '_>, StoreError> {
        let digest = digest_of(descriptor)?;
        if let Some((_, bytes)) = self.root.get().filter(|(root, _)| *root == digest) {
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
            return Ok(Box::new(&bytes[start..]));
        }
        if is_document(descriptor.media_type()) {
            let mut bytes = io::Cursor::new(manifest(&self.client, &digest.to_string())?.bytes);
            bytes.set_position(offset);
            return Ok(Box::new(bytes));
        }
        if offset > 0 && offset >= descriptor.size() {
            return Ok(Box::new(io::empty()));
        }
        let url = self.client.url(&format!("blobs/{digest}"))?;
        let doing = format!("read the blob {digest}");
        let mut reader =
            BlobReader { client: &self.client, doing, url, offset, size: descriptor.size(), body: None };
        // Here the error is one of the registry still; a reader can only give one of I/O.
        let mut tries = Tries::new(self.client.options());
        reader.open(&mut tries)?;
        Ok(Box::new(Resuming { reader, tries }))
    }

    fn referrers(&self, subject: Sha256Digest) -> Result<Vec<Descriptor>, StoreError> {
        Ok(referrers::list(&self.client, subject, None)?)
    }

    fn tag(&self, tag: &str) -> Result<Option<Descriptor>, StoreError> {
        match manifest(&self.client, tag) {
            Ok(manifest) => Ok(Some(manifest.descriptor)),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Reads a manifest or index by tag or digest, and verifies it against a digest.
pub(super) fn manifest(client: &Client, tag_or_digest: &str) -> Result<Manifest, RegistryError> {
    let url = client.url(&format!("manifests/{tag_or_digest}"))?;
    let call = Call::new(format!("read the manifest {tag_or_digest}"), Method::GET, url)
        .header(header::ACCEPT, ACCEPT);
    let Whole { headers, url, bytes } = client.fetch(&call, MAX_DOCUMENT)?;
    let nonsense = |problem| RegistryError::Nonsense { at: At::new(&call.doing, wire::shown(&url)), problem };
    let digest = Sha256Digest::of(&bytes);
    if tag_or_digest.starts_with("sha256:") && tag_or_digest != digest.to_string() {
        let problem = format!("what came has {} bytes and another digest, {digest}", bytes.len());
        return Err(nonsense(problem));
    }
    let text = |name| headers.get(name).and_then(text_of);
    let media_type = media_type(text(header::CONTENT_TYPE).as_deref(), &bytes).map_err(nonsense)?;
    let descriptor = descriptor(media_type, bytes.len() as u64, digest)?;
    Ok(Manifest { descriptor, bytes, etag: text(header::ETAG) })
}

/// A descriptor of what has this digest.
pub(super) fn descriptor(
    media_type: MediaType,
    size: u64,
    digest: Sha256Digest,
) -> Result<Descriptor, RegistryError> {
    let digest = digest.to_string().parse::<Digest>();
    let digest = digest.map_err(|error| RegistryError::Name(error.to_string()))?;
    Ok(Descriptor::new(media_type, size, digest))
}

#[derive(Deserialize)]
struct Typed {
    #[serde(rename = "mediaType")]
    media_type: Option<String>,
}

/// The document's own media type; the header's where it has none. Two that differ are refused (distribution-spec,
/// "Pulling manifests"): somebody could be shown another thing than was signed.
fn media_type(header: Option<&str>, document: &[u8]) -> Result<MediaType, String> {
    let header = header.and_then(|header| header.split(';').next()).map(str::trim);
    let header = header.filter(|header| !header.is_empty());
    let typed: Typed =
        serde_json::from_slice(document).map_err(|error| format!("the manifest is no JSON: {error}"))?;
    let media_type = match (typed.media_type, header.map(MediaType::from)) {
        (Some(own), Some(header)) if is_document(&header) && header.to_string() != own => {
            return Err(format!("it calls the manifest {header}, and the manifest itself says {own:?}"));
        }
        (Some(own), _) => MediaType::from(own.as_str()),
        (None, Some(header)) => header,
        (None, None) => return Err("neither it nor the manifest says of which type it is".to_owned()),
    };
    if is_document(&media_type) {
        Ok(media_type)
    } else {
        Err(format!("it gives a manifest of the type {:?}, which is not known here", media_type.to_string()))
    }
}

/// The bytes of a blob from an offset on, over one connection.
struct BlobReader<'a> {
    client: &'a Client,
    doing: String,
    url: Uri,
    offset: u64,
    size: u64,
    body: Option<Box<dyn Read + Send>>,
}

impl BlobReader<'_> {
    /// Asks for what is missing, again as often as it may help.
    fn open(&mut self, tries: &mut Tries<'_>) -> Result<(), RegistryError> {
        loop {
            let call = self.request();
            let answer = self.client.send(&call);
            let answer = answer.and_then(|answer| self.client.expect_success(&call, answer));
            match answer.and_then(|answer| self.accept(answer)) {
                Ok(body) => {
                    self.body = Some(body);
                    return Ok(());
                }
                Err(error) => tries.wait_after(error, self.offset)?,
            }
        }
    }

    fn request(&self) -> Call<'static> {
        let call = Call::new(self.doing.as_str(), Method::GET, self.url.clone());
        if self.offset == 0 { call } else { call.header(header::RANGE, format!("bytes={}-", self.offset)) }
    }

    /// Makes sure that the bytes that come are those from the offset on.
    fn accept(&self, answer: Answer) -> Result<Box<dyn Read + Send>, RegistryError> {
        let at = At::new(&self.doing, wire::shown(&answer.url));
        let nonsense = |problem| Err(RegistryError::Nonsense { at: at.clone(), problem });
        let first = match answer.status {
            206 => match answer.header(header::CONTENT_RANGE).and_then(wire::content_range) {
                Some((first, _, size))
                    if first == self.offset && size.is_none_or(|size| size == self.size) =>
                {
                    first
                }
                _ => {
                    return nonsense(format!("it gives another part than that from byte {} on", self.offset));
                }
            },
            _ => 0,
        };
        let promised = answer.header(header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
        if let Some(length) = promised
            .filter(|&length| first.saturating_add(length) > self.size || (first == 0 && length != self.size))
        {
            return nonsense(format!("it has {length} bytes for a blob of {} bytes", self.size));
        }
        // Some servers know no ranges and begin anew: what is here already passes by.
        let skip = self.offset - first;
        let mut body = answer.body.into_with_config().limit(u64::MAX).reader();
        let skipped = io::copy(&mut (&mut body).take(skip), &mut io::sink());
        match skipped {
            Ok(bytes) if bytes == skip => Ok(Box::new(body)),
            Ok(_) => {
                Err(RegistryError::Cut { at, problem: "the connection was closed too early".to_owned() })
            }
            Err(error) => Err(RegistryError::Cut { at, problem: body_problem(&error) }),
        }
    }

    /// Reads what comes over this connection. Nothing before the end is an error.
    fn read_some(&mut self, buf: &mut [u8]) -> Result<usize, RegistryError> {
        let left = usize::try_from(self.size - self.offset).unwrap_or(usize::MAX).min(buf.len());
        let Some(body) = &mut self.body else { return Ok(0) };
        let problem = match body.read(&mut buf[..left]) {
            Ok(0) => "the connection was closed too early".to_owned(),
            Ok(n) => {
                self.offset += n as u64;
                return Ok(n);
            }
            Err(error) => body_problem(&error),
        };
        self.body = None;
        let problem = format!("{problem}, at byte {} of {}", self.offset, self.size);
        Err(RegistryError::Cut { at: At::new(&self.doing, wire::shown(&self.url)), problem })
    }
}

/// Goes on where the connection broke.
struct Resuming<'a> {
    reader: BlobReader<'a>,
    tries: Tries<'a>,
}

impl Read for Resuming<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() || self.reader.offset >= self.reader.size {
            return Ok(0);
        }
        loop {
            if self.reader.body.is_none() {
                self.reader.open(&mut self.tries).map_err(io::Error::other)?;
            }
            match self.reader.read_some(buf) {
                Ok(n) => return Ok(n),
                Err(error) => self.tries.wait_after(error, self.reader.offset).map_err(io::Error::other)?,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_of_the_type_that_it_says() {
        let index = "application/vnd.oci.image.index.v1+json";
        let manifest = "application/vnd.oci.image.manifest.v1+json";
        let typed = format!(r#"{{"mediaType":"{index}"}}"#);
        for (header, document, result) in [
            (Some(index), typed.as_str(), Some(index)),
            (Some("application/vnd.oci.image.index.v1+json; charset=utf-8"), "{}", Some(index)),
            (None, &typed, Some(index)),
            (Some("application/json"), &typed, Some(index)),
            (Some(manifest), &typed, None),
            (Some("text/html"), "{}", None),
            (None, "{}", None),
            (Some(index), "<html>", None),
        ] {
            let found = media_type(header, document.as_bytes());
            assert_eq!(
                found.as_ref().ok().map(ToString::to_string).as_deref(),
                result,
                "{header:?} {found:?}"
            );
        }
    }
}
