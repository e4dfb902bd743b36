//! What the builder's benchmark says.

use serde_json::{Value, json};

use super::super::report::median;
use super::packer::Cost;

/// The medians of one packer on one firmware, and its peak memory.
#[derive(Debug)]
pub struct Row {
    pub firmware: &'static str,
    pub packer: &'static str,
    pub wall_ms: f64,
    pub cpu_ms: f64,
    pub peak_mib: f64,
    pub bytes: f64,
}

/// What a number should be.
#[derive(Debug)]
pub struct Target {
    name: String,
    unit: &'static str,
    measured: f64,
    limit: Limit,
    is_sure: bool,
}

#[derive(Debug)]
enum Limit {
    AtMost(f64),
    AtLeast(f64),
    None,
}

/// All of it.
#[derive(Debug, Default)]
pub struct Table {
    pub rows: Vec<Row>,
    pub targets: Vec<Target>,
}

impl Row {
    pub fn of(firmware: &'static str, packer: &'static str, samples: &[Cost], peak_mib: f64) -> Self {
        let middle = |of: fn(&Cost) -> f64| median(samples.iter().map(of).collect());
        Row {
            firmware,
            packer,
            wall_ms: middle(|cost| cost.wall_ms),
            cpu_ms: middle(|cost| cost.cpu_ms),
            peak_mib,
            bytes: middle(|cost| cost.bytes),
        }
    }
}

impl Target {
    pub fn at_most(name: impl Into<String>, unit: &'static str, measured: f64, limit: f64) -> Self {
        Self { name: name.into(), unit, measured, limit: Limit::AtMost(limit), is_sure: false }
    }

    pub fn at_least(name: impl Into<String>, unit: &'static str, measured: f64, limit: f64) -> Self {
        Self { name: name.into(), unit, measured, limit: Limit::AtLeast(limit), is_sure: false }
    }

    /// A number that is only told.
    pub fn known(name: impl Into<String>, measured: f64) -> Self {
        Self { name: name.into(), unit: "", measured, limit: Limit::None, is_sure: false }
    }

    /// The same on every machine, so that a missed target is an error.
    pub fn sure(self) -> Self {
        Self { is_sure: true, ..self }
    }

    fn is_met(&self) -> bool {
        match self.limit {
            Limit::AtMost(limit) => self.measured <= limit,
            Limit::AtLeast(limit) => self.measured >= limit,
            Limit::None => true,
        }
    }

    fn limit(&self) -> String {
        match self.limit {
            Limit::AtMost(limit) => format!("<= {limit}"),
            Limit::AtLeast(limit) => format!(">= {limit}"),
            Limit::None => String::new(),
        }
    }

    fn verdict(&self) -> &'static str {
        match (&self.limit, self.is_met(), self.is_sure) {
            (Limit::None, ..) => "",
            (_, true, _) => "met",
            (_, false, true) => "FAIL",
            (_, false, false) => "missed here",
        }
    }
}

impl Table {
    /// The row of a packer that was measured on a firmware; nothing but zeros if it was not.
    pub fn row(&self, firmware: &'static str, packer: &'static str) -> &Row {
        const NONE: Row =
            Row { firmware: "", packer: "", wall_ms: 0.0, cpu_ms: 0.0, peak_mib: 0.0, bytes: 0.0 };
        let found = self.rows.iter().find(|row| row.firmware == firmware && row.packer == packer);
        found.unwrap_or(&NONE)
    }

    /// The names of missed targets that are sure.
    pub fn missed(&self) -> Vec<&str> {
        let missed = self.targets.iter().filter(|target| target.is_sure && !target.is_met());
        missed.map(|target| target.name.as_str()).collect()
    }

    pub fn print(&self) {
        println!(
            "{:<12} {:<8} {:>10} {:>10} {:>9} {:>13}",
            "firmware", "", "wall, ms", "CPU, ms", "peak, MiB", "layer, bytes"
        );
        for Row { firmware, packer, wall_ms, cpu_ms, peak_mib, bytes } in &self.rows {
            println!(
                "{firmware:<12} {packer:<8} {wall_ms:>10.1} {cpu_ms:>10.1} {peak_mib:>9.1} {bytes:>13.0}"
            );
        }
        println!("\n{:<66} {:>9} {:>9}", "", "MicRun", "target");
        for target in &self.targets {
            let label = if target.unit.is_empty() {
                target.name.clone()
            } else {
                format!("{}, {}", target.name, target.unit)
            };
            println!("{label:<66} {:>9.1} {:>9} {}", target.measured, target.limit(), target.verdict());
        }
    }

    pub fn to_json(&self) -> Value {
        let row = |row: &Row| {
            json!({ "firmware": row.firmware, "packer": row.packer, "wall_ms": row.wall_ms, "cpu_ms": row.cpu_ms,
                "peak_mib": row.peak_mib, "bytes": row.bytes })
        };
        let target = |target: &Target| {
            json!({ "name": target.name, "unit": target.unit, "measured": target.measured, "target": target.limit(),
                "met": target.is_met() })
        };
        let rows: Vec<Value> = self.rows.iter().map(row).collect();
        let targets: Vec<Value> = self.targets.iter().map(target).collect();
        json!({ "rows": rows, "targets": targets })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sure_targets_fail() {
        let targets = vec![
            Target::at_most("time", "ms", 20.0, 15.0),
            Target::at_most("size", "%", 101.0, 100.0).sure(),
            Target::at_least("speed", "%", 80.0, 80.0).sure(),
            Target::known("threads", 2.0).sure(),
        ];
        let table = Table { rows: Vec::new(), targets };
        assert_eq!(table.missed(), ["size"]);
    }
}
