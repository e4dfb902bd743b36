//! What is done for a container whose shim died: its guest is freed, by whatever is known of it.
//!
//! ```text
//!   state is whole         ──> Driver::destroy(record)
//!   state of a newer build ──> Driver::destroy(record), then Driver::destroy_lost(key)
//!   state is damaged       ──> Driver::destroy_lost(key) of every driver
//!   no state               ──> nothing: state is saved before there is a guest
//! ```
//!
//! The next Create of the same id does this, and containerd's `delete`.

use std::path::PathBuf;
use std::sync::Arc;

use crate::id::Key;
use crate::pedestal::{self, Driver, DriverError, Record};
use crate::store::{Entry, Look};

/// Why a guest may still be there.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The driver that made it could not free it.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// A newer build made it.
    #[error(
        "{} was written by a newer containerd-shim-mica-v2 (state version {version}), and this one cannot free its \
         guest: {why}; delete the container with the newer one", .path.display()
    )]
    Newer {
        /// The container's directory.
        path: PathBuf,
        /// The version of its state.
        version: u32,
        /// What went wrong.
        why: DriverError,
    },
    /// Only the container's name is known.
    #[error(
        "{} cannot be read ({damage}), and a guest of its name could not be freed: {why}; end the guest, and remove \
         the directory", .path.display()
    )]
    Damaged {
        /// The container's directory.
        path: PathBuf,
        /// What is wrong with the state.
        damage: std::io::Error,
        /// What went wrong.
        why: DriverError,
    },
}

/// Frees the guest that a dead shim has left. Nothing left to free is success.
///
/// # Errors
///
/// [`RecoveryError`] where something is left and could not be freed.
pub async fn free(drivers: &[Arc<dyn Driver>], key: &Key, entry: &Entry) -> Result<(), RecoveryError> {
    let path = || entry.dir().to_owned();
    match entry.look() {
        Look::Nothing => Ok(()),
        Look::Whole(state) => match state.guest {
            Some(record) => Ok(pedestal::destroy(drivers, &record).await?),
            None => Ok(()),
        },
        Look::Newer { version, guest, .. } => {
            let freed = free_newer(drivers, key, guest).await;
            freed.map_err(|why| RecoveryError::Newer { path: path(), version, why })
        }
        Look::Damaged(damage) => {
            let freed = free_lost(drivers, key).await;
            freed.map_err(|why| RecoveryError::Damaged { path: path(), damage, why })
        }
    }
}

/// What the record says, as far as it is understood, and then what the name says.
async fn free_newer(
    drivers: &[Arc<dyn Driver>],
    key: &Key,
    record: Option<Record>,
) -> Result<(), DriverError> {
    let by_record = match record {
        Some(record) => pedestal::destroy(drivers, &record).await,
        None => Ok(()),
    };
    by_record.and(free_lost(drivers, key).await)
}

/// Frees the guest of a container of which nothing is known but its name, whichever driver made it.
///
/// # Errors
///
/// The first of the drivers'; the others were asked all the same.
pub async fn free_lost(drivers: &[Arc<dyn Driver>], key: &Key) -> Result<(), DriverError> {
    let mut freed = Ok(());
    for driver in drivers {
        freed = freed.and(driver.destroy_lost(key).await);
    }
    freed
}
