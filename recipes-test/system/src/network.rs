//! Guests on their pods' interfaces, in network namespaces as CNI would make them: each has an `eth0`, whose other end is
//! on a bridge of Dom0's.

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::firmware::OURS_XEN;
use micrun_testkit::{Console, wait};

use crate::refusals::refused;
use crate::stage::{Driver, Stage, Story};

const ASK: &str = "org.openeuler.micrun.container.network=pod";
const CONF: &str = "/etc/mica/micrun/micrun.conf";

/// Dom0's own address on the bridge, and those of the two pods. Nobody has the last one.
const NODE: &str = "10.88.0.1";
const PODS: [&str; 2] = ["10.88.0.11", "10.88.0.12"];
const NOBODY: &str = "10.88.0.99";

/// The MTU of every pod's interface.
const MTU: &str = "1450";

pub fn stories() -> Vec<Story> {
    vec![
        Story {
            name: "guests on their pods' interfaces reach each other and the node, again after a restart",
            drivers: &[Driver::Direct],
            tell: |stage| in_pods(stage, reach),
        },
        Story {
            name: "refused: a pod's interface, where the node does not allow it or cannot give it",
            drivers: Driver::ALL,
            tell: |stage| in_pods(stage, refusals),
        },
    ]
}

/// Makes the pods' networks, and takes them away again.
fn in_pods(stage: &mut Stage<'_>, tell: fn(&Stage<'_>) -> Result<()>) -> Result<()> {
    stage.node.shell(&format!(
        "set -e
        ip link add cni0 type bridge
        ip address add {NODE}/24 dev cni0
        ip link set cni0 up
        number=0
        for address in {}; do
            pod=pod$number
            ip netns add $pod
            ip link add $pod type veth peer name eth0 netns $pod
            ip link set $pod master cni0 up
            ip -n $pod address add $address/24 dev eth0
            ip -n $pod link set eth0 mtu {MTU} up
            number=$((number + 1))
        done",
        PODS.join(" ")
    ))?;
    tell(stage)?;
    let pods = "for pod in $(ip netns list | cut -d ' ' -f 1); do ip netns delete $pod; done";
    stage.node.shell(&format!("{pods}; ip link delete cni0; umount /run/netns; rm -f {CONF}")).map(drop)
}

/// What CNI made, and what Xen knows of interfaces: all that has to be as before.
fn traces(stage: &Stage<'_>) -> Result<String> {
    stage.node.shell(
        "ip -o link show | awk '{ print $2 }'
        for pod in $(ip netns list | cut -d ' ' -f 1); do
            ip -n $pod -o link show | awk '{ print $2 }'
            ip -n $pod -o -4 address show
            tc -n $pod qdisc show
        done
        xenstore-ls /local/domain/0/backend 2>/dev/null || true",
    )
}

fn allow(stage: &Stage<'_>) -> Result<()> {
    stage.node.shell(&format!(
        "mkdir -p $(dirname {CONF}); printf '[policy.allow]\\nnetwork = [\"pod\"]\\n' > {CONF}"
    ))?;
    Ok(())
}

/// The options that ask for the interface of a pod.
fn asks(pod: usize) -> [String; 4] {
    [
        "--with-ns".to_owned(),
        format!("network:/run/netns/pod{pod}"),
        "--annotation".to_owned(),
        ASK.to_owned(),
    ]
}

/// A guest in a pod that has been told its address, and has the MAC of the pod's interface.
fn guest(stage: &Stage<'_>, id: &str, pod: usize) -> Result<Console> {
    let asks = asks(pod);
    let mut console = stage.foreground(&OURS_XEN, id, &asks.each_ref().map(String::as_str))?;
    console.wait_for_prompt(&OURS_XEN)?;
    console.send(&format!("net {}", PODS[pod]))?;
    console.wait_for(&format!("\n{} is at ", PODS[pod]))?;
    let mac = console.wait_for("\r\n")?;
    let of_pod = stage.node.run(&[
        "ip",
        "netns",
        "exec",
        &format!("pod{pod}"),
        "cat",
        "/sys/class/net/eth0/address",
    ])?;
    ensure!(mac.trim() == of_pod.trim(), "the guest has {mac:?}, its pod's interface {of_pod:?}");
    Ok(console)
}

fn ask(console: &mut Console, whom: &str, answer: &str) -> Result<()> {
    console.send(&format!("ping {whom}"))?;
    console.wait_for(&format!("\n{whom}{answer}")).map(drop)
}

