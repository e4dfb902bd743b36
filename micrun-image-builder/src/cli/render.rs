//! Prints findings and errors as good compilers do.

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use super::CliError;
use crate::check::{Finding, Report, Severity};

/// The few ANSI styles in use (ECMA-48, SGR).
#[derive(Clone, Copy)]
struct Style {
    on: bool,
}

impl Style {
    /// Colours only for a terminal, and not against the user's will (no-color.org).
    fn for_stderr() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Style { on: io::stderr().is_terminal() && !unwanted }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn severity(self, severity: Severity, text: &str) -> String {
        self.paint(
            match severity {
                Severity::Error => "1;31",
                Severity::Warning => "1;33",
                Severity::Note => "1;36",
            },
            text,
        )
    }

    fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }
}

/// Prints all findings, or the errors alone.
pub(super) fn report(report: &Report, file: &Path, errors_only: bool) {
    let style = Style::for_stderr();
    let mut text = String::new();
    for finding in report.iter().filter(|f| !errors_only || f.severity == Severity::Error) {
        text += &render(finding, file, style);
    }
    // Nobody is left to tell if standard error is closed.
    let _ = io::stderr().write_all(text.as_bytes());
}

fn render(finding: &Finding, file: &Path, style: Style) -> String {
    let head = style.severity(finding.severity, &format!("{}[{}]", finding.severity, finding.code));
    let place = finding.place.as_ref().map(|place| format!(": {place}")).unwrap_or_default();
    let place = printable(&format!("{}{place}", file.display()));
    let (message, remedy) = (style.bold(&printable(&finding.message)), printable(&finding.remedy));
    let mut text = format!("{head}: {message}\n  --> {place}\n  help: {remedy}\n");
    if finding.severity == Severity::Error && finding.code.can_be_allowed() {
        text += &format!("        or pack it as it is: --allow {}\n", finding.code);
    }
    text
}

/// Prints an error that is no finding.
pub(super) fn error(error: &CliError) {
    let style = Style::for_stderr();
    let head = style.severity(Severity::Error, "error");
    let _ = writeln!(io::stderr(), "{head}: {}", style.bold(&printable(&error.to_string())));
}

/// Without what would steer the terminal: names of files and boards are somebody else's.
pub(super) fn printable(text: &str) -> String {
    let escape = |c: char| if c.is_control() { c.escape_default().collect() } else { c.to_string() };
    text.chars().map(escape).collect()
}
