//! The side of containerd that takes events.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use containerd_shim_protos::api::{Empty, ForwardRequest};
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::shim_async::{Events, create_events};
use containerd_shim_protos::ttrpc::r#async::{Server, TtrpcContext};
use containerd_shim_protos::ttrpc::{self};

/// Takes events and remembers them. It can go away and come back.
pub struct Containerd {
    socket: PathBuf,
    events: Recorder,
    server: Option<Server>,
}

#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<ForwardRequest>>>);

#[async_trait]
impl Events for Recorder {
    async fn forward(&self, _: &TtrpcContext, request: ForwardRequest) -> ttrpc::Result<Empty> {
        self.0.lock().unwrap().push(request);
        Ok(Empty::new())
    }
}

impl Containerd {
    pub async fn start(socket: PathBuf) -> Containerd {
        let mut containerd = Containerd { socket, events: Recorder::default(), server: None };
        containerd.come_back().await;
        containerd
    }

    pub fn address(&self) -> String {
        self.socket.display().to_string()
    }

    pub async fn go_away(&mut self) {
        self.server.take().unwrap().shutdown().await.unwrap();
        std::fs::remove_file(&self.socket).unwrap();
    }

    pub async fn come_back(&mut self) {
        let mut server = Server::new()
            .bind(&format!("unix://{}", self.socket.display()))
            .unwrap()
            .register_service(create_events(Arc::new(self.events.clone())));
        server.start().await.unwrap();
        self.server = Some(server);
    }

    /// The topics so far, in order.
    pub fn topics(&self) -> Vec<String> {
        let topic = |request: &ForwardRequest| request.envelope.topic.clone();
        self.events.0.lock().unwrap().iter().map(topic).collect()
    }

    /// All that was told so far, in order.
    pub fn told(&self) -> Vec<ForwardRequest> {
        self.events.0.lock().unwrap().clone()
    }

    /// Waits until this many events are there, and gives their topics.
    pub async fn wait_for(&self, count: usize) -> Vec<String> {
        let deadline = tokio::time::Instant::now() + super::SOON;
        while self.topics().len() < count && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        self.topics()
    }

    /// The first event of a topic, as the message it carries.
    pub fn event<T: Message>(&self, topic: &str) -> T {
        let events = self.events.0.lock().unwrap();
        let request = events.iter().find(|request| request.envelope.topic == topic).unwrap();
        T::parse_from_bytes(&request.envelope.event.value).unwrap()
    }
}
