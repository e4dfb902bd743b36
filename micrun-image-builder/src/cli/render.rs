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
    fn of(output: &impl IsTerminal) -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let impossible = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Style { on: output.is_terminal() && !unwanted && !impossible }
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

/// Prints all findings, or the errors alone, beside what the command itself says.
pub(super) fn report(report: &Report, file: &Path, errors_only: bool) {
    let text = findings(report, &file.display().to_string(), errors_only, Style::of(&io::stderr()));
    // Nobody is left to tell if standard error is closed.
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Prints findings where they are what was asked for.
pub(super) fn result(report: &Report, file: &str, errors_only: bool) -> io::Result<()> {
    let text = findings(report, file, errors_only, Style::of(&io::stdout()));
    io::stdout().write_all(text.as_bytes())
}

fn findings(report: &Report, file: &str, errors_only: bool, style: Style) -> String {
    let shown = report.iter().filter(|f| !errors_only || f.severity == Severity::Error);
    shown.map(|finding| render(finding, file, style)).collect()
}

fn render(finding: &Finding, file: &str, style: Style) -> String {
    let head = style.severity(finding.severity, &format!("{}[{}]", finding.severity, finding.code));
    let place = finding.place.as_ref().map(|place| format!(": {place}")).unwrap_or_default();
    let part = finding.part.as_ref().map(|part| format!(":{part}")).unwrap_or_default();
    let place = printable(&format!("{file}{part}{place}"));
    let (message, remedy) = (style.bold(&printable(&finding.message)), printable(&finding.remedy));
    let excerpt = finding.excerpt.as_ref().map(|line| format!("   |  {}\n", printable(line)));
    let excerpt = excerpt.unwrap_or_default();
    let mut text = format!("{head}: {message}\n  --> {place}\n{excerpt}  help: {remedy}\n");
    if finding.severity == Severity::Error && finding.code.can_be_allowed() {
        text += &format!("        or pack it as it is: --allow {}\n", finding.code);
    }
    text
}

/// Prints an error that is no finding.
pub(super) fn error(error: &CliError) {
    let style = Style::of(&io::stderr());
    let head = style.severity(Severity::Error, "error");
    let _ = writeln!(io::stderr(), "{head}: {}", style.bold(&printable(&error.to_string())));
}

/// Without what would steer the terminal: names of files and boards are somebody else's.
pub(super) fn printable(text: &str) -> String {
    let escape = |c: char| if c.is_control() { c.escape_default().collect() } else { c.to_string() };
    text.chars().map(escape).collect()
}
