//! Where spans go: the address of a collector, and the environment variables that OpenTelemetry gives it in.

use std::fmt;
use std::str::FromStr;

/// A collector that takes OTLP over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Host and port, as in a URL.
    pub authority: String,
    /// A name or an address without brackets.
    pub host: String,
    /// From 1 on.
    pub port: u16,
    /// Begins with a slash.
    pub path: String,
}

/// Why an endpoint, or the environment that names one, cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// TLS.
    #[error(
        "{0:?}: the shim speaks no TLS; name a collector on this node or network that takes http://HOST:PORT"
    )]
    Tls(String),
    /// Something else.
    #[error("{0:?} is no address of a collector: http://HOST:PORT or http://HOST:PORT/PATH is")]
    Invalid(String),
    /// Another protocol than HTTP with protobuf.
    #[error("{variable}={value}: the shim speaks http/protobuf alone; give its collector in micrun.conf")]
    Protocol {
        /// The variable that says so.
        variable: &'static str,
        /// What it says.
        value: String,
    },
}

/// Where collectors take spans (OTLP specification, "OTLP/HTTP Request").
const TRACES: &str = "/v1/traces";

/// The port of a URL that names none.
const HTTP: u16 = 80;

impl Endpoint {
    /// Reads a URL. `default_path` stands where it has none.
    fn read(text: &str, default_path: &str) -> Result<Endpoint, EndpointError> {
        let invalid = || EndpointError::Invalid(text.to_owned());
        if text.starts_with("https:") {
            return Err(EndpointError::Tls(text.to_owned()));
        }
        let rest = text.strip_prefix("http://").ok_or_else(invalid)?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        // It becomes lines of a request.
        let clean = text.bytes().all(|byte| byte.is_ascii_graphic()) && !text.contains(['@', '?', '#']);
        let (host, port) = host_and_port(authority).filter(|_| clean).ok_or_else(invalid)?;
        let path = if path.is_empty() { default_path } else { path };
        Ok(Endpoint { authority: authority.to_owned(), host: host.to_owned(), port, path: path.to_owned() })
    }

    /// The endpoint that OpenTelemetry's environment variables name; `None` where they name none or say that
    /// there shall be no traces. `get` reads a variable.
    ///
    /// # Errors
    ///
    /// An address or a protocol that the shim cannot use.
    pub fn from_environment(
        get: impl Fn(&'static str) -> Option<String>,
    ) -> Result<Option<Endpoint>, EndpointError> {
        let get = |variable| get(variable).filter(|value| !value.is_empty());
        let disabled = get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let elsewhere = get("OTEL_TRACES_EXPORTER").is_some_and(|value| value != "otlp");
        if disabled || elsewhere {
            return Ok(None);
        }
        let endpoint = match (get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), get("OTEL_EXPORTER_OTLP_ENDPOINT")) {
            // As it is, says the specification; below the general one stands a path for each signal.
            (Some(own), _) => Endpoint::read(&own, "/")?,
            (None, Some(general)) => {
                let base = Endpoint::read(&general, "")?;
                Endpoint { path: format!("{}{TRACES}", base.path.trim_end_matches('/')), ..base }
            }
            (None, None) => return Ok(None),
        };
        for variable in ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"] {
            match get(variable) {
                Some(value) if value == "http/protobuf" => break,
                Some(value) => return Err(EndpointError::Protocol { variable, value }),
                None => {}
            }
        }
        Ok(Some(endpoint))
    }
}

fn host_and_port(authority: &str) -> Option<(&str, u16)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let port = match port.strip_prefix(':') {
        Some(digits) => digits.parse().ok().filter(|&port| port != 0)?,
        None if port.is_empty() => HTTP,
        None => return None,
    };
    (!host.is_empty()).then_some((host, port))
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Endpoint, EndpointError> {
        Endpoint::read(text, TRACES)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_read_into_its_parts() {
        for (text, host, port, path) in [
            ("http://127.0.0.1:4318", "127.0.0.1", 4318, "/v1/traces"),
            ("http://[::1]:4318/v1/traces", "::1", 4318, "/v1/traces"),
            ("http://collector/in/spans", "collector", 80, "/in/spans"),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!((endpoint.host.as_str(), endpoint.port, endpoint.path.as_str()), (host, port, path));
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_what_would_be_one() {
        for bad in [
            "",
            "127.0.0.1:4318",
            "http://",
            "http://:4318",
            "http://h:0",
            "http://h:99999",
            "http://h:4318x",
            "http://[::1",
            "http://[::1]4318",
            "http://user@h:4318",
            "http://h:4318/a b",
            "http://h/\r\nX: y",
            "http://h?x",
            "ftp://h",
        ] {
            let said = bad.parse::<Endpoint>().unwrap_err().to_string();
            assert!(said.contains("http://HOST:PORT"), "{bad}: {said}");
        }
        let said = "https://h:4318".parse::<Endpoint>().unwrap_err().to_string();
        assert!(said.contains("no TLS"), "{said}");
    }

    fn from(variables: &[(&str, &str)]) -> Result<Option<Endpoint>, EndpointError> {
        Endpoint::from_environment(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_environment_names_one_as_opentelemetry_says() {
        let url = |variables: &[(&str, &str)]| from(variables).unwrap().map(|endpoint| endpoint.to_string());
        let general = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h:4318");
        let below = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h:4318/below/");
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://own:1");
        assert_eq!(url(&[]), None);
        assert_eq!(url(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]), None);
        assert_eq!(url(&[general]).unwrap(), "http://h:4318/v1/traces");
        assert_eq!(url(&[below]).unwrap(), "http://h:4318/below/v1/traces");
        assert_eq!(url(&[general, own]).unwrap(), "http://own:1/");
        assert_eq!(url(&[general, ("OTEL_SDK_DISABLED", "true")]), None);
        assert_eq!(url(&[general, ("OTEL_TRACES_EXPORTER", "none")]), None);
        assert!(url(&[general, ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")]).is_some());
    }

    #[test]
    fn a_protocol_that_is_not_spoken_is_named() {
        let general = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h:4317");
        let said = from(&[general, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]).unwrap_err().to_string();
        assert!(
            said.starts_with("OTEL_EXPORTER_OTLP_PROTOCOL=grpc: the shim speaks http/protobuf"),
            "{said}"
        );
        let traces = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf");
        assert!(from(&[general, traces, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]).is_ok());
        assert!(from(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]).unwrap().is_none());
    }
}
