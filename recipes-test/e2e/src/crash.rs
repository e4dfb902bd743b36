//! The shim is killed with SIGKILL after every step of its life. Which steps there are the shim itself tells: it is
//! built with its crash points for this, and a point that is never reached fails its trial.
//!
//! Each trial has a real shim and a real guest, and no containerd: it kills, then does what containerd does, and what
//! a user does next.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use micrun_testkit::namespace::Namespace;
use micrun_testkit::product::SHIM;
use micrun_testkit::{Product, shell, trials, wait};

use crate::bare::Bare;

/// What the shim looks for, inside, and what it makes of it when it has passed there.
const ARMED: &str = "/run/micrun-crash-point";
const REACHED: &str = "/run/micrun-crash-point.reached";

/// Its name, inside of the shim, and where it is looked for.
const ID: &str = "crash";

/// The one step after which somebody else goes on: the process that was started serves whoever comes next.
const SERVED: &str = "start: server started";

/// A trial for each point, and one that shows that the product has none.
pub fn trials(shims: &Path, product: &Product) -> Result<Vec<Trial>> {
    let shims = shims.to_owned();
    let points = points(&shims)?;
    let mut all = Vec::new();
    for point in points.clone() {
        let (shims, product) = (shims.clone(), product.clone());
        all.push(trials::trial(format!("killed at {point}"), move || killed_at(&shims, &product, &point)));
    }
    let product = product.clone();
    let absent = move || none_in_product(&shims, &product, &points);
    all.push(trials::trial("no crash point is in the product", absent));
    Ok(all)
}

/// What the shim lists.
fn points(shims: &Path) -> Result<Vec<String>> {
    let list = shell::output(Command::new(shims.join(SHIM)).arg("crash-points"))?;
    let points: Vec<String> = list.lines().map(str::to_owned).collect();
    ensure!(points.len() > 30, "only {} crash points", points.len());
    Ok(points)
}

/// Orders `kill` or `hold` at a point.
pub fn arm(namespace: &Namespace, what: &str, point: &str) -> Result<()> {
    std::fs::write(namespace.path(ARMED), format!("{what} {point}")).context("cannot arm a crash point")
}

/// Whether the point was passed.
pub fn is_reached(namespace: &Namespace) -> bool {
    namespace.path(REACHED).exists()
}

/// Lets whoever is held go on, and forgets that the point was passed.
pub fn disarm(namespace: &Namespace) -> Result<()> {
    std::fs::remove_file(namespace.path(REACHED)).context("the crash point was never reached")
}

fn killed_at(shims: &Path, product: &Product, point: &str) -> Result<()> {
    let bare = Bare::new(shims, product)?;
    let bare = if point.starts_with("network: ") { bare.with_network()? } else { bare };
    // containerd has `delete` clean up, however often.
    die(&bare, point)?;
    bare.delete(ID).context("the first time")?;
    bare.delete(ID).context("the second time")?;
    if point != SERVED {
        bare.assert_clean().context("after delete")?;
    }
    bare.life(ID).context("the next container")?;
    bare.assert_clean().context("after the next container")?;
    // containerd died as well, and somebody starts the same container again.
    die(&bare, point)?;
    bare.life(ID).context("the next container, without delete")?;
    bare.assert_clean().context("after the next container, without delete")
}

/// Lives until the point is reached.
fn die(bare: &Bare, point: &str) -> Result<()> {
    let of_action = point.starts_with("delete action: ");
    let of_next = point.starts_with("create again: ");
    if of_action || of_next {
        bare.run(ID)?;
        bare.kill_shims()?;
    }
    arm(&bare.namespace, "kill", point)?;
    let lived = if of_action { bare.delete(ID) } else { bare.life(ID) };
    disarm(&bare.namespace).with_context(|| format!("without it: {lived:?}"))?;
    let dead = || Ok((point == SERVED || bare.shims()?.is_empty()).then_some(()));
    wait::until("the shim to be dead", dead)
}

/// The product's binary has nothing of them. The other one shows that they would be found.
fn none_in_product(shims: &Path, product: &Product, points: &[String]) -> Result<()> {
    let read = |path: PathBuf| {
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        anyhow::Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let (armed, ours) = (read(shims.join(SHIM))?, read(product.shim())?);
    for trace in points.iter().map(String::as_str).chain(["micrun-crash-point", "crash-points"]) {
        ensure!(armed.contains(trace), "the shim with crash points lacks {trace:?}: what is looked for?");
        ensure!(!ours.contains(trace), "{} contains {trace:?}", product.shim().display());
    }
    Ok(())
}
