//! Requests to one repository, with credentials, redirections and repetitions.

use std::io::{self, Read};
use std::sync::Arc;

use ureq::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};

use super::auth::Auth;
use super::connect::{Connector, body_problem};
use super::retry::Tries;
use super::wire::{self, Said};
use super::{At, Options, RegistryError, RegistryName};
use crate::store::{Data, StoreError};

/// Most redirections that are followed for one request.
const MAX_REDIRECTIONS: usize = 5;
/// From this size on a registry is asked whether it wants a body before it gets it, bytes.
const EXPECT_FROM: u64 = 1 << 20;

/// What is asked for: registries give tokens for as little as possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Pull,
    Push,
}

/// One repository of one registry.
pub(super) struct Client {
    connector: Arc<Connector>,
    name: RegistryName,
    auth: Auth,
}

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

    fn at(&self) -> At {
        At::new(&self.doing, wire::shown(&self.url))
    }
}

impl Answer {
    pub(super) fn header(&self, name: impl header::AsHeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

impl Client {
    pub(super) fn new(connector: Arc<Connector>, name: RegistryName, access: Access) -> Self {
        Client { auth: Auth::new(access), connector, name }
    }

    pub(super) fn name(&self) -> &RegistryName {
        &self.name
    }

    pub(super) fn options(&self) -> &Options {
        &self.connector.options
    }

    /// A URL of this repository: `/v2/NAME/` and what follows.
    pub(super) fn url(&self, rest: &str) -> Result<Uri, RegistryError> {
        let scheme = if self.options().plain_http { "http" } else { "https" };
        let text = format!("{scheme}://{}/v2/{}/{rest}", self.name.host(), self.name.repository());
        text.parse().map_err(|_| RegistryError::Name(format!("{} makes no URL", self.name)))
    }

    /// Sends a request, answers the registry's question for credentials, and follows it to where it points (reading
    /// only). Gives any answer back, errors too.
    pub(super) fn send(&self, call: &Call<'_>) -> Result<Answer, RegistryError> {
        let mut answer = self.follow(call)?;
        if answer.status == 401 && !call.is_bare && wire::is_same_origin(&answer.url, &self.url("")?) {
            let challenges: Vec<String> =
                answer.headers.get_all(header::WWW_AUTHENTICATE).iter().filter_map(text_of).collect();
            if self.auth.satisfy(self, &challenges)? {
                answer = self.follow(call)?;
            }
        }
        Ok(answer)
    }

    /// The same for requests with small answers, and again as often as it may help. An error status is an error.
    pub(super) fn fetch(&self, call: &Call<'_>, max: u64) -> Result<Whole, RegistryError> {
        let mut tries = Tries::new(self.options());
        loop {
            let answer = self.send(call).and_then(|answer| self.expect_success(call, answer));
            match answer.and_then(|answer| self.read_whole(call, answer, max)) {
                Ok(whole) => return Ok(whole),
                Err(failure) => tries.wait_after(failure, 0)?,
            }
        }
    }

    /// Makes an error of every status that is none of success.
    pub(super) fn expect_success(&self, call: &Call<'_>, answer: Answer) -> Result<Answer, RegistryError> {
        if (200..300).contains(&answer.status) {
            return Ok(answer);
        }
        let retry_after = answer.header(header::RETRY_AFTER).and_then(wire::retry_after);
        let Answer { status, url, body, .. } = answer;
        let mut bytes = Vec::new();
        // What does not come is not shown.
        let _ = body.into_reader().take(Said::MAX_BYTES).read_to_end(&mut bytes);
        let said = Said::parse(&bytes).map(Box::new);
        let help = self.help(status, said.as_deref());
        Err(RegistryError::Refused {
            at: At::new(&call.doing, wire::shown(&url)),
            status,
            said,
            retry_after,
            help,
        })
    }

    fn read_whole(&self, call: &Call<'_>, answer: Answer, max: u64) -> Result<Whole, RegistryError> {
        let Answer { headers, url, body, .. } = answer;
        let at = || At::new(&call.doing, wire::shown(&url));
        let mut bytes = Vec::new();
        let read = body.into_reader().take(max + 1).read_to_end(&mut bytes);
        read.map_err(|error| RegistryError::Cut { at: at(), problem: body_problem(&error) })?;
        if bytes.len() as u64 > max {
            return Err(RegistryError::Nonsense {
                at: at(),
                problem: format!("the answer has more than {max} bytes"),
            });
        }
        Ok(Whole { headers, url, bytes })
    }

    fn follow(&self, call: &Call<'_>) -> Result<Answer, RegistryError> {
        let mut call = call.clone();
        for _ in 0..=MAX_REDIRECTIONS {
            let answer = self.send_once(&call)?;
            let is_redirection = matches!(answer.status, 301 | 302 | 303 | 307 | 308);
            if !is_redirection || call.is_bare || !matches!(call.method, Method::GET | Method::HEAD) {
                return Ok(answer);
            }
            call.url = self.location(&call, &answer.url, &answer.headers)?;
        }
        let problem = format!("it sends from place to place, more than {MAX_REDIRECTIONS} times");
        Err(RegistryError::Nonsense { at: call.at(), problem })
    }

    /// Where the `Location` of an answer points to.
    pub(super) fn location(
        &self,
        call: &Call<'_>,
        base: &Uri,
        headers: &HeaderMap,
    ) -> Result<Uri, RegistryError> {
        let nonsense = |problem| RegistryError::Nonsense { at: call.at(), problem };
        let location = headers.get(header::LOCATION).and_then(text_of);
        let location =
            location.ok_or_else(|| nonsense("the answer points nowhere: it has no Location".to_owned()))?;
        let url = wire::resolve(base, &location).map_err(|bad| nonsense(bad.to_string()))?;
        self.refuse_downgrade(call, &url)?;
        Ok(url)
    }

    /// Neither credentials nor firmware leave TLS because a registry says so.
    pub(super) fn refuse_downgrade(&self, call: &Call<'_>, url: &Uri) -> Result<(), RegistryError> {
        if url.scheme_str() == Some("http") && !self.options().plain_http {
            let problem = format!(
                "it points to {}, without TLS (a proxy before the registry has to tell it of X-Forwarded-Proto)",
                wire::shown(url)
            );
            return Err(RegistryError::Nonsense { at: call.at(), problem });
        }
        Ok(())
    }

    fn send_once(&self, call: &Call<'_>) -> Result<Answer, RegistryError> {
        let mut request = Request::builder().method(call.method.clone()).uri(call.url.clone());
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        // The registry's credentials are for the registry alone.
        if let Some(value) = self.auth.header().filter(|_| !call.is_bare && self.is_own(&call.url)) {
            request = request.header(header::AUTHORIZATION, value);
        }
        let length = call.body.length();
        if let Some(length) = length {
            request = request.header(header::CONTENT_LENGTH, length);
        }
        if length.is_some_and(|length| length >= EXPECT_FROM) {
            request = request.header(header::EXPECT, HeaderValue::from_static("100-continue"));
        }
        let no_request = |error| RegistryError::Nonsense {
            at: call.at(),
            problem: format!("no request can be made of it ({error})"),
        };
        let result = match call.body.open()? {
            None => self.connector.send(|| call.at(), request.body(()).map_err(no_request)?),
            Some(mut reader) => {
                let body = ureq::SendBody::from_reader(&mut reader);
                let result = self.connector.send(|| call.at(), request.body(body).map_err(no_request)?);
                if let Some(source) = reader.failure {
                    return Err(StoreError::Read {
                        what: format!("what is needed to {}", call.doing),
                        source,
                    }
                    .into());
                }
                result
            }
        };
        let (head, body) = result?.into_parts();
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, url: call.url.clone(), body })
    }

