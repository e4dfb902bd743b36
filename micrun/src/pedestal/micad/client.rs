//! One guest's client at the daemon.

use std::path::{Path, PathBuf};
use std::time::Duration;

use libmica::{ClientName, Create, Error, Key, Micad, Setting, State, Status};
use micrun_firmware_elf::resource_table::{ForMicad, for_micad};
use micrun_firmware_elf::source::RegularFile;
use micrun_image_spec::firmware::Pedestal;
use tokio::time::timeout;

use super::console;
use super::domain::Domain;
use super::show;
use crate::namespace::on_own_thread;
use crate::pedestal::DriverError;
use crate::trace::step;
use crate::tty::Device;

/// How long the daemon gets to forget a guest: `delete` has to end within 4 s, the domain on Xen included.
const FORGET_LIMIT: Duration = Duration::from_millis(2500);

/// How long it gets to end a guest by force, before Xen is asked itself.
const FORCE_LIMIT: Duration = Duration::from_secs(3);

/// Where micad writes the configurations of domains.
const XEN_CONFIGS: &str = "/etc/xen";

/// A client of micad's that is ours.
pub struct Client {
    /// Its name.
    pub name: ClientName,
    /// What it runs on.
    pub pedestal: Pedestal,
    /// Its domain, on Xen, whether there is one or not.
    pub domain: Option<Domain>,
    micad: Micad,
    dev: PathBuf,
}

/// What the daemon tells about a guest.
pub enum Look {
    /// The state, and the services.
    Known(Status),
    /// The daemon was restarted and does not know the guest.
    Forgotten,
    /// It does not tell just now.
    Silent(Error),
}

impl Client {
    /// The client of this name. Nothing is asked yet.
    ///
    /// # Errors
    ///
    /// A Xen pedestal without Xen's tools.
    pub fn new(
        micad: Micad,
        name: ClientName,
        pedestal: Pedestal,
        dev: PathBuf,
    ) -> Result<Client, DriverError> {
        let domain = if pedestal == Pedestal::Xen { Some(Domain::new(&name)?) } else { None };
        Ok(Client { name, pedestal, domain, micad, dev })
    }

    /// Looks for what micad stumbles over when the guest starts: it says nothing about it, and leaves things behind.
    ///
    /// # Errors
    ///
    /// A firmware without a resource table that micad can use.
    pub async fn check_firmware(&self, firmware: &Path) -> Result<(), DriverError> {
        let doing = format!("checking the resource table of {}", show(firmware));
        let (path, pedestal) = (firmware.to_owned(), self.pedestal);
        let read = move || for_micad(&RegularFile::open(&path)?, pedestal).map_err(std::io::Error::other);
        match on_own_thread(read).await.map_err(DriverError::io::<std::io::Error>(doing.clone()))? {
            ForMicad::Ok => Ok(()),
            ForMicad::Absent(why) | ForMicad::Broken(why) => Err(DriverError::backend(doing, why)),
        }
    }

    /// Makes the client.
    ///
    /// # Errors
    ///
    /// The daemon's. A client of this name that was there before stays.
    pub async fn create(&self, message: &Create) -> Result<(), DriverError> {
        let Err(error) = step("micad create", self.micad.create(message)).await else { return Ok(()) };
        if matches!(error, Error::Timeout { .. } | Error::Broken { .. }) {
            // It may have been made all the same, or may still be.
            let _ = self.forget().await;
        }
        Err(self.failed("creating", &error))
    }

    /// Runs the firmware. If that fails, nothing is left of the client.
    ///
    /// # Errors
    ///
    /// The daemon's.
    pub async fn start(&self) -> Result<(), DriverError> {
        let Err(error) = step("micad start", self.micad.start(&self.name)).await else { return Ok(()) };
        let error = self.failed("starting", &error);
        self.undo().await;
        Err(error)
    }

    /// Frees what a start that failed has left.
    pub async fn undo(&self) {
        if let Err(error) = self.destroy().await {
            tracing::warn!(guest = %self.name, %error, "freeing a guest that did not start");
        }
    }

