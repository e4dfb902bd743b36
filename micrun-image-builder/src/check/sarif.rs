//! Findings as SARIF 2.1.0 (OASIS, "Static Analysis Results Interchange Format"), which code hosts and editors read.

use serde::Serialize;

use super::{Code, Finding, Place, Report, Severity};

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// A log with one run: one file or image that was checked.
#[derive(Debug, Serialize)]
pub struct Log {
    #[serde(rename = "$schema")]
    schema: &'static str,
    version: &'static str,
    runs: [Run; 1],
}

#[derive(Debug, Serialize)]
struct Run {
    tool: Tool,
    invocations: [Invocation; 1],
    results: Vec<Outcome>,
}

#[derive(Debug, Serialize)]
struct Tool {
    driver: Driver,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Driver {
    name: &'static str,
    semantic_version: &'static str,
    rules: Vec<Rule>,
}

/// What is known of a code, whatever the file.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    id: Code,
    short_description: Text,
    full_description: Text,
    help: Text,
    default_configuration: Configuration,
}

#[derive(Debug, Serialize)]
struct Configuration {
    level: Severity,
}

#[derive(Debug, Serialize)]
struct Text {
    text: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Invocation {
    execution_successful: bool,
    exit_code: u8,
}

/// A finding; "result" in SARIF.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    rule_id: Code,
    rule_index: usize,
    level: Severity,
    message: Text,
    locations: [Location; 1],
    /// Findings that were accepted. Present everywhere, since viewers take a log without any for one that knows none.
    suppressions: Vec<Suppression>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Location {
    physical_location: PhysicalLocation,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    logical_locations: Vec<LogicalLocation>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PhysicalLocation {
    artifact_location: ArtifactLocation,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<Region>,
}

#[derive(Debug, Serialize)]
struct ArtifactLocation {
    uri: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    byte_offset: u64,
}

/// A segment, a section, a key, or a file inside an image: places without a line.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LogicalLocation {
    name: String,
    fully_qualified_name: String,
    kind: &'static str,
}

#[derive(Debug, Serialize)]
struct Suppression {
    kind: &'static str,
    justification: String,
}

impl Log {
    /// The findings of a check that ended with `exit_code`. `uri` is that of the checked file, relative where it can be.
    pub fn new(report: &Report, uri: &str, exit_code: u8) -> Self {
        let driver = Driver {
            name: env!("CARGO_PKG_NAME"),
            semantic_version: env!("CARGO_PKG_VERSION"),
            rules: Code::ALL.iter().map(|&code| rule(code)).collect(),
        };
        let invocation = Invocation { execution_successful: true, exit_code };
        let results = report.iter().map(|finding| outcome(finding, uri)).collect();
        Log {
            schema: SCHEMA,
            version: "2.1.0",
            runs: [Run { tool: Tool { driver }, invocations: [invocation], results }],
        }
    }
}

fn rule(code: Code) -> Rule {
    let allow = if code.can_be_allowed() {
        format!(" If it is as you want it, allow it: --allow {code}.")
    } else {
        String::new()
    };
    Rule {
        id: code,
        short_description: Text { text: code.title().to_owned() },
        full_description: Text { text: code.explanation().to_owned() },
        help: Text { text: format!("{}{allow}", code.explanation()) },
        default_configuration: Configuration { level: code.severity() },
    }
}

fn outcome(finding: &Finding, uri: &str) -> Outcome {
    let code = finding.code;
    let excerpt = finding.excerpt.as_ref().map(|line| format!(" ({line})")).unwrap_or_default();
    let suppression = finding
        .allowed
        .then(|| Suppression { kind: "external", justification: format!("allowed with --allow {code}") });
    Outcome {
        rule_id: code,
        // The enum's order is that of `Code::ALL`, of which the rules are made.
        rule_index: code as usize,
        level: finding.severity,
        message: Text { text: format!("{}{excerpt}. What to do: {}.", finding.message, finding.remedy) },
        locations: [location(finding, uri)],
        suppressions: suppression.into_iter().collect(),
    }
}

fn location(finding: &Finding, uri: &str) -> Location {
    // An offset in a file of an image is none in the image.
    let region = match (&finding.part, &finding.place) {
        (None, Some(Place::Offset(offset))) => {
            i64::try_from(*offset).ok().map(|_| Region { byte_offset: *offset })
        }
        _ => None,
    };
    let part = finding.part.iter().map(|part| ("resource", part.clone()));
    let place =
        finding.place.iter().filter(|_| region.is_none()).map(|place| (kind(place), place.to_string()));
    let mut path = String::new();
    let logical_locations = part.chain(place).map(|(kind, name)| {
        path = if path.is_empty() { name.clone() } else { format!("{path}::{name}") };
        LogicalLocation { name, fully_qualified_name: path.clone(), kind }
    });
    Location {
        logical_locations: logical_locations.collect(),
        physical_location: PhysicalLocation {
            artifact_location: ArtifactLocation { uri: uri.to_owned() },
            region,
        },
    }
}

fn kind(place: &Place) -> &'static str {
    match place {
        Place::Offset(_) => "offset",
        Place::Segment(_) => "segment",
        Place::Section(_) => "section",
        Place::Option(_) => "option",
        Place::Key(_) => "key",
    }
}
