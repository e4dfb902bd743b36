//! gRPC calls over a Unix socket: messages with a five-byte head in the streams of HTTP/2, and a status at the end (gRPC
//! over HTTP2, in grpc's doc/PROTOCOL-HTTP2.md). `load` speaks to containerd with it, and so do the end-to-end tests;
//! docs/decisions/0007-containerd-load.md says why it is our own.

pub mod containerd;

use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use prost::Message;
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

/// Longest answer that is taken, bytes. Those that are asked for have some hundred.
const MAX_ANSWER: usize = 4 << 20;
/// Bytes of the head of a message: whether it is compressed, and its length.
const HEAD: usize = 5;
/// The last call of a write returns when the disk has everything.
const PATIENCE: Duration = Duration::from_secs(120);

/// Why a call has no answer.
#[derive(Debug)]
pub enum GrpcError {
    /// The other side is gone, or speaks something else.
    Transport(String),
    /// Nothing came.
    Silence(Duration),
    /// The answer is an error.
    Status(Status),
}

/// What the other side says at the end of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// gRPC's number.
    pub code: u32,
    /// A sentence.
    pub message: String,
}

impl Status {
    /// No error.
    pub const OK: u32 = 0;
    /// There is no such thing.
    pub const NOT_FOUND: u32 = 5;
    /// It is there already.
    pub const ALREADY_EXISTS: u32 = 6;
    /// Not in this state.
    pub const FAILED_PRECONDITION: u32 = 9;
    /// Nobody can do that.
    pub const UNIMPLEMENTED: u32 = 12;
    /// Not now.
    pub const UNAVAILABLE: u32 = 14;
}

impl fmt::Display for GrpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GrpcError::Transport(problem) => f.write_str(problem),
            GrpcError::Silence(patience) => write!(f, "no answer within {} s", patience.as_secs()),
            GrpcError::Status(Status { code, message }) => write!(f, "{message} (gRPC code {code})"),
        }
    }
}

impl std::error::Error for GrpcError {}

impl GrpcError {
    /// True if the answer is this error.
    pub fn is(&self, code: u32) -> bool {
        matches!(self, GrpcError::Status(status) if status.code == code)
    }
}

fn transport(error: impl std::fmt::Display) -> GrpcError {
    GrpcError::Transport(error.to_string())
}

/// A connection. Its calls block; what HTTP/2 does in between is done while one of them waits.
pub struct Channel {
    runtime: Runtime,
    requests: SendRequest<Bytes>,
    metadata: HeaderMap,
}

