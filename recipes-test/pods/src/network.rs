//! Guests on their pods' interfaces, which real CNI has made and CRI has told the sandbox alone.

use std::thread::{self, JoinHandle};

use anyhow::{Context as _, Result, anyhow, ensure};
use micrun_testkit::cri::messages::ExecSyncResponse;
use micrun_testkit::cri::{self, Answer, Pod};
use micrun_testkit::etc::{CONF, OwnEtc, write};

use crate::node::{NETWORKED, Stage, Story};
use crate::story;

const ASK: (&str, &str) = ("org.openeuler.micrun.container.network", "pod");

pub fn stories() -> Vec<Story> {
    vec![story("guests on their pods' interfaces reach each other, and one that is restarted", |stage| {
        let etc = OwnEtc::new(stage.namespace())?;
        let allow = "[policy.allow]\nnetwork = [\"pod\"]\n";
        let told = write(stage.namespace(), CONF, allow).and_then(|()| tell(stage));
        etc.end(stage.namespace())?;
        told
    })]
}

fn tell(stage: &Stage<'_>) -> Result<()> {
    let (asks, answers) = (stage.pod("asks", &[ASK])?, stage.pod("answers", &[ASK])?);
    let (first, second) = (guest(stage, &asks, "first", 0)?, guest(stage, &answers, "second", 0)?);
    let address = address(stage, &answers)?;
    let listening = listen(stage, &second)?;
    stage.wait_for_log("second", 0, "Using virtio-net")?;
    ping(stage, &first, &address)?;

    let same = cri::container("third", &NETWORKED.image());
    let id = stage.cri.create(&asks, same)?;
    let said = stage.cri.start(&id).err().context("two guests have one interface")?.to_string();
    ensure!(said.contains(&format!("the pod's interface belongs to container k8s.io/{first}")), "{said}");

    stage.cri.stop(&first, 0)?;
    let again = guest(stage, &asks, "first", 1)?;
    ping(stage, &again, &address)?;
    stage.end(&asks)?;
    stage.end(&answers)?;
    let listened = listening.join().map_err(|_| anyhow!("the thread of an exec panicked"))?;
    ensure!(!listened.is_ok_and(|done| done.exit_code == 0), "somebody answered what it waited for");
    Ok(())
}

fn address(stage: &Stage<'_>, pod: &Pod) -> Result<String> {
    let network = stage.cri.pod(&pod.id)?.network.context("the pod has no network")?;
    Ok(network.ip)
}

/// A guest that has its pod's address.
fn guest(stage: &Stage<'_>, pod: &Pod, name: &str, attempt: u32) -> Result<String> {
    let id = stage.start(pod, cri::attempt(name, &NETWORKED.image(), attempt))?;
    let own = address(stage, pod)?;
    // As the CNI plugin ptp has it: everything is behind the node.
    let settings = [("ipaddr", own.as_str()), ("netmask", "255.255.255.255"), ("gatewayip", "10.88.0.1")];
    for (name, value) in settings.into_iter().chain([("netretry", "yes")]) {
        exec(stage, &id, &["setenv", name, value])?;
    }
    Ok(id)
}

fn exec(stage: &Stage<'_>, id: &str, command: &[&str]) -> Result<String> {
    let done = stage.cri.exec_sync(id, command, 60)?;
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    ensure!(done.exit_code == 0, "{command:?} ended with {}: {said}", done.exit_code);
    Ok(said)
}

/// U-Boot answers while it waits for the network itself: here for a server that nobody is, again and again.
fn listen(stage: &Stage<'_>, id: &str) -> Result<JoinHandle<Answer<ExecSyncResponse>>> {
    let (cri, id) = (stage.containerd.cri()?, id.to_owned());
    let command = ["tftpboot", "0x41000000", "192.0.2.1:nothing"];
    Ok(thread::spawn(move || cri.exec_sync(&id, &command, 300)))
}

fn ping(stage: &Stage<'_>, id: &str, address: &str) -> Result<()> {
    let said = exec(stage, id, &["ping", address])?;
    ensure!(said.contains(&format!("host {address} is alive")), "{said}");
    Ok(())
}
