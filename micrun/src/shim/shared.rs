//! What all calls to a shim share: its containers by id, and when it may end.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use containerd_shim::protos::api::CreateTaskRequest;
use containerd_shim::protos::ttrpc::{self, Code};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};

use super::address::write_address;
use super::reply::{create_failed, error, request_failed};
use crate::bundle::Mount;
use crate::console::Stdio;
use crate::container::create::{Context, CreateRequest};
use crate::container::state::Illegal;
use crate::container::state::Snapshot;
use crate::container::{Container, ContainerError};
use crate::id::{Id, Key};
use crate::trace::{self, Endpoint, Scope};

/// The containers of a shim.
pub struct Shared {
    context: Context,
    namespace: Id,
    /// Where this shim serves, as engines write it.
    address: String,
    book: Mutex<Book>,
    ending: Notify,
    /// Told when the last container is gone: deleted, or never made.
    emptied: Notify,
}

#[derive(Default)]
struct Book {
    slots: HashMap<Id, Slot>,
    /// What the Sandbox service made, one of the slots, and when. It is deleted by that service alone.
    sandbox: Option<(Container, SystemTime)>,
    /// A Shutdown came while a container was being created, and nobody will send another.
    shutdown_asked: bool,
    /// The shim is on its way out and takes no container any more.
    ending: bool,
}

/// The signal that no guest can refuse.
const SIGKILL: u32 = 9;

/// Runs work in a task of its own: a request's deadline ends its handler, and a client may hang up, but
/// what was begun must not stop half-way.
pub async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = ttrpc::Result<T>> + Send + 'static,
) -> ttrpc::Result<T> {
    tokio::spawn(Scope::current().run(work))
        .await
        .map_err(|failure| error(Code::INTERNAL, failure.to_string()))?
}

fn valid(id: &str) -> ttrpc::Result<Id> {
    Id::new(id).map_err(|bad| error(Code::INVALID_ARGUMENT, bad.to_string()))
}

enum Slot {
    /// Create is under way; the id is taken. The channel closes when it is over.
    Reserved(watch::Receiver<()>),
    Ready(Container),
}

impl Shared {
    /// A shim without containers.
    pub fn new(context: Context, namespace: Id, address: String) -> Arc<Shared> {
        let (book, ending, emptied) = (Mutex::default(), Notify::new(), Notify::new());
        Arc::new(Shared { context, namespace, address, book, ending, emptied })
    }

    /// The containerd namespace of its containers.
    pub fn namespace(&self) -> &Id {
        &self.namespace
    }

    /// Who takes spans of its calls.
    pub fn collector(&self) -> Option<&Endpoint> {
        self.context.config.as_ref().ok()?.trace.endpoint.as_ref()
    }

    /// Waits until the shim may end: a Shutdown that found no container.
    pub async fn idle(&self) {
        self.ending.notified().await;
    }

    /// Waits until the last container is gone.
    pub async fn emptied(&self) {
        self.emptied.notified().await;
    }

    /// Lets the shim end if it has no container: whoever should have ended it, or asked it for one, is gone.
    pub fn end_if_unused(&self) {
        let mut book = self.book();
        if book.slots.is_empty() {
            self.end(&mut book);
        }
    }

    /// Lets the shim end if no container is left, or as soon as the one that is being created has failed.
    pub fn shutdown(&self) {
        let mut book = self.book();
        if book.slots.is_empty() {
            self.end(&mut book);
        } else if book.slots.values().all(|slot| matches!(slot, Slot::Reserved(_))) {
            book.shutdown_asked = true;
        }
    }

