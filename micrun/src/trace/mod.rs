//! Traces: what the work under way belongs to, and spans of it for a collector of OpenTelemetry.
//!
//! - [`context`]: W3C Trace Context, in which a caller names its trace.
//! - [`scope`]: the container and the span of the task that runs, for spans below it and for the log.
//! - [`span`]: something that takes time: a call, or a step of one.
//! - `otlp`: spans as OTLP's messages (pure); `exporter`: those to the collector; `http`: one request to it.
//!
//! Without a collector no span is ever made. A caller's trace is then still named in the log, and to the guest.

pub mod context;
mod exporter;
pub mod http;
mod otlp;
pub mod scope;
pub mod span;

pub use crate::config::node::Endpoint;
pub use context::TraceContext;
pub use exporter::Exporter;
pub use scope::{Scope, current_trace, on_behalf_of, spawn, within};
pub use span::{Span, note, step};
