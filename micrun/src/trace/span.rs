//! Something that takes time and is told to a collector: a call, or a step of one.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use super::context::{SAMPLED, SpanId, TraceContext, TraceId};
use super::exporter::Exporter;
use super::scope::Scope;

/// The span that work is part of.
#[derive(Clone, Debug)]
pub enum Span {
    /// A caller's, who gets no spans from this shim: nobody takes them, or the caller records none.
    Callers(TraceContext),
    /// One of this shim's.
    Own(Arc<Recording>),
}

impl Span {
    /// That of the work under way.
    pub fn current() -> Option<Span> {
        Scope::look(|scope| scope.span().cloned()).flatten()
    }

    /// What names it.
    pub fn context(&self) -> TraceContext {
        match self {
            Span::Callers(context) => *context,
            Span::Own(recording) => recording.context,
        }
    }
}

/// Whether somebody else waits for what a span does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A step of the shim's own.
    Internal,
    /// An answer to a caller.
    Server,
}

/// What is known of a span, by a name of OpenTelemetry's semantic conventions or one of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Words.
    Text(String),
    /// A number.
    Number(i64),
}

/// A span that is over, as it is told.
#[derive(Debug)]
pub struct Record {
    /// Its trace and its own name there.
    pub context: TraceContext,
    /// The caller's `tracestate`.
    pub state: Arc<str>,
    /// The span that it is part of.
    pub parent: Option<SpanId>,
    /// What it does.
    pub name: Cow<'static, str>,
    /// For whom.
    pub kind: Kind,
    /// When it began.
    pub began: SystemTime,
    /// When it was over.
    pub ended: SystemTime,
    /// What else is known.
    pub attributes: Vec<(&'static str, Value)>,
    /// Why it failed.
    pub error: Option<String>,
}

/// A span that is under way.
pub struct Recording {
    context: TraceContext,
    state: Arc<str>,
    /// By this clock it is measured: the other one can be set.
    began: Instant,
    exporter: Exporter,
    /// Taken when it is over.
    record: Mutex<Option<Record>>,
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.context)
    }
}

/// What a caller says of its own trace.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Its span.
    pub context: TraceContext,
    /// Its `tracestate`.
    pub state: Arc<str>,
}

impl Recording {
    /// Begins the span of a call. `None` where the kernel gives no name for it: a trace is no reason to fail.
    pub fn of_call(exporter: &Exporter, caller: Option<Caller>, name: String) -> Option<Running> {
        let context = match &caller {
            Some(caller) => child_of(caller.context)?,
            None => TraceContext { trace: TraceId(random()?), span: SpanId(random()?), flags: SAMPLED },
        };
        let parent = caller.as_ref().map(|caller| caller.context.span);
        let state = caller.map_or_else(|| Arc::from(""), |caller| caller.state);
        Some(Recording::begin(exporter, context, state, parent, name.into(), Kind::Server))
    }

    fn of_step(&self, name: &'static str) -> Option<Running> {
        let (context, state) = (child_of(self.context)?, Arc::clone(&self.state));
        let parent = Some(self.context.span);
        Some(Recording::begin(&self.exporter, context, state, parent, name.into(), Kind::Internal))
    }

    fn begin(
        exporter: &Exporter,
        context: TraceContext,
        state: Arc<str>,
        parent: Option<SpanId>,
        name: Cow<'static, str>,
        kind: Kind,
    ) -> Running {
        let began = SystemTime::now();
        let record = Record {
            context,
            state: Arc::clone(&state),
            parent,
            name,
            kind,
            began,
            ended: began,
            attributes: Vec::new(),
            error: None,
        };
        let (exporter, record) = (exporter.clone(), Mutex::new(Some(record)));
        Running(Arc::new(Recording { context, state, began: Instant::now(), exporter, record }))
    }

    /// Adds what is known.
    pub fn note(&self, name: &'static str, value: Value) {
        if let Some(record) = self.record().as_mut() {
            record.attributes.push((name, value));
        }
    }

    fn end(&self, error: Option<String>) {
        let Some(mut record) = self.record().take() else { return };
        record.ended = record.began + self.began.elapsed();
        record.error = error;
        self.exporter.take(record);
    }

    fn record(&self) -> std::sync::MutexGuard<'_, Option<Record>> {
        // Nothing panics while it holds the lock.
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Another span of the same trace.
fn child_of(context: TraceContext) -> Option<TraceContext> {
    Some(TraceContext { span: SpanId(random()?), ..context })
}

/// Random bytes that are not all zeros; `None` where the kernel gives none.
fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let length = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).ok()?;
    (length == N && bytes != [0; N]).then_some(bytes)
}

/// A span until it is over.
pub struct Running(Arc<Recording>);

impl Running {
    /// The span, for the work that is part of it.
    pub fn span(&self) -> Span {
        Span::Own(Arc::clone(&self.0))
    }

    /// Adds what is known.
    pub fn note(&self, name: &'static str, value: Value) {
        self.0.note(name, value);
    }

    /// It is over; where it failed, why.
    pub fn end(self, error: Option<String>) {
        self.0.end(error);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Does nothing where it ended as it should.
        self.0.end(Some("given up: nobody waits for it any more".to_owned()));
    }
}

/// Does a step of what the current span does. Without a span that is recorded this is the work alone.
pub async fn step<T, E: fmt::Display>(
    name: &'static str,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let scope = Scope::current();
    let running = match scope.span() {
        Some(Span::Own(above)) => above.of_step(name),
        _ => None,
    };
    let span = running.as_ref().map(Running::span).or_else(|| scope.span().cloned());
    let done = scope.with_span(span).run(work).await;
    if let Some(running) = running {
        running.end(done.as_ref().err().map(E::to_string));
    }
    done
}

/// Adds to the current span what became known.
pub fn note(name: &'static str, value: impl fmt::Display) {
    let add = |scope: &Scope| {
        if let Some(Span::Own(recording)) = scope.span() {
            recording.note(name, Value::Text(value.to_string()));
        }
    };
    // Work without a scope has no span.
    let _ = Scope::look(add);
}
