//! Guests on their pods' interfaces: U-Boot, which answers and asks, in pods as CNI would make them. All networks are in
//! namespaces of the story's own; the machine's is left alone.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::etc::{CONF, OwnEtc, write};
use micrun_testkit::firmware::{Firmware, OURS_CORTEX_M3, U_BOOT_ARM64};
use micrun_testkit::product::SHIM;
use micrun_testkit::{Console, observe, shell, wait};

use crate::node::{Stage, Story};
use crate::{kill_process, story};

const ASK: &str = "org.openeuler.micrun.container.network=pod";
/// What a node says that allows it.
pub const ALLOW: &str = "[policy.allow]\nnetwork = [\"pod\"]\n";

pub fn stories() -> Vec<Story> {
    vec![
        story("a guest on its pod's interface: another guest and the node reach it", |stage| {
            allowed(stage, ping)
        }),
        story("a guest on its pod's interface: one guest, restarts, a killed shim", |stage| {
            allowed(stage, again)
        }),
        story("a guest on its pod's interface: who asks for it, and may", |stage| allowed(stage, refusals)),
    ]
}

fn allowed(stage: &Stage<'_>, tell: impl FnOnce(&Stage<'_>) -> Result<()>) -> Result<()> {
    let etc = OwnEtc::new(stage.namespace())?;
    let told = write(stage.namespace(), CONF, ALLOW).and_then(|()| tell(stage));
    etc.end(stage.namespace())?;
    told
}

/// A process inside that keeps a network namespace; both end with this.
struct Network {
    keeper: Child,
    /// Its id inside.
    inner_pid: u32,
}

impl Network {
    fn new(stage: &Stage<'_>) -> Result<Network> {
        let script = "ip link set lo up && echo $$ && exec sleep 3600";
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", script]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut keeper = stage.namespace().spawn(&mut command)?;
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().context("there is no pipe")?).read_line(&mut line)?;
        let inner_pid = line.trim().parse().context("sh does not tell its pid")?;
        Ok(Network { keeper, inner_pid })
    }

    /// As a process inside names it.
    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.inner_pid)
    }

    fn run(&self, line: &str) -> Result<String> {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.keeper.id())).args(line.split(' '));
        shell::output(&mut command)
    }

    /// What can be changed in it, without counters.
    fn state(&self) -> Result<String> {
        Ok(self.run("ip -4 -o address show")? + &self.run("tc qdisc show")? + &self.run("ip route show")?)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = self.keeper.kill().and_then(|()| self.keeper.wait());
    }
}

/// A node's network with a bridge, and a pod's for each number.
fn networks(stage: &Stage<'_>, pods: u8) -> Result<(Network, Vec<Network>)> {
    let node = Network::new(stage)?;
    node.run("ip link add cni0 type bridge")?;
    node.run("ip address add 10.88.0.1/24 dev cni0")?;
    node.run("ip link set cni0 up")?;
    let pods = (1..=pods).map(|number| {
        let pod = Network::new(stage)?;
        let peer = format!("type veth peer name eth0 netns {}", pod.keeper.id());
        node.run(&format!("ip link add veth{number} {peer}"))?;
        node.run(&format!("ip link set veth{number} master cni0 up"))?;
        pod.run(&format!("ip address add {}/24 dev eth0", address(number)))?;
        pod.run("ip link set eth0 up")?;
        Ok(pod)
    });
    let pods = pods.collect::<Result<_>>()?;
    Ok((node, pods))
}

fn address(pod: u8) -> String {
    format!("10.88.0.1{pod}")
}

/// `ctr run` of a firmware, in a pod's network.
fn try_run(stage: &Stage<'_>, firmware: &Firmware, id: &str, pod: &Network, options: &[&str]) -> Result<()> {
    let network = network_of(pod);
    let options = [&["--with-ns", network.as_str()], options].concat();
    let run = stage.try_run_detached(&firmware.image(), id, &options)?;
    ensure!(run.status.success(), "ctr run failed: {}", String::from_utf8_lossy(&run.stderr));
    Ok(())
}

/// The same with U-Boot, and its own address on the pod's interface.
fn run(stage: &Stage<'_>, id: &str, pod: &Network, number: u8) -> Result<()> {
    try_run(stage, &U_BOOT_ARM64, id, pod, &["--annotation", ASK])?;
    exec(stage, id, "setenv netmask 255.255.255.0")?;
    exec(stage, id, &format!("setenv ipaddr {}", address(number))).map(drop)
}

fn exec(stage: &Stage<'_>, id: &str, line: &str) -> Result<String> {
    stage.run_ctr(["task", "exec", "--exec-id", "e", id].into_iter().chain(line.split(' ')))
}

fn end(stage: &Stage<'_>, id: &str) -> Result<()> {
    stage.kill(id, "SIGKILL")?;
    let status = stage.reap(id)?;
    ensure!(status == 137, "{id} ended with {status}");
    Ok(())
}

/// U-Boot answers while it waits for the network itself: here for a server that nobody is, again and again.
fn listens(stage: &Stage<'_>, id: &str) -> Result<Console> {
    exec(stage, id, "setenv netretry yes")?;
    exec(stage, id, "setenv serverip 10.88.0.99")?;
    let line = ["task", "exec", "--exec-id", "listens", id, "tftpboot", "0x41000000", "nothing"];
    let listens = Console::pipes(stage, &line)?;
    stage.wait_for_log(id, "Using virtio-net")?;
    Ok(listens)
}

