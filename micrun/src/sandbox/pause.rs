//! A guest that is nothing: what stands where Linux containers have the program "pause".

use async_trait::async_trait;
use micrun_image_spec::firmware::Pedestal;
use tokio::sync::mpsc;

use crate::id::Key;
use crate::pedestal::{
    Capabilities, Created, Driver, DriverError, Event, ExitNotice, Guest, GuestSpec, Live, Node, Plan,
    PlanError, Record, Usage,
};
use crate::resources::{Change, CpuSet};

/// The name in records.
const NAME: &str = "pause";

const NOTHING: DriverError = DriverError::Unsupported("there is no guest that could be told to do this");

/// The driver of that guest. No image asks for it.
#[derive(Debug)]
pub struct Pause;

impl Pause {
    /// The guest. Nothing is made.
    pub fn guest() -> Created {
        let (open, events) = mpsc::unbounded_channel();
        let record = Record { driver: NAME.to_owned(), data: serde_json::Value::Null };
        Created { guest: Box::new(Nothing { _open: open }), record, console: None, events }
    }
}

#[async_trait]
impl Driver for Pause {
    fn name(&self) -> &'static str {
        NAME
    }

    fn serves(&self, _: Pedestal) -> bool {
        false
    }

    fn absent(&self, _: &Node) -> Option<PlanError> {
        None
    }

    async fn cores(&self, _: &Node) -> Result<CpuSet, DriverError> {
        Ok(CpuSet::default())
    }

    fn plan(&self, _: &GuestSpec, _: &Node) -> Result<Box<dyn Plan>, PlanError> {
        Err(PlanError::new("the sandbox of a pod runs no image", "give the pod a container"))
    }

    async fn adopt(&self, _: &Record) -> Result<Created, DriverError> {
        Ok(Pause::guest())
    }

    async fn destroy(&self, _: &Record) -> Result<(), DriverError> {
        Ok(())
    }

    async fn destroy_lost(&self, _: &Key) -> Result<(), DriverError> {
        Ok(())
    }
}

struct Nothing {
    /// Nothing ever happens, and a closed channel would mean that the driver has lost its guest.
    _open: mpsc::UnboundedSender<Event>,
}

#[async_trait]
impl Guest for Nothing {
    fn pid(&self) -> Option<u32> {
        None
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { ask: false, force: true, pause: false, live: Live::NOTHING, exit: ExitNotice::Never }
    }

    async fn start(&mut self) -> Result<(), DriverError> {
        Ok(())
    }

    async fn ask(&mut self) -> Result<(), DriverError> {
        Err(NOTHING)
    }

    async fn force(&mut self) -> Result<(), DriverError> {
        Ok(())
    }

    async fn pause(&mut self) -> Result<(), DriverError> {
        Err(NOTHING)
    }

    async fn resume(&mut self) -> Result<(), DriverError> {
        Err(NOTHING)
    }

    async fn apply(&mut self, _: &Change) -> Result<(), DriverError> {
        Err(NOTHING)
    }

    async fn usage(&mut self) -> Result<Usage, DriverError> {
        Ok(Usage::default())
    }
}
