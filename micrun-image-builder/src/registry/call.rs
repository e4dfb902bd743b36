//! A request, and an answer to it.

use std::io::{self, Read};

use ureq::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};

use super::{At, wire};
use crate::store::{Data, StoreError};

/// A request that can be sent more than once.
#[derive(Clone)]
pub(super) struct Call<'a> {
    /// What it is for: `read the manifest v1`.
    pub(super) doing: String,
    pub(super) method: Method,
    pub(super) url: Uri,
    pub(super) headers: Vec<(HeaderName, String)>,
    pub(super) body: Body<'a>,
    /// True for a token service: it gets the credentials that the call brings itself, and leads nowhere else.
    pub(super) is_bare: bool,
}

/// What goes up with a request.
#[derive(Clone, Copy)]
pub(super) enum Body<'a> {
    None,
    Bytes(&'a [u8]),
    /// `length` bytes from `offset` on.
    Part {
        data: &'a dyn Data,
        offset: u64,
        length: u64,
    },
}

/// An answer of any status, whose body has not been read.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    /// Who answered in the end.
    pub(super) url: Uri,
    pub(super) body: ureq::Body,
}

/// An answer that is no error, read whole.
pub(super) struct Whole {
    pub(super) headers: HeaderMap,
    pub(super) url: Uri,
    pub(super) bytes: Vec<u8>,
}

impl<'a> Call<'a> {
    pub(super) fn new(doing: impl Into<String>, method: Method, url: Uri) -> Self {
        Call { doing: doing.into(), method, url, headers: Vec::new(), body: Body::None, is_bare: false }
    }

    pub(super) fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn body(mut self, body: Body<'a>) -> Self {
        self.body = body;
        self
    }

    /// For errors.
    pub(super) fn at(&self) -> At {
        At::new(&self.doing, wire::shown(&self.url))
    }
}

impl Answer {
    pub(super) fn header(&self, name: impl header::AsHeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// A header that is text.
pub(super) fn text_of(value: &HeaderValue) -> Option<String> {
    value.to_str().ok().map(str::to_owned)
}

impl<'a> Body<'a> {
    pub(super) fn length(&self) -> Option<u64> {
        match self {
            Body::None => None,
            Body::Bytes(bytes) => Some(bytes.len() as u64),
            Body::Part { length, .. } => Some(*length),
        }
    }

    pub(super) fn open(&self) -> Result<Option<BodyReader<'a>>, StoreError> {
        let (reader, left): (Box<dyn Read + 'a>, u64) = match *self {
            Body::None => return Ok(None),
            Body::Bytes(bytes) => (Box::new(bytes), bytes.len() as u64),
            Body::Part { data, offset, length } => (data.open(offset)?, length),
        };
        Ok(Some(BodyReader { reader, left, failure: None }))
    }
}

/// Gives exactly the bytes that were promised, and keeps the reason why it cannot: ureq does not tell it apart from a
/// broken connection.
pub(super) struct BodyReader<'a> {
    reader: Box<dyn Read + 'a>,
    left: u64,
    pub(super) failure: Option<io::Error>,
}

impl Read for BodyReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 || buf.is_empty() {
            return Ok(0);
        }
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buf.len());
        let result = loop {
            match self.reader.read(&mut buf[..wanted]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) => {
                    break Err(io::Error::other(format!(
                        "it is {} bytes shorter than its descriptor says",
                        self.left
                    )));
                }
                other => break other,
            }
        };
        match result {
            Ok(n) => {
                self.left -= n as u64;
                Ok(n)
            }
            Err(error) => {
                self.failure = Some(error);
                Err(io::Error::other("the data cannot be read"))
            }
        }
    }
}
