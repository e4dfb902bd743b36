//! A server that answers what a test wants, and remembers what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

#[derive(Debug, Clone, Default)]
pub struct Request {
    pub method: String,
    /// With its query.
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// False if the connection ended before the body did.
    pub whole: bool,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// `GET /v2/a/b/manifests/v1`.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// What goes over the line, byte by byte.
pub struct Reply(pub Vec<u8>);

impl Reply {
    pub fn new(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Self {
        let mut text = format!("HTTP/1.1 {status} Test\r\nConnection: close\r\n");
        if status != 204 && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
            text += &format!("Content-Length: {}\r\n", body.len());
        }
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        let mut bytes = (text + "\r\n").into_bytes();
        bytes.extend(body);
        Reply(bytes)
    }

    pub fn status(status: u16) -> Self {
        Reply::new(status, &[], b"")
    }

    /// The connection is closed without a word.
    pub fn nothing() -> Self {
        Reply(Vec::new())
    }
}

#[derive(Clone)]
pub struct Script {
    pub address: SocketAddr,
    log: Arc<Mutex<Vec<Request>>>,
    /// Answers requests that ask first (`Expect: 100-continue`), before their body has come.
    refusal: Arc<Refusal>,
}

type Refusal = dyn Fn(&Request) -> Option<Reply> + Send + Sync;

impl Script {
    /// The handler gets every request and how many came before it.
    pub fn start(handler: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::refusing(|_| None, handler)
    }

    /// The same with a look at requests that ask whether they may send their body.
    pub fn refusing(
        refusal: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static,
        handler: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let script = Script {
            address: listener.local_addr().unwrap(),
            log: Arc::default(),
            refusal: Arc::new(refusal),
        };
        let (shared, handler) = (script.clone(), Arc::new(handler));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (shared, handler) = (shared.clone(), Arc::clone(&handler));
                thread::spawn(move || shared.serve(stream.unwrap(), &*handler));
            }
        });
        script
    }

    pub fn requests(&self) -> Vec<Request> {
        self.log.lock().unwrap().clone()
    }

    pub fn lines(&self) -> Vec<String> {
        self.requests().iter().map(Request::line).collect()
    }

    fn serve(&self, stream: TcpStream, handler: &dyn Fn(&Request, usize) -> Reply) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let Some(mut request) = read_head(&mut reader) else { return };
        let refused = request.header("Expect").and_then(|_| (self.refusal)(&request));
        if refused.is_none() {
            read_body(&mut request, &mut reader, &stream);
        }
        let count = {
            let mut log = self.log.lock().unwrap();
            log.push(request.clone());
            log.len() - 1
        };
        let head = request.method == "HEAD";
        let mut reply = refused.unwrap_or_else(|| handler(&request, count)).0;
        if let Some(end) = reply.windows(4).position(|four| four == b"\r\n\r\n").filter(|_| head) {
            reply.truncate(end + 4);
        }
        let _ = (&stream).write_all(&reply);
        let _ = stream.shutdown(Shutdown::Write);
        // Until the client has seen it: closing now would send a reset after what it has not read yet.
        let _ = std::io::copy(&mut reader, &mut std::io::sink());
    }
}

fn read_head(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|&n| n > 0)?;
    let mut words = line.split_whitespace();
    let mut request =
        Request { method: words.next()?.to_owned(), path: words.next()?.to_owned(), ..Request::default() };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.split_once(':') else { return Some(request) };
        request.headers.push((name.to_owned(), value.trim().to_owned()));
    }
}

fn read_body(request: &mut Request, reader: &mut BufReader<TcpStream>, mut stream: &TcpStream) {
    if request.header("Expect").is_some() {
        let _ = stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
    }
    let length = request.header("Content-Length").map_or(0, |length| length.parse().unwrap());
    let _ = reader.take(length).read_to_end(&mut request.body);
    request.whole = request.body.len() as u64 == length;
}
