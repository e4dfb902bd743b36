//! Aligned columns, and sizes that people can read.

use crate::cli::render::printable;

/// Rows of cells. Columns are as wide as their widest cell.
#[derive(Default)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
    to_the_right: Vec<usize>,
}

impl Table {
    pub(super) fn with_header(cells: &[&str], to_the_right: &[usize]) -> Self {
        let header = cells.iter().map(|&cell| cell.to_owned()).collect();
        Table { rows: vec![header], to_the_right: to_the_right.to_vec() }
    }

    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.iter().map(|cell| printable(cell)).collect());
    }

    /// The rows, each indented and with a line end, without blanks at its end.
    pub(super) fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let width = widths[column];
                line += "  ";
                if self.to_the_right.contains(&column) {
                    line += &format!("{cell:>width$}");
                } else {
                    line += &format!("{cell:<width$}");
                }
            }
            text += line.trim_end();
            text.push('\n');
        }
        text
    }
}

/// `512 B`, `64 KiB`, `1.2 MiB`: one digit behind the point, none where there is nothing.
pub(super) fn human(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let (mut unit, mut scale) = (0, 1024);
    let tenths = |scale: u64| (u128::from(bytes) * 10 + u128::from(scale) / 2) / u128::from(scale);
    while unit + 1 < UNITS.len() && tenths(scale) >= 10_240 {
        unit += 1;
        scale *= 1024;
    }
    let (tenths, unit) = (tenths(scale), UNITS[unit]);
    if bytes.is_multiple_of(scale) {
        return format!("{} {unit}", tenths / 10);
    }
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            ((1 << 20) - 1, "1.0 MiB"),
            (64 << 20, "64 MiB"),
            (u64::MAX, "16777216.0 TiB"),
        ] {
            assert_eq!(human(bytes), text);
        }
    }

    #[test]
    fn columns_are_aligned_and_lines_have_no_blanks_at_the_end() {
        let mut table = Table::with_header(&["name", "size", ""], &[1]);
        table.row(["a".to_owned(), "12 B".to_owned(), String::new()]);
        table.row(["longer".to_owned(), "1 B".to_owned(), "x\ny".to_owned()]);
        assert_eq!(table.text(), "  name    size\n  a       12 B\n  longer   1 B  x\\ny\n");
    }
}
