//! What all calls to a shim share: its containers by id, and when it may end.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use containerd_shim::protos::api::CreateTaskRequest;
use containerd_shim::protos::ttrpc::{self, Code};
use tokio::sync::{Notify, watch};

use super::address::write_address;
use super::reply::{create_failed, error, request_failed};
use crate::bundle::Mount;
use crate::console::Stdio;
use crate::container::Container;
use crate::container::create::{Context, CreateRequest};
use crate::container::state::Snapshot;
use crate::id::{Id, Key};
use crate::trace::{self, Endpoint};

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
    /// A Shutdown came while a container was being created, and nobody will send another.
    shutdown_asked: bool,
    /// The shim is on its way out and takes no container any more.
    ending: bool,
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
        let id =
            Id::new(request.id.as_str()).map_err(|bad| error(Code::INVALID_ARGUMENT, bad.to_string()))?;
        let _creating = self.reserve(&id)?;
        let created = self.create_reserved(id.clone(), request).await;
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

    async fn create_reserved(&self, id: Id, request: CreateTaskRequest) -> ttrpc::Result<Container> {
        if !request.checkpoint.is_empty() {
            let text = format!("container {id}: a guest cannot be restored from a checkpoint");
            return Err(error(Code::INVALID_ARGUMENT, text));
        }
        let bundle = Path::new(&request.bundle);
        // Where a later container of a pod comes without a `start` of its own, nobody else writes it.
        write_address(bundle, &self.address).map_err(|failure| error(Code::INTERNAL, failure.to_string()))?;
        crash_point!(CreateAddressed);
        let request = CreateRequest {
            key: Key { namespace: self.namespace.clone(), id },
            bundle: bundle.to_owned(),
            mounts: request.rootfs.into_iter().map(mount).collect(),
            stdio: Stdio {
                stdin: request.stdin,
                stdout: request.stdout,
                stderr: request.stderr,
                terminal: request.terminal,
            },
        };
        let key = request.key.clone();
        trace::within(&key, self.context.create(request)).await.map_err(|failure| create_failed(&failure))
    }

    /// Deletes a container and frees its id. Once begun this has to go on to its end: callers spawn it.
    pub async fn delete(&self, id: &str) -> ttrpc::Result<Snapshot> {
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

/// What an id leads to.
enum Found {
    Ready(Container),
    Reserved(watch::Receiver<()>),
}

fn mount(mount: containerd_shim::protos::api::Mount) -> Mount {
    Mount { kind: mount.type_, source: mount.source, options: mount.options, target: mount.target }
}
