//! The options of all commands that speak to registries.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use crate::registry::login::AuthPlace;
use crate::registry::{Login, Options, Registry};
use crate::store::progress::Progress;

/// How registries are spoken to.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Registries")]
pub(super) struct RegistryArgs {
    /// PEM file with CA certificates to trust besides the system's; may be given several times
    #[arg(long = "ca-file", value_name = "FILE")]
    ca_files: Vec<PathBuf>,
    /// Speak HTTP without TLS: for registries on this machine
    #[arg(long)]
    plain_http: bool,
    /// File with credentials, auth.json or config.json [default: those of podman, skopeo and docker]
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
    /// How often a request is repeated that failed for a reason that may pass
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = Options::default().retries)]
    retries: u32,
}

impl RegistryArgs {
    /// The registries that these options lead to.
    pub(super) fn registry(&self, progress: Arc<dyn Progress + Send + Sync>) -> Registry {
        let login = match &self.authfile {
            Some(path) => Login::Files(vec![AuthPlace { path: path.clone(), required: true }]),
            None => Login::default(),
        };
        Registry::new(Options {
            ca_files: self.ca_files.clone(),
            plain_http: self.plain_http,
            login,
            retries: self.retries,
            progress,
            ..Options::default()
        })
    }
}
