//! Looking for signatures beside an image, and judging each.

use micrun_image_spec::digest::Sha256Digest;
use oci_spec::image::{Descriptor, MediaType};

use super::key::PublicKey;
use super::verdict::{Accepted, Place, Rejected, Rejection};
use super::{bundle, legacy, payload};
use crate::store::{Source, StoreError, digest_of, read_document};

/// Most referrers and signatures of one image that are looked at. Whoever may write beside an image may put any number there.
const MAX_SIGNATURES: usize = 1000;

/// What was found beside an image that the key's owner signed.
#[derive(Debug)]
pub struct Verified {
    /// The image: an index or a manifest.
    pub image: Sha256Digest,
    /// The signatures that count, at least one.
    pub accepted: Vec<Accepted>,
    /// What else was found.
    pub rejected: Vec<Rejected>,
}

/// Why an image does not count as signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The image cannot be read, or what is beside it cannot be listed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is nothing to verify.
    #[error("{image} is not signed: no bundle refers to it, and it has no tag {tag}")]
    Unsigned {
        /// The image.
        image: Sha256Digest,
        /// The tag where older signatures would be.
        tag: String,
    },
    /// Nothing of it counts.
    #[error("nothing beside {image} is a signature of this key over it. Found: {}", list(.rejected))]
    NoneCounts {
        /// The image.
        image: Sha256Digest,
        /// What was found.
        rejected: Vec<Rejected>,
    },
}

fn list(rejected: &[Rejected]) -> String {
    const SHOWN: usize = 5;
    let mut lines: Vec<_> = rejected.iter().take(SHOWN).map(Rejected::to_string).collect();
    if rejected.len() > SHOWN {
        lines.push(format!("and {} more", rejected.len() - SHOWN));
    }
    lines.join("; ")
}

/// Looks for signatures of the key over the image that `source` resolves to, in both formats. One is enough. Nothing is
/// asked of a transparency log: the key alone decides.
///
/// # Errors
/// If there is no such signature; the error lists what there is instead.
pub fn verify_image(source: &dyn Source, key: &PublicKey) -> Result<Verified, VerifyError> {
    let image = digest_of(&source.resolve()?)?;
    let mut search = Search { source, key, image, looked_at: 0, accepted: Vec::new(), rejected: Vec::new() };
    search.referrers()?;
    search.tag()?;
    let Search { accepted, rejected, .. } = search;
    match (accepted.is_empty(), rejected.is_empty()) {
        (false, _) => Ok(Verified { image, accepted, rejected }),
        (true, false) => Err(VerifyError::NoneCounts { image, rejected }),
        (true, true) => Err(VerifyError::Unsigned { image, tag: legacy::tag_of(image) }),
    }
}

struct Search<'a> {
    source: &'a dyn Source,
    key: &'a PublicKey,
    image: Sha256Digest,
    looked_at: usize,
    accepted: Vec<Accepted>,
    rejected: Vec<Rejected>,
}

impl Search<'_> {
    fn referrers(&mut self) -> Result<(), StoreError> {
        for referrer in self.source.referrers(self.image)?.iter().filter(|referrer| may_sign(referrer)) {
            // One under another kind of digest cannot be read here, and must not keep the others from being read.
            let Ok(place) = digest_of(referrer).map(Place::Referrer) else { continue };
            if !self.goes_on(&place) {
                break;
            }
            match self.layers(referrer) {
                // Other things than signatures may refer to an image.
                Ok(layers) => {
                    for layer in layers.iter().filter(|layer| is_bundle(layer) || is_payload(layer)) {
                        if !self.goes_on(&place) {
                            break;
                        }
                        self.judge(place.clone(), layer);
                    }
                }
                Err(reason) => self.rejected.push(Rejected { place, reason }),
            }
        }
        Ok(())
    }

    fn tag(&mut self) -> Result<(), StoreError> {
        let tag = legacy::tag_of(self.image);
        let Some(manifest) = self.source.tag(&tag)? else { return Ok(()) };
        match self.layers(&manifest) {
            Ok(layers) => {
                for (index, layer) in layers.iter().enumerate() {
                    let place = Place::Signature { tag: tag.clone(), number: index + 1 };
                    if !self.goes_on(&place) {
                        break;
                    }
                    self.judge(place, layer);
                }
            }
            Err(reason) => self.rejected.push(Rejected { place: Place::Tag(tag), reason }),
        }
        Ok(())
    }

    fn layers(&self, manifest: &Descriptor) -> Result<Vec<Descriptor>, Rejection> {
        legacy::layers(&read_document(self.source, manifest)?).map_err(Rejection::Malformed)
    }

    /// False once there were too many; then the first one that is passed over is listed with that reason.
    fn goes_on(&mut self, place: &Place) -> bool {
        self.looked_at += 1;
        if self.looked_at == MAX_SIGNATURES + 1 {
            self.rejected.push(Rejected { place: place.clone(), reason: Rejection::TooMany(MAX_SIGNATURES) });
        }
        self.looked_at <= MAX_SIGNATURES
    }

    fn judge(&mut self, place: Place, layer: &Descriptor) {
        match self.check(layer) {
            Ok(repository) => self.accepted.push(Accepted { place, repository }),
            Err(reason) => self.rejected.push(Rejected { place, reason }),
        }
    }

    /// The repository that the signer named, if the signature counts.
    fn check(&self, layer: &Descriptor) -> Result<Option<String>, Rejection> {
        if is_bundle(layer) {
            return bundle::check(&read_document(self.source, layer)?, self.image, self.key).map(|()| None);
        }
        if !is_payload(layer) {
            return Err(Rejection::Malformed(format!("{} is no signed payload", layer.media_type())));
        }
        let said = legacy::Annotated::of(layer);
        let payload = read_document(self.source, layer)?;
        let signature = said.signature.ok_or_else(|| {
            Rejection::Malformed("its layer has no annotation with the signature in base64".to_owned())
        })?;
        match self.key.verify(&payload, &signature) {
            true => payload::check(&payload, self.image).map(Some),
            false if said.has_certificate => Err(Rejection::Certificate),
            false => Err(Rejection::WrongKey { hint: None }),
        }
    }
}

/// True for what may hold a signature by its artifact type. Lists of referrers that cosign keeps in registries without
/// the referrers API state the type of the empty configuration instead.
fn may_sign(referrer: &Descriptor) -> bool {
    match referrer.artifact_type() {
        None | Some(MediaType::EmptyJSON) => true,
        Some(other) => {
            let other = other.to_string();
            other.starts_with(bundle::MEDIA_TYPE_START) || other.starts_with("application/vnd.dev.cosign.")
        }
    }
}

fn is_bundle(layer: &Descriptor) -> bool {
    layer.media_type().to_string().starts_with(bundle::MEDIA_TYPE_START)
}

fn is_payload(layer: &Descriptor) -> bool {
    layer.media_type().to_string() == legacy::PAYLOAD_MEDIA_TYPE
}
