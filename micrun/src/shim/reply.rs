//! From domain values and errors to what ttrpc carries.

use std::time::{SystemTime, UNIX_EPOCH};

use containerd_shim::protos::protobuf::well_known_types::timestamp::Timestamp;
use containerd_shim::protos::ttrpc::{self, Code, get_status};

use crate::bundle::BundleError;
use crate::container::ContainerError;
use crate::container::create::{CreateError, CreateFailure};
use crate::container::exec::ExecError;
use crate::reservations::ReservationError;
use crate::store::StoreError;

/// A time as protobuf has it.
pub fn timestamp(at: SystemTime) -> Timestamp {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        // Less than 10^9, which fits.
        nanos: i32::try_from(since.subsec_nanos()).unwrap_or_default(),
        ..Default::default()
    }
}

/// An error with a code and a sentence.
pub fn error(code: Code, text: impl Into<String>) -> ttrpc::Error {
    ttrpc::Error::RpcStatus(get_status(code, text.into()))
}

/// The code of a request that failed.
pub fn request_failed(id: &str, failure: &ContainerError) -> ttrpc::Error {
    let code = match failure {
        // In runc's shim, a kill after the exit: engines go on as if it had succeeded.
        ContainerError::Illegal(crate::container::state::Illegal::Finished) | ContainerError::Gone => {
            Code::NOT_FOUND
        }
        ContainerError::Illegal(_) => Code::FAILED_PRECONDITION,
        ContainerError::Unsupported(_) => Code::UNIMPLEMENTED,
        ContainerError::NoSuchSignal(_) | ContainerError::Resources(_) => Code::INVALID_ARGUMENT,
        ContainerError::Reservation(refusal) => reservation_failed(refusal),
        ContainerError::Exec(refusal) => exec_failed(refusal),
        ContainerError::Driver(_) => Code::INTERNAL,
    };
    error(code, format!("container {id}: {failure}"))
}

/// The code of a command that cannot be had.
fn exec_failed(refusal: &ExecError) -> Code {
    match refusal {
        ExecError::Exists(_) => Code::ALREADY_EXISTS,
        ExecError::Unknown(_) => Code::NOT_FOUND,
        ExecError::NotStarted | ExecError::NoInit | ExecError::NoConsole | ExecError::Stream(_) => {
            Code::FAILED_PRECONDITION
        }
        ExecError::NoGuest | ExecError::NoOs | ExecError::NoProfile(_) | ExecError::NoShell(_) => {
            Code::UNIMPLEMENTED
        }
        ExecError::Line(_) => Code::INVALID_ARGUMENT,
    }
}

/// The code of a container that could not be created. Never Unimplemented: containerd 2.x would take that
/// for an older API and ask again.
pub fn create_failed(failure: &CreateError) -> ttrpc::Error {
    let code = match &failure.reason {
        CreateFailure::Store(StoreError::Exists(_)) => Code::ALREADY_EXISTS,
        CreateFailure::Bundle(BundleError::Io { .. } | BundleError::Mount(_)) => Code::INTERNAL,
        CreateFailure::Bundle(BundleError::Denied(_)) | CreateFailure::Denied(_) => Code::PERMISSION_DENIED,
        CreateFailure::Bundle(_) => Code::INVALID_ARGUMENT,
        CreateFailure::Resources(_) => Code::INVALID_ARGUMENT,
        CreateFailure::Plan(_)
        | CreateFailure::Config(_)
        | CreateFailure::Network(_)
        | CreateFailure::Boards(_)
        | CreateFailure::Os(_)
        | CreateFailure::Stream(_) => Code::FAILED_PRECONDITION,
        CreateFailure::Reservation(refusal) => reservation_failed(refusal),
        CreateFailure::Recovery(_)
        | CreateFailure::NotFreed(_)
        | CreateFailure::Driver(_)
        | CreateFailure::Store(_)
        | CreateFailure::Proc(_) => Code::INTERNAL,
    };
    error(code, failure.to_string())
}

/// What is taken can be freed, and the same request made again.
fn reservation_failed(refusal: &ReservationError) -> Code {
    match refusal {
        ReservationError::Core { .. }
        | ReservationError::Coprocessor { .. }
        | ReservationError::Interface { .. }
        | ReservationError::Memory(_) => Code::RESOURCE_EXHAUSTED,
        ReservationError::Unreadable { .. } | ReservationError::Locked(_) => Code::FAILED_PRECONDITION,
        ReservationError::Driver(_) | ReservationError::Store(_) => Code::INTERNAL,
    }
}