fn ping(stage: &Stage<'_>) -> Result<()> {
    stage.import_firmware(&U_BOOT_ARM64)?;
    let (node, pods) = networks(stage, 2)?;
    let before = pods[0].state()?;
    run(stage, "asks", &pods[0], 1)?;
    run(stage, "answers", &pods[1], 2)?;
    for shim in stage.guests()?.iter().filter(|process| process.program() == SHIM) {
        let network = |pid| std::fs::read_link(format!("/proc/{pid}/ns/net"));
        ensure!(network(shim.pid)? == network(std::process::id())?, "the shim is in a pod's network");
        let open = observe::descriptors(shim.pid)?;
        let of_pods = |name: &String| name.contains("/dev/net") || name.contains("net:[");
        ensure!(!open.iter().any(of_pods), "the shim holds {open:?}");
    }
    let answers = listens(stage, "answers")?;
    let said = exec(stage, "asks", &format!("ping {}", address(2)))?;
    ensure!(said.contains(&format!("host {} is alive", address(2))), "the other guest: {said}");
    let said = exec(stage, "asks", "ping 10.88.0.1")?;
    ensure!(said.contains("host 10.88.0.1 is alive"), "the node: {said}");
    end(stage, "answers")?;
    drop(answers);
    end(stage, "asks")?;
    let after = pods[0].state()?;
    ensure!(after == before, "what CNI made has changed: {before} before, {after} now");
    drop(node);
    Ok(())
}

/// The node answers a guest in this pod.
fn works(stage: &Stage<'_>, id: &str) -> Result<()> {
    let said = exec(stage, id, "ping 10.88.0.1")?;
    ensure!(said.contains("host 10.88.0.1 is alive"), "{id}: {said}");
    Ok(())
}

fn again(stage: &Stage<'_>) -> Result<()> {
    stage.import_firmware(&U_BOOT_ARM64)?;
    let (_node, pods) = networks(stage, 1)?;
    let pod = &pods[0];
    let before = pod.state()?;
    run(stage, "first", pod, 1)?;
    let holder = format!("the pod's interface belongs to container {}/first", stage.containers());
    refused(stage, &U_BOOT_ARM64, &["--with-ns", &network_of(pod), "--annotation", ASK], &[&holder])?;
    works(stage, "first")?;
    end(stage, "first")?;
    run(stage, "second", pod, 1)?;
    works(stage, "second")?;

    kill_process(stage.shim()?.pid)?;
    wait::until("the task to be gone", || Ok(stage.task("second")?.is_none().then_some(())))?;
    stage.run_ctr(["container", "rm", "second"])?;
    // The tap is the kernel's to remove, a moment after its emulator.
    let as_before = || Ok((pod.state()? == before).then_some(()));
    wait::until("nothing of the killed shim to be left in the pod's network", as_before)?;
    run(stage, "third", pod, 1)?;
    works(stage, "third")?;
    end(stage, "third")
}

fn network_of(pod: &Network) -> String {
    format!("network:{}", pod.path())
}

fn refused(stage: &Stage<'_>, firmware: &Firmware, options: &[&str], words: &[&str]) -> Result<()> {
    let run = stage.try_run_detached(&firmware.image(), "refused-network", options)?;
    let said = String::from_utf8_lossy(&run.stderr);
    ensure!(!run.status.success(), "ctr run should have failed");
    for word in words {
        ensure!(said.contains(word), "the error should say {word:?}: {said}");
    }
    stage.run_ctr(["container", "rm", "refused-network"])?;
    Ok(())
}

fn refusals(stage: &Stage<'_>) -> Result<()> {
    for firmware in [&U_BOOT_ARM64, &OURS_CORTEX_M3] {
        stage.import_firmware(firmware)?;
    }
    let (_node, pods) = networks(stage, 1)?;
    let (pod, before) = (network_of(&pods[0]), pods[0].state()?);
    let asks = |network| ["--with-ns", network, "--annotation", ASK];
    let none = ["in no pod with a network of its own"];
    refused(stage, &U_BOOT_ARM64, &["--annotation", ASK], &none)?;
    let own = ["the node's own network"];
    refused(stage, &U_BOOT_ARM64, &asks("network:/proc/1/ns/net"), &own)?;
    refused(stage, &OURS_CORTEX_M3, &asks(&pod), &["board qemu_cortex_m3 has no network interface"])?;
    write(stage.namespace(), CONF, "")?;
    refused(stage, &U_BOOT_ARM64, &asks(&pod), &["network = [\"pod\"]", "[policy.allow]", CONF])?;

    try_run(stage, &U_BOOT_ARM64, "asks-nothing", &pods[0], &[])?;
    stage.wait_for_log("asks-nothing", U_BOOT_ARM64.banner)?;
    ensure!(!stage.qemu()?.command.contains("-netdev"), "nobody asked for a network");
    let after = pods[0].state()?;
    ensure!(after == before, "nobody asked for a change: {before} before, {after} now");
    end(stage, "asks-nothing")
}
