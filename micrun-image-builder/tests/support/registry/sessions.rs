//! A registry in memory that keeps what it got of an interrupted upload, as distribution 3 does and Debian's does not.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use micrun_image_spec::digest::Sha256Digest;

use super::script::{Reply, Request, Script};

#[derive(Default)]
struct State {
    sessions: HashMap<String, Vec<u8>>,
    blobs: HashMap<String, Vec<u8>>,
    begun: usize,
    received: u64,
}

#[derive(Clone)]
pub struct Sessions {
    pub script: Script,
    state: Arc<Mutex<State>>,
}

impl Sessions {
    pub fn start() -> Self {
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = Arc::clone(&state);
        // Parts that are on their way. Who asks how far a session is gets to know it when they have ended.
        let (underway, parts) =
            (Arc::new(AtomicUsize::new(0)), |request: &Request| request.method == "PATCH");
        let begun = Arc::clone(&underway);
        let count = move |request: &Request| {
            begun.fetch_add(usize::from(parts(request)), SeqCst);
            None
        };
        let script = Script::refusing(count, move |request, _| {
            let deadline = Instant::now() + Duration::from_secs(10);
            while request.method == "GET" && underway.load(SeqCst) > 0 && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(1));
            }
            let reply = shared.lock().unwrap().answer(request);
            if request.header("Expect").is_some() {
                underway.fetch_sub(usize::from(parts(request)), SeqCst);
            }
            reply
        });
        Sessions { script, state }
    }

    /// How many uploads were begun.
    pub fn begun(&self) -> usize {
        self.state.lock().unwrap().begun
    }

    /// Bytes of bodies that came.
    pub fn received(&self) -> u64 {
        self.state.lock().unwrap().received
    }

    pub fn blob(&self, digest: Sha256Digest) -> Option<Vec<u8>> {
        self.state.lock().unwrap().blobs.get(&digest.to_string()).cloned()
    }
}

impl State {
    fn answer(&mut self, request: &Request) -> Reply {
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let last = path.rsplit('/').next().unwrap().to_owned();
        self.received += request.body.len() as u64;
        match request.method.as_str() {
            "HEAD" => match self.blobs.get(&last) {
                Some(blob) => Reply::new(200, &[("Content-Length", &blob.len().to_string())], b""),
                None => Reply::status(404),
            },
            "POST" => {
                let id = format!("session-{}", self.begun);
                self.begun += 1;
                self.sessions.insert(id.clone(), Vec::new());
                Reply::new(202, &[("Location", &format!("/v2/a/b/blobs/uploads/{id}?_state=x"))], b"")
            }
            "PATCH" | "GET" | "PUT"
                if !self.sessions.contains_key(&last) || !query.starts_with("_state=x") =>
            {
                Reply::new(404, &[], br#"{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}"#)
            }
            "PATCH" => {
                let session = self.sessions.get_mut(&last).unwrap();
                let begin = format!("{}-", session.len());
                if !request.header("Content-Range").is_some_and(|range| range.starts_with(&begin)) {
                    return Reply::status(416);
                }
                session.extend(&request.body);
                progress(&last, session.len(), 202)
            }
            "GET" => progress(&last, self.sessions[&last].len(), 204),
            "PUT" => {
                let mut bytes = self.sessions.remove(&last).unwrap();
                bytes.extend(&request.body);
                let digest = Sha256Digest::of(&bytes).to_string();
                if !query.ends_with(&digest.replace(':', "%3A")) {
                    return Reply::new(400, &[], br#"{"errors":[{"code":"DIGEST_INVALID"}]}"#);
                }
                self.blobs.insert(digest, bytes);
                Reply::status(201)
            }
            _ => Reply::status(405),
        }
    }
}

fn progress(id: &str, size: usize, status: u16) -> Reply {
    let range = format!("0-{}", size.saturating_sub(1));
    Reply::new(
        status,
        &[("Location", &format!("/v2/a/b/blobs/uploads/{id}?_state=x")), ("Range", &range)],
        b"",
    )
}
