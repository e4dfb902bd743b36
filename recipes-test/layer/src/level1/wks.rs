//! The layouts of disks. bitbake looks for them, and wic reads them, only when an image is built; here they are read by wic's rules
//! (the OpenEmbedded kickstart reference: which options there are, which values they take, which exclude each other), and
//! compared with what boot scripts and RAUC expect of the disk.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use micrun_testkit::{Workspace, note};

use super::Check;

/// Where bitbake looks for them: in `files/wic` of each layer.
const FOLDER: &str = "meta-micrun/files/wic";
/// What chooses one for an image.
const CLASS: &str = "meta-micrun/classes-recipe/micrun-image.bbclass";

/// Options of `part` that take a value, and those that take none.
const WITH_VALUE: [&str; 25] = [
    "--align",
    "--change-directory",
    "--exclude-path",
    "--extra-filesystem-space",
    "--extra-partition-space",
    "--extra-space",
    "--fixed-size",
    "--fsoptions",
    "--fspassno",
    "--fstype",
    "--fsuuid",
    "--include-path",
    "--label",
    "--mkfs-extraopts",
    "--offset",
    "--ondisk",
    "--ondrive",
    "--overhead-factor",
    "--part-name",
    "--part-type",
    "--rootfs-dir",
    "--size",
    "--source",
    "--sourceparams",
    "--system-id",
];
const WITHOUT: [&str; 7] =
    ["--active", "--hidden", "--mbr", "--no-fstab-update", "--no-table", "--use-label", "--use-uuid"];
const FILE_SYSTEMS: [&str; 10] =
    ["btrfs", "erofs", "ext2", "ext3", "ext4", "msdos", "none", "squashfs", "swap", "vfat"];
const TABLES: [&str; 3] = ["gpt", "gpt-hybrid", "msdos"];

/// The plugins of wic that our layouts may use, by the names that they have since Python packages cannot hold a dash.
const SOURCES: [&str; 4] = ["bootimg_partition", "empty", "rawcopy", "rootfs"];

/// What boot scripts, RAUC and mount units know: by number and by name.
const NAMES: [(usize, &str); 4] = [(1, "esp"), (2, "rootfs.0"), (3, "rootfs.1"), (4, "data")];

pub fn checks() -> Vec<Check> {
    vec![
        Check { name: "wic: layouts follow the rules of wic", run: rules },
        Check { name: "wic: every image finds its layout", run: found },
        Check {
            name: "wic: every disk has the partitions that boot, RAUC and mounts look for",
            run: partitions,
        },
    ]
}

fn rules(workspace: &Workspace) -> Result<()> {
    let all = layouts(workspace)?;
    ensure!(!all.is_empty(), "there is no layout in {FOLDER}");
    for (name, layout) in &all {
        note(format_args!("{name}: {} partitions, {}", layout.parts.len(), layout.table));
    }
    Ok(())
}

fn found(workspace: &Workspace) -> Result<()> {
    let class = workspace.root().join(CLASS);
    let text = fs::read_to_string(&class).with_context(|| format!("cannot read {}", class.display()))?;
    let mut chosen = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("MICRUN_WKS_FILE")) {
        for name in line.split(['"', '\'']).filter(|word| word.ends_with(".wks.in")) {
            let path = workspace.root().join(FOLDER).join(name);
            ensure!(path.is_file(), "{CLASS} names {name}, which is not in {FOLDER}");
            chosen.push(name.to_owned());
        }
    }
    ensure!(text.contains("WKS_FILE = \"${MICRUN_WKS_FILE}\""), "{CLASS} does not use what it chose");
    for (name, _) in layouts(workspace)? {
        ensure!(chosen.contains(&name), "nothing uses {name}");
    }
    Ok(())
}

fn partitions(workspace: &Workspace) -> Result<()> {
    for (name, layout) in layouts(workspace)? {
        for (number, wanted) in NAMES {
            let part =
                layout.parts.get(number - 1).with_context(|| format!("{name} has no partition {number}"))?;
            let is = part.get("--part-name").map(String::as_str);
            ensure!(is == Some(wanted), "{name}: partition {number} is called {is:?}, not {wanted}");
        }
        let first = layout.parts.first().with_context(|| format!("{name} is empty"))?;
        ensure!(first.get("--fstype").is_some_and(|kind| kind == "vfat"), "{name}: the firmware reads FAT");
        let size = |number: usize| layout.parts[number - 1].get("--fixed-size");
        ensure!(size(2) == size(3), "{name}: the slots differ in size, so an update could fit into one only");
    }
    Ok(())
}

/// All of them, by name.
fn layouts(workspace: &Workspace) -> Result<BTreeMap<String, Layout>> {
    let folder = workspace.root().join(FOLDER);
    let reading = || format!("cannot read {}", folder.display());
    let files: Vec<PathBuf> = folder
        .read_dir()
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
        .with_context(reading)?;
    let mut all = BTreeMap::new();
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        all.insert(name, Layout::read(&text).with_context(|| format!("{}", file.display()))?);
    }
    Ok(all)
}