    /// Asks the guest to stop, by way of the daemon. One that the daemon does not know is not asked.
    ///
    /// # Errors
    ///
    /// The daemon's.
    pub async fn ask(&self) -> Result<(), DriverError> {
        match step("micad stop", self.micad.stop(&self.name)).await {
            Ok(()) | Err(Error::UnknownClient { .. }) => Ok(()),
            Err(error) => Err(self.failed("stopping", &error)),
        }
    }

    /// Destroys the guest's domain: by way of the daemon, which has things to free, else without it.
    ///
    /// # Errors
    ///
    /// Xen's, where the domain is still there.
    pub async fn force(&self) -> Result<(), DriverError> {
        let Some(domain) = &self.domain else {
            return Err(DriverError::Unsupported("micad can ask this guest to stop, and not make it"));
        };
        match timeout(FORCE_LIMIT, step("micad stop", self.micad.stop(&self.name))).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(guest = %self.name, %error, "destroying the domain without micad")
            }
            Err(_) => tracing::warn!(guest = %self.name, "micad is busy: destroying the domain without it"),
        }
        domain.destroy().await
    }

    /// Changes a resource.
    ///
    /// # Errors
    ///
    /// The daemon's.
    pub async fn set(&self, key: Key, value: u32) -> Result<(), DriverError> {
        let result = match Setting::new(key, value) {
            Ok(setting) => self.micad.set(&self.name, setting).await,
            Err(error) => Err(error.into()),
        };
        result.map_err(|error| self.failed("changing the resources of", &error))
    }

    /// Asks for the state.
    pub async fn look(&self) -> Look {
        match self.micad.status(&self.name).await {
            Ok(status) => Look::Known(status),
            Err(Error::UnknownClient { .. }) => Look::Forgotten,
            Err(error) => Look::Silent(error),
        }
    }

    /// Takes a guest back from a daemon that has forgotten it. Only on bare metal does micad look whether the guest
    /// already runs.
    ///
    /// # Errors
    ///
    /// The daemon's; it has forgotten the guest again then.
    pub async fn attach(&self, message: &Create) -> Result<(), DriverError> {
        self.create(message).await?;
        self.start().await
    }

    /// The console among the services of a guest, opened and raw.
    pub async fn open_console(&self, status: &Status) -> Option<Device> {
        if status.state != State::Running {
            return None;
        }
        console::open(status, &self.name, &self.dev).await
    }

    /// Frees whatever there is of the guest. Nothing is success.
    ///
    /// # Errors
    ///
    /// What is left, and why.
    pub async fn destroy(&self) -> Result<(), DriverError> {
        let forgotten = self.forget().await;
        let Some(domain) = &self.domain else { return forgotten };
        // micad answers "done" for a domain that it could not destroy.
        domain.destroy().await?;
        if forgotten.is_ok() {
            self.remove_config();
        }
        forgotten
    }

    /// micad keeps the file of a domain that ended before it was asked to remove it.
    pub fn remove_config(&self) {
        let _ = std::fs::remove_file(Path::new(XEN_CONFIGS).join(format!("{}-xen.cfg", self.name)));
    }

    /// Has the daemon forget the client. `stop` comes first: without it `rm` frees less.
    async fn forget(&self) -> Result<(), DriverError> {
        let micad = self.micad.clone();
        let both = async {
            match step("micad stop", micad.stop(&self.name)).await {
                // It may have died of that, and has forgotten the client then.
                Ok(()) | Err(Error::Broken { .. }) => step("micad rm", micad.remove(&self.name)).await,
                error => error,
            }
        };
        match timeout(FORGET_LIMIT, both).await {
            // A daemon that is not there has no clients.
            Ok(Ok(()) | Err(Error::UnknownClient { .. } | Error::Absent { .. } | Error::Dead { .. })) => {
                Ok(())
            }
            Ok(Err(error)) => Err(self.failed("removing", &error)),
            Err(_) => {
                let socket = show(&self.micad.client_socket(&self.name));
                let answer = format!(
                    "micad does not answer on {socket}: it is busy with other guests or hung; try again, or restart it"
                );
                Err(DriverError::backend(self.doing("removing"), answer))
            }
        }
    }

    /// An error of the daemon's, as the driver's.
    fn failed(&self, verb: &str, error: &Error) -> DriverError {
        DriverError::backend(self.doing(verb), error.to_string())
    }

    fn doing(&self, verb: &str) -> String {
        format!("{verb} the guest {}", self.name)
    }
}
