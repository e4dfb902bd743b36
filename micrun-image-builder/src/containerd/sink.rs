//! The order of calls that leaves a whole image or nothing.
//!
//! 1. A lease: what is written or found under it stays, whatever the garbage collector does meanwhile. It runs out by
//!    itself if this program does not come to its end.
//! 2. Blobs, each as one stream that goes on where an earlier one broke off. containerd compares the digest at its end.
//! 3. Manifests and indexes with the labels that lead from them to what they name.
//! 4. The image's name.
//! 5. The lease goes. From here on the image holds what the labels lead to.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use micrun_image_spec::digest::{HashingReader, Sha256Digest};
use micrun_unix_grpc::containerd::content::{
    self, AbortRequest, ContentInfo, UpdateContentRequest, WriteAction, WriteContentRequest,
    WriteContentResponse,
};
use micrun_unix_grpc::containerd::images::{
    self, CreateImageRequest, NamedImage, Target, UpdateImageRequest,
};
use micrun_unix_grpc::containerd::node::{
    self, CreateLeaseRequest, CreateLeaseResponse, DeleteLeaseRequest, ListNamespacesResponse,
    VersionResponse,
};
use micrun_unix_grpc::containerd::{FieldMask, NAMESPACE, Nothing};
use micrun_unix_grpc::{Call, Channel, GrpcError, Status};
use oci_spec::image::Descriptor;
use prost::Message;

use super::labels::{self, Labels};
use super::{ContainerdError, Namespace};
use crate::image::{Epoch, Reference};
use crate::source::read_full;
use crate::store::{Data, Sink, StoreError, digest_of, graph};

/// containerd takes messages of up to 16 MiB unless it is told otherwise.
const PIECE: usize = 1 << 20;
/// A server that says nothing to the first, cheap question is not what it should be.
const FIRST_PATIENCE: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(120);
/// How long somebody else may write the same blob, and how often to look whether it is done.
const LOCKED_TRIES: u32 = 120;
const LOCKED_PAUSE: Duration = Duration::from_millis(500);
/// Starts of one blob: what was found of it may turn out to be damaged, or somebody else may be faster.
const ATTEMPTS: u32 = 4;
/// When a lease runs out that nobody gave back: leases of `ctr` have the same time.
const LEASE_SECONDS: u64 = 24 * 3600;

/// Puts an image into one namespace of a containerd.
pub struct ContainerdSink {
    channel: Channel,
    name: Reference,
    /// Until it is given back.
    lease: Option<String>,
    documents: Vec<(Descriptor, Vec<u8>)>,
    /// Manifests by what they refer to.
    referrers: BTreeMap<Sha256Digest, Vec<Sha256Digest>>,
    /// The blob that was asked for and is not there.
    pending: Option<Ingest>,
}

/// An open write of a blob, which stands at an offset.
struct Ingest {
    blob: Sha256Digest,
    call: Call,
    offset: u64,
}

/// How the write of a blob ended.
enum Written {
    Whole,
    /// Somebody else was faster, or what was there of it was damaged and is gone now.
    Again,
}

impl ContainerdSink {
    /// Connects to the containerd at a socket, makes sure that it is one, and takes a lease.
    ///
    /// # Errors
    /// If there is no containerd, or it may not be used.
    pub fn connect(address: &Path, namespace: &Namespace, name: Reference) -> Result<Self, ContainerdError> {
        let mut channel = Channel::connect(address).map_err(ContainerdError::connect(address.to_owned()))?;
        channel
            .call::<VersionResponse>(node::VERSION, "Version", &Nothing {}, FIRST_PATIENCE)
            .map_err(ContainerdError::first_call(address.to_owned()))?;
        let take_lease = ContainerdError::call("make a lease");
        let lease = channel
            .set_metadata(NAMESPACE, namespace.as_str())
            .and_then(|()| create_lease(&channel))
            .and_then(|lease| channel.set_metadata("containerd-lease", &lease).map(|()| lease))
            .map_err(take_lease)?;
        let (documents, referrers) = (Vec::new(), BTreeMap::new());
        Ok(ContainerdSink { channel, name, lease: Some(lease), documents, referrers, pending: None })
    }

