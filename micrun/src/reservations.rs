//! What one guest of a node alone can have: cores, a hypervisor's memory, co-processors, a pod's interface.
//!
//! A container's claims are part of its state, so they end when that does: with its Delete or, where its shim was
//! killed, with the `delete` that frees its guest. Until then the guest may run. Nothing is freed twice, and nothing
//! survives a boot.
//!
//! ```text
//!   Plan::claims() ──> lock the store ──> compare with the state of all others ──> save the own ──> unlock
//! ```
//!
//! The lock is held for that alone, never while a guest is made. Memory is claimed from Create to Start, until the
//! hypervisor has given it away and counts it itself. A container whose state cannot be read may have
//! anything, so nobody else gets anything until it is deleted: a core that is given twice ruins two guests, a refusal
//! says what to do.

use std::path::PathBuf;
use std::time::Duration;

use micrun_image_spec::units::Mib;
use tokio::time::{Instant, sleep};

use crate::id::{GuestName, Key};
use crate::pedestal::{Claim, Driver, DriverError, FreeMemory};
use crate::resources::Change;
use crate::store::{ClaimsLock, Entry, State, Store, StoreError};

/// How long others may hold the lock. They need it for milliseconds, unless they are stopped in the middle.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the lock is tried.
const INTERVAL: Duration = Duration::from_millis(5);

/// Why a guest cannot have what it claims.
#[derive(Debug, thiserror::Error)]
pub enum ReservationError {
    /// A core is another's.
    #[error(
        "core {core} belongs to container {holder}; delete that container, or give this one another cpuset"
    )]
    Core {
        /// The core.
        core: u32,
        /// Whose it is.
        holder: Key,
    },
    /// A co-processor is another's.
    #[error("the co-processor {name} belongs to container {holder}; delete that container first")]
    Coprocessor {
        /// The co-processor.
        name: String,
        /// Whose it is.
        holder: Key,
    },
    /// A pod's interface is another's.
    #[error(
        "the pod's interface belongs to container {holder}: one guest of a pod can have it; leave the annotation \
         container.network out for the others, or address it to one container (c.CONTAINER/container.network)"
    )]
    Interface {
        /// Whose it is.
        holder: Key,
    },
    /// There is not enough memory.
    #[error(transparent)]
    Memory(#[from] Shortage),
    /// Nobody knows what a container has.
    #[error(
        "what container {holder} has of this node cannot be read ({}: {why}); delete that container, or its directory \
         if no guest of it runs", .path.display()
    )]
    Unreadable {
        /// The container.
        holder: Key,
        /// Its directory.
        path: PathBuf,
        /// What is wrong with its state.
        why: std::io::Error,
    },
    /// The lock was not to be had.
    #[error(
        "{} has been locked by another process for {} s; fuser names it, and if it hangs, end it",
        .0.display(), PATIENCE.as_secs()
    )]
    Locked(PathBuf),
    /// The driver does not tell what memory there is.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// The state cannot be kept or read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Less memory than a guest needs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the guest needs {wanted} of the hypervisor's memory and there are {free}{}; give it less, or delete another guest",
    of_which(*promised, to)
)]
pub struct Shortage {
    /// What the guest needs.
    pub wanted: Mib,
    /// What the hypervisor has.
    pub free: Mib,
    /// What of this belongs to guests that are being made.
    pub promised: Mib,
    /// Those guests.
    pub to: Vec<Key>,
}

fn of_which(promised: Mib, to: &[Key]) -> String {
    if to.is_empty() {
        return String::new();
    }
    let names: Vec<String> = to.iter().map(Key::to_string).collect();
    format!(", of which {promised} are promised to {}", names.join(", "))
}

/// Another container and what it claims.
#[derive(Clone, Debug)]
struct Holder {
    key: Key,
    claims: Vec<Claim>,
}

