//! How a registry wants credentials: Basic, or Bearer with tokens from elsewhere (distribution's "Token Authentication
//! Specification" and "OAuth2 Token Authentication").

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64ct::{Base64, Encoding as _};
use serde::Deserialize;
use ureq::http::{HeaderValue, Method, Uri, header};

use super::call::{Body, Call};
use super::client::{Access, Client};
use super::login::{Credential, Found};
use super::wire::{self, Challenge};
use super::{At, Login, RegistryError};

/// Longest answer of a token service, bytes.
const MAX_TOKEN: u64 = 256 << 10;
/// How long a token lasts where the service does not say (Token Authentication Specification), seconds.
const DEFAULT_LIFE: u64 = 60;
/// Longest life that is believed, seconds.
const MAX_LIFE: u64 = 24 * 60 * 60;

/// The state of being logged in to one repository.
pub(super) struct Auth {
    access: Access,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// None until credentials were looked for.
    found: Option<Option<Found>>,
    looked_in: Option<String>,
    granted: Option<Granted>,
}

/// What goes with every request.
#[derive(Clone)]
struct Granted {
    header: HeaderValue,
    until: Option<Instant>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<u64>,
}

impl Auth {
    pub(super) fn new(access: Access) -> Self {
        Auth { access, state: Mutex::default() }
    }

    /// The `Authorization` to send, if the registry has asked for one and it has not expired.
    pub(super) fn header(&self) -> Option<HeaderValue> {
        let granted = self.state().granted.clone()?;
        granted.until.is_none_or(|until| Instant::now() < until).then_some(granted.header)
    }

    /// Does what the registry asks for. False if there is nothing new to try.
    pub(super) fn satisfy(&self, client: &Client, headers: &[String]) -> Result<bool, RegistryError> {
        let challenges: Vec<Challenge> =
            headers.iter().take(8).flat_map(|header| wire::challenges(header)).collect();
        let was = self.header();
        let by_scheme = |scheme| challenges.iter().find(|challenge| challenge.scheme == scheme);
        let granted = if let Some(bearer) = by_scheme("bearer") {
            Some(self.token(client, bearer)?)
        } else if by_scheme("basic").is_some() {
            self.basic(client)?
        } else {
            None
        };
        let is_new = granted.as_ref().is_some_and(|granted| Some(&granted.header) != was.as_ref());
        self.state().granted = granted;
        Ok(is_new)
    }

    /// A sentence on which credentials were used, or where none were found.
    pub(super) fn explain(&self) -> String {
        let state = self.state();
        match (&state.found, &state.looked_in) {
            (Some(Some(found)), _) => format!("The credentials from {} are not enough for it", found.from),
            (_, Some(looked_in)) => looked_in.clone(),
            (_, None) => "No credentials were asked for in a way that is known here".to_owned(),
        }
    }

    fn basic(&self, client: &Client) -> Result<Option<Granted>, RegistryError> {
        match self.credential(client)? {
            Some(Credential::Password { user, password }) => {
                Ok(secret_header(&basic_value(&user, &password))
                    .map(|header| Granted { header, until: None }))
            }
            // Only a token service takes those.
            Some(Credential::IdentityToken(_)) | None => Ok(None),
        }
    }

    fn token(&self, client: &Client, challenge: &Challenge) -> Result<Granted, RegistryError> {
        let registry = client.url("")?;
        let doing = format!("get a token for {}", client.name());
        let nonsense = |problem: &str| RegistryError::Nonsense {
            at: At::new(&doing, wire::shown(&registry)),
            problem: problem.into(),
        };
        let realm = challenge.parameter("realm").ok_or_else(|| nonsense("it names no token service"))?;
        let realm = wire::resolve(&registry, realm)
            .map_err(|bad| nonsense(&format!("its token service cannot be used: {bad}")))?;
        let service = challenge.parameter("service");
        let scopes = self.scopes(client, challenge.parameter("scope"));
        let (call, form);
        match self.credential(client)? {
            Some(Credential::IdentityToken(token)) => {
                form = refresh_form(&token, service, &scopes);
                call = Call::new(doing.as_str(), Method::POST, realm)
                    .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .body(Body::Bytes(form.as_bytes()));
            }
            credential => {
                let url = token_url(&realm, service, &scopes)
                    .map_err(|_| nonsense("its token service has no URL"))?;
                let get = Call::new(doing.as_str(), Method::GET, url);
                call = match credential {
                    Some(Credential::Password { user, password }) => {
                        get.header(header::AUTHORIZATION, basic_value(&user, &password))
                    }
                    _ => get,
                };
            }
        }
        client.refuse_downgrade(&call, &call.url)?;
        let answer = client.fetch(&Call { is_bare: true, ..call }, MAX_TOKEN)?;
        read_token(&answer.bytes).ok_or_else(|| nonsense("the token service gives no token that can be used"))
    }

