//! Requests to one repository, with credentials, redirections and repetitions.

use std::io::Read as _;
use std::sync::Arc;

use ureq::http::{HeaderMap, HeaderValue, Method, Request, Uri, header, request};

use super::auth::Auth;
use super::call::{Answer, Call, Whole, text_of};
use super::connect::{Connector, body_problem};
use super::retry::Tries;
use super::wire::{self, Said};
use super::{At, Options, RegistryError, RegistryName};
use crate::store::StoreError;

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
        let help = if call.is_bare || self.is_own(&url) {
            self.help(status, said.as_deref())
        } else {
            format!("{} sends here: the fault is with one of the two", self.name.registry())
        };
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
        let unfit = |error| RegistryError::Nonsense {
            at: call.at(),
            problem: format!("no request can be made of it ({error})"),
        };
        let request = self.head(call);
        let result = match call.body.open()? {
            None => self.connector.send(|| call.at(), request.body(()).map_err(unfit)?),
            Some(mut reader) => {
                let body = ureq::SendBody::from_reader(&mut reader);
                let result = self.connector.send(|| call.at(), request.body(body).map_err(unfit)?);
                if let Some(source) = reader.failure {
                    let what = format!("what is needed to {}", call.doing);
                    return Err(StoreError::Read { what, source }.into());
                }
                result
            }
        };
        let (head, body) = result?.into_parts();
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, url: call.url.clone(), body })
    }

    /// All of a request but its body.
    fn head(&self, call: &Call<'_>) -> request::Builder {
        let mut head = Request::builder().method(call.method.clone()).uri(call.url.clone());
        for (name, value) in &call.headers {
            head = head.header(name, value);
        }
        // The registry's credentials are for the registry alone.
        if let Some(value) = self.auth.header().filter(|_| !call.is_bare && self.is_own(&call.url)) {
            head = head.header(header::AUTHORIZATION, value);
        }
        if let Some(length) = call.body.length() {
            head = head.header(header::CONTENT_LENGTH, length);
            if length >= EXPECT_FROM {
                head = head.header(header::EXPECT, HeaderValue::from_static("100-continue"));
            }
        }
        head
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