    fn end(&self, book: &mut Book) {
        book.ending = true;
        self.ending.notify_one();
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // Nothing panics while it holds the lock, and the book is whole between any two of its operations.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The container of this id.
    pub fn find(&self, id: &str) -> ttrpc::Result<Container> {
        match self.look(id)? {
            Found::Ready(container) => Ok(container),
            Found::Reserved(_) => {
                Err(error(Code::FAILED_PRECONDITION, format!("container {id} is still being created")))
            }
        }
    }

    /// The container of this id, once its Create is over.
    pub async fn find_created(&self, id: &str) -> ttrpc::Result<Container> {
        loop {
            match self.look(id)? {
                Found::Ready(container) => return Ok(container),
                // The sender never sends: this returns when Create is over.
                Found::Reserved(mut creating) => drop(creating.changed().await),
            }
        }
    }

    /// The process that stands for a container; this one while it is being created.
    pub fn pid(&self, id: &str) -> ttrpc::Result<u32> {
        Ok(match self.look(id)? {
            Found::Ready(container) => container.snapshot().pid,
            Found::Reserved(_) => std::process::id(),
        })
    }

    fn look(&self, id: &str) -> ttrpc::Result<Found> {
        let not_found = || error(Code::NOT_FOUND, format!("container {id} not found"));
        let wanted = Id::new(id).map_err(|_| not_found())?;
        match self.book().slots.get(&wanted) {
            Some(Slot::Ready(container)) => Ok(Found::Ready(container.clone())),
            Some(Slot::Reserved(creating)) => Ok(Found::Reserved(creating.clone())),
            None => Err(not_found()),
        }
    }

    /// Creates a container. Once begun this has to go on to its end: callers spawn it.
    pub async fn create(&self, request: CreateTaskRequest) -> ttrpc::Result<Container> {
        let id = valid(&request.id)?;
        if !request.checkpoint.is_empty() {
            let text = format!("container {id}: a guest cannot be restored from a checkpoint");
            return Err(error(Code::INVALID_ARGUMENT, text));
        }
        let stdio = Stdio {
            stdin: request.stdin,
            stdout: request.stdout,
            stderr: request.stderr,
            terminal: request.terminal,
        };
        let mounts = request.rootfs.into_iter().map(mount).collect();
        let key = Key { namespace: self.namespace.clone(), id };
        let bundle = request.bundle.into();
        self.make(CreateRequest { key, bundle, is_sandbox: false, network: None, mounts, stdio }).await
    }

    async fn make(&self, request: CreateRequest) -> ttrpc::Result<Container> {
        let id = request.key.id.clone();
        let _creating = self.reserve(&id)?;
        let created = self.make_reserved(request).await;
        let mut book = self.book();
        match &created {
            Ok(container) => {
                book.slots.insert(id, Slot::Ready(container.clone()));
                book.shutdown_asked = false;
            }
            Err(_) => {
                book.slots.remove(&id);
                self.emptied.notify_one();
                if book.shutdown_asked && book.slots.is_empty() {
                    self.end(&mut book);
                }
            }
        }
        created
    }

    fn reserve(&self, id: &Id) -> ttrpc::Result<watch::Sender<()>> {
        let mut book = self.book();
        if book.ending {
            return Err(error(Code::UNAVAILABLE, format!("container {id}: this shim is ending; try again")));
        }
        if book.slots.contains_key(id) {
            return Err(error(Code::ALREADY_EXISTS, format!("container {id} already exists")));
        }
        let (done, creating) = watch::channel(());
        book.slots.insert(id.clone(), Slot::Reserved(creating));
        Ok(done)
    }

    async fn make_reserved(&self, request: CreateRequest) -> ttrpc::Result<Container> {
        // Where a later container of a pod comes without a `start` of its own, nobody else writes it.
        write_address(&request.bundle, &self.address)
            .map_err(|failure| error(Code::INTERNAL, failure.to_string()))?;
        crash_point!(CreateAddressed);
        let key = request.key.clone();
        trace::within(&key, self.context.create(request)).await.map_err(|failure| create_failed(&failure))
    }

    /// Deletes a container and frees its id. Once begun this has to go on to its end: callers spawn it.
    pub async fn delete(&self, id: &str) -> ttrpc::Result<Snapshot> {
        if self.sandbox(id).is_ok() {
            let text = format!("container {id}: a sandbox is deleted by ShutdownSandbox alone");
            return Err(error(Code::FAILED_PRECONDITION, text));
        }
        self.free(id).await
    }

    async fn free(&self, id: &str) -> ttrpc::Result<Snapshot> {
        let container = self.find_created(id).await?;
        let snapshot = container.delete().await.map_err(|failure| request_failed(id, &failure))?;
        self.book().slots.remove(&container.info().key.id);
        self.emptied.notify_one();
        Ok(snapshot)
    }

    /// Deletes a command of a container. Once begun this has to go on to its end: callers spawn it.
    pub async fn delete_exec(&self, id: &str, exec: &str) -> ttrpc::Result<Snapshot> {
        self.find(id)?.delete_exec(exec).await.map_err(|failure| request_failed(id, &failure))
    }
}

/// The Sandbox service.
impl Shared {
    /// Creates the sandbox of this shim's pod.
    pub async fn create_sandbox(
        &self,
        id: &str,
        bundle: PathBuf,
        network: Option<PathBuf>,
    ) -> ttrpc::Result<()> {
        if self.sandbox(id).is_ok() {
            return Ok(());
        }
        let key = Key { namespace: self.namespace.clone(), id: valid(id)? };
        if let Some((other, _)) = &self.book().sandbox {
            let text = format!("sandbox {id}: this shim is that of sandbox {}", other.info().key.id);
            return Err(error(Code::FAILED_PRECONDITION, text));
        }
        let (mounts, stdio) = (Vec::new(), Stdio::default());
        let container =
            self.make(CreateRequest { key, bundle, is_sandbox: true, network, mounts, stdio }).await?;
        self.book().sandbox = Some((container, SystemTime::now()));
        Ok(())
    }

