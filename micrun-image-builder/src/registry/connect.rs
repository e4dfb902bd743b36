//! One request, one answer: TLS, proxies, timeouts, and what their failures mean.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ureq::http::{Request, Response, Uri};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, AsSendBody};

use super::{At, Options, RegistryError};
use crate::registry::name::is_loopback;

/// Longest head of an answer, bytes.
const MAX_HEAD: usize = 32 << 10;
/// Larger than any file with CA certificates, bytes.
const MAX_CA_FILE: u64 = 8 << 20;
/// How long a registry has to say that it wants the body before it gets it anyway (RFC 9110, section 10.1.1).
const AWAIT_CONTINUE: Duration = Duration::from_secs(1);

/// Makes connections, and keeps them.
pub(super) struct Connector {
    pub(super) options: Options,
    /// Without and with TLS, each through the proxy and around it.
    agents: [[OnceLock<Agent>; 2]; 2],
    no_system_roots: AtomicBool,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.options.fmt(f)
    }
}

impl Connector {
    pub(super) fn new(options: Options) -> Self {
        Connector { options, agents: Default::default(), no_system_roots: AtomicBool::new(false) }
    }

    /// Sends a request and reads the head of the answer.
    pub(super) fn send(
        &self,
        at: impl Fn() -> At,
        request: Request<impl AsSendBody>,
    ) -> Result<Response<ureq::Body>, RegistryError> {
        let url = request.uri().clone();
        self.agent(&url)?.run(request).map_err(|error| self.explain(error, at(), &url))
    }

    fn agent(&self, url: &Uri) -> Result<Agent, RegistryError> {
        let is_tls = url.scheme_str() != Some("http");
        // As curl and Go have it: no proxy leads back to this machine.
        let is_near = url.host().is_some_and(is_loopback);
        let cell = &self.agents[usize::from(is_tls)][usize::from(is_near)];
        if let Some(agent) = cell.get() {
            return Ok(agent.clone());
        }
        let tls = if is_tls { self.tls_config()? } else { TlsConfig::builder().build() };
        Ok(cell.get_or_init(|| self.make_agent(tls, is_near)).clone())
    }

    fn make_agent(&self, tls: TlsConfig, is_near: bool) -> Agent {
        let options = &self.options;
        let mut config = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            // Redirections are followed by the client, which knows who may see the credentials.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_response_header_size(MAX_HEAD)
            .user_agent(options.user_agent.as_str())
            .timeout_await_100(Some(AWAIT_CONTINUE))
            .timeout_resolve(Some(options.connect_timeout))
            .timeout_connect(Some(options.connect_timeout))
            .timeout_per_read(Some(options.idle_timeout))
            .timeout_per_write(Some(options.idle_timeout));
        if is_near {
            config = config.proxy(None);
        }
        config.build().new_agent()
    }

    fn tls_config(&self) -> Result<TlsConfig, RegistryError> {
        let mut roots = Vec::new();
        for path in &self.options.ca_files {
            read_certificates(path, &mut roots)
                .map_err(|problem| RegistryError::CaFile { path: path.clone(), problem })?;
        }
        // Those that cannot be read are of no use here; if none can, the handshake fails with a hint.
        let system = rustls_native_certs::load_native_certs().certs;
        self.no_system_roots.store(system.is_empty(), Relaxed);
        roots.extend(system.iter().map(|certificate| Certificate::from_der(certificate).to_owned()));
        Ok(TlsConfig::builder()
            .root_certs(RootCerts::Specific(Arc::new(roots)))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build())
    }

