//! The action `delete`: free what a shim that died has left. Another process than the shim, with nothing
//! but the state on disk. It can be repeated.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use containerd_shim::protos::protobuf::{Message, MessageField};
use containerd_shim::{Flags, api::DeleteResponse, socket_address};
use rustix::mount::{UnmountFlags, unmount};

use super::address::{lock_sockets, path_of};
use super::reply::timestamp;
use super::{ActionError, key, runtime};
use crate::pedestal;
use crate::store::{self, Entry, Store};

/// The status of a container whose shim died: as if killed by SIGKILL.
const KILLED: u32 = 137;

/// Frees guest, files, mounts and socket. Gives the reply for containerd.
pub fn delete(flags: &Flags) -> Result<Vec<u8>, ActionError> {
    let key = key(flags)?;
    let store = Store::at(store::ROOT);
    let own = store.find(&key);
    let state = own.as_ref().and_then(Entry::load);
    let entries = own.into_iter().chain(store.of_pod(&key.namespace, &key.id));
    let freed = free_all(entries);
    let bundle = match flags.bundle.as_str() {
        "" => std::env::current_dir().map_err(ActionError::when("finding the bundle"))?,
        path => PathBuf::from(path),
    };
    // Engines of other runtimes mount here; an image of ours is mounted where nobody else sees it.
    let _ = unmount(bundle.join("rootfs"), UnmountFlags::DETACH);
    let pod = state.as_ref().map_or(&key.id, |state| &state.pod);
    remove_dead_socket(&path_of(&socket_address(&flags.address, &flags.namespace, pod.as_str())));
    freed?;
    let response = DeleteResponse {
        exit_status: KILLED,
        exited_at: MessageField::some(timestamp(SystemTime::now())),
        pid: state.map_or(0, |state| state.pid),
        ..Default::default()
    };
    response.write_to_bytes().map_err(ActionError::when("writing the reply"))
}

/// Frees each of them, even if one cannot be freed. Gives the first error.
fn free_all(entries: impl Iterator<Item = Entry>) -> Result<(), ActionError> {
    runtime()?.block_on(async {
        let mut freed = Ok(());
        for entry in entries {
            freed = freed.and(free(&entry).await);
        }
        freed
    })
}

async fn free(entry: &Entry) -> Result<(), ActionError> {
    let doing = || format!("freeing what {} records", entry.dir().display());
    if let Some(record) = entry.load().and_then(|state| state.guest) {
        pedestal::destroy(&pedestal::drivers(), &record).await.map_err(ActionError::when(doing()))?;
    }
    entry.remove().map_err(ActionError::when(doing()))
}

fn remove_dead_socket(socket: &Path) {
    let _others_wait = lock_sockets(socket);
    if UnixStream::connect(socket).is_err() {
        // Gone already is as good.
        let _ = fs::remove_file(socket);
    }
}
