//! bitbake refuses to run as root, so root runs it as somebody else.

use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use micrun_testkit::{packages, shell};

/// Who runs bitbake.
#[derive(Clone, Copy, Debug)]
pub struct User(Option<Ids>);

#[derive(Clone, Copy, Debug)]
struct Ids {
    user: u32,
    group: u32,
}

impl User {
    /// Whoever calls, unless that is root: then the owner of the clones, then whoever called sudo, then nobody.
    ///
    /// # Errors
    /// If none of them is there.
    pub fn find(clones: &Path) -> Result<Self> {
        if !packages::is_root() {
            return Ok(Self(None));
        }
        let owner = clones.metadata().with_context(|| format!("cannot look at {}", clones.display()))?;
        let owner = Ids { user: owner.uid(), group: owner.gid() };
        let candidates = [Some(owner), ids_of("SUDO_UID", "SUDO_GID"), nobody()];
        match candidates.into_iter().flatten().find(|ids| ids.user != 0) {
            Some(mut ids) => {
                // A user's files may be of the group root, which is not to be handed on.
                ids.group = if ids.group == 0 { group_of(ids.user)? } else { ids.group };
                Ok(Self(Some(ids)))
            }
            None => bail!(
                "bitbake refuses to run as root, and there is nobody else to run it as: give {} to another user \
                 (chown -R), or run this as one",
                clones.display()
            ),
        }
    }

    /// Lets a command run as this user.
    pub fn runs(self, command: &mut Command) {
        if let Self(Some(ids)) = self {
            command.uid(ids.user).gid(ids.group);
        }
    }

    /// Gives a file or folder to this user, but not what is in it.
    ///
    /// # Errors
    /// If it is not there.
    pub fn owns(self, path: &Path) -> Result<()> {
        let Self(Some(ids)) = self else { return Ok(()) };
        std::os::unix::fs::lchown(path, Some(ids.user), Some(ids.group))
            .with_context(|| format!("cannot give {} to the user {}", path.display(), ids.user))
    }

    /// Fails unless this user may read a file.
    ///
    /// # Errors
    /// One that says who may not read what.
    pub fn reads(self, path: &Path) -> Result<()> {
        let mut test = Command::new("test");
        test.arg("-r").arg(path);
        self.runs(&mut test);
        ensure!(
            shell::capture(&mut test)?.status.success(),
            "bitbake refuses to run as root, so it runs as the user {}, who cannot read {}: place the target directory \
             (CARGO_TARGET_DIR) and the clones where others may look",
            self.0.map_or_else(|| "that called".to_owned(), |ids| ids.user.to_string()),
            path.display()
        );
        Ok(())
    }
}

fn ids_of(user: &str, group: &str) -> Option<Ids> {
    let number = |name| std::env::var(name).ok()?.parse().ok();
    Some(Ids { user: number(user)?, group: number(group)? })
}

fn nobody() -> Option<Ids> {
    let user = shell::output(Command::new("id").args(["-u", "nobody"])).ok()?.trim().parse().ok()?;
    Some(Ids { user, group: group_of(user).ok()? })
}

fn group_of(user: u32) -> Result<u32> {
    let group = shell::output(Command::new("id").args(["-g", &user.to_string()]))?;
    group.trim().parse().with_context(|| format!("`id` says that the group of {user} is {group}"))
}
