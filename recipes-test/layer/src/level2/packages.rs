//! What is in the packages: each file, where it is and who may run it, against a list that is committed; and the files
//! themselves against those of the node that the system tests boot.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::node::{INSTALLED, INSTALLED_WITH_SLOTS};
use micrun_testkit::{Unpacked, Workspace, apt, note, packages as needed, shell};

use super::{Check, build};
use crate::clones::Clones;

/// `package: mode path`, sorted.
const EXPECTED: &str = include_str!("packages.txt");

/// What our recipes install and no node of the system tests does: they have containerd 1.7, no k3s and no logrotate.
const NOT_ON_THE_NODE: [&str; 7] = [
    "etc/containerd/conf.d/50-micrun.toml",
    "etc/logrotate.d/micrun-guests",
    "etc/mica/micrun/micrun.conf",
    "usr/lib/micrun/ptest/run-ptest",
    "usr/lib/systemd/system/k3s-agent.service.d/50-micrun.conf",
    "usr/lib/tmpfiles.d/micrun-k3s.conf",
    "usr/share/micrun/k3s/50-micrun.toml",
];

/// Where manual pages go.
const MANUAL: &str = "usr/share/man/man1/";

/// What bitbake and the programs themselves write, of which this repository has no file.
const WRITTEN: [&str; 6] =
    [MANUAL, "-completion", "site-functions", "vendor_completions", "/system-preset/", "/doc/"];

/// Where the recipes here take files from.
const SOURCES: &str = "recipes-containers/";

pub fn checks() -> Vec<Check> {
    vec![
        Check { name: "packages hold what is written down, and nothing else", run: lists },
        Check {
            name: "packages and the node of the system tests have the same files",
            run: same_as_on_the_node,
        },
        Check { name: "the packaged tests pass, under emulation", run: tests },
        Check { name: "tests are built apart from the programs that are packaged", run: apart },
        Check { name: "bills of materials name the packages", run: bills },
        Check { name: "configuration is marked as such, so that updates keep it", run: configuration },
    ]
}

/// Each package, unpacked, with the list of its files.
struct Packages {
    files: Vec<(String, String)>,
    root: tempfile::TempDir,
}

impl Packages {
    fn build(workspace: &Workspace, clones: &Clones) -> Result<Self> {
        let root = tempfile::tempdir().context("cannot make a temporary folder")?;
        let mut files = Vec::new();
        for (name, deb) in debs(workspace, clones)? {
            let list = shell::output(Command::new("dpkg-deb").arg("--contents").arg(&deb))?;
            files.extend(list.lines().filter_map(entry).map(|file| (name.clone(), file)));
            apt::unpack(&deb, root.path())?;
        }
        files.sort();
        files.dedup();
        Ok(Self { files, root })
    }
}

/// Those that our two recipes wrote, by name.
fn debs(workspace: &Workspace, clones: &Clones) -> Result<BTreeMap<String, PathBuf>> {
    let folder = build::packages(workspace, clones)?;
    let mut debs = BTreeMap::new();
    for architecture in folder.read_dir().with_context(|| format!("cannot read {}", folder.display()))? {
        let architecture = architecture.context("cannot read the packages' folder")?.path();
        for file in
            architecture.read_dir().with_context(|| format!("cannot read {}", architecture.display()))?
        {
            let path = file.context("cannot read the packages' folder")?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if let Some((name, _)) = name.split_once('_').filter(|(name, _)| name.starts_with("micrun")) {
                let name = name.to_owned();
                debs.insert(name, path);
            }
        }
    }
    Ok(debs)
}

/// `mode path` from a line of `tar -tv`; nothing for folders. How many manual pages there are is the programs' business.
fn entry(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let mode = words.next().filter(|mode| !mode.starts_with('d'))?;
    let path = words.nth(4)?;
    let path = path.trim_start_matches("./");
    let path = if path.starts_with(MANUAL) { format!("{MANUAL}*") } else { path.to_owned() };
    Some(format!("{mode} {path}"))
}

fn lists(workspace: &Workspace, clones: &Clones) -> Result<()> {
    let packages = Packages::build(workspace, clones)?;
    let found: Vec<String> = packages.files.iter().map(|(name, file)| format!("{name}: {file}")).collect();
    let expected: Vec<&str> = EXPECTED.lines().filter(|line| !line.starts_with('#')).collect();
    let more: Vec<&String> = found.iter().filter(|line| !expected.contains(&line.as_str())).collect();
    let less: Vec<&&str> = expected.iter().filter(|line| !found.iter().any(|one| one == *line)).collect();
    ensure!(
        more.is_empty() && less.is_empty(),
        "recipes-test/layer/src/level2/packages.txt lists other files. Not in the list: {more:#?}\nNot in a package: {less:#?}"
    );
    Ok(())
}

/// What the nodes of the system tests have, from the layer to the node.
fn installed() -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    INSTALLED.iter().chain(&INSTALLED_WITH_SLOTS)
}

