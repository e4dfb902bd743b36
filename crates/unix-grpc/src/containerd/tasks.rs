//! What runs: `containerd.services.tasks.v1`.

#![expect(missing_docs, reason = "containerd's own names")]

use prost::Message;

use super::Any;
use super::snapshots::Mount;

pub const SERVICE: &str = "containerd.services.tasks.v1.Tasks";

/// How an OCI process is called in an [`Any`], as containerd's own client does.
pub const PROCESS: &str = "types.containerd.io/opencontainers/runtime-spec/1/Process";

#[derive(Clone, PartialEq, Message)]
pub struct CreateTaskRequest {
    #[prost(string, tag = "1")]
    pub container: String,
    #[prost(message, repeated, tag = "3")]
    pub rootfs: Vec<Mount>,
    #[prost(string, tag = "4")]
    pub stdin: String,
    #[prost(string, tag = "5")]
    pub stdout: String,
    #[prost(string, tag = "6")]
    pub stderr: String,
    #[prost(bool, tag = "7")]
    pub terminal: bool,
}

/// CreateTaskResponse.
#[derive(Clone, PartialEq, Message)]
pub struct Created {
    #[prost(uint32, tag = "2")]
    pub pid: u32,
}

/// StartResponse.
#[derive(Clone, PartialEq, Message)]
pub struct Started {
    #[prost(uint32, tag = "1")]
    pub pid: u32,
}

/// What most requests consist of: the container, and the exec where it is not the container itself.
#[derive(Clone, PartialEq, Message)]
pub struct Named {
    #[prost(string, tag = "1")]
    pub container: String,
    #[prost(string, tag = "2")]
    pub exec: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct KillRequest {
    #[prost(string, tag = "1")]
    pub container: String,
    #[prost(string, tag = "2")]
    pub exec: String,
    #[prost(uint32, tag = "3")]
    pub signal: u32,
}

#[derive(Clone, PartialEq, Message)]
pub struct ExecRequest {
    #[prost(string, tag = "1")]
    pub container: String,
    #[prost(string, tag = "2")]
    pub stdin: String,
    #[prost(string, tag = "3")]
    pub stdout: String,
    #[prost(string, tag = "4")]
    pub stderr: String,
    #[prost(bool, tag = "5")]
    pub terminal: bool,
    #[prost(message, optional, tag = "6")]
    pub spec: Option<Any>,
    #[prost(string, tag = "7")]
    pub exec: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct CloseIoRequest {
    #[prost(string, tag = "1")]
    pub container: String,
    #[prost(string, tag = "2")]
    pub exec: String,
    #[prost(bool, tag = "3")]
    pub stdin: bool,
}

#[derive(Clone, PartialEq, Message)]
pub struct ResizePtyRequest {
    #[prost(string, tag = "1")]
    pub container: String,
    #[prost(string, tag = "2")]
    pub exec: String,
    #[prost(uint32, tag = "3")]
    pub width: u32,
    #[prost(uint32, tag = "4")]
    pub height: u32,
}

#[derive(Clone, PartialEq, Message)]
pub struct UpdateTaskRequest {
    #[prost(string, tag = "1")]
    pub container: String,
    #[prost(message, optional, tag = "2")]
    pub resources: Option<Any>,
}

#[derive(Clone, PartialEq, Message)]
pub struct MetricsRequest {
    #[prost(string, repeated, tag = "1")]
    pub filters: Vec<String>,
}

/// containerd.types.Metric.
#[derive(Clone, PartialEq, Message)]
pub struct Metric {
    #[prost(string, tag = "2")]
    pub container: String,
    #[prost(message, optional, tag = "3")]
    pub data: Option<Any>,
}

#[derive(Clone, PartialEq, Message)]
pub struct MetricsResponse {
    #[prost(message, repeated, tag = "1")]
    pub metrics: Vec<Metric>,
}

/// containerd.v1.types.Process: a task, or an exec of one.
#[derive(Clone, PartialEq, Message)]
pub struct Process {
    /// As containerd's own PID namespace counts.
    #[prost(uint32, tag = "3")]
    pub pid: u32,
    /// 1 created, 2 running, 3 stopped, 4 paused.
    #[prost(enumeration = "Status", tag = "4")]
    pub status: i32,
    /// As the engine named it.
    #[prost(string, tag = "6")]
    pub stdout: String,
    /// Whether it has a terminal.
    #[prost(bool, tag = "8")]
    pub terminal: bool,
    /// Once it has ended.
    #[prost(uint32, tag = "9")]
    pub exit_status: u32,
}

/// Where a task is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Status {
    Unknown = 0,
    Created = 1,
    Running = 2,
    Stopped = 3,
    Paused = 4,
}

#[derive(Clone, PartialEq, Message)]
pub struct GetResponse {
    #[prost(message, optional, tag = "1")]
    pub process: Option<Process>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ProcessInfo {
    #[prost(uint32, tag = "1")]
    pub pid: u32,
}

#[derive(Clone, PartialEq, Message)]
pub struct ListPidsResponse {
    #[prost(message, repeated, tag = "1")]
    pub processes: Vec<ProcessInfo>,
}

/// WaitResponse.
#[derive(Clone, PartialEq, Message)]
pub struct Exited {
    #[prost(uint32, tag = "1")]
    pub status: u32,
}

/// DeleteResponse.
#[derive(Clone, PartialEq, Message)]
pub struct Deleted {
    #[prost(uint32, tag = "3")]
    pub status: u32,
}
