//! From a clone to a prompt of a firmware that containerd started.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use clap::Args;
use micrun_testkit::firmware::{OURS_ARM64, U_BOOT_ARM64};
use micrun_testkit::{
    Console, Containerd, Firmware, Product, Profile, Release, Workspace, note, packages, shell, step,
};

use crate::privileges::prepare_then_as_root;

const RUNTIME: &str = "io.containerd.mica.v2";

/// The name that says which container the prompt belongs to.
const PLAYGROUND: &str = "playground";

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  cargo xtask demo\n  cargo xtask demo --no-prompt   also without a terminal\n\n\
                        Nothing is installed but Debian packages that are missing; a private containerd runs while \
                        the demo runs, and nothing of it stays."
)]
pub struct Arguments {
    /// Shows everything and ends, instead of leaving you at a prompt
    #[arg(long)]
    no_prompt: bool,
}

/// Runs the demo.
pub fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    prepare_then_as_root(workspace, || prepare(workspace), || perform(workspace, arguments))
}

fn prepare(workspace: &Workspace) -> Result<()> {
    packages::ensure("the demo", &[&packages::DEMO, &packages::RELEASES])?;
    Product::build(workspace, Profile::Dev, &[OURS_ARM64.board])?;
    Release::own(workspace).map(drop)
}

fn perform(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let product = Product::find(workspace, Profile::Dev)?;
    let release = Release::own(workspace)?;
    step(format_args!(
        "Starting a private containerd {} (your machine's own is not touched)",
        release.version
    ));
    let containerd = Containerd::start(&release, product.bin())?;
    let images = workspace.kit("images")?;
    for firmware in [U_BOOT_ARM64, OURS_ARM64] {
        let archive = images.join(format!("{}.oci.tar", firmware.tag));
        pack(&product, &firmware, &archive)?;
        import(&containerd, &firmware, &archive)?;
        show(&containerd, &firmware)?;
    }
    if arguments.no_prompt || !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        step("Done. In a terminal, this would now leave you at a prompt of the test firmware");
    } else {
        play(&containerd, &OURS_ARM64)?;
    }
    step("Stopping the private containerd; nothing of it stays");
    Ok(())
}

/// Packs as a user does, and shows what the builder says.
fn pack(product: &Product, firmware: &Firmware, archive: &Path) -> Result<()> {
    let mut command = product.pack_command(firmware, archive);
    step(format_args!("Packing {}, an ELF file, into a container image:", firmware.name));
    note(shell::line(&command));
    shell::run(&mut command)
}

fn import(containerd: &Containerd, firmware: &Firmware, archive: &Path) -> Result<()> {
    step(format_args!("Importing the image into containerd: ctr image import {}", archive.display()));
    containerd
        .import(archive)
        .with_context(|| format!("containerd does not take the image of {}", firmware.name))
}

/// Runs a firmware in the foreground, types one command and powers it off.
fn show(containerd: &Containerd, firmware: &Firmware) -> Result<()> {
    let image = firmware.image();
    step(format_args!("Running it: ctr run --rm --runtime {RUNTIME} {image} {}", firmware.tag));
    let run = ["run", "--rm", "--runtime", RUNTIME, &image, firmware.tag];
    let mut console = Console::pipes(containerd, &run)?;
    let shell = console.wait_for_prompt(firmware)?;
    print_indented(&console.seen());
    note(format_args!("--- its prompt is there; typing `{}` ---", shell.command));
    let before = console.seen().len();
    console.send(shell.command)?;
    console.wait_for(shell.answer)?;
    console.wait_for(shell.prompt)?;
    print_indented(console.seen().get(before..).unwrap_or_default());
    note("--- typing `poweroff` ---");
    console.send("poweroff")?;
    let status = console.exit()?;
    note(format_args!("the guest has powered itself off, and its container ended with status {status}"));
    Ok(())
}

/// Hands the terminal to a guest.
fn play(containerd: &Containerd, firmware: &Firmware) -> Result<()> {
    let image = firmware.image();
    let run = ["run", "--rm", "--tty", "--runtime", RUNTIME, &image, PLAYGROUND];
    step(format_args!("Your turn: ctr {}", run.join(" ")));
    note("You are typing to the firmware now: try `help`. Leave with `poweroff` or Ctrl-C.");
    let mut ctr = containerd.namespace().spawn(&mut containerd.ctr(run))?;
    let status = ctr.wait().context("cannot wait for ctr")?;
    eprintln!();
    note(format_args!("ctr ended with {}", shell::ending(status)));
    Ok(())
}

/// A guest's output, set apart from ours. Carriage returns would move our margin.
fn print_indented(text: &str) {
    let mut stdout = std::io::stdout().lock();
    for line in text.replace('\r', "").lines() {
        // A reader that went away does not stop the demo.
        let _ = writeln!(stdout, "    | {line}");
    }
}
