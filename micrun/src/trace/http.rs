//! One request to a collector: HTTP/1.1 over TCP, a connection for each.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::node::Endpoint;
use crate::namespace::on_own_thread;

/// How long a collector may take to answer.
const LIMIT: Duration = Duration::from_secs(5);

/// About the most that is read of an answer, bytes. Its first line is all that matters.
const MAX_ANSWER: usize = 1024;

/// Why a collector did not take spans.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// No connection, or a broken one.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// No answer.
    #[error("no answer within {} s", LIMIT.as_secs())]
    Deadline,
    /// A refusal.
    #[error("HTTP status {0}")]
    Status(u16),
    /// Something that is no collector.
    #[error("the answer is not HTTP")]
    NotHttp,
}

impl SendError {
    /// Whether the same spans may be taken later (OTLP specification, "Retryable Response Codes").
    pub fn is_for_now(&self) -> bool {
        match self {
            SendError::Io(_) | SendError::Deadline => true,
            SendError::Status(status) => matches!(status, 429 | 502 | 503 | 504),
            SendError::NotHttp => false,
        }
    }
}

/// Sends one message.
///
/// # Errors
///
/// [`SendError`] where the collector did not say that it has it.
pub async fn post(endpoint: &Endpoint, message: &[u8]) -> Result<(), SendError> {
    let status = timeout(LIMIT, exchange(endpoint, message)).await.map_err(|_| SendError::Deadline)??;
    match status {
        200..=299 => Ok(()),
        other => Err(SendError::Status(other)),
    }
}

async fn exchange(endpoint: &Endpoint, message: &[u8]) -> Result<u16, SendError> {
    let mut stream = TcpStream::connect(&*addresses(endpoint).await?).await?;
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: micrun/{}\r\nContent-Type: application/x-protobuf\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        endpoint.path,
        endpoint.authority,
        env!("CARGO_PKG_VERSION"),
        message.len(),
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(message).await?;
    status(&first_line(&mut stream).await?).ok_or(SendError::NotHttp)
}

/// The answer up to the end of its first line, whatever else comes with it: not everybody closes when asked to.
async fn first_line(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    let mut buffer = [0; MAX_ANSWER];
    while !answer.contains(&b'\n') && answer.len() < MAX_ANSWER {
        match stream.read(&mut buffer).await? {
            0 => break,
            length => answer.extend_from_slice(&buffer[..length]),
        }
    }
    Ok(answer)
}

/// Where it is. Names are looked up on a thread that ends with the answer: tokio's own would stay for 10 s.
async fn addresses(endpoint: &Endpoint) -> io::Result<Vec<SocketAddr>> {
    let port = endpoint.port;
    if let Ok(address) = endpoint.host.parse::<IpAddr>() {
        return Ok(vec![(address, port).into()]);
    }
    let host = endpoint.host.clone();
    on_own_thread(move || Ok((host.as_str(), port).to_socket_addrs()?.collect())).await
}

/// The status of an HTTP/1 answer (RFC 9112, section 4); `None` where it is none.
pub fn status(answer: &[u8]) -> Option<u16> {
    let rest = answer.strip_prefix(b"HTTP/1.")?;
    let [b'0'..=b'9', b' ', digits @ ..] = rest else { return None };
    let (digits, end) = digits.split_at_checked(3)?;
    let ends = matches!(end.first(), None | Some(b' ' | b'\r' | b'\n'));
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (ends && (100..=599).contains(&number)).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_says_it_all() {
        assert_eq!(status(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), Some(200));
        assert_eq!(status(b"HTTP/1.0 503"), Some(503));
        for bad in
            ["", "HTTP/1.1", "HTTP/1.1 2000 x", "HTTP/1.1 +20 x", "HTTP/2 200", "SSH-2.0-x", "HTTP/1.1 999 x"]
        {
            assert_eq!(status(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn what_may_pass_is_told_from_what_will_not() {
        assert!(SendError::Status(503).is_for_now() && SendError::Deadline.is_for_now());
        assert!(!SendError::Status(400).is_for_now() && !SendError::NotHttp.is_for_now());
    }
}