/// A layout as wic understands it.
#[derive(Debug)]
struct Layout {
    table: String,
    /// The options of each partition that take a value, and "" for those that do not.
    parts: Vec<BTreeMap<String, String>>,
}

impl Layout {
    fn read(text: &str) -> Result<Self> {
        let (mut parts, mut table) = (Vec::new(), None);
        for (number, line) in text.lines().enumerate() {
            let at = || format!("line {}", number + 1);
            let words = words(&variables(line.trim()).with_context(at)?).with_context(at)?;
            match words.split_first() {
                None => {}
                Some((first, _)) if first.starts_with('#') => {}
                Some((first, rest)) if first == "part" => parts.push(part(rest).with_context(at)?),
                Some((first, rest)) if first == "bootloader" => {
                    ensure!(
                        table.replace(bootloader(rest).with_context(at)?).is_none(),
                        "{}: a second bootloader",
                        at()
                    );
                }
                Some((first, _)) => bail!("{}: wic knows no {first}", at()),
            }
        }
        let table = table.unwrap_or_else(|| "msdos".to_owned());
        for part in &parts {
            ensure!(table == "gpt-hybrid" || !part.contains_key("--mbr"), "--mbr is for gpt-hybrid");
            let named = part.contains_key("--part-name") || part.contains_key("--part-type");
            // sfdisk refuses a number where GPT has a GUID.
            ensure!(table == "msdos" || !part.contains_key("--system-id"), "--system-id is for an MBR alone");
            ensure!(table != "msdos" || !named, "an MBR has neither names nor types of partitions");
        }
        Ok(Self { table, parts })
    }
}

fn part(words: &[String]) -> Result<BTreeMap<String, String>> {
    let (mut options, mut mount_point) = (BTreeMap::new(), None);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let (name, mut value) = match word.split_once('=') {
            Some((name, value)) if word.starts_with("--") => (name, Some(value.to_owned())),
            _ => (word.as_str(), None),
        };
        if WITH_VALUE.contains(&name) {
            value = value.or_else(|| words.next().cloned());
            let value = value.with_context(|| format!("{name} wants a value"))?;
            judge(name, &value)?;
            ensure!(options.insert(name.to_owned(), value).is_none(), "{name} is there twice");
        } else if WITHOUT.contains(&name) {
            ensure!(value.is_none(), "{name} takes no value");
            options.insert(name.to_owned(), String::new());
        } else if name.starts_with("--") {
            bail!("wic knows no {name}");
        } else {
            ensure!(mount_point.replace(name).is_none(), "{name} is a second mount point");
        }
    }
    let has = |name: &str| options.contains_key(name);
    ensure!(!(has("--size") && has("--fixed-size")), "--size and --fixed-size exclude each other");
    let grows = has("--overhead-factor") || has("--extra-filesystem-space") || has("--extra-space");
    ensure!(!(has("--fixed-size") && grows), "--fixed-size leaves no room for extra space");
    ensure!(!has("--use-label") || has("--label"), "--use-label wants a --label");
    Ok(options)
}

fn bootloader(words: &[String]) -> Result<String> {
    match words {
        [option, table] if option == "--ptable" && TABLES.contains(&table.as_str()) => Ok(table.clone()),
        other => bail!("a bootloader of ours has a --ptable and nothing else, not {}", other.join(" ")),
    }
}

/// Whether an option takes such a value.
fn judge(name: &str, value: &str) -> Result<()> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let good = match name {
        "--size"
        | "--fixed-size"
        | "--extra-filesystem-space"
        | "--extra-space"
        | "--extra-partition-space" => is_number(value.strip_suffix(['k', 'K', 'M', 'G']).unwrap_or(value)),
        "--align" => is_number(value),
        "--fstype" => FILE_SYSTEMS.contains(&value),
        "--source" => SOURCES.contains(&value),
        "--system-id" => {
            let digits = value.strip_prefix("0x").unwrap_or(value);
            u8::from_str_radix(digits, 16).is_ok_and(|id| id > 0)
        }
        _ => !value.is_empty(),
    };
    ensure!(good, "{name} does not take {value:?}");
    Ok(())
}

/// Puts a number for each size, and a word for every other variable: bitbake fills in templates before wic sees them.
fn variables(line: &str) -> Result<String> {
    let mut text = line.to_owned();
    while let Some(start) = text.find("${") {
        let end = text[start..].find('}').context("a variable has no end")? + start;
        let value = if text[start + 2..end].ends_with("_SIZE") { "64" } else { "x" };
        text.replace_range(start..=end, value);
    }
    Ok(text)
}

/// Splits as a shell does, as far as quotes go.
fn words(line: &str) -> Result<Vec<String>> {
    if line.starts_with('#') {
        return Ok(Vec::new());
    }
    let (mut words, mut word, mut quoted) = (Vec::new(), None::<String>, false);
    for character in line.chars() {
        match character {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            ' ' | '\t' if !quoted => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    ensure!(!quoted, "a quote has no end");
    words.extend(word);
    Ok(words)
}