/// Dom0 asks, with this much beside the headers.
fn answers(stage: &Stage<'_>, whom: &str, bytes: u16) -> Result<()> {
    let ping = ["busybox", "ping", "-c", "1", "-W", "10", "-s", &bytes.to_string(), whom];
    stage.node.run(&ping).map(drop)
}

fn end(stage: &Stage<'_>, id: &str, mut console: Console) -> Result<()> {
    stage.ctr(&["task", "kill", "--signal", "SIGKILL", id])?;
    let status = console.exit()?;
    stage.node.quote(&console.seen());
    ensure!(status == 137, "{id} ended with {status}");
    Ok(())
}

fn reach(stage: &Stage<'_>) -> Result<()> {
    allow(stage)?;
    let before = traces(stage)?;
    let mut one = guest(stage, "one", 0)?;
    let mut other = guest(stage, "other", 1)?;
    let ours = stage.node.run(&["ip", "-n", "pod0", "-o", "link", "show", "micrun0"])?;
    ensure!(ours.contains(&format!("mtu {MTU} ")), "the guest's side has another MTU than {MTU}: {ours}");
    ask(&mut one, PODS[1], " answers after ")?;
    ask(&mut other, PODS[0], " answers after ")?;
    ask(&mut one, NODE, " answers after ")?;
    ask(&mut one, NOBODY, ": no answer")?;
    for pod in PODS {
        // The longest that fits into a frame of this MTU, behind headers of 28 bytes.
        answers(stage, pod, 1422)?;
    }
    let holder = "the pod's interface belongs to container default/one";
    let asks_too = asks(0);
    refused(stage, &OURS_XEN, &asks_too.each_ref().map(String::as_str), &[holder])?;

    end(stage, "one", one)?;
    shim_is_killed(stage, "orphan", &asks_too.each_ref().map(String::as_str))?;
    let mut again = guest(stage, "again", 0)?;
    ask(&mut again, PODS[1], " answers after ")?;
    end(stage, "again", again)?;
    end(stage, "other", other)?;
    as_before(stage, &before)?;

    // A pod's network that goes before its guest takes nothing with it that Delete would miss.
    let last = guest(stage, "last", 0)?;
    stage.node.run(&["ip", "netns", "delete", "pod0"])?;
    let in_dom0 = || stage.node.run(&["ip", "-o", "link", "show"]);
    let is_back = || Ok(in_dom0()?.contains(" micrun0: <BROADCAST,MULTICAST> ").then_some(()));
    wait::gently(wait::DEADLINE, "the guest's side to be in Dom0, switched off", is_back)?;
    end(stage, "last", last)?;
    wait::gently(wait::DEADLINE, "it to be gone", || Ok((!in_dom0()?.contains("micrun0")).then_some(())))
}

/// containerd has what is left cleaned up.
fn shim_is_killed(stage: &Stage<'_>, id: &str, asks: &[&str]) -> Result<()> {
    stage.start(&OURS_XEN, id, asks)?;
    stage.node.run(&["pkill", "--signal", "KILL", "--full", &format!("containerd-shim-mica-v2.*{id}")])?;
    stage.wait_until_gone(id)?;
    wait::gently(wait::DEADLINE, "the task to be gone", || Ok(stage.state(id)?.is_none().then_some(())))?;
    stage.ctr(&["container", "rm", id])?;
    stage.node.run(&["rm", &format!("/tmp/{id}.log")]).map(drop)
}

/// The kernel removes Dom0's end of an interface a moment after its domain.
fn as_before(stage: &Stage<'_>, before: &str) -> Result<()> {
    let mut now = String::new();
    let waited = wait::gently(wait::DEADLINE, "nothing of the guests to be left in their pods", || {
        now = traces(stage)?;
        Ok((now == before).then_some(()))
    });
    waited.with_context(|| format!("before:\n{before}\nnow:\n{now}"))
}

fn refusals(stage: &Stage<'_>) -> Result<()> {
    let before = traces(stage)?;
    let asks = asks(0);
    let asks = asks.each_ref().map(String::as_str);
    refused(stage, &OURS_XEN, &asks, &["does not allow it", "network = [\"pod\"]", CONF])?;
    allow(stage)?;
    match stage.driver {
        Driver::Micad => {
            refused(stage, &OURS_XEN, &asks, &["guests of micad cannot have the pod's interface"])?
        }
        Driver::Direct => {
            stage.node.run(&["modprobe", "--remove", "xen-netback"])?;
            refused(stage, &OURS_XEN, &asks, &["load the module xen-netback (CONFIG_XEN_NETDEV_BACKEND)"])?;
            stage.node.run(&["modprobe", "xen-netback"])?;
        }
    }
    as_before(stage, &before)
}