    /// The namespaces that this containerd has.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn namespaces(&self) -> Result<Vec<String>, ContainerdError> {
        let list: ListNamespacesResponse =
            self.call(node::NAMESPACES, "List", &Nothing {}, || "list its namespaces")?;
        Ok(list.namespaces.into_iter().map(|namespace| namespace.name).collect())
    }

    fn call<A: Message + Default, S: Into<String>>(
        &self,
        service: &str,
        method: &str,
        request: &impl Message,
        doing: impl FnOnce() -> S,
    ) -> Result<A, ContainerdError> {
        self.channel
            .call(service, method, request, PATIENCE)
            .map_err(|error| ContainerdError::call(doing())(error))
    }

    /// Opens the write of a blob. None if containerd has it, and keeps it under the lease from now on.
    fn begin(&self, blob: &Descriptor) -> Result<Option<Ingest>, StoreError> {
        let digest = digest_of(blob)?;
        let request = WriteContentRequest { action: WriteAction::Stat.into(), ..request_for(blob) };
        for attempt in 1.. {
            let opened = self.channel.open(content::SERVICE, "Write").and_then(|mut call| {
                let answer: WriteContentResponse = self.channel.exchange(&mut call, &request)?;
                Ok(Ingest { blob: digest, call, offset: u64::try_from(answer.offset).unwrap_or(0) })
            });
            match opened {
                Ok(ingest) => return Ok(Some(ingest)),
                Err(error) if error.is(Status::ALREADY_EXISTS) => return Ok(None),
                // Another load of the same image is at it.
                Err(error) if error.is(Status::UNAVAILABLE) && attempt < LOCKED_TRIES => {
                    thread::sleep(LOCKED_PAUSE);
                }
                Err(error) => return Err(ContainerdError::call(format!("take {digest}"))(error).into()),
            }
        }
        Ok(None)
    }

    /// Puts a blob, unless it is there. Says whether it was.
    fn put(&mut self, blob: &Descriptor, data: &dyn Data, labels: &Labels) -> Result<bool, StoreError> {
        let digest = digest_of(blob)?;
        let mut ingest = self.pending.take().filter(|pending| pending.blob == digest);
        for _ in 0..ATTEMPTS {
            let Some(open) = ingest.take().map_or_else(|| self.begin(blob), |open| Ok(Some(open)))? else {
                return Ok(true);
            };
            if let Written::Whole = self.write(open, blob, data, labels)? {
                return Ok(false);
            }
        }
        let message = format!("{digest} is damaged each time it gets there");
        Err(ContainerdError::Refused { doing: "take a blob".to_owned(), message }.into())
    }

    fn write(
        &self,
        mut ingest: Ingest,
        blob: &Descriptor,
        data: &dyn Data,
        labels: &Labels,
    ) -> Result<Written, StoreError> {
        let digest = ingest.blob;
        let doing = || format!("take {digest}");
        let start = ingest.offset.min(blob.size());
        // One byte more than it should have, to notice if there is one.
        let mut reader = HashingReader::new(data.open(start)?.take((blob.size() - start).saturating_add(1)));
        loop {
            let mut piece = vec![0; PIECE];
            let n = read_full(&mut reader, &mut piece).map_err(StoreError::read(digest.to_string()))?;
            piece.truncate(n);
            if n == 0 || ingest.offset + n as u64 > blob.size() {
                break;
            }
            let request = WriteContentRequest {
                action: WriteAction::Write.into(),
                offset: ingest.offset as i64,
                data: piece,
                ..WriteContentRequest::default()
            };
            let answer: WriteContentResponse = self
                .channel
                .exchange(&mut ingest.call, &request)
                .map_err(|error| ContainerdError::call(doing())(error))?;
            ingest.offset = u64::try_from(answer.offset).unwrap_or(0);
        }
        let (size, (_, actual)) = (start + reader.byte_count(), reader.finish());
        if size != blob.size() || (start == 0 && actual != digest) {
            self.abort(blob);
            return Err(StoreError::Corrupt { expected: digest, actual, size });
        }
        let commit = WriteContentRequest {
            action: WriteAction::Commit.into(),
            offset: blob.size() as i64,
            labels: labels.clone(),
            ..request_for(blob)
        };
        match self.channel.finish(ingest.call, &commit) {
            Ok(()) => Ok(Written::Whole),
            Err(error) if error.is(Status::ALREADY_EXISTS) => Ok(Written::Again),
            Err(error) if error.is(Status::FAILED_PRECONDITION) && start > 0 => {
                self.abort(blob);
                Ok(Written::Again)
            }
            Err(error) => Err(ContainerdError::call(doing())(error).into()),
        }
    }

    /// Has containerd forget what it has of an unfinished blob. Without that, the end of the lease does.
    fn abort(&self, blob: &Descriptor) {
        let request = AbortRequest { reference: request_for(blob).reference };
        let _ = self.channel.call::<Nothing>(content::SERVICE, "Abort", &request, PATIENCE);
    }

    /// Puts a document with its labels. One that was there may have been put by somebody who wanted less of the image.
    fn put_labelled(&mut self, descriptor: &Descriptor, document: Vec<u8>) -> Result<(), StoreError> {
        let digest = digest_of(descriptor)?;
        let mut labels = labels::of_children(&graph::children(&document, digest)?);
        labels.extend(
            self.referrers.get(&digest).into_iter().flatten().map(|&referrer| labels::of_referrer(referrer)),
        );
        let was_there = self.put(descriptor, &document, &labels)?;
        if was_there && !labels.is_empty() {
            let paths = labels.keys().map(|key| format!("labels.{key}")).collect();
            let info = Some(ContentInfo { digest: digest.to_string(), labels });
            let request = UpdateContentRequest { info, update_mask: Some(FieldMask { paths }) };
            self.call::<Nothing, _>(content::SERVICE, "Update", &request, || format!("label {digest}"))?;
        }
        Ok(())
    }

    /// Names the image; whatever had the name has it no longer.
    fn name_image(&self, root: &Descriptor) -> Result<(), ContainerdError> {
        let target = Target {
            media_type: root.media_type().to_string(),
            digest: root.digest().to_string(),
            size: root.size() as i64,
        };
        let image =
            Some(NamedImage { name: self.name.to_string(), target: Some(target), ..NamedImage::default() });
        let doing = || format!("name the image {}", self.name);
        let request = CreateImageRequest { image: image.clone() };
        match self.channel.call::<Nothing>(images::SERVICE, "Create", &request, PATIENCE) {
            Ok(Nothing {}) => Ok(()),
            Err(error) if error.is(Status::ALREADY_EXISTS) => {
                // Labels that others gave the image stay.
                let update_mask = Some(FieldMask { paths: vec!["target".to_owned()] });
                let request = UpdateImageRequest { image, update_mask };
                self.call::<Nothing, _>(images::SERVICE, "Update", &request, doing).map(drop)
            }
            Err(error) => Err(ContainerdError::call(doing())(error)),
        }
    }

    /// Gives the lease back; with `sync`, what only it held is gone afterwards.
    fn end_lease(&mut self, sync: bool) -> Result<(), ContainerdError> {
        match self.lease.take() {
            Some(id) => {
                let request = DeleteLeaseRequest { id, sync };
                self.call::<Nothing, _>(node::LEASES, "Delete", &request, || "give back the lease").map(drop)
            }
            None => Ok(()),
        }
    }
}

