//! A guest's images: names that keep them, and root file systems.

use std::collections::BTreeMap;

use micrun_image_spec::digest::Sha256Digest;
use micrun_unix_grpc::GrpcError;
use micrun_unix_grpc::Status;
use micrun_unix_grpc::containerd::content::{self, ReadContentRequest, ReadContentResponse};
use micrun_unix_grpc::containerd::images::{
    self, CreateImageRequest, DeleteImageRequest, GetImageRequest, GetImageResponse, ListImagesRequest,
    ListImagesResponse, NamedImage, UpdateImageRequest,
};
use micrun_unix_grpc::containerd::snapshots::{
    self, ListSnapshotsRequest, ListSnapshotsResponse, MountsResponse, OneSnapshotRequest,
    PrepareSnapshotRequest,
};
use micrun_unix_grpc::containerd::{FieldMask, Nothing};
use serde_json::Value;

use super::{Node, NodeError, PATIENCE, failed, optional};

/// The label of everything that is kept for a guest: its name.
pub const GUEST: &str = "org.openeuler.micrun.guest";
/// What keeps kubelet's garbage collection from an image.
const PINNED: (&str, &str) = ("io.cri-containerd.pinned", "pinned");
/// What keeps containerd's garbage collection from a snapshot that no container has yet.
const ROOT: (&str, &str) = ("containerd.io/gc.root", "micrun-guests");
/// Manifests and configurations of firmware have some kilobytes.
const MAX_DOCUMENT: usize = 4 << 20;

/// The part of our image names before the guest's.
const NAMES: &str = "micrun-guests/";

/// The name under which images of a guest are kept, without the digest.
pub fn repository(guest: &str) -> String {
    format!("{NAMES}{guest}")
}

fn pin_name(guest: &str, digest: Sha256Digest) -> String {
    format!("{}@{digest}", repository(guest))
}

impl Node {
    /// The digest that a name stands for.
    ///
    /// # Errors
    ///
    /// If containerd does not answer.
    pub fn image(&self, name: &str) -> Result<Option<Sha256Digest>, NodeError> {
        let found = self.named(name)?;
        found.and_then(|image| image.target).map(|target| digest(&target.digest)).transpose()
    }

    fn named(&self, name: &str) -> Result<Option<NamedImage>, NodeError> {
        let request = GetImageRequest { name: name.to_owned() };
        let answer = self.call(images::SERVICE, "Get", &request, || format!("look for the image {name}"));
        Ok(optional::<GetImageResponse>(answer)?.and_then(|answer| answer.image))
    }

    fn list_images(&self, filter: String) -> Result<Vec<NamedImage>, NodeError> {
        let request = ListImagesRequest { filters: vec![filter] };
        let answer: ListImagesResponse =
            self.call(images::SERVICE, "List", &request, || "list its images".to_owned())?;
        Ok(answer.images)
    }

    /// Whether an image is kept for a guest.
    ///
    /// # Errors
    ///
    /// If containerd does not answer.
    pub fn is_pinned(&self, guest: &str, digest: Sha256Digest) -> Result<bool, NodeError> {
        let image = self.named(&pin_name(guest, digest))?;
        Ok(image.is_some_and(|image| image.labels.get(GUEST).is_some_and(|name| name == guest)))
    }

    /// Keeps an image that containerd has, under whatever name, for a guest. Whether it has one.
    ///
    /// # Errors
    ///
    /// If containerd refuses.
    pub fn pin(&self, guest: &str, digest: Sha256Digest) -> Result<bool, NodeError> {
        let Some(found) = self.list_images(format!("target.digest=={digest}"))?.into_iter().next() else {
            return Ok(false);
        };
        let labels = [(GUEST, guest), PINNED].map(|(key, value)| (key.to_owned(), value.to_owned()));
        let name = pin_name(guest, digest);
        let image = NamedImage { name: name.clone(), labels: labels.into(), target: found.target };
        let create = CreateImageRequest { image: Some(image.clone()) };
        let doing = || format!("keep the image {name}");
        match self.channel.call::<Nothing>(images::SERVICE, "Create", &create, PATIENCE) {
            Err(error) if error.is(Status::ALREADY_EXISTS) => {
                let mask = FieldMask { paths: vec!["labels".to_owned()] };
                let update = UpdateImageRequest { image: Some(image), update_mask: Some(mask) };
                self.call::<Nothing>(images::SERVICE, "Update", &update, doing)?;
            }
            other => {
                other.map_err(failed(doing()))?;
            }
        }
        Ok(true)
    }

