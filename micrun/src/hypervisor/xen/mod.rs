//! Xen, as seen from its control domain (Dom0): through `xl` and xenstored, which every Xen has, whatever
//! manages the guests. The drivers of `pedestal` for domains of micad and for domains of our own share this.
//!
//! - `xl`: runs the program. `list`, `info`: read what it prints (pure).
//! - `wire`, `store`: the protocol of xenstored (pure), and a client; `device`: its
//!   other way there.
//! - `name`: what a domain is called, so that nobody else's is ever touched.
//! - `config`: the configuration of a domain, generated (pure). `vif`: an interface in it that the shim itself connects.
//! - `toolstack`: what can be done with domains. `watch`: the end of one, as an event.
//! - `log`: what the process that `xl create` may leave behind wrote about an end (pure but for one read).
//!
//! What is done with which tool and why is in `docs/xen.md`.

mod config;
mod device;
mod error;
mod info;
mod list;
mod log;
mod name;
mod store;
mod toolstack;
mod vcpus;
pub mod vif;
mod watch;
mod wire;
mod xl;

pub use config::{Affinity, ConfigError, DomainConfig, cap};
pub use error::XenError;
pub use info::Info;
pub use list::{Listed, Reason, State};
pub use name::{DomainName, DomainRef, InvalidName, InvalidUuid, Uuid};
pub use store::{Changed, Store};
pub use toolstack::{Domain, Xen};
pub use watch::{DomainWatch, Ending};
pub use xl::Xl;
