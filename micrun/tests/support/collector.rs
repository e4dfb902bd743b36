//! A collector of OpenTelemetry on loopback: real HTTP, and messages decoded by OpenTelemetry's own definitions.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What it says to a request.
#[derive(Clone, Copy)]
pub enum Manner {
    Accepts,
    /// This status.
    Refuses(u16),
    /// Something that is not HTTP.
    Babbles,
    /// Nothing.
    Hangs,
    /// Nothing, and closes.
    HangsUp,
}

/// Takes spans and remembers them.
#[derive(Clone)]
pub struct Collector {
    pub port: u16,
    got: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    manner: Arc<Mutex<Manner>>,
    connections: Arc<AtomicUsize>,
}

impl Collector {
    pub async fn start(manner: Manner) -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let collector = Collector {
            port: listener.local_addr().unwrap().port(),
            got: Arc::default(),
            manner: Arc::new(Mutex::new(manner)),
            connections: Arc::default(),
        };
        let serving = collector.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serving.connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        collector
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn behave(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    /// How often somebody connected.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    async fn serve(self, mut stream: TcpStream) {
        let body = request(&mut stream).await;
        let manner = *self.manner.lock().unwrap();
        let answer = match manner {
            Manner::Accepts => {
                self.got.lock().unwrap().push(ExportTraceServiceRequest::decode(body.as_slice()).unwrap());
                "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n"
                    .to_owned()
            }
            Manner::Refuses(status) => format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n"),
            Manner::Babbles => "SSH-2.0-OpenSSH_9.2\r\n".to_owned(),
            Manner::Hangs => return std::future::pending().await,
            Manner::HangsUp => return,
        };
        stream.write_all(answer.as_bytes()).await.unwrap();
        // Not everybody closes when asked to.
        std::future::pending().await
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Span> {
        let got = self.got.lock().unwrap();
        let scopes = got.iter().flat_map(|request| &request.resource_spans).flat_map(|of| &of.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }

    /// What is said of whoever sent the first of them.
    pub fn resource(&self) -> Vec<KeyValue> {
        let got = self.got.lock().unwrap();
        got[0].resource_spans[0].resource.as_ref().unwrap().attributes.clone()
    }

    /// Waits for a span of this name.
    pub async fn span(&self, name: &str) -> Span {
        let found = async {
            loop {
                match self.spans().into_iter().find(|span| span.name == name) {
                    Some(span) => return span,
                    None => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
                }
            }
        };
        let found = tokio::time::timeout(super::SOON, found).await;
        let names = || self.spans().into_iter().map(|span| span.name).collect::<Vec<_>>();
        found.unwrap_or_else(|_| panic!("no span {name:?} among {:?}", names()))
    }
}

/// Reads a request and gives its body.
async fn request(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let end = loop {
        assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "the request ends early");
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nContent-Type: application/x-protobuf\r\n"), "{head}");
    assert!(head.contains("\r\nHost: 127.0.0.1:"), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
    let mut body = bytes.split_off(end);
    while body.len() < length.parse().unwrap() {
        assert!(stream.read_buf(&mut body).await.unwrap() > 0, "the body ends early");
    }
    body
}

/// An attribute's text, or its number as text.
pub fn attribute(attributes: &[KeyValue], name: &str) -> Option<String> {
    let pair = attributes.iter().find(|pair| pair.key == name)?;
    match &pair.value {
        Some(AnyValue { value: Some(Value::StringValue(text)) }) => Some(text.clone()),
        Some(AnyValue { value: Some(Value::IntValue(number)) }) => Some(number.to_string()),
        other => panic!("{name} is {other:?}"),
    }
}
