//! The messages of containerd's API that are needed here, with the fields that are needed. Names and numbers are those of
//! its .proto files (api/services, api/types), which do not change within an API version.

use std::collections::BTreeMap;

use prost::Message;

/// The part of a call's path before its name, for each service.
pub(super) mod service {
    pub(in super::super) const CONTENT: &str = "containerd.services.content.v1.Content";
    pub(in super::super) const IMAGES: &str = "containerd.services.images.v1.Images";
    pub(in super::super) const LEASES: &str = "containerd.services.leases.v1.Leases";
    pub(in super::super) const NAMESPACES: &str = "containerd.services.namespaces.v1.Namespaces";
    pub(in super::super) const VERSION: &str = "containerd.services.version.v1.Version";
}

/// google.protobuf.Empty, and any answer of which nothing is wanted.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Nothing {}

/// google.protobuf.FieldMask.
#[derive(Clone, PartialEq, Message)]
pub(super) struct FieldMask {
    #[prost(string, repeated, tag = "1")]
    pub(super) paths: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct VersionResponse {
    #[prost(string, tag = "1")]
    pub(super) version: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct NamedNamespace {
    #[prost(string, tag = "1")]
    pub(super) name: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ListNamespacesResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) namespaces: Vec<NamedNamespace>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Lease {
    #[prost(string, tag = "1")]
    pub(super) id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CreateLeaseRequest {
    #[prost(btree_map = "string, string", tag = "3")]
    pub(super) labels: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CreateLeaseResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) lease: Option<Lease>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DeleteLeaseRequest {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    /// Whether to wait until what it held is collected.
    #[prost(bool, tag = "2")]
    pub(super) sync: bool,
}

/// What a message of a write asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub(super) enum WriteAction {
    Stat = 0,
    Write = 1,
    Commit = 2,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct WriteContentRequest {
    #[prost(enumeration = "WriteAction", tag = "1")]
    pub(super) action: i32,
    /// The name of the unfinished write.
    #[prost(string, tag = "2")]
    pub(super) reference: String,
    #[prost(int64, tag = "3")]
    pub(super) total: i64,
    #[prost(string, tag = "4")]
    pub(super) expected: String,
    #[prost(int64, tag = "5")]
    pub(super) offset: i64,
    #[prost(bytes = "vec", tag = "6")]
    pub(super) data: Vec<u8>,
    #[prost(btree_map = "string, string", tag = "7")]
    pub(super) labels: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct WriteContentResponse {
    #[prost(int64, tag = "4")]
    pub(super) offset: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AbortRequest {
    #[prost(string, tag = "1")]
    pub(super) reference: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ContentInfo {
    #[prost(string, tag = "1")]
    pub(super) digest: String,
    #[prost(btree_map = "string, string", tag = "5")]
    pub(super) labels: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct UpdateContentRequest {
    #[prost(message, optional, tag = "1")]
    pub(super) info: Option<ContentInfo>,
    #[prost(message, optional, tag = "2")]
    pub(super) update_mask: Option<FieldMask>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Target {
    #[prost(string, tag = "1")]
    pub(super) media_type: String,
    #[prost(string, tag = "2")]
    pub(super) digest: String,
    #[prost(int64, tag = "3")]
    pub(super) size: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct NamedImage {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(message, optional, tag = "3")]
    pub(super) target: Option<Target>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CreateImageRequest {
    #[prost(message, optional, tag = "1")]
    pub(super) image: Option<NamedImage>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct UpdateImageRequest {
    #[prost(message, optional, tag = "1")]
    pub(super) image: Option<NamedImage>,
    #[prost(message, optional, tag = "2")]
    pub(super) update_mask: Option<FieldMask>,
}