impl Drop for ContainerdSink {
    fn drop(&mut self) {
        self.pending = None;
        // If this fails, the lease runs out later.
        let _ = self.end_lease(true);
    }
}

impl Sink for ContainerdSink {
    fn has_blob(&mut self, blob: &Descriptor) -> Result<bool, StoreError> {
        self.pending = self.begin(blob)?;
        Ok(self.pending.is_none())
    }

    fn put_blob(&mut self, blob: &Descriptor, data: &dyn Data) -> Result<(), StoreError> {
        self.put(blob, data, &Labels::new()).map(drop)
    }

    fn put_document(&mut self, descriptor: &Descriptor, document: &[u8]) -> Result<(), StoreError> {
        self.documents.push((descriptor.clone(), document.to_vec()));
        Ok(())
    }

    fn put_referrer(
        &mut self,
        subject: Sha256Digest,
        descriptor: &Descriptor,
        document: &[u8],
    ) -> Result<(), StoreError> {
        self.referrers.entry(subject).or_default().push(digest_of(descriptor)?);
        self.put_document(descriptor, document)
    }

    fn finish(mut self: Box<Self>, root: &Descriptor, document: &[u8]) -> Result<(), StoreError> {
        let below = std::mem::take(&mut self.documents);
        for (descriptor, document) in below.into_iter().chain([(root.clone(), document.to_vec())]) {
            self.put_labelled(&descriptor, document)?;
        }
        self.name_image(root)?;
        Ok(self.end_lease(false)?)
    }
}

/// What every first and last message about a blob says.
fn request_for(blob: &Descriptor) -> WriteContentRequest {
    WriteContentRequest {
        reference: format!("micrun-load-{}", blob.digest()),
        total: blob.size() as i64,
        expected: blob.digest().to_string(),
        ..WriteContentRequest::default()
    }
}

fn create_lease(channel: &Channel) -> Result<String, GrpcError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let expires = Epoch::try_from(now + LEASE_SECONDS).unwrap_or_default();
    let labels = BTreeMap::from([("containerd.io/gc.expire".to_owned(), expires.to_string())]);
    let request = CreateLeaseRequest { labels };
    let answer: CreateLeaseResponse = channel.call(node::LEASES, "Create", &request, PATIENCE)?;
    Ok(answer.lease.unwrap_or_default().id)
}
