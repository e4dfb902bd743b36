//! What the work under way belongs to. It goes with a task, not with a thread: a call's work wanders through the
//! container's own task, and the tasks that outlive the call belong to the container alone.

use std::sync::Arc;

use tokio::task::JoinHandle;

use super::context::TraceContext;
use super::span::Span;
use crate::id::Key;

tokio::task_local! {
    static SCOPE: Scope;
}

/// A container, and a span.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    container: Option<Arc<Key>>,
    span: Option<Span>,
}

impl Scope {
    /// That of the task that runs.
    pub fn current() -> Scope {
        Scope::look(Scope::clone).unwrap_or_default()
    }

    /// Looks at that of the task that runs; `None` where it has none.
    pub fn look<T>(at: impl FnOnce(&Scope) -> T) -> Option<T> {
        SCOPE.try_with(at).ok()
    }

    /// The container that the work is for.
    pub fn container(&self) -> Option<&Key> {
        self.container.as_deref()
    }

    /// The span that the work is part of.
    pub fn span(&self) -> Option<&Span> {
        self.span.as_ref()
    }

    /// The trace that the work is part of, for whoever it is passed on to.
    pub fn trace(&self) -> Option<TraceContext> {
        self.span.as_ref().map(Span::context)
    }

    pub(super) fn with_span(self, span: Option<Span>) -> Scope {
        Scope { span, ..self }
    }

    /// Does asynchronous work here.
    pub async fn run<F: Future>(self, work: F) -> F::Output {
        SCOPE.scope(self, work).await
    }

    /// Does other work here, on whatever thread.
    pub fn run_now<T>(self, work: impl FnOnce() -> T) -> T {
        SCOPE.sync_scope(self, work)
    }
}

/// The trace of the work under way, for whoever it is passed on to.
pub fn current_trace() -> Option<TraceContext> {
    Scope::look(Scope::trace).flatten()
}

/// Does work for a container.
pub async fn within<F: Future>(key: &Key, work: F) -> F::Output {
    Scope { container: Some(Arc::new(key.clone())), ..Scope::current() }.run(work).await
}

/// Does what a call asks for in the task of its container: the call's span, this task's container.
pub async fn on_behalf_of<F: Future>(caller: Option<Span>, work: F) -> F::Output {
    Scope::current().with_span(caller).run(work).await
}

/// Starts a task that outlives the call that starts it: it belongs to the container, and to no span.
pub fn spawn<F>(work: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(Scope::current().with_span(None).run(work))
}