    /// Has a name lead again where it led before an import that brought it along.
    ///
    /// # Errors
    ///
    /// If containerd refuses.
    pub fn put_back(&self, guest: &str, name: &str, before: Option<Sha256Digest>) -> Result<(), NodeError> {
        let Some(before) = before else { return self.remove_image(name) };
        let (Some(image), Some(kept)) = (self.named(name)?, self.named(&pin_name(guest, before))?) else {
            return Ok(());
        };
        if image.target == kept.target {
            return Ok(());
        }
        let image = NamedImage { target: kept.target, ..image };
        let mask = FieldMask { paths: vec!["target".to_owned()] };
        let request = UpdateImageRequest { image: Some(image), update_mask: Some(mask) };
        self.call::<Nothing>(images::SERVICE, "Update", &request, || format!("put back the image {name}"))
            .map(drop)
    }

    /// Lets go of a name.
    ///
    /// # Errors
    ///
    /// If containerd refuses.
    pub fn remove_image(&self, name: &str) -> Result<(), NodeError> {
        let request = DeleteImageRequest { name: name.to_owned(), sync: false };
        let answer =
            self.call::<Nothing>(images::SERVICE, "Delete", &request, || format!("remove the image {name}"));
        optional(answer).map(drop)
    }

    /// Lets go of a guest's images and root file systems, but for these.
    ///
    /// # Errors
    ///
    /// If containerd refuses.
    pub fn prune(
        &self,
        guest: &str,
        digests: &[Sha256Digest],
        snapshots: &[String],
    ) -> Result<(), NodeError> {
        let of_guest = format!("labels.\"{GUEST}\"=={guest}");
        for snapshot in self.snapshots(of_guest)? {
            if !snapshots.contains(&snapshot) {
                self.remove_snapshot(&snapshot)?;
            }
        }
        let keep: Vec<String> = digests.iter().map(|digest| pin_name(guest, *digest)).collect();
        let prefix = format!("{}@", repository(guest));
        for image in self.list_images(format!("name~=\"^{NAMES}\""))? {
            if image.name.starts_with(&prefix) && !keep.contains(&image.name) {
                self.remove_image(&image.name)?;
            }
        }
        Ok(())
    }

    fn snapshots(&self, filter: String) -> Result<Vec<String>, NodeError> {
        let request = ListSnapshotsRequest { snapshotter: self.snapshotter.clone(), filters: vec![filter] };
        let failed = |source: GrpcError| NodeError::Call { doing: "list its snapshots".to_owned(), source };
        let mut call = self.channel.subscribe(snapshots::SERVICE, "List", &request).map_err(failed)?;
        let mut names = Vec::new();
        // The call's end is an error for who waits for one more.
        while let Ok(some) = self.channel.next::<ListSnapshotsResponse>(&mut call, PATIENCE) {
            names.extend(some.snapshots.into_iter().map(|snapshot| snapshot.name));
        }
        Ok(names)
    }

    fn remove_snapshot(&self, key: &str) -> Result<(), NodeError> {
        let request = OneSnapshotRequest { snapshotter: self.snapshotter.clone(), key: key.to_owned() };
        let answer = self
            .call::<Nothing>(snapshots::SERVICE, "Remove", &request, || format!("remove the snapshot {key}"));
        optional(answer).map(drop)
    }

    /// Prepares a root file system of an unpacked image. One that is there already is as good.
    ///
    /// # Errors
    ///
    /// If containerd refuses.
    pub fn prepare_snapshot(&self, guest: &str, key: &str, chain: &str) -> Result<(), NodeError> {
        let labels = [(GUEST, guest), ROOT].map(|(key, value)| (key.to_owned(), value.to_owned()));
        let (snapshotter, key, parent) = (self.snapshotter.clone(), key.to_owned(), chain.to_owned());
        let request = PrepareSnapshotRequest { snapshotter, key, parent, labels: labels.into() };
        match self.channel.call::<MountsResponse>(snapshots::SERVICE, "Prepare", &request, PATIENCE) {
            Err(error) if error.is(Status::ALREADY_EXISTS) => Ok(()),
            other => other.map(drop).map_err(failed("prepare the guest's root file system")),
        }
    }

