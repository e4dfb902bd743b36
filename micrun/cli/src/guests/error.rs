//! What can be wrong with guests, and what of it may be gone in a while.

use std::io;
use std::path::PathBuf;

use micrun_image_spec::digest::Sha256Digest;
use micrun_unix_grpc::{GrpcError, Status};

use super::archive::ArchiveError;
use super::model::{DeclarationError, StateError};
use super::node::NodeError;
use super::node::programs::ProgramError;

/// Why guests could not be looked after at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GuestsError {
    /// A folder cannot be used.
    #[error("{}: {source}; run this as root", .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A name that no file declares.
    #[error("no guest {name} is declared: `micrun guests list` shows those that are")]
    Unknown {
        /// The name.
        name: String,
    },
    /// One guest.
    #[error("{name}: {error}")]
    Guest {
        /// Its name.
        name: String,
        /// What is wrong.
        error: Box<GuestError>,
    },
}

/// What is wrong with one guest.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GuestError {
    #[error(transparent)]
    Declaration(#[from] DeclarationError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error("it is not healthy: {why}")]
    Unhealthy { why: String },
    #[error(
        "{digest} was not healthy ({why}), so {to} runs again; it is tried again when its image or its declaration changes, \
         or with `micrun guests apply --retry`"
    )]
    TakenBack { digest: Sha256Digest, why: String, to: Sha256Digest },
    #[error(
        "{digest} was not healthy ({why}), and {to}, which ran before it, does not run either: {problem}"
    )]
    NeitherRuns { digest: Sha256Digest, why: String, to: Sha256Digest, problem: Box<GuestError> },
    #[error(
        "the folder {} for its log cannot be made: {source}; make it, and where the service is not to write there, allow it with \
         ReadWritePaths=", .path.display()
    )]
    Log { path: PathBuf, source: io::Error },
    #[error(
        "it is in the namespace {from} yet, and declared for {to}: run `micrun guests apply` first, which moves it"
    )]
    Moves { from: String, to: String },
    #[error("there is no version before this one")]
    NothingBefore,
    #[error("the image {digest} is gone from containerd: `micrun guests update` brings one again")]
    Lost { digest: Sha256Digest },
    #[error(
        "the container {container} is somebody else's: remove it, or give the declaration's file another name"
    )]
    NotOurs { container: String },
    #[error(
        "containerd's restart monitor is switched off: take io.containerd.internal.v1.restart out of disabled_plugins, or write \
         `restart = \"no\"`"
    )]
    NoMonitor,
    #[error(
        "this containerd starts guests always or never: write `restart = \"always\"` or \"no\", or use containerd 1.7"
    )]
    NoPolicies,
}

impl GuestError {
    /// Whether it says nothing about the guest, but that something is wrong with the node.
    pub(super) fn is_of_node(&self) -> bool {
        self.is_of_containerd() || matches!(self, GuestError::State(_))
    }

    /// Whether it may be that containerd is gone.
    pub(super) fn is_of_containerd(&self) -> bool {
        match self {
            GuestError::Node(NodeError::Connect { .. }) => true,
            GuestError::Node(NodeError::Call { source, .. }) => {
                source.is(Status::UNAVAILABLE)
                    || matches!(source, GrpcError::Transport(_) | GrpcError::Silence(_))
            }
            _ => false,
        }
    }

    /// Whether the same may well succeed when it is done again in a while.
    pub(super) fn will_pass(&self) -> bool {
        match self {
            GuestError::NeitherRuns { problem, .. } => problem.will_pass(),
            GuestError::State(StateError::Io { .. })
            | GuestError::Node(NodeError::Program(ProgramError::NotPulled { .. })) => true,
            error => error.is_of_containerd(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn call(source: GrpcError) -> GuestError {
        GuestError::Node(NodeError::Call { doing: "start the guest motor".to_owned(), source })
    }

    fn status(code: u32) -> GuestError {
        call(GrpcError::Status(Status { code, message: "no".to_owned() }))
    }

    #[test]
    fn what_may_be_gone_in_a_while_is_told_from_what_stays() {
        let digest = Sha256Digest::of(b"");
        let neither = |problem| GuestError::NeitherRuns {
            digest,
            why: "it has ended".to_owned(),
            to: digest,
            problem: Box::new(problem),
        };
        let not_pulled = ProgramError::NotPulled { name: "a.b/c:1".to_owned(), said: "no route".to_owned() };
        for passing in [
            call(GrpcError::Transport("it is gone".to_owned())),
            call(GrpcError::Silence(Duration::ZERO)),
            status(Status::UNAVAILABLE),
            GuestError::Node(not_pulled.into()),
            neither(status(Status::UNAVAILABLE)),
        ] {
            assert!(passing.will_pass(), "{passing}");
        }
        for staying in [
            status(Status::FAILED_PRECONDITION),
            GuestError::Unhealthy { why: "it has ended".to_owned() },
            neither(GuestError::Lost { digest }),
        ] {
            assert!(!staying.will_pass() && !staying.is_of_node(), "{staying}");
        }
    }
}
