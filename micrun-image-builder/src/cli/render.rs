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
    let file = file.display();
    let mut text = format!(
        "{head}: {}\n  --> {file}{place}\n  help: {}\n",
        style.bold(&finding.message),
        finding.remedy
    );
    if finding.severity == Severity::Error && finding.code.can_be_allowed() {
        text += &format!("        or pack it as it is: --allow {}\n", finding.code);
    }
    text
}

/// Prints an error that is no finding.
pub(super) fn error(error: &CliError) {
    let style = Style::for_stderr();
    let head = style.severity(Severity::Error, "error");
    let _ = writeln!(io::stderr(), "{head}: {}", style.bold(&error.to_string()));
}
