//! What happens: `containerd.services.events.v1`.

#![expect(missing_docs, reason = "containerd's own names")]

use prost::Message;

use super::Any;

pub const SERVICE: &str = "containerd.services.events.v1.Events";

#[derive(Clone, PartialEq, Message)]
pub struct SubscribeRequest {
    #[prost(string, repeated, tag = "1")]
    pub filters: Vec<String>,
}

/// containerd.types.Envelope.
#[derive(Clone, PartialEq, Message)]
pub struct Envelope {
    #[prost(string, tag = "3")]
    pub topic: String,
    #[prost(message, optional, tag = "4")]
    pub event: Option<Any>,
}

/// TaskExit; TaskExecAdded and TaskExecStarted have a part of its fields.
#[derive(Clone, PartialEq, Message)]
pub struct OfProcess {
    #[prost(string, tag = "1")]
    pub container: String,
    #[prost(string, tag = "2")]
    pub id: String,
    #[prost(uint32, tag = "4")]
    pub status: u32,
}

/// What every other event of a task begins with.
#[derive(Clone, PartialEq, Message)]
pub struct OfTask {
    #[prost(string, tag = "1")]
    pub container: String,
}