    /// Whether there is a snapshot of this name.
    ///
    /// # Errors
    ///
    /// If containerd does not answer.
    pub fn has_snapshot(&self, key: &str) -> Result<bool, NodeError> {
        let request = OneSnapshotRequest { snapshotter: self.snapshotter.clone(), key: key.to_owned() };
        let answer = self
            .call::<Nothing>(snapshots::SERVICE, "Stat", &request, || format!("look for the snapshot {key}"));
        Ok(optional(answer)?.is_some())
    }

    /// The name of the snapshot of an image's last layer (`ChainID` in OCI's image specification).
    ///
    /// # Errors
    ///
    /// If a document of the image is missing or makes no sense.
    pub fn chain(&self, image: Sha256Digest) -> Result<String, NodeError> {
        let mut manifest = self.document(image)?;
        if let Some(of_this_node) = manifest.get("manifests").map(for_this_node) {
            let digest = of_this_node.ok_or_else(|| odd(image, "it has nothing for this machine"))?;
            manifest = self.document(digest)?;
        }
        let configuration = manifest["config"]["digest"].as_str();
        let configuration = configuration.ok_or_else(|| odd(image, "its manifest names no configuration"))?;
        let configuration = self.document(digest(configuration)?)?;
        let layers = configuration["rootfs"]["diff_ids"].as_array().map(Vec::as_slice).unwrap_or_default();
        let layers: Option<Vec<&str>> = layers.iter().map(Value::as_str).collect();
        let layers = layers.filter(|layers| !layers.is_empty());
        let (first, rest) =
            layers.as_deref().and_then(<[_]>::split_first).ok_or_else(|| odd(image, "it has no layers"))?;
        let join =
            |chain: String, layer: &&str| Sha256Digest::of(format!("{chain} {layer}").as_bytes()).to_string();
        Ok(rest.iter().fold((*first).to_owned(), join))
    }

    fn document(&self, digest: Sha256Digest) -> Result<Value, NodeError> {
        let doing = || format!("read {digest}");
        let request = ReadContentRequest { digest: digest.to_string() };
        let mut call = self.channel.subscribe(content::SERVICE, "Read", &request).map_err(failed(doing()))?;
        let mut bytes = Vec::new();
        loop {
            match self.channel.next::<ReadContentResponse>(&mut call, PATIENCE) {
                Ok(piece) if bytes.len() + piece.data.len() <= MAX_DOCUMENT => bytes.extend(piece.data),
                Ok(_) => return Err(odd(digest, "it is too long for a document")),
                // The end of the call.
                Err(GrpcError::Transport(_)) if !bytes.is_empty() => break,
                Err(error) => return Err(failed(doing())(error)),
            }
        }
        serde_json::from_slice(&bytes).map_err(|error| odd(digest, &error.to_string()))
    }
}

fn odd(what: impl std::fmt::Display, problem: &str) -> NodeError {
    NodeError::Odd { what: format!("the image {what}"), problem: format!("{problem}; pack it again") }
}

fn digest(text: &str) -> Result<Sha256Digest, NodeError> {
    text.parse().map_err(|_| odd(text, "its digest is none"))
}

/// What an index has for this machine: by the architecture that Linux tools call it, else the only one that there is.
fn for_this_node(manifests: &Value) -> Option<Sha256Digest> {
    let own = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        "x86_64" => "amd64",
        other => other,
    };
    let all = manifests.as_array()?;
    let is_own = |entry: &&Value| {
        let platform = &entry["platform"];
        platform["architecture"] == own && platform["os"] == "linux"
    };
    let entry = all.iter().find(is_own).or_else(|| all.first().filter(|_| all.len() == 1))?;
    entry["digest"].as_str()?.parse().ok()
}

/// Labels of what is looked at.
pub type Labels = BTreeMap<String, String>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_has_something_for_this_machine() {
        let entry = |arch: &str, byte: u8| {
            serde_json::json!({
                "digest": Sha256Digest::of(&[byte]).to_string(), "platform": { "os": "linux", "architecture": arch },
            })
        };
        let own = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let several = serde_json::json!([entry("riscv64", 1), entry(own, 2)]);
        assert_eq!(for_this_node(&several), Some(Sha256Digest::of(&[2])));
        assert_eq!(for_this_node(&serde_json::json!([entry("s390x", 3)])), Some(Sha256Digest::of(&[3])));
        assert_eq!(for_this_node(&serde_json::json!([entry("s390x", 3), entry("ppc64le", 4)])), None);
    }
}
