//! Moves one blob up (distribution-spec, "Pushing blobs").
//!
//! ```text
//!         POST              PATCH, all bytes           PUT ?digest=
//! nothing ----> session at 0 --------------> complete ------------> there
//!                   ^             |             |
//!                   |             v  cut        v  cut
//!                   '------- GET: how far is the session? ---> not known any more: is the blob there?
//!                                                              If not, from the start
//! ```
//!
//! One PATCH has all bytes: it is never shorter than a registry wants chunks to be (`OCI-Chunk-Min-Length`).
//! Small blobs, and all blobs where PATCH is refused, go up with the PUT. Not every registry keeps a session whose PATCH
//! was cut: Debian's docker-registry 2.8.2 gives it up, distribution 3 goes on.

use micrun_image_spec::digest::Sha256Digest;
use ureq::http::{Method, Uri, header};

use super::call::{Answer, Body, Call};
use super::client::Client;
use super::push::blob_is_there;
use super::retry::Tries;
use super::{At, RegistryError, wire};
use crate::store::Data;

/// Blobs of up to this size go up in one request, bytes.
const SMALL: u64 = 64 << 10;
const OCTETS: &str = "application/octet-stream";

/// One blob on its way.
pub(super) struct Upload<'a> {
    client: &'a Client,
    data: &'a dyn Data,
    digest: Sha256Digest,
    size: u64,
    /// True if everything goes up with the PUT.
    at_once: bool,
    session: Option<Session>,
    interrupted: bool,
}

/// What the registry has of it.
struct Session {
    url: Uri,
    offset: u64,
    /// True if it was interrupted once: then the registry may have less, or something else, than it says.
    resumed: bool,
}

impl<'a> Upload<'a> {
    pub(super) fn new(client: &'a Client, data: &'a dyn Data, digest: Sha256Digest, size: u64) -> Self {
        let at_once = size <= SMALL;
        Upload { client, data, digest, size, at_once, session: None, interrupted: false }
    }

    /// Moves it, and goes on after interruptions.
    pub(super) fn run(mut self) -> Result<(), RegistryError> {
        let mut tries = Tries::new(self.client.options());
        loop {
            let failure = match self.go_on() {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            let (offset, resumed) = self.session.as_ref().map_or((0, false), |s| (s.offset, s.resumed));
            if failure.is_passing() {
                tries.wait(failure, offset)?;
                self.interrupted = true;
            } else if resumed && failure.status().is_some() {
                // The registry has not what it said that it has.
                self.session = None;
                tries.wait(failure, 0)?;
            } else if !self.at_once && refuses_patch(&failure) {
                self.session = None;
                self.at_once = true;
            } else {
                return Err(failure);
            }
        }
    }

    fn go_on(&mut self) -> Result<(), RegistryError> {
        if self.interrupted && self.find_again()? {
            return Ok(());
        }
        if self.session.is_none() {
            self.session = self.begin()?;
        }
        // Without a session the registry had the blob after all.
        let Some(mut session) = self.session.take() else { return Ok(()) };
        let result = self.transfer(&mut session);
        self.session = Some(session);
        result
    }

    /// Opens a session.
    fn begin(&self) -> Result<Option<Session>, RegistryError> {
        let call = self.call(Method::POST, self.client.url("blobs/uploads/")?).body(Body::Bytes(&[]));
        let answer = self.send(&call)?;
        if answer.status == 201 {
            return Ok(None);
        }
        let url = self.client.location(&call, &answer.url, &answer.headers)?;
        Ok(Some(Session { url, offset: 0, resumed: false }))
    }

    /// Sends what is missing and closes the session.
    fn transfer(&self, session: &mut Session) -> Result<(), RegistryError> {
        while !self.at_once && session.offset < self.size {
            let call = self.part(self.call(Method::PATCH, session.url.clone()), session.offset);
            let answer = self.send(&call)?;
            let before = session.offset;
            self.note(session, &call, &answer, self.size)?;
            if session.offset <= before {
                return Err(self.nonsense(&call, format!("it has taken nothing from byte {before} on")));
            }
        }
        let url = wire::with_query(&session.url, "digest", &self.digest.to_string());
        let url =
            url.map_err(|bad| self.nonsense(&self.call(Method::PUT, session.url.clone()), bad.to_string()))?;
        let call = self.part(self.call(Method::PUT, url), session.offset);
        self.send(&call).map(drop)
    }

    /// Takes over where the session is now, and how far.
    fn note(
        &self,
        session: &mut Session,
        call: &Call<'_>,
        answer: &Answer,
        otherwise: u64,
    ) -> Result<(), RegistryError> {
        if answer.headers.contains_key(header::LOCATION) {
            session.url = self.client.location(call, &answer.url, &answer.headers)?;
        }
        let offset = answer.header(header::RANGE).and_then(wire::uploaded_bytes).unwrap_or(otherwise);
        if offset > self.size {
            return Err(self.nonsense(call, format!("it has {offset} bytes of a blob of {}", self.size)));
        }
        session.offset = offset;
        Ok(())
    }

    /// After an interruption: asks how far the session is, or whether the blob is there. True if it is.
    fn find_again(&mut self) -> Result<bool, RegistryError> {
        if let Some(session) = self.session.as_mut().filter(|_| !self.at_once) {
            let call = Call::new(doing(self.digest), Method::GET, session.url.clone());
            let mut found = Session { url: session.url.clone(), offset: 0, resumed: true };
            let answer = self.client.send(&call).and_then(|answer| self.client.expect_success(&call, answer));
            match answer.and_then(|answer| self.note(&mut found, &call, &answer, 0)) {
                Ok(()) if found.offset > 0 => {
                    self.session = Some(found);
                    self.interrupted = false;
                    return Ok(false);
                }
                Err(failure) if failure.is_passing() => return Err(failure),
                _ => {}
            }
        }
        let begun = self.session.take().is_some();
        self.interrupted = false;
        Ok(begun && blob_is_there(self.client, self.digest, self.size)?)
    }

    /// The bytes from an offset on, which may be none.
    fn part(&self, call: Call<'a>, offset: u64) -> Call<'a> {
        let length = self.size - offset;
        let body =
            if length == 0 { Body::Bytes(&[]) } else { Body::Part { data: self.data, offset, length } };
        let call = call.header(header::CONTENT_TYPE, OCTETS).body(body);
        // The form of the distribution specification, without "bytes" and without the size.
        if length == 0 || (offset == 0 && self.at_once) {
            call
        } else {
            call.header(header::CONTENT_RANGE, format!("{offset}-{}", self.size - 1))
        }
    }

    fn call(&self, method: Method, url: Uri) -> Call<'a> {
        Call::new(doing(self.digest), method, url)
    }

    fn send(&self, call: &Call<'_>) -> Result<Answer, RegistryError> {
        self.client.send(call).and_then(|answer| self.client.expect_success(call, answer))
    }

    fn nonsense(&self, call: &Call<'_>, problem: String) -> RegistryError {
        RegistryError::Nonsense { at: At::new(&call.doing, wire::shown(&call.url)), problem }
    }
}

fn doing(digest: Sha256Digest) -> String {
    format!("push the blob {digest}")
}

fn refuses_patch(failure: &RegistryError) -> bool {
    matches!(failure.status(), Some(405 | 415 | 501)) || failure.has_code("UNSUPPORTED")
}
