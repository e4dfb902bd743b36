//! A span around each call of a service, and the caller's trace out of the metadata of its request.
//!
//! containerd's client has put `traceparent` and `tracestate` there since 2.0, where its own tracing is on
//! (otelttrpc in `core/runtime/v2/shim.go`); 1.6 and 1.7 send neither. Names are those of otelttrpc, so that both
//! ends of a call look alike.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use containerd_shim::protos::protobuf::CodedInputStream;
use containerd_shim::protos::ttrpc::r#async::{MethodHandler, Service, TtrpcContext};
use containerd_shim::protos::ttrpc::{self, Code, Request, Response};

use super::shared::Shared;
use crate::id::Id;
use crate::trace::context::{TraceContext, tracestate};
use crate::trace::span::{Caller, Recording, Running, Value};
use crate::trace::{Exporter, Span, on_behalf_of};

/// What the calls of a shim have in common.
#[derive(Clone)]
pub struct Calls {
    namespace: Id,
    /// Where spans go; without it there are none.
    pub exporter: Option<Exporter>,
}

impl Calls {
    /// The calls to a shim's containers.
    pub fn to(shared: &Shared) -> Calls {
        let exporter = shared.collector().cloned().map(Exporter::start);
        Calls { namespace: shared.namespace().clone(), exporter }
    }

    /// Puts a span around every method.
    pub fn around(&self, service: Service) -> Service {
        let wrap = |(name, inner)| {
            let wrapped: Handler = Box::new(Traced { calls: self.clone(), inner });
            (name, wrapped)
        };
        Service { methods: service.methods.into_iter().map(wrap).collect(), streams: service.streams }
    }
}

type Handler = Box<dyn MethodHandler + Send + Sync>;
type Answer<'a> = Pin<Box<dyn Future<Output = ttrpc::Result<Response>> + Send + 'a>>;

struct Traced {
    calls: Calls,
    inner: Handler,
}

impl MethodHandler for Traced {
    // Not `async fn`: a call that nobody traces is the inner future and nothing around it.
    fn handler<'life0, 'async_trait>(
        &'life0 self,
        context: TtrpcContext,
        request: Request,
    ) -> Answer<'async_trait>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        let caller = caller(&context.metadata);
        let running = match (&self.calls.exporter, &caller) {
            (Some(exporter), None) => self.calls.begin(exporter, None, &request),
            (Some(exporter), Some(caller)) if caller.context.is_sampled() => {
                self.calls.begin(exporter, Some(caller.clone()), &request)
            }
            _ => None,
        };
        match (running, caller) {
            (Some(running), _) => Box::pin(recorded(running, self.inner.handler(context, request))),
            (None, Some(caller)) => {
                let span = Some(Span::Callers(caller.context));
                Box::pin(on_behalf_of(span, self.inner.handler(context, request)))
            }
            (None, None) => self.inner.handler(context, request),
        }
    }
}

impl Calls {
    fn begin(&self, exporter: &Exporter, caller: Option<Caller>, request: &Request) -> Option<Running> {
        let name = format!("{}/{}", request.service, request.method);
        let running = Recording::of_call(exporter, caller, name)?;
        let note = |name, text: &str| running.note(name, Value::Text(text.to_owned()));
        note("rpc.system", "ttrpc");
        note("rpc.service", &request.service);
        note("rpc.method", &request.method);
        note("containerd.namespace", self.namespace.as_str());
        if let Some(id) = container(&request.payload) {
            note("container.id", &id);
        }
        Some(running)
    }
}

async fn recorded(running: Running, call: Answer<'_>) -> ttrpc::Result<Response> {
    let answer = on_behalf_of(Some(running.span()), call).await;
    let (code, words) = match &answer {
        Ok(response) => (response.status().code(), response.status().message()),
        Err(_) => (Code::UNKNOWN, "the request cannot be read, or its answer not written"),
    };
    running.note("rpc.ttrpc.status_code", Value::Number(code as i64));
    if code != Code::OK && !is_the_servers(code) {
        running.note("error.message", Value::Text(words.to_owned()));
    }
    running.end(is_the_servers(code).then(|| words.to_owned()));
    answer
}

/// Whether the answer says that the server failed, and not that the caller asked for something that cannot be
/// (OpenTelemetry's conventions for gRPC, whose codes these are).
fn is_the_servers(code: Code) -> bool {
    matches!(
        code,
        Code::UNKNOWN
            | Code::DEADLINE_EXCEEDED
            | Code::UNIMPLEMENTED
            | Code::INTERNAL
            | Code::UNAVAILABLE
            | Code::DATA_LOSS
    )
}

/// The caller's trace; none where it names none, or more than one.
fn caller(metadata: &HashMap<String, Vec<String>>) -> Option<Caller> {
    let [traceparent] = metadata.get("traceparent")?.as_slice() else { return None };
    let context = TraceContext::parse(traceparent)?;
    let state = metadata.get("tracestate").map(|values| values.join(",")).unwrap_or_default();
    Some(Caller { context, state: Arc::from(tracestate(&state)) })
}

/// The container or sandbox that a request names: field 1 of every request of both services that has one.
fn container(payload: &[u8]) -> Option<String> {
    const FIELD_1_TEXT: u32 = 1 << 3 | 2;
    let mut input = CodedInputStream::from_bytes(payload);
    match input.read_raw_tag_or_eof() {
        Ok(Some(FIELD_1_TEXT)) => input.read_string().ok(),
        _ => None,
    }
}
