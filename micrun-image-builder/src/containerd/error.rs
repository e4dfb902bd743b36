//! Why an image did not get into containerd, and what the user can try.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use micrun_image_spec::text::excerpt;
use micrun_unix_grpc::{GrpcError, Status};

use crate::store::StoreError;

/// Why an image did not get into containerd.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContainerdError {
    /// There is no socket.
    #[error(
        "there is no containerd at {}: start it (systemctl start containerd), or give its socket with --address (k3s has \
         /run/k3s/containerd/containerd.sock)", address.display()
    )]
    NoSocket {
        /// Where it should be.
        address: PathBuf,
    },
    /// There is a socket, but nobody listens.
    #[error(
        "nobody answers at {}: it is no socket, or containerd has ended (systemctl start containerd starts it)", address.display()
    )]
    NobodyListens {
        /// The socket.
        address: PathBuf,
    },
    /// The user may not use it.
    #[error(
        "{} may be used by root alone: run this with sudo, or give the socket of your own containerd with --address",
        address.display()
    )]
    Permission {
        /// The socket.
        address: PathBuf,
    },
    /// The socket cannot be used for another reason.
    #[error("cannot connect to containerd at {}: {source}", address.display())]
    Connect {
        /// The socket.
        address: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Somebody else listens there.
    #[error("what answers at {} is not containerd ({problem}): give containerd's socket with --address", address.display())]
    NotContainerd {
        /// The socket.
        address: PathBuf,
        /// What it did.
        problem: String,
    },
    /// containerd said no.
    #[error("containerd cannot {doing}: {message}")]
    Refused {
        /// What it was asked to do.
        doing: String,
        /// What it said.
        message: String,
    },
    /// containerd went away.
    #[error(
        "containerd went away while it was to {doing} ({problem}): look at its log (journalctl -u containerd), then try again"
    )]
    Lost {
        /// What it was asked to do.
        doing: String,
        /// What was seen.
        problem: String,
    },
    /// containerd does not answer.
    #[error(
        "containerd was to {doing} and has said nothing for {} s: look at its log (journalctl -u containerd)",
        patience.as_secs()
    )]
    Silent {
        /// What it was asked to do.
        doing: String,
        /// How long it had.
        patience: Duration,
    },
}

impl ContainerdError {
    /// For `map_err`: what went wrong while connecting.
    pub(super) fn connect(address: PathBuf) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.kind() {
            io::ErrorKind::NotFound => ContainerdError::NoSocket { address },
            io::ErrorKind::ConnectionRefused => ContainerdError::NobodyListens { address },
            io::ErrorKind::PermissionDenied => ContainerdError::Permission { address },
            _ => ContainerdError::Connect { address, source },
        }
    }

    /// For `map_err`: the first call shows who listens.
    pub(super) fn first_call(address: PathBuf) -> impl FnOnce(GrpcError) -> Self {
        move |error| {
            let problem = match error {
                GrpcError::Status(Status { code: Status::UNIMPLEMENTED, .. }) => {
                    "it speaks gRPC, but has no version to tell".to_owned()
                }
                GrpcError::Status(Status { message, .. }) => excerpt(&message),
                GrpcError::Transport(problem) => problem,
                GrpcError::Silence(patience) => format!("it says nothing for {} s", patience.as_secs()),
            };
            ContainerdError::NotContainerd { address, problem }
        }
    }

    /// For `map_err`: any other call.
    pub(super) fn call(doing: impl Into<String>) -> impl FnOnce(GrpcError) -> Self {
        let doing = doing.into();
        move |error| match error {
            GrpcError::Status(Status { message, .. }) => {
                ContainerdError::Refused { doing, message: excerpt(&message) }
            }
            GrpcError::Transport(problem) => ContainerdError::Lost { doing, problem },
            GrpcError::Silence(patience) => ContainerdError::Silent { doing, patience },
        }
    }
}

impl From<ContainerdError> for StoreError {
    fn from(error: ContainerdError) -> Self {
        StoreError::Containerd(Box::new(error))
    }
}
