//! Spans as the messages of OTLP: `opentelemetry/proto/collector/trace/v1/trace_service.proto` and what it imports
//! (opentelemetry-proto 1.x). Field numbers are those of these files. Pure.

use std::time::{SystemTime, UNIX_EPOCH};

use super::span::{Kind, Record, Value};

/// What is the same for all spans of this process.
#[derive(Debug)]
pub struct Resource {
    /// The node's name.
    pub host: String,
    /// This process.
    pub pid: u32,
}

/// The name of what records, in each batch.
const SCOPE: &str = "micrun";
const SERVICE: &str = "containerd-shim-mica-v2";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// An `ExportTraceServiceRequest`.
pub fn request<'a>(resource: &Resource, spans: impl IntoIterator<Item = &'a Record>) -> Vec<u8> {
    let mut about = Message::default();
    about.message(1, &text_attribute("service.name", SERVICE));
    about.message(1, &text_attribute("service.version", VERSION));
    about.message(1, &text_attribute("host.name", &resource.host));
    about.message(1, &attribute("process.pid", &Value::Number(resource.pid.into())));
    let mut scope = Message::default();
    scope.text(1, SCOPE);
    scope.text(2, VERSION);
    let mut scope_spans = Message::default();
    scope_spans.message(1, &scope);
    for record in spans {
        scope_spans.message(2, &span(record));
    }
    let mut resource_spans = Message::default();
    resource_spans.message(1, &about);
    resource_spans.message(2, &scope_spans);
    let mut request = Message::default();
    request.message(1, &resource_spans);
    request.0
}

fn span(record: &Record) -> Message {
    let mut span = Message::default();
    span.bytes(1, &record.context.trace.0);
    span.bytes(2, &record.context.span.0);
    if !record.state.is_empty() {
        span.text(3, &record.state);
    }
    if let Some(parent) = record.parent {
        span.bytes(4, &parent.0);
    }
    span.text(5, &record.name);
    span.number(
        6,
        match record.kind {
            Kind::Internal => 1,
            Kind::Server => 2,
        },
    );
    span.fixed64(7, nanoseconds(record.began));
    span.fixed64(8, nanoseconds(record.ended));
    for (name, value) in &record.attributes {
        span.message(9, &attribute(name, value));
    }
    if let Some(error) = &record.error {
        let mut status = Message::default();
        status.text(2, error);
        status.number(3, STATUS_ERROR);
        span.message(15, &status);
    }
    // The low byte is the trace's flags.
    span.fixed32(16, record.context.flags.into());
    span
}

/// `STATUS_CODE_ERROR`.
const STATUS_ERROR: u64 = 2;

fn nanoseconds(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// A `KeyValue`.
fn attribute(name: &str, value: &Value) -> Message {
    let mut any = Message::default();
    match value {
        Value::Text(text) => any.text(1, text),
        // An int64 is written as the uint64 of the same bits.
        Value::Number(number) => any.number(3, number.cast_unsigned()),
    }
    let mut pair = Message::default();
    pair.text(1, name);
    pair.message(2, &any);
    pair
}

fn text_attribute(name: &str, text: &str) -> Message {
    attribute(name, &Value::Text(text.to_owned()))
}

/// A protobuf message that is being written.
#[derive(Default)]
struct Message(Vec<u8>);

/// How a field's value is written.
#[derive(Clone, Copy)]
enum Wire {
    Varint = 0,
    Fixed64 = 1,
    Length = 2,
    Fixed32 = 5,
}

impl Message {
    fn number(&mut self, field: u32, value: u64) {
        self.tag(field, Wire::Varint);
        self.varint(value);
    }

    fn fixed64(&mut self, field: u32, value: u64) {
        self.tag(field, Wire::Fixed64);
        self.0.extend(value.to_le_bytes());
    }

    fn fixed32(&mut self, field: u32, value: u32) {
        self.tag(field, Wire::Fixed32);
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, field: u32, value: &[u8]) {
        self.tag(field, Wire::Length);
        self.varint(value.len() as u64);
        self.0.extend(value);
    }

    fn text(&mut self, field: u32, value: &str) {
        self.bytes(field, value.as_bytes());
    }

    fn message(&mut self, field: u32, value: &Message) {
        self.bytes(field, &value.0);
    }

    fn tag(&mut self, field: u32, wire: Wire) {
        self.varint(u64::from(field << 3 | wire as u32));
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}
