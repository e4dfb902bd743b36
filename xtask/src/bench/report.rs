//! The table.

use serde_json::{Value, json};

/// One measurement of ours, and of a peer.
#[derive(Debug)]
pub struct Row {
    name: String,
    unit: &'static str,
    ours: f64,
    peer: f64,
    at_most: Option<f64>,
    is_sure: bool,
}

/// All rows.
#[derive(Debug)]
pub struct Report {
    peer: &'static str,
    containerd: String,
    rows: Vec<Row>,
}

impl Row {
    pub fn new(name: impl Into<String>, unit: &'static str, ours: f64, peer: f64) -> Self {
        Self { name: name.into(), unit, ours, peer, at_most: None, is_sure: false }
    }

    /// With a target.
    pub fn at_most(self, target: f64) -> Self {
        Self { at_most: Some(target), ..self }
    }

    /// The same on every machine, so that a missed target is an error.
    pub fn sure(self) -> Self {
        Self { is_sure: true, ..self }
    }

    fn verdict(&self) -> &'static str {
        match self.at_most {
            None => "",
            Some(target) if self.ours <= target => "ok",
            Some(_) if self.is_sure => "FAIL",
            Some(_) => "missed here",
        }
    }

    fn label(&self) -> String {
        if self.unit.is_empty() { self.name.clone() } else { format!("{}, {}", self.name, self.unit) }
    }
}

impl Report {
    pub fn new(peer: &'static str, containerd: &str) -> Self {
        Self { peer, containerd: containerd.to_owned(), rows: Vec::new() }
    }

    pub fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// The names of missed targets that are sure.
    pub fn missed(&self) -> Vec<&str> {
        self.rows.iter().filter(|row| row.verdict() == "FAIL").map(|row| row.name.as_str()).collect()
    }

    pub fn print_table(&self) {
        println!("containerd {}, medians", self.containerd);
        println!("{:<36} {:>9} {:>9}  {:<12} {:>7}", "", "MicRun", "peer", "", "target");
        for row in &self.rows {
            let target = row.at_most.map_or_else(String::new, |target| format!("<= {target}"));
            let peer = self.peer;
            let (ours, theirs) = (row.ours, row.peer);
            let label = row.label();
            println!("{label:<36} {ours:>9.2} {theirs:>9.2}  {peer:<12} {target:>7} {}", row.verdict());
        }
    }

    pub fn to_json(&self) -> Value {
        let row = |row: &Row| {
            json!({
                "name": row.name,
                "unit": row.unit,
                "micrun": row.ours,
                "peer": row.peer,
                "peer_name": self.peer,
                "at_most": row.at_most,
                "met": row.at_most.map(|target| row.ours <= target),
            })
        };
        let rows: Vec<_> = self.rows.iter().map(row).collect();
        json!({ "containerd": self.containerd, "rows": rows })
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
        let mut report = Report::new("peer", "1.7");
        report.add(Row::new("size", "MB", 6.0, 1.0).at_most(5.0).sure());
        report.add(Row::new("time", "ms", 60.0, 1.0).at_most(40.0));
        report.add(Row::new("memory", "MB", 3.0, 1.0).at_most(5.0).sure());
        assert_eq!(report.missed(), ["size"]);
    }
}
