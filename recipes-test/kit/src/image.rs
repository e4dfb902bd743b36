//! Images of Linux programs, as other tools make them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::shell;

/// A program that does nothing, as our firmware does when nobody types. It ends when it is asked to, as pause containers do.
const SLEEPER: &str = "#include <unistd.h>\n#include <stdlib.h>\n#include <signal.h>\n\
                       int main(void) { signal(SIGTERM, exit); for (;;) pause(); }\n";

/// Where an image has its program.
pub const PROGRAM: &str = "/pause";

/// Builds a Linux program that sleeps.
///
/// # Errors
/// If there is no compiler.
pub fn sleeper(folder: &Path) -> Result<PathBuf> {
    let source = folder.join("pause.c");
    std::fs::write(&source, SLEEPER).with_context(|| format!("cannot write {}", source.display()))?;
    let program = folder.join("pause");
    compile(&source, &program)?;
    Ok(program)
}

/// A program that needs no library.
///
/// # Errors
/// If it does not compile.
pub fn compile(source: &Path, program: &Path) -> Result<()> {
    shell::quietly(Command::new("cc").args(["-static", "-O2", "-o"]).args([program, source]))
}

/// An archive with an image of this name, which holds one program and starts it.
///
/// # Errors
/// If umoci fails.
pub fn of_program(folder: &Path, reference: &str, program: &Path) -> Result<PathBuf> {
    let tag = reference.rsplit(['/', ':']).nth(1).context("a reference has a name and a tag")?;
    let layout = folder.join(format!("{tag}.layout"));
    if layout.exists() {
        std::fs::remove_dir_all(&layout).with_context(|| format!("cannot remove {}", layout.display()))?;
    }
    let image = format!("{}:image", layout.display());
    let umoci = |arguments: &[&str]| shell::quietly(Command::new("umoci").args(arguments));
    umoci(&["init", "--layout", &layout.to_string_lossy()])?;
    umoci(&["new", "--image", &image])?;
    umoci(&["insert", "--image", &image, &program.to_string_lossy(), PROGRAM])?;
    umoci(&["config", "--image", &image, "--config.entrypoint", PROGRAM])?;
    // containerd takes this annotation for the whole reference.
    let index = layout.join("index.json");
    let text = std::fs::read_to_string(&index).with_context(|| format!("cannot read {}", index.display()))?;
    let text = text.replace("\"image\"}", &format!("\"{reference}\"}}"));
    ensure!(text.contains(reference), "umoci writes its index differently now: {text}");
    std::fs::write(&index, text).with_context(|| format!("cannot write {}", index.display()))?;
    let archive = folder.join(format!("{tag}.oci.tar"));
    shell::quietly(Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(&layout).arg("."))?;
    Ok(archive)
}
