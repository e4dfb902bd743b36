//! What several services share: protobuf's own messages.

#![expect(missing_docs, reason = "containerd's own names")]

use prost::Message;

/// google.protobuf.Empty, and any answer of which nothing is wanted.
#[derive(Clone, PartialEq, Message)]
pub struct Nothing {}

/// google.protobuf.FieldMask.
#[derive(Clone, PartialEq, Message)]
pub struct FieldMask {
    #[prost(string, repeated, tag = "1")]
    pub paths: Vec<String>,
}

/// google.protobuf.Any.
#[derive(Clone, PartialEq, Message)]
pub struct Any {
    #[prost(string, tag = "1")]
    pub type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}
