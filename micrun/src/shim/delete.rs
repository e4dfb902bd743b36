//! The action `delete`: free what a shim that died has left. Another process than the shim, with nothing
//! but the state on disk. It can be repeated.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use containerd_shim::protos::protobuf::{Message, MessageField};
use containerd_shim::{Flags, api::DeleteResponse, socket_address};
use rustix::mount::{UnmountFlags, unmount};
use tokio::task::JoinSet;

use super::address::{is_dead, lock_sockets, path_of};
use super::reply::timestamp;
use super::{ActionError, key, runtime};
use crate::bundle::Bundle;
use crate::cgroup::{Hierarchies, Place, systemd};
use crate::id::{Id, Key};
use crate::pedestal::{self, Driver};
use crate::recovery;
use crate::store::{self, Entry, Look, Store};

/// The status of a container whose shim died: as if killed by SIGKILL.
const KILLED: u32 = 137;

/// Frees guest, files, mounts and socket. Gives the reply for containerd.
pub fn delete(flags: &Flags) -> Result<Vec<u8>, ActionError> {
    let key = key(flags)?;
    let store = Store::at(store::ROOT);
    let own = store.find(&key);
    let known = own.as_ref().map_or(Look::Nothing, Entry::look);
    let bundle = match flags.bundle.as_str() {
        "" => std::env::current_dir().map_err(ActionError::when("finding the bundle"))?,
        path => PathBuf::from(path),
    };
    let members = members(&store, &key, flags);
    let freed = runtime()?.block_on(free_all(own.map(|own| (key.clone(), own)), members, &key, &known));
    if !matches!(known, Look::Whole(_)) {
        remove_cgroup(&bundle);
    }
    // Engines of other runtimes mount here; an image of ours is mounted where nobody else sees it.
    let _ = unmount(bundle.join("rootfs"), UnmountFlags::DETACH);
    let pod = known.pod().cloned().or_else(|| pod_of(&bundle, &key));
    let pod = pod.as_ref().unwrap_or(&key.id);
    remove_dead_socket(&path_of(&socket_address(&flags.address, &flags.namespace, pod.as_str())));
    crash_point!(ActionUnbound);
    freed?;
    let response = DeleteResponse {
        exit_status: KILLED,
        exited_at: MessageField::some(timestamp(SystemTime::now())),
        pid: known.pid().unwrap_or(0),
        ..Default::default()
    };
    response.write_to_bytes().map_err(ActionError::when("writing the reply"))
}

/// The containers of the pod that a sandbox stands for. None while their shim lives: containerd also comes here after a
/// sandbox was deleted in its time, and its containers run on.
fn members(store: &Store, key: &Key, flags: &Flags) -> Vec<(Key, Entry)> {
    let members = store.of_pod(&key.namespace, &key.id);
    let socket = || path_of(&socket_address(&flags.address, &flags.namespace, key.id.as_str()));
    if members.is_empty() || is_dead(&socket()) { members } else { Vec::new() }
}

/// Frees the container and, where it is a sandbox, those of its pod: each, even if another cannot be freed, and all at
/// once, since one that hangs takes a good part of the time that containerd gives. Gives the first error.
async fn free_all(
    own: Option<(Key, Entry)>,
    members: Vec<(Key, Entry)>,
    key: &Key,
    known: &Look,
) -> Result<(), ActionError> {
    let drivers = pedestal::drivers();
    let mut freed = Ok(());
    if matches!(known, Look::Nothing) {
        // No guest was planned; or somebody removed the state, and the guest would be nobody's.
        let doing = format!("looking for a guest of container {key}");
        freed = recovery::free_lost(&drivers, key).await.map_err(ActionError::when(doing));
    }
    let mut freeing = JoinSet::new();
    for (key, entry) in own.into_iter().chain(members) {
        let drivers = drivers.clone();
        freeing.spawn(async move { free(&drivers, &key, &entry).await });
    }
    while let Some(one) = freeing.join_next().await {
        freed = freed.and(one.map_err(ActionError::when("freeing a container")).flatten());
    }
    freed
}

async fn free(drivers: &[Arc<dyn Driver>], key: &Key, entry: &Entry) -> Result<(), ActionError> {
    let doing = || format!("freeing container {key}");
    recovery::free(drivers, key, entry).await.map_err(ActionError::when(doing()))?;
    crash_point!(ActionFreed);
    entry.remove().map_err(ActionError::when(doing()))?;
    crash_point!(ActionRemoved);
    Ok(())
}

/// What the bundle says, where the state does not.
fn pod_of(bundle: &Path, key: &Key) -> Option<Id> {
    Bundle::open(bundle).ok()?.pod(&key.id).ok()
}

/// The cgroup that the bundle names, where no record of it can be read.
fn remove_cgroup(bundle: &Path) {
    let Ok(bundle) = Bundle::open(bundle) else { return };
    let Some(path) = bundle.cgroup() else { return };
    // One that is not empty is not what a guest left that is gone.
    let _ = Place::new(path, &Hierarchies::read(), Path::new(systemd::SOCKET)).remove();
}

fn remove_dead_socket(socket: &Path) {
    // Without the lock somebody may be about to serve there: a dead socket does no harm.
    let Ok(_others_wait) = lock_sockets(socket) else { return };
    if is_dead(socket) {
        // Gone already is as good.
        let _ = fs::remove_file(socket);
    }
}
