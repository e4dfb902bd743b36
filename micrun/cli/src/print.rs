//! What every command prints with: colours for terminals alone, and nothing that would steer one.

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;

/// The few ANSI styles in use (ECMA-48, SGR).
#[derive(Clone, Copy)]
pub(super) struct Style {
    on: bool,
}

impl Style {
    /// Colours only for a terminal, and not against the user's will (no-color.org).
    pub(super) fn of(output: &impl IsTerminal) -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let impossible = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Style { on: output.is_terminal() && !unwanted && !impossible }
    }

    pub(super) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    pub(super) fn red(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Prints an error.
pub(super) fn error(error: &impl std::fmt::Display) {
    let style = Style::of(&io::stderr());
    // Nobody is left to tell if standard error is closed.
    let _ = writeln!(io::stderr(), "{}: {}", style.red("error"), style.bold(&printable(&error.to_string())));
}

/// Without what would steer the terminal: names of files and containers are somebody else's. Line ends stay.
pub(super) fn printable(text: &str) -> String {
    let escape =
        |c: char| if c.is_control() && c != '\n' { c.escape_default().collect() } else { c.to_string() };
    text.chars().map(escape).collect()
}

/// How results are printed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

/// Prints JSON.
pub(super) fn json(value: &impl serde::Serialize) -> io::Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    io::stdout().write_all(text.as_bytes())
}

/// Rows of cells. Columns are as wide as their widest cell, the last one as it needs.
pub(super) struct Table<const N: usize> {
    header: [&'static str; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    pub(super) fn with_header(header: [&'static str; N]) -> Self {
        Table { header, rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells.map(|cell| printable(&cell).replace('\n', "\\n")));
    }

    /// The header in bold, and the rows, without blanks at the end of a line.
    pub(super) fn text(&self, style: Style) -> String {
        let header = self.header.map(str::to_owned);
        let width = |column: usize| {
            let cells = self.rows.iter().chain([&header]).map(|row| row[column].chars().count());
            cells.max().unwrap_or_default()
        };
        let line = |row: &[String; N]| {
            let cells = row.iter().enumerate().map(|(column, cell)| format!("{cell:<0$}", width(column)));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        let mut text = style.bold(&line(&header)) + "\n";
        self.rows.iter().for_each(|row| text += &(line(row) + "\n"));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_nothing_steers_the_terminal() {
        let mut table = Table::with_header(["key", "value"]);
        table.row(["a".to_owned(), "1".to_owned()]);
        table.row(["longer".to_owned(), "\x1b[2Jx\ny".to_owned()]);
        assert_eq!(table.text(Style { on: false }), "key     value\na       1\nlonger  \\u{1b}[2Jx\\ny\n");
    }
}