    /// What is wanted here, and what the registry says is wanted, if that is something else.
    fn scopes(&self, client: &Client, wanted: Option<&str>) -> Vec<String> {
        let actions = match self.access {
            Access::Pull => "pull",
            Access::Push => "pull,push",
        };
        let own = format!("repository:{}:{actions}", client.name().repository());
        let narrower = format!("repository:{}:pull", client.name().repository());
        let other = wanted.filter(|wanted| !wanted.is_empty() && *wanted != own && *wanted != narrower);
        std::iter::once(own.clone()).chain(other.map(str::to_owned)).collect()
    }

    fn credential(&self, client: &Client) -> Result<Option<Credential>, RegistryError> {
        let mut state = self.state();
        if state.found.is_none() {
            let login: &Login = &client.options().login;
            state.looked_in = Some(login.looked_in());
            state.found = Some(login.find(client.name().registry(), client.name().repository())?);
        }
        Ok(state.found.iter().flatten().map(|found| found.credential.clone()).next())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in it can be half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn basic_value(user: &str, password: &str) -> String {
    format!("Basic {}", Base64::encode_string(format!("{user}:{password}").as_bytes()))
}

/// None for what cannot stand in a header.
fn secret_header(value: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn token_url(realm: &Uri, service: Option<&str>, scopes: &[String]) -> Result<Uri, wire::BadLocation> {
    let mut url = realm.clone();
    if let Some(service) = service {
        url = wire::with_query(&url, "service", service)?;
    }
    scopes.iter().try_fold(url, |url, scope| wire::with_query(&url, "scope", scope))
}

fn refresh_form(token: &str, service: Option<&str>, scopes: &[String]) -> String {
    format!(
        "grant_type=refresh_token&client_id=micrun-image-builder&service={}&scope={}&refresh_token={}",
        wire::encode(service.unwrap_or_default()),
        wire::encode(&scopes.join(" ")),
        wire::encode(token)
    )
}

fn read_token(answer: &[u8]) -> Option<Granted> {
    let answer: TokenAnswer = serde_json::from_slice(answer).ok()?;
    let token = answer.token.filter(|token| !token.is_empty()).or(answer.access_token)?;
    // A token that lasts no time at all is used once all the same.
    let life = answer.expires_in.unwrap_or(DEFAULT_LIFE).clamp(1, MAX_LIFE);
    let header = secret_header(&format!("Bearer {}", Some(token).filter(|token| !token.is_empty())?))?;
    Some(Granted { header, until: Instant::now().checked_add(Duration::from_secs(life)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_for_a_token_with_every_scope() {
        let realm = "https://auth.example/token?x=1".parse().unwrap();
        let scopes = ["repository:a/b:pull".to_owned(), "aws".to_owned()];
        let url = token_url(&realm, Some("r.example"), &scopes).unwrap().to_string();
        assert_eq!(
            url,
            "https://auth.example/token?x=1&service=r.example&scope=repository%3Aa%2Fb%3Apull&scope=aws"
        );
        let form = refresh_form("a+b", None, &scopes);
        assert!(
            form.ends_with("&service=&scope=repository%3Aa%2Fb%3Apull%20aws&refresh_token=a%2Bb"),
            "{form}"
        );
    }

    #[test]
    fn takes_both_forms_of_answer_and_no_other() {
        for (answer, header) in [
            (r#"{"token":"a","expires_in":300}"#, Some("Bearer a")),
            (r#"{"access_token":"b"}"#, Some("Bearer b")),
            (r#"{"token":"","access_token":"c"}"#, Some("Bearer c")),
            (r#"{"token":"a\nb"}"#, None),
            (r#"{"token":""}"#, None),
            ("{}", None),
            ("<html>", None),
        ] {
            let granted = read_token(answer.as_bytes());
            assert_eq!(granted.as_ref().map(|g| g.header.to_str().unwrap()), header, "{answer}");
        }
    }
}
