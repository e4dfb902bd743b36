//! The table.

use serde_json::{Value, json};

/// One measurement of all columns; none where it does not apply.
#[derive(Debug)]
pub struct Row {
    name: String,
    unit: &'static str,
    values: Vec<Option<f64>>,
    target: Option<Target>,
    is_sure: bool,
}

/// What the first column should reach.
#[derive(Clone, Copy, Debug)]
enum Target {
    AtMost(f64),
    AtLeast(f64),
}

/// All rows.
#[derive(Debug)]
pub struct Report {
    title: String,
    columns: Vec<&'static str>,
    rows: Vec<Row>,
}

impl Row {
    pub fn new(name: impl Into<String>, unit: &'static str, values: impl Into<Vec<Option<f64>>>) -> Self {
        Self { name: name.into(), unit, values: values.into(), target: None, is_sure: false }
    }

    /// Where every column has a value.
    pub fn of_all(
        name: impl Into<String>,
        unit: &'static str,
        values: impl IntoIterator<Item = f64>,
    ) -> Self {
        Self::new(name, unit, values.into_iter().map(Some).collect::<Vec<_>>())
    }

    /// Of ours alone.
    pub fn of_ours(name: impl Into<String>, unit: &'static str, value: f64) -> Self {
        Self::new(name, unit, [Some(value)])
    }

    /// With a target.
    pub fn at_most(self, target: f64) -> Self {
        Self { target: Some(Target::AtMost(target)), ..self }
    }

    /// With a target from below.
    pub fn at_least(self, target: f64) -> Self {
        Self { target: Some(Target::AtLeast(target)), ..self }
    }

    /// The same on every machine, so that a missed target is an error.
    pub fn sure(self) -> Self {
        Self { is_sure: true, ..self }
    }

    /// Whether ours reaches its target; none without one.
    fn is_met(&self) -> Option<bool> {
        let ours = self.values.first().copied().flatten()?;
        Some(match self.target? {
            Target::AtMost(most) => ours <= most,
            Target::AtLeast(least) => ours >= least,
        })
    }

    fn verdict(&self) -> &'static str {
        match self.is_met() {
            None => "",
            Some(true) => "ok",
            Some(false) if self.is_sure => "FAIL",
            Some(false) => "missed here",
        }
    }

    fn label(&self) -> String {
        if self.unit.is_empty() { self.name.clone() } else { format!("{}, {}", self.name, self.unit) }
    }

    fn line(&self, columns: usize) -> String {
        let target = match self.target {
            None => String::new(),
            Some(Target::AtMost(most)) => format!("<= {}", short(most)),
            Some(Target::AtLeast(least)) => format!(">= {}", short(least)),
        };
        let value = |column: usize| self.values.get(column).copied().flatten();
        let values: String = (0..columns)
            .map(|column| format!(" {:>10}", value(column).map_or_else(|| "-".to_owned(), short)))
            .collect();
        format!("{:<46}{values}  {target:>8} {}", self.label(), self.verdict()).trim_end().to_owned()
    }
}

/// Three digits that matter, and all of a larger number.
fn short(value: f64) -> String {
    let places = match value.abs() {
        small if small == 0.0 || small >= 1000.0 || (value.fract() == 0.0 && small >= 1.0) => 0,
        small if small < 1.0 => 3,
        small if small < 100.0 => 2,
        _ => 1,
    };
    format!("{value:.places$}")
}

impl Report {
    pub fn new(title: impl Into<String>, columns: impl Into<Vec<&'static str>>) -> Self {
        Self { title: title.into(), columns: columns.into(), rows: Vec::new() }
    }

    pub fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// The names of missed targets that are sure.
    pub fn missed(&self) -> Vec<&str> {
        self.rows.iter().filter(|row| row.verdict() == "FAIL").map(|row| row.name.as_str()).collect()
    }

    pub fn print_table(&self) {
        println!("{}", self.title);
        let names: String = self.columns.iter().map(|name| format!(" {name:>10}")).collect();
        println!("{:<46}{names}  {:>8}", "", "target");
        for row in &self.rows {
            println!("{}", row.line(self.columns.len()));
        }
    }

    pub fn to_json(&self) -> Value {
        let row = |row: &Row| {
            let values: serde_json::Map<String, Value> = (self.columns.iter().zip(&row.values))
                .map(|(name, value)| ((*name).to_owned(), json!(value)))
                .collect();
            let (at_most, at_least) = match row.target {
                Some(Target::AtMost(most)) => (Some(most), None),
                Some(Target::AtLeast(least)) => (None, Some(least)),
                None => (None, None),
            };
            json!({
                "name": row.name,
                "unit": row.unit,
                "values": values,
                "at_most": at_most,
                "at_least": at_least,
                "met": row.is_met(),
            })
        };
        let rows: Vec<_> = self.rows.iter().map(row).collect();
        json!({ "title": self.title, "rows": rows })
    }
}

/// The middle one; of an even number, the upper of the two in the middle. 0 of none.
pub fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0]), 4.0);
        assert_eq!(median(vec![]), 0.0);
    }

    #[test]
    fn only_sure_targets_fail() {
        let mut report = Report::new("1.7", ["MicRun", "peer"]);
        report.add(Row::of_all("size", "MB", [6.0, 1.0]).at_most(5.0).sure());
        report.add(Row::of_all("time", "ms", [60.0, 1.0]).at_most(40.0));
        report.add(Row::of_ours("memory", "MB", 3.0).at_most(5.0).sure());
        report.add(Row::of_all("throughput", "MiB/s", [3.0, 1.0]).at_least(2.0).sure());
        assert_eq!(report.missed(), ["size"]);
    }

    #[test]
    fn a_line_shows_what_there_is() {
        let row = Row::of_ours("time", "ms", 12.345).at_most(40.0);
        let words: Vec<String> = row.line(2).split_whitespace().map(str::to_owned).collect();
        assert_eq!(words, ["time,", "ms", "12.35", "-", "<=", "40", "ok"]);
        assert_eq!(
            [0.0, 0.2713, 4.0, 151.26, 2_630_368.0].map(short),
            ["0", "0.271", "4", "151.3", "2630368"]
        );
    }
}
