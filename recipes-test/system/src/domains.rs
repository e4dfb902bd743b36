//! Domains of Xen: those behind our containers, and those that a user makes with `xl` beside them.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use micrun_testkit::{Firmware, shell};

use crate::stage::Stage;

/// A domain, as `xl list` shows it.
#[derive(Clone, Debug)]
pub struct Domain {
    pub name: String,
    pub id: String,
    /// `r-----`, `-b----`, `--p---`, …
    pub state: String,
}

/// The same domain, whatever it does at the moment.
impl PartialEq for Domain {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.id) == (&other.name, &other.id)
    }
}

impl Stage<'_> {
    /// The domain of a container, by the name that the shim gives it: the id's beginning, a dash, a hash.
    pub fn domain(&self, id: &str) -> Result<Option<Domain>> {
        let start = format!("{}-", id.get(..12).unwrap_or(id));
        let list = self.node.run(&["xl", "list"])?;
        let domain = |line: &str| match line.split_whitespace().collect::<Vec<_>>()[..] {
            [name, id, _, _, state, _] if name.starts_with(&start) => {
                Some(Domain { name: name.to_owned(), id: id.to_owned(), state: state.to_owned() })
            }
            _ => None,
        };
        Ok(list.lines().find_map(domain))
    }

    /// Starts a domain that is none of ours.
    pub fn create_domain(&self, firmware: &Firmware, name: &str) -> Result<()> {
        self.put_configuration(firmware, name)?;
        self.node.run(&["xl", "create", "-q", &format!("/tmp/{name}.cfg")]).map(drop)
    }

    /// Ends it.
    pub fn destroy_domain(&self, name: &str) -> Result<()> {
        self.node.run(&["xl", "destroy", name])?;
        self.remove_configuration(name)
    }

    /// Writes `/tmp/<name>.cfg` for a firmware, with the boot image that is in its image.
    pub fn put_configuration(&self, firmware: &Firmware, name: &str) -> Result<()> {
        let kernel = format!("/tmp/{name}.bin");
        self.node.put(&self.boot_image(firmware)?, &kernel)?;
        let vuart = if firmware.board.ends_with("vuart") { "vuart = \"sbsa_uart\"\n" } else { "" };
        let text =
            format!("name = \"{name}\"\nkernel = \"{kernel}\"\nmemory = 16\nvcpus = 1\nacpi = 0\n{vuart}");
        let file = self.scratch.path().join(name);
        std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        self.node.put(&file, &format!("/tmp/{name}.cfg"))
    }

    pub fn remove_configuration(&self, name: &str) -> Result<()> {
        self.node.run(&["rm", &format!("/tmp/{name}.cfg"), &format!("/tmp/{name}.bin")]).map(drop)
    }

    fn boot_image(&self, firmware: &Firmware) -> Result<PathBuf> {
        let archive = self.pack(firmware, &[])?;
        let file = self.scratch.path().join("image.bin");
        let mut extract = Command::new(self.product.builder());
        extract.arg("extract").arg(&archive).args(["--platform", "linux/arm64", "--boot-image"]).arg(&file);
        shell::quietly(&mut extract)?;
        Ok(file)
    }
}