impl Channel {
    /// Connects to a socket. What listens there is not known before the first call.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn connect(address: &Path) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        let requests = runtime.block_on(async {
            let socket = UnixStream::connect(address).await?;
            let (requests, connection) = h2::client::handshake(socket).await.map_err(io::Error::other)?;
            // Its error reaches the calls as well.
            tokio::spawn(async { drop(connection.await) });
            Ok::<_, io::Error>(requests)
        })?;
        Ok(Channel { runtime, requests, metadata: HeaderMap::new() })
    }

    /// Adds to what every call brings.
    ///
    /// # Errors
    ///
    /// [`GrpcError`].
    pub fn set_metadata(&mut self, name: &'static str, value: &str) -> Result<(), GrpcError> {
        let value = HeaderValue::from_str(value).map_err(transport)?;
        self.metadata.insert(HeaderName::from_static(name), value);
        Ok(())
    }

    /// Calls a method that takes one message and gives one.
    ///
    /// # Errors
    ///
    /// [`GrpcError`].
    pub fn call<A: Message + Default>(
        &self,
        service: &str,
        method: &str,
        request: &impl Message,
        patience: Duration,
    ) -> Result<A, GrpcError> {
        self.runtime.block_on(with_patience(patience, async {
            let mut call = self.begin(service, method).await?;
            call.send(request, true)?;
            let answer = call.receive().await?;
            call.end().await?;
            Ok(answer)
        }))
    }

    /// Opens a call in which messages go to and fro.
    ///
    /// # Errors
    ///
    /// [`GrpcError`].
    pub fn open(&self, service: &str, method: &str) -> Result<Call, GrpcError> {
        self.runtime.block_on(with_patience(PATIENCE, self.begin(service, method)))
    }

    /// Sends a message into an open call and waits for its answer.
    ///
    /// # Errors
    ///
    /// [`GrpcError`].
    pub fn exchange<A: Message + Default>(
        &self,
        call: &mut Call,
        request: &impl Message,
    ) -> Result<A, GrpcError> {
        self.runtime.block_on(with_patience(PATIENCE, async {
            call.send(request, false)?;
            call.receive().await
        }))
    }

    /// Sends the last message into an open call, and waits for its answer and the call's end.
    ///
    /// # Errors
    ///
    /// [`GrpcError`].
    pub fn finish(&self, mut call: Call, request: &impl Message) -> Result<(), GrpcError> {
        self.runtime.block_on(with_patience(PATIENCE, async {
            call.send(request, true)?;
            call.end().await
        }))
    }

    /// Calls a method that takes one message and gives many, to be read with [`Channel::next`].
    ///
    /// # Errors
    ///
    /// [`GrpcError`].
    pub fn subscribe(&self, service: &str, method: &str, request: &impl Message) -> Result<Call, GrpcError> {
        self.runtime.block_on(with_patience(PATIENCE, async {
            let mut call = self.begin(service, method).await?;
            call.send(request, true)?;
            Ok(call)
        }))
    }

    /// Waits for the next message. After a [`GrpcError::Silence`] one can wait on.
    ///
    /// # Errors
    ///
    /// [`GrpcError`].
    pub fn next<A: Message + Default>(&self, call: &mut Call, patience: Duration) -> Result<A, GrpcError> {
        self.runtime.block_on(with_patience(patience, call.receive()))
    }

    async fn begin(&self, service: &str, method: &str) -> Result<Call, GrpcError> {
        let mut requests = self.requests.clone().ready().await.map_err(transport)?;
        let mut request = Request::post(format!("http://localhost/{service}/{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .map_err(transport)?;
        request.headers_mut().extend(self.metadata.clone());
        let (response, stream) = requests.send_request(request, false).map_err(transport)?;
        Ok(Call { stream, response: Some(response), body: None, received: BytesMut::new() })
    }
}

async fn with_patience<T>(
    patience: Duration,
    work: impl Future<Output = Result<T, GrpcError>>,
) -> Result<T, GrpcError> {
    timeout(patience, work).await.unwrap_or(Err(GrpcError::Silence(patience)))
}

/// An open call.
pub struct Call {
    stream: SendStream<Bytes>,
    /// Until the head of the answer is there; then there is a body.
    response: Option<ResponseFuture>,
    body: Option<RecvStream>,
    received: BytesMut,
}

impl Call {
    /// Hands a message over. Whoever waits for each answer before the next message has one message in memory at a time.
    fn send(&mut self, message: &impl Message, is_last: bool) -> Result<(), GrpcError> {
        let length = u32::try_from(message.encoded_len()).map_err(transport)?;
        let mut frame = BytesMut::with_capacity(HEAD + message.encoded_len());
        frame.put_u8(0);
        frame.put_u32(length);
        message.encode(&mut frame).map_err(transport)?;
        match self.stream.send_data(frame.freeze(), is_last) {
            // The other side has closed the call: it says why when it is asked for its answer.
            Err(_) if self.response.is_none() => Ok(()),
            result => result.map_err(transport),
        }
    }

    /// Waits for a message.
    async fn receive<A: Message + Default>(&mut self) -> Result<A, GrpcError> {
        loop {
            if let Some(message) = self.take_message()? {
                return A::decode(message).map_err(transport);
            }
            if let Some(status) = self.fill().await? {
                return Err(match status.code {
                    Status::OK => transport("the call ended without an answer"),
                    _ => GrpcError::Status(status),
                });
            }
        }
    }

    /// Waits for the end of the call.
    async fn end(&mut self) -> Result<(), GrpcError> {
        loop {
            self.received.clear();
            match self.fill().await? {
                None => {}
                Some(Status { code: Status::OK, .. }) => return Ok(()),
                Some(status) => return Err(GrpcError::Status(status)),
            }
        }
    }

    /// The next message, if it is there as a whole.
    fn take_message(&mut self) -> Result<Option<Bytes>, GrpcError> {
        let Some(head) = self.received.get(..HEAD) else { return Ok(None) };
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if head[0] != 0 || length > MAX_ANSWER {
            return Err(transport("an answer is compressed or too long"));
        }
        if self.received.len() - HEAD < length {
            return Ok(None);
        }
        self.received.advance(HEAD);
        Ok(Some(self.received.split_to(length).freeze()))
    }

    /// Waits for more bytes; gives the status if there are no more.
    async fn fill(&mut self) -> Result<Option<Status>, GrpcError> {
        if let Some(response) = &mut self.response {
            // Still there for the next time, if nobody waits for it long enough.
            let answer = response.await;
            self.response = None;
            let (head, body) = answer.map_err(transport)?.into_parts();
            let kind = head.headers.get("content-type").map(HeaderValue::as_bytes).unwrap_or_default();
            if head.status != 200 || !kind.starts_with(b"application/grpc") {
                return Err(transport(format!("it answers with HTTP status {} and no gRPC", head.status)));
            }
            self.body = Some(body);
            // An answer that is an error has no body at all.
            return Ok(status_in(&head.headers));
        }
        let Some(body) = &mut self.body else { return Err(transport("the call is over")) };
        match body.data().await {
            Some(bytes) => {
                let bytes = bytes.map_err(transport)?;
                body.flow_control().release_capacity(bytes.len()).map_err(transport)?;
                self.received.extend_from_slice(&bytes);
                Ok(None)
            }
            None => {
                let trailers = body.trailers().await.map_err(transport)?;
                let status = trailers.as_ref().and_then(status_in);
                status.ok_or_else(|| transport("the call ended without a status")).map(Some)
            }
        }
    }
}

fn status_in(headers: &HeaderMap) -> Option<Status> {
    let code = headers.get("grpc-status")?.to_str().ok()?.parse().ok()?;
    let message = headers.get("grpc-message").map(|value| percent_decoded(value.as_bytes()));
    Some(Status { code, message: message.unwrap_or_default() })
}

/// Messages have `%` and two digits for bytes that headers cannot hold.
fn percent_decoded(text: &[u8]) -> String {
    let mut decoded = Vec::new();
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(|_| byte == b'%') {
            Some(value) => {
                decoded.push(value);
                rest = &tail[2..];
            }
            None => {
                decoded.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_decoded() {
        for (text, message) in
            [("plain", "plain"), ("a%3A b%20%E2%82%AC", "a: b €"), ("100%", "100%"), ("%zz%4", "%zz%4")]
        {
            assert_eq!(percent_decoded(text.as_bytes()), message);
        }
    }
}