/// Byte for byte, both ways.
fn same_as_on_the_node(workspace: &Workspace, clones: &Clones) -> Result<()> {
    let packages = Packages::build(workspace, clones)?;
    let layer = workspace.root().join("meta-micrun");
    for (from, to) in installed().filter(|(from, _)| from.starts_with(SOURCES)) {
        let (from, to) = (layer.join(from), packages.root.path().join(to));
        ensure!(read(&from)? == read(&to)?, "{} is packaged with other contents", from.display());
    }
    for (package, file) in &packages.files {
        let Some((mode, path)) = file.split_once(' ') else { continue };
        let is_data = !mode.contains('x') || path.contains("libexec");
        let is_known = installed().any(|(_, to)| *to == path) || NOT_ON_THE_NODE.contains(&path);
        let is_written = WRITTEN.iter().any(|part| path.contains(part));
        ensure!(
            !is_data || is_known || is_written,
            "{package} installs {path}, which the node of the system tests lacks: add it to \
             recipes-test/kit/src/node/installed.rs, or say in packages.rs why not"
        );
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The packaged test that starts its own program anew, which is an arm64 one: the machine's kernel would refuse it.
const NOT_EMULATED: &str = "two_processes_never_get_the_same_core";

/// `micrun-ptest` as a node would run it, but for the kernel. The emulator is a newer one than Debian 12 has, which knows of
/// openat2(2).
fn tests(workspace: &Workspace, clones: &Clones) -> Result<()> {
    needed::ensure("running packaged tests", &[&needed::USER_EMULATION])?;
    let packages = Packages::build(workspace, clones)?;
    let ptest = packages.root.path().join("usr/lib/micrun/ptest");
    let emulator = Unpacked::of(workspace, "qemu-user", "trixie")?.program("qemu-aarch64")?;
    let (programs, arm64) = (ptest.join("tests"), ptest.join("arm64"));
    let preparing = || format!("cannot prepare {}", programs.display());
    std::fs::rename(&programs, &arm64)
        .and_then(|()| std::fs::create_dir(&programs))
        .with_context(preparing)?;
    for program in arm64.read_dir().with_context(preparing)? {
        let program = program.with_context(preparing)?;
        let script = format!(
            "#!/bin/sh\nexec '{}' -L /usr/aarch64-linux-gnu '{}' --skip {NOT_EMULATED}\n",
            emulator.display(),
            program.path().display()
        );
        let to = programs.join(program.file_name());
        std::fs::write(&to, script)
            .and_then(|()| std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o755)))
            .with_context(preparing)?;
    }
    let said = shell::output(&mut Command::new(ptest.join("run-ptest")))?;
    let passed = said.lines().filter(|line| line.starts_with("PASS: ")).count();
    note(format_args!("{passed} tests passed"));
    ensure!(passed > 100 && !said.contains("FAIL: "), "the packaged tests said\n{said}");
    Ok(())
}

/// Tests are built unoptimised, and with them the programs that they start: none of these may take the place of a product's.
fn apart(workspace: &Workspace, clones: &Clones) -> Result<()> {
    let work = build::packages(workspace, clones)?.join("../../work");
    let lists = shell::output(Command::new("find").arg(&work).args(["-name", "tests.json"]))?;
    let mut programs = 0;
    for list in lists.lines() {
        let text = String::from_utf8_lossy(&read(Path::new(list))?).into_owned();
        for program in text.split("\"executable\":\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            ensure!(program.contains("/ptest/"), "{program} was built for tests, where the product's is");
            programs += 1;
        }
    }
    ensure!(programs > 0, "no recipe tells of the tests that it has built, below {}", work.display());
    Ok(())
}

/// SPDX 3.0: a document for each package, which refers to the licence in that of its recipe's build.
fn bills(workspace: &Workspace, clones: &Clones) -> Result<()> {
    let folder = build::packages(workspace, clones)?.join("../spdx/3.0.1");
    let documents = shell::output(Command::new("find").arg(&folder).args(["-name", "*.spdx.json"]))?;
    let names = |file: String, parts: &[String]| -> Result<()> {
        let path = documents.lines().find(|path| path.ends_with(&file));
        let path = Path::new(path.with_context(|| format!("no document {file} in\n{documents}"))?);
        let text = String::from_utf8_lossy(&read(path)?).into_owned();
        let lacking = parts.iter().find(|part| !text.contains(part.as_str()));
        ensure!(lacking.is_none(), "{} does not say {}", path.display(), lacking.map_or("", String::as_str));
        Ok(())
    };
    for package in ["micrun", "micrun-import", "micrun-image-builder"] {
        let parts = [
            format!("\"name\":\"{package}\""),
            format!("\"software_packageVersion\":\"{}\"", env!("CARGO_PKG_VERSION")),
            "/MulanPSL-2_0\"".to_owned(),
        ];
        names(format!("/packages/package-{package}.spdx.json"), &parts)?;
    }
    for recipe in ["micrun", "micrun-image-builder"] {
        let expression = "\"simplelicensing_licenseExpression\":\"MulanPSL-2.0\"".to_owned();
        names(format!("/builds/build-{recipe}.spdx.json"), &[expression])?;
    }
    Ok(())
}

/// Every file below /etc.
fn configuration(workspace: &Workspace, clones: &Clones) -> Result<()> {
    for (name, deb) in debs(workspace, clones)? {
        let list = shell::output(Command::new("dpkg-deb").arg("--contents").arg(&deb))?;
        let marked = shell::output(Command::new("dpkg-deb").arg("--info").arg(&deb).arg("conffiles"))
            .unwrap_or_default();
        for file in list.lines().filter_map(entry) {
            let Some((_, path)) = file.split_once(' ').filter(|(_, path)| path.starts_with("etc/")) else {
                continue;
            };
            ensure!(
                marked.lines().any(|line| line.trim_start_matches('/') == path),
                "{name} installs /{path} and does not mark it: CONFFILES"
            );
        }
    }
    Ok(())
}