    fn is_own(&self, url: &Uri) -> bool {
        self.url("").is_ok_and(|own| wire::is_same_origin(url, &own))
    }

    /// What the user can try after this status.
    fn help(&self, status: u16, said: Option<&Said>) -> String {
        let registry = self.name.registry();
        match status {
            400 if said.is_some_and(|said| said.message.contains("HTTPS server")) => {
                "The registry speaks TLS: leave --plain-http out".to_owned()
            }
            401 | 403 => format!("{}. {}", self.auth.explain(), login_commands(registry)),
            404 => format!(
                "Check the name {}; some registries also say this of images that they show to logged-in users alone",
                self.name
            ),
            413 => "The registry, or a proxy before it, takes no upload of that size: its operator can raise the limit"
                .to_owned(),
            429 => format!("Too many requests: wait, or log in for a higher limit. {}", login_commands(registry)),
            301..=308 => "Use the registry's name that it points to".to_owned(),
            500..=599 => "The fault is the registry's: try later, or look into its log".to_owned(),
            _ => "The registry's log may say more".to_owned(),
        }
    }
}

fn login_commands(registry: &str) -> String {
    format!("To log in: `docker login {registry}`, `podman login {registry}` or `skopeo login {registry}`")
}

pub(super) fn text_of(value: &HeaderValue) -> Option<String> {
    value.to_str().ok().map(str::to_owned)
}

impl<'a> Body<'a> {
    fn length(&self) -> Option<u64> {
        match self {
            Body::None => None,
            Body::Bytes(bytes) => Some(bytes.len() as u64),
            Body::Part { length, .. } => Some(*length),
        }
    }

    fn open(&self) -> Result<Option<BodyReader<'a>>, StoreError> {
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
struct BodyReader<'a> {
    reader: Box<dyn Read + 'a>,
    left: u64,
    failure: Option<io::Error>,
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