    /// The sandbox of this id, and when it was created.
    pub fn sandbox(&self, id: &str) -> ttrpc::Result<(Container, SystemTime)> {
        let book = self.book();
        let sandbox = book.sandbox.as_ref().filter(|(own, _)| own.info().key.id.as_str() == id);
        sandbox.cloned().ok_or_else(|| error(Code::NOT_FOUND, format!("sandbox {id} not found")))
    }

    /// Ends every container of the sandbox by force, and then the sandbox.
    pub async fn stop_sandbox(&self, id: &str, limit: Duration) -> ttrpc::Result<()> {
        let (sandbox, _) = self.sandbox(id)?;
        let deadline = Instant::now() + limit;
        let members: Vec<Container> =
            self.members(id).into_iter().filter_map(|id| self.find(&id).ok()).collect();
        for container in members.iter().chain([&sandbox]) {
            force(container).await?;
        }
        for container in members {
            let id = &container.info().key.id;
            match timeout_at(deadline, container.wait()).await {
                Ok(Ok(_) | Err(ContainerError::Gone)) => {}
                Ok(Err(failure)) => return Err(request_failed(id.as_str(), &failure)),
                Err(_) => {
                    let text =
                        format!("container {id}: its guest still runs {} s after SIGKILL", limit.as_secs());
                    return Err(error(Code::DEADLINE_EXCEEDED, text));
                }
            }
        }
        Ok(())
    }

    /// Deletes every container of the sandbox and the sandbox, and lets the shim end. A shim whose sandbox was never
    /// made ends, too, if it has no container.
    pub async fn shutdown_sandbox(&self, id: &str, limit: Duration) -> ttrpc::Result<()> {
        if self.book().sandbox.is_none() {
            self.end_if_unused();
            return Ok(());
        }
        self.stop_sandbox(id, limit).await?;
        self.book().ending = true;
        for member in self.members(id) {
            if let Ok(container) = self.find_created(&member).await {
                force(&container).await?;
                self.free(&member).await.map(drop).or_else(unless_gone)?;
            }
        }
        self.free(id).await.map(drop).or_else(unless_gone)?;
        let mut book = self.book();
        book.sandbox = None;
        self.end(&mut book);
        Ok(())
    }

    /// The containers that are no sandbox.
    fn members(&self, sandbox: &str) -> Vec<String> {
        let book = self.book();
        let ids = book.slots.keys().map(Id::as_str);
        ids.filter(|id| *id != sandbox).map(str::to_owned).collect()
    }
}

/// Ends a container by force. One that has ended is as good.
async fn force(container: &Container) -> ttrpc::Result<()> {
    match container.kill(SIGKILL).await {
        Ok(()) | Err(ContainerError::Illegal(Illegal::Finished) | ContainerError::Gone) => Ok(()),
        Err(failure) => Err(request_failed(container.info().key.id.as_str(), &failure)),
    }
}

/// Somebody else deleted it meanwhile.
fn unless_gone(failure: ttrpc::Error) -> ttrpc::Result<()> {
    match failure {
        ttrpc::Error::RpcStatus(status) if status.code() == Code::NOT_FOUND => Ok(()),
        other => Err(other),
    }
}

/// What an id leads to.
enum Found {
    Ready(Container),
    Reserved(watch::Receiver<()>),
}

fn mount(mount: containerd_shim::protos::api::Mount) -> Mount {
    Mount { kind: mount.type_, source: mount.source, options: mount.options, target: mount.target }
}