/// Saves a container's state with its claims, unless another container has any of what they name. Asks the driver for
/// the memory that there is only while another guest is being made; otherwise the hypervisor knows best.
///
/// # Errors
///
/// [`ReservationError`]; what was saved before is then untouched.
pub async fn take(
    store: &Store,
    key: &Key,
    entry: &Entry,
    state: &State,
    driver: &dyn Driver,
) -> Result<(), ReservationError> {
    if state.claims.is_empty() {
        return Ok(entry.save(state)?);
    }
    let first = lock(store).await?;
    let rest = others(store, key)?;
    let is_contested = claims_memory(&state.claims) && rest.iter().any(|other| claims_memory(&other.claims));
    if !is_contested {
        compare(&state.claims, &rest, None)?;
        return Ok(entry.save(state)?);
    }
    drop(first);
    let memory = driver.free_memory().await?;
    let _lock = lock(store).await?;
    compare(&state.claims, &others(store, key)?, memory.as_ref())?;
    Ok(entry.save(state)?)
}

/// The claims of a guest after changes of its resources: one that has cores for itself has the new ones then.
pub fn after<'a>(claims: &[Claim], changes: impl Iterator<Item = &'a Change>) -> Vec<Claim> {
    let is_core = |claim: &&Claim| matches!(claim, Claim::Core(_));
    let mut claims = claims.to_vec();
    for change in changes {
        if let (Change::Cpus(cores), true) = (change, claims.iter().any(|claim| is_core(&claim))) {
            claims.retain(|claim| !is_core(&claim));
            claims.extend(cores.iter().map(Claim::Core));
        }
    }
    claims
}

/// Notes that the guest exists: its memory is the hypervisor's to count from now on. What cannot be saved is counted
/// twice until Delete, which is no reason to end the guest.
pub fn settle(key: &Key, entry: &Entry, state: &mut State) {
    if !claims_memory(&state.claims) {
        return;
    }
    state.claims.retain(|claim| !matches!(claim, Claim::Memory(_)));
    if let Err(error) = entry.save(state) {
        tracing::warn!(container = %key, %error, "the memory of this guest is counted twice");
    }
}

fn claims_memory(claims: &[Claim]) -> bool {
    claims.iter().any(|claim| matches!(claim, Claim::Memory(_)))
}

async fn lock(store: &Store) -> Result<ClaimsLock, ReservationError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(lock) = store.try_lock()? {
            return Ok(lock);
        }
        if Instant::now() >= deadline {
            return Err(ReservationError::Locked(store.root().to_owned()));
        }
        sleep(INTERVAL).await;
    }
}

fn others(store: &Store, own: &Key) -> Result<Vec<Holder>, ReservationError> {
    let mut others = Vec::new();
    for (key, entry) in store.all()? {
        if key == *own {
            continue;
        }
        match entry.claims() {
            Ok(claims) => others.push(Holder { key, claims }),
            Err(why) => {
                let path = entry.dir().to_owned();
                return Err(ReservationError::Unreadable { holder: key, path, why });
            }
        }
    }
    Ok(others)
}

/// Pure: what is wanted, against what others have.
fn compare(wanted: &[Claim], others: &[Holder], free: Option<&FreeMemory>) -> Result<(), ReservationError> {
    for claim in wanted {
        let holder = others.iter().find(|other| other.claims.contains(claim)).map(|other| other.key.clone());
        match (claim, holder) {
            (Claim::Core(core), Some(holder)) => return Err(ReservationError::Core { core: *core, holder }),
            (Claim::Coprocessor(name), Some(holder)) => {
                return Err(ReservationError::Coprocessor { name: name.clone(), holder });
            }
            (Claim::Interface(_), Some(holder)) => return Err(ReservationError::Interface { holder }),
            _ => {}
        }
    }
    match free {
        Some(free) => Ok(enough(memory_of(wanted), others, free)?),
        None => Ok(()),
    }
}