    /// What the failure of a request means.
    fn explain(&self, error: ureq::Error, at: At, url: &Uri) -> RegistryError {
        use ureq::Error::{
            ConnectProxyFailed, HostNotFound, Http, Io, LargeResponseHeader, Protocol, Rustls, Timeout,
        };
        match error {
            Rustls(error) => self.explain_tls(&error, at, url),
            Io(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(tls) => self.explain_tls(tls, at, url),
                None => explain_io(&error, at, url),
            },
            Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => {
                let problem = format!("nobody answers within {} s", self.options.connect_timeout.as_secs());
                RegistryError::NoConnection { at, problem, help: CHECK_NETWORK.to_owned() }
            }
            Timeout(_) => {
                let problem = format!("nothing came for {} s", self.options.idle_timeout.as_secs());
                RegistryError::Cut { at, problem }
            }
            HostNotFound => RegistryError::NoHost { at, host: url.host().unwrap_or_default().to_owned() },
            ConnectProxyFailed(problem) => {
                RegistryError::NoConnection { at, problem, help: "Check the proxy in HTTPS_PROXY".to_owned() }
            }
            LargeResponseHeader(..) => RegistryError::Nonsense {
                at,
                problem: format!("the answer has a head of more than {MAX_HEAD} bytes"),
            },
            Protocol(error) => {
                RegistryError::Nonsense { at, problem: format!("the answer is no HTTP ({error})") }
            }
            Http(error) => {
                RegistryError::Nonsense { at, problem: format!("no request can be made of it ({error})") }
            }
            other => RegistryError::Cut { at, problem: other.to_string() },
        }
    }

    fn explain_tls(&self, error: &rustls::Error, at: At, url: &Uri) -> RegistryError {
        use rustls::CertificateError::{
            Expired, ExpiredContext, NotValidForName, NotValidForNameContext, NotValidYet, NotValidYetContext,
        };
        use rustls::Error::{InvalidCertificate, InvalidMessage};
        let problem = match error {
            InvalidMessage(_) if url.host().is_some_and(is_loopback) => {
                "the server, which is on this machine, speaks no TLS".to_owned()
            }
            InvalidMessage(_) => "the server speaks no TLS".to_owned(),
            error => error.to_string(),
        };
        let help = match error {
            InvalidMessage(_) => "If it is meant to be without encryption, give --plain-http",
            InvalidCertificate(Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. }) => {
                "Check this machine's clock, and the registry's certificate"
            }
            InvalidCertificate(NotValidForName | NotValidForNameContext { .. }) => {
                "Use a name that the registry's certificate is for"
            }
            InvalidCertificate(_) if self.no_system_roots.load(Relaxed) => {
                "This machine has no CA certificates (Debian's package is ca-certificates): install them, or give some \
                 with --ca-file"
            }
            InvalidCertificate(_) => {
                "If the registry has a CA of its own, give its certificate with --ca-file"
            }
            _ => "Check that the registry speaks TLS 1.2 or 1.3",
        };
        RegistryError::Tls { at, problem, help: help.to_owned() }
    }
}

fn explain_io(error: &io::Error, at: At, url: &Uri) -> RegistryError {
    let no_connection = |problem: &str| RegistryError::NoConnection {
        at: at.clone(),
        problem: problem.to_owned(),
        help: CHECK_NETWORK.to_owned(),
    };
    let text = error.to_string();
    match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            RegistryError::Cut { at, problem: "the connection was closed without an answer".to_owned() }
        }
        io::ErrorKind::ConnectionRefused => no_connection("refused: no server listens there"),
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => no_connection(&text),
        // The standard library has no kind for it; the words are its own, or those of Windows.
        _ if ["failed to lookup address", "No such host"].iter().any(|words| text.contains(words))
            && !text.contains("Temporary") =>
        {
            RegistryError::NoHost { at, host: url.host().unwrap_or_default().to_owned() }
        }
        _ => RegistryError::Cut { at, problem: format!("the connection broke: {text}") },
    }
}

const CHECK_NETWORK: &str = "Check the registry's name and port, and the network";

/// The failure behind an error of a body that is being read.
pub(super) fn body_problem(error: &io::Error) -> String {
    let inner =
        error.get_ref().map(|inner| inner.source().map_or_else(|| inner.to_string(), |s| s.to_string()));
    match (error.kind(), inner) {
        (io::ErrorKind::UnexpectedEof, _) => "the connection was closed too early".to_owned(),
        (_, Some(inner)) => format!("the connection broke: {inner}"),
        (_, None) => format!("the connection broke: {error}"),
    }
}

fn read_certificates(path: &Path, into: &mut Vec<Certificate<'static>>) -> Result<(), String> {
    let mut pem = Vec::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    file.take(MAX_CA_FILE).read_to_end(&mut pem).map_err(|error| error.to_string())?;
    let before = into.len();
    for item in parse_pem(&pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => into.push(certificate),
            Ok(_) => {}
            Err(error) => return Err(format!("it is damaged ({error})")),
        }
    }
    if into.len() == before { Err("there is none in it".to_owned()) } else { Ok(()) }
}
