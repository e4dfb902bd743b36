//! How large the programs are, and what ours is made of.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use micrun_testkit::{Product, Workspace, note, shell};

use super::report::{Report, Row};
use super::subject::Subject;

/// How many lines the table of crates has.
const CRATES: usize = 30;

/// Packagers strip, so a stripped copy is what counts.
pub fn measure(workspace: &Workspace, subjects: &[Subject], report: &mut Report) -> Result<()> {
    let size = |subject: &Subject| Ok(stripped_size(workspace, &subject.shim)? as f64 / 1e6);
    let sizes = subjects.iter().map(size).collect::<Result<Vec<f64>>>()?;
    report.add(Row::of_all("shim binary, stripped", "MB", sizes).at_most(4.0).sure());
    Ok(())
}

fn stripped_size(workspace: &Workspace, program: &Path) -> Result<u64> {
    let copy = workspace.kit("bench")?.join("stripped");
    shell::quietly(Command::new("strip").arg("-o").args([&copy, program]))?;
    let size = copy.metadata().with_context(|| format!("cannot look at {}", copy.display()))?.len();
    note(format_args!("{}: {size} bytes", program.display()));
    Ok(size)
}

/// Prints the shim's sections, and its code by the crate that each function's name begins with. Generic code counts
/// for the crate that wrote it, not for the one that needed it.
pub fn print_crates(workspace: &Workspace, product: &Product) -> Result<()> {
    let program = product.shim();
    println!("{:>9}  stripped", stripped_size(workspace, &program)?);
    for line in shell::output(Command::new("size").arg("-A").arg(&program))?.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [section, size, address] = words[..]
            && section.starts_with('.')
            // What is not loaded is stripped.
            && address != "0"
            && size.len() > 4
        {
            println!("{size:>9}  {section}");
        }
    }
    let names = shell::output(Command::new("nm").args(["--print-size", "--demangle"]).arg(&program))?;
    let mut crates: BTreeMap<String, u64> = BTreeMap::new();
    for (size, name) in names.lines().filter_map(function) {
        *crates.entry(crate_of(name)).or_default() += size;
    }
    let mut crates: Vec<(u64, String)> = crates.into_iter().map(|(name, size)| (size, name)).collect();
    crates.sort_by(|a, b| b.cmp(a));
    println!("of .text:");
    for (size, name) in crates.iter().take(CRATES) {
        println!("{size:>9}  {name}");
    }
    let rest: u64 = crates.iter().skip(CRATES).map(|(size, _)| size).sum();
    println!("{rest:>9}  {} others", crates.len().saturating_sub(CRATES));
    Ok(())
}

/// `ADDRESS SIZE t NAME`: the size and the name of a function.
fn function(line: &str) -> Option<(u64, &str)> {
    let mut words = line.splitn(4, ' ');
    let size = words.nth(1)?;
    let kind = words.next()?;
    let name = words.next()?;
    matches!(kind, "t" | "T" | "w" | "W").then_some((u64::from_str_radix(size, 16).ok()?, name))
}

/// The first crate that a demangled name mentions: `<&mut T as core::fmt::Debug>::fmt` is of `core`.
fn crate_of(name: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let Some(path) = name.find("::") else { return "C and others".into() };
    let before = &name[..path];
    let start = before.rfind(|c: char| !is_word(c)).map_or(0, |at| at + 1);
    match &before[start..] {
        "" => crate_of(&name[path + 2..]),
        word => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_counts_for_its_crate() {
        let line = "0000000000101a20 00000000000001f4 t <alloc::vec::Vec<T> as core::clone::Clone>::clone";
        let (size, name) = function(line).unwrap();
        assert_eq!((size, crate_of(name).as_str()), (500, "alloc"));
        assert_eq!(crate_of("<&mut T as core::fmt::Debug>::fmt"), "core");
        assert_eq!(crate_of("micrun::shim::main"), "micrun");
        assert_eq!(crate_of("_start"), "C and others");
        assert_eq!(function("0000000000101a20 0000000000000008 d TABLE"), None);
        assert_eq!(function("                 U malloc"), None);
    }
}
