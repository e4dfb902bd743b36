//! Writes images into a registry.

use micrun_image_spec::digest::Sha256Digest;
use oci_spec::image::Descriptor;
use ureq::http::{Method, header};

use super::call::{Body, Call, text_of};
use super::client::Client;
use super::upload::Upload;
use super::{At, RegistryError, referrers, wire};
use crate::store::{Data, MAX_DOCUMENT, Sink, StoreError, digest_of};

/// Longest body of an answer that is none but a receipt, bytes.
const MAX_RECEIPT: u64 = 64 << 10;

/// A place for an image in a registry.
pub struct RegistrySink {
    client: Client,
}

impl RegistrySink {
    pub(super) fn new(client: Client) -> Self {
        RegistrySink { client }
    }
}

impl Sink for RegistrySink {
    fn has_blob(&mut self, blob: &Descriptor) -> Result<bool, StoreError> {
        Ok(blob_is_there(&self.client, digest_of(blob)?, blob.size())?)
    }

    fn put_blob(&mut self, blob: &Descriptor, data: &dyn Data) -> Result<(), StoreError> {
        Ok(Upload::new(&self.client, data, digest_of(blob)?, blob.size()).run()?)
    }

    fn put_document(&mut self, descriptor: &Descriptor, document: &[u8]) -> Result<(), StoreError> {
        let digest = digest_of(descriptor)?.to_string();
        Ok(put_with_subject(&self.client, &digest, descriptor, document)?)
    }

    fn put_referrer(
        &mut self,
        subject: Sha256Digest,
        descriptor: &Descriptor,
        document: &[u8],
    ) -> Result<(), StoreError> {
        let named = referrers::subject(document);
        if named != Some(subject) {
            let what = digest_of(descriptor)?.to_string();
            let problem = format!("it is to refer to {subject}, and has not that as its subject");
            return Err(StoreError::Malformed { what, problem });
        }
        self.put_document(descriptor, document)
    }

    fn put_tag(&mut self, tag: &str, descriptor: &Descriptor, document: &[u8]) -> Result<(), StoreError> {
        Ok(put_with_subject(&self.client, tag, descriptor, document)?)
    }

    fn finish(self: Box<Self>, root: &Descriptor, document: &[u8]) -> Result<(), StoreError> {
        let digest = digest_of(root)?;
        let name = self.client.name();
        if let Some(named) = name.digest().filter(|named| *named != digest) {
            let problem =
                format!("the image has the digest {digest}, not {named}: leave the digest out of {name}");
            return Err(RegistryError::Name(problem).into());
        }
        let reference = name.tag().map_or_else(|| digest.to_string(), str::to_owned);
        Ok(put_with_subject(&self.client, &reference, root, document)?)
    }
}

/// True if the registry has this blob.
pub(super) fn blob_is_there(client: &Client, digest: Sha256Digest, size: u64) -> Result<bool, RegistryError> {
    let call = Call::new(
        format!("look for the blob {digest}"),
        Method::HEAD,
        client.url(&format!("blobs/{digest}"))?,
    );
    match client.fetch(&call, 0) {
        Ok(answer) => {
            let length = answer.headers.get(header::CONTENT_LENGTH).and_then(text_of);
            let length = length.and_then(|length| length.parse::<u64>().ok());
            Ok(length.is_none_or(|length| length == size))
        }
        // Some do not answer HEAD at all.
        Err(error) if matches!(error.status(), Some(404 | 405)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Puts a manifest, and lists it among the referrers of its subject where the registry does not do that itself.
fn put_with_subject(
    client: &Client,
    reference: &str,
    descriptor: &Descriptor,
    document: &[u8],
) -> Result<(), RegistryError> {
    let answer = put_manifest(client, reference, descriptor, document, None)?;
    match referrers::subject(document) {
        // The registry says so if it has listed the manifest (distribution-spec, "Pushing Manifests with Subject").
        Some(subject) if !answer.contains_key("oci-subject") => {
            referrers::add_to_tag(client, subject, descriptor, document)
        }
        _ => Ok(()),
    }
}

/// Puts a manifest under a tag or its digest; with an ETag, only if what is there still has it.
pub(super) fn put_manifest(
    client: &Client,
    reference: &str,
    descriptor: &Descriptor,
    document: &[u8],
    etag: Option<&str>,
) -> Result<ureq::http::HeaderMap, RegistryError> {
    let digest = digest_of(descriptor)?;
    if document.len() as u64 > MAX_DOCUMENT {
        let (what, size) = (digest.to_string(), document.len() as u64);
        return Err(StoreError::TooLarge { what, size, max: MAX_DOCUMENT }.into());
    }
    let url = client.url(&format!("manifests/{reference}"))?;
    let mut call = Call::new(format!("push the manifest {reference}"), Method::PUT, url)
        .header(header::CONTENT_TYPE, descriptor.media_type().to_string())
        .body(Body::Bytes(document));
    if let Some(etag) = etag {
        call = call.header(header::IF_MATCH, etag);
    }
    let answer = client.fetch(&call, MAX_RECEIPT)?;
    let stored = answer.headers.get("docker-content-digest").and_then(text_of);
    match stored.filter(|stored| stored.starts_with("sha256:") && *stored != digest.to_string()) {
        Some(stored) => {
            let problem = format!(
                "it has stored something else than {digest}: {}",
                micrun_image_spec::text::excerpt(&stored)
            );
            Err(RegistryError::Nonsense { at: At::new(&call.doing, wire::shown(&answer.url)), problem })
        }
        None => Ok(answer.headers),
    }
}
