//! Labels on content. The garbage collector follows them from an image to everything that belongs to it; what no label
//! leads to is removed.
//!
//! Any name that begins with `containerd.io/gc.ref.content.` would do. These are the names that containerd itself gives
//! when it pulls (`ChildGCLabels` in its images package, the same from 1.6 to 2.x), so that a later pull of the same image
//! finds what it would write. Those of referrers came with 2.2; older collectors follow them as well.

use std::collections::BTreeMap;

use micrun_image_spec::digest::Sha256Digest;
use oci_spec::image::{Descriptor, MediaType};

use crate::store::is_manifest;

const PREFIX: &str = "containerd.io/gc.ref.content";

/// Labels with the digests of what a document leads to.
pub type Labels = BTreeMap<String, String>;

/// The labels of a manifest or index, by what it names, in the document's order.
pub fn of_children(children: &[Descriptor]) -> Labels {
    let mut labels = Labels::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for child in children {
        let kind = kind_of(child.media_type());
        let count = counts.entry(kind).or_default();
        let key = match (kind, *count) {
            // The one configuration has no number.
            ("config", 0) => format!("{PREFIX}.config"),
            ("config", n) => format!("{PREFIX}.config{n}"),
            ("", n) => format!("{PREFIX}.{n}"),
            (kind, n) => format!("{PREFIX}.{kind}.{n}"),
        };
        *count += 1;
        labels.insert(key, child.digest().to_string());
    }
    labels
}

/// The label by which an image keeps a manifest that refers to it.
pub fn of_referrer(referrer: Sha256Digest) -> (String, String) {
    (format!("{PREFIX}.referrer.sha256.{}", &referrer.hex()[..12]), referrer.to_string())
}

/// An index within an index has no word of its own there.
fn kind_of(media_type: &MediaType) -> &'static str {
    let text = media_type.to_string();
    match text.as_str() {
        "application/vnd.oci.image.config.v1+json" | "application/vnd.docker.container.image.v1+json" => {
            "config"
        }
        _ if is_manifest(media_type) => "m",
        layer
            if layer.starts_with("application/vnd.oci.image.layer.")
                || layer.starts_with("application/vnd.docker.image.rootfs.") =>
        {
            "l"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_spelt_as_containerd_spells_them() {
        let child = |media_type: &str, byte: u8| {
            Descriptor::new(
                MediaType::from(media_type),
                1,
                Sha256Digest::of(&[byte]).to_string().parse::<oci_spec::image::Digest>().unwrap(),
            )
        };
        let labels = of_children(&[
            child("application/vnd.oci.image.config.v1+json", 0),
            child("application/vnd.oci.image.layer.v1.tar+zstd", 1),
            child("application/vnd.docker.image.rootfs.diff.tar.gzip", 2),
            child("application/vnd.oci.image.manifest.v1+json", 3),
            child("application/vnd.oci.image.index.v1+json", 4),
            child("application/vnd.oci.empty.v1+json", 5),
        ]);
        let keys: Vec<_> = labels.keys().filter_map(|key| key.strip_prefix(PREFIX)).collect();
        assert_eq!(keys, [".0", ".1", ".config", ".l.0", ".l.1", ".m.0"]);
        assert_eq!(labels["containerd.io/gc.ref.content.l.1"], Sha256Digest::of(&[2]).to_string());
        let (key, _) = of_referrer(Sha256Digest::of(b""));
        assert_eq!(key, "containerd.io/gc.ref.content.referrer.sha256.e3b0c44298fc");
    }
}