/// The memory of a guest that exists is not free any more, that of one which is being made still is.
fn enough(wanted: Mib, others: &[Holder], memory: &FreeMemory) -> Result<(), Shortage> {
    let exists = |key: &Key| memory.guests.contains(GuestName::of(key).as_str());
    let being_made = || others.iter().filter(|other| claims_memory(&other.claims) && !exists(&other.key));
    let promised = Mib(being_made().fold(0, |sum, other| sum.saturating_add(memory_of(&other.claims).0)));
    if promised.0.saturating_add(wanted.0) <= memory.free.0 {
        return Ok(());
    }
    let to = being_made().map(|other| other.key.clone()).collect();
    Err(Shortage { wanted, free: memory.free, promised, to })
}

fn memory_of(claims: &[Claim]) -> Mib {
    Mib(claims.iter().fold(0, |sum, claim| match claim {
        Claim::Memory(mib) => sum.saturating_add(mib.0),
        _ => sum,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Id;

    fn key(id: &str) -> Key {
        Key { namespace: Id::new("default").unwrap(), id: Id::new(id).unwrap() }
    }

    fn holder(id: &str, claims: &[Claim]) -> Holder {
        Holder { key: key(id), claims: claims.to_vec() }
    }

    #[test]
    fn what_another_has_is_refused_with_its_name_and_a_remedy() {
        let others = [holder("a", &[Claim::Core(1)]), holder("b", &[Claim::Coprocessor("m4".into())])];
        compare(&[Claim::Core(2), Claim::Coprocessor("dsp".into())], &others, None).unwrap();
        let text = |claim| compare(&[claim], &others, None).unwrap_err().to_string();
        assert_eq!(
            text(Claim::Core(1)),
            "core 1 belongs to container default/a; delete that container, or give this one another cpuset"
        );
        assert!(text(Claim::Coprocessor("m4".into())).contains("m4 belongs to container default/b; delete"));
        let pod = |path: &str| Claim::Interface(serde_json::from_value(path.into()).unwrap());
        let others = [holder("a", &[pod("/run/netns/one")])];
        compare(&[pod("/run/netns/two")], &others, None).unwrap();
        let said = compare(&[pod("/run/netns/one")], &others, None).unwrap_err().to_string();
        assert!(said.starts_with("the pod's interface belongs to container default/a: one guest"), "{said}");
    }

    #[test]
    fn a_guest_with_cores_of_its_own_has_the_new_ones_after_a_change() {
        let changes = [Change::Vcpus(2), Change::Cpus("2-3".parse().unwrap())];
        let own = [Claim::Core(1), Claim::Coprocessor("m4".into())];
        assert_eq!(
            after(&own, changes.iter()),
            [Claim::Coprocessor("m4".into()), Claim::Core(2), Claim::Core(3)]
        );
        assert_eq!(after(&own, changes[..1].iter()), own);
        let shared = [Claim::Memory(Mib(8))];
        assert_eq!(after(&shared, changes.iter()), shared, "cores that others may use as well");
    }

    #[test]
    fn memory_is_free_only_if_no_guest_is_being_made_with_it() {
        let others =
            [holder("made", &[Claim::Memory(Mib(600))]), holder("coming", &[Claim::Memory(Mib(300))])];
        let guests = [GuestName::of(&key("made")).to_string(), "Domain-0".to_owned()].into();
        let free = FreeMemory { guests, free: Mib(1000) };
        let wants = |mib| compare(&[Claim::Memory(Mib(mib))], &others, Some(&free));
        wants(700).unwrap();
        assert_eq!(
            wants(701).unwrap_err().to_string(),
            "the guest needs 701 MiB of the hypervisor's memory and there are 1000 MiB, of which 300 MiB are promised \
             to default/coming; give it less, or delete another guest"
        );
        assert!(wants(u32::MAX).is_err());
        compare(&[Claim::Core(0)], &others, None).unwrap();
    }
}
