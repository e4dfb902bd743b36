//! Pods as CNI makes them, in network namespaces of this test's own: a bridge, and pods with an `eth0` behind it. Taps
//! stand for guests: what is written to one comes out of another. Needs root, iproute2 and nsenter.

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use micrun::network::{NetworkError, PodInterface, Tap};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A process that keeps a network namespace; both end with this.
struct Namespace(Child);

impl Namespace {
    fn new() -> Namespace {
        // It says so when it is in its namespace.
        let mut command = Command::new("unshare");
        let script = "ip link set lo up && echo ready && exec sleep 600";
        command.args(["--net", "--kill-child", "sh", "-c", script]).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut ready = [0; 6];
        io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).unwrap();
        Namespace(child)
    }

    fn path(&self) -> PathBuf {
        format!("/proc/{}/ns/net", self.0.id()).into()
    }

    fn run(&self, line: &str) -> String {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).args(line.split(' '));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// All that can be changed here: interfaces without their counters, addresses, routes, queueing and filters.
    fn state(&self) -> String {
        ["ip -4 -o address show", "ip route show", "tc qdisc show", "tc filter show dev eth0 ingress"]
            .map(|line| self.run(line))
            .join("\n")
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// A node with a bridge, and pods on it.
struct Node {
    node: Namespace,
    pods: Vec<Namespace>,
}

impl Node {
    fn new(pods: usize, mtu: u32) -> Node {
        let node = Namespace::new();
        node.run("ip link add cni0 type bridge");
        node.run("ip address add 10.88.0.1/24 dev cni0");
        node.run("ip link set cni0 up");
        let pods = (1..=pods).map(|number| {
            let pod = Namespace::new();
            let pid = pod.0.id();
            node.run(&format!(
                "ip link add veth{number} mtu {mtu} type veth peer name eth0 mtu {mtu} netns {pid}"
            ));
            node.run(&format!("ip link set veth{number} master cni0 up"));
            pod.run(&format!("ip address add 10.88.0.1{number}/24 dev eth0"));
            pod.run(&format!("ip link set eth0 address 02:00:00:00:00:0{number} up"));
            pod
        });
        let pods = pods.collect();
        Node { node, pods }
    }

    fn interface(&self, pod: usize) -> PodInterface {
        PodInterface::in_namespace(&self.pods[pod].path()).unwrap()
    }
}

/// An Ethernet frame that carries a text, of a type for experiments (IEEE 802).
fn frame(to: [u8; 6], from: [u8; 6], text: &str) -> Vec<u8> {
    [&to[..], &from[..], &[0x88, 0xb5], text.as_bytes()].concat()
}

fn mac(pod: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, pod]
}

fn write(tap: &OwnedFd, frame: &[u8]) {
    assert_eq!(rustix::io::write(tap, frame).unwrap(), frame.len());
}

/// The next frame with this at its place; others (the kernel's own) are passed over. `None` after a second.
fn read(tap: &OwnedFd, at: usize, wanted: &[u8]) -> Option<Vec<u8>> {
    let end = Instant::now() + Duration::from_secs(1);
    let mut room = vec![0; 2048];
    while Instant::now() < end {
        match rustix::io::read(tap, &mut room) {
            Ok(length) if room[..length].get(at..).is_some_and(|rest| rest.starts_with(wanted)) => {
                return Some(room[..length].to_vec());
            }
            Ok(_) => {}
            Err(rustix::io::Errno::AGAIN) => std::thread::sleep(Duration::from_millis(5)),
            Err(error) => panic!("{error}"),
        }
    }
    None
}

#[tokio::test]
async fn what_one_guest_sends_another_receives_and_the_pods_kernel_sees_nothing() {
    let node = Node::new(2, 1450);
    let Tap { fd: first, mac: address } = node.interface(0).attach().await.unwrap();
    let Tap { fd: second, .. } = node.interface(1).attach().await.unwrap();
    assert_eq!(address.to_string(), "02:00:00:00:00:01");
    assert!(node.pods[0].run("ip -o link show micrun0").contains("mtu 1450"), "as the interface's");

    for (from, to, sender, receiver) in [(1, 2, &first, &second), (2, 1, &second, &first)] {
        let sent = frame(mac(to), mac(from), "a word between guests");
        write(sender, &sent);
        assert_eq!(read(receiver, 0, &sent), Some(sent));
    }
    // The node asks for the pod's address: the question goes to the guest, and nobody else answers.
    let mut ping = Command::new("nsenter");
    ping.arg(format!("--net={}", node.node.path().display()));
    let ask =
        "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('10.88.0.11', 9))";
    assert!(ping.args(["python3", "-c", ask]).status().unwrap().success());
    let question = read(&first, 12, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]).expect("an ARP request");
    assert_eq!(question[38..42], [10, 88, 0, 11]);
    assert!(!node.node.run("ip neighbour show 10.88.0.11").contains("REACHABLE"));
}

#[tokio::test]
async fn everything_is_as_it_was_when_it_is_released_and_can_be_had_again() {
    let node = Node::new(1, 1500);
    let pod = node.interface(0);
    let before = node.pods[0].state();
    for _ in 0..3 {
        let tap = pod.attach().await.unwrap();
        assert!(node.pods[0].state().contains("micrun0"));
        drop(tap);
        // A test beside this one may be starting a process, which holds all descriptors until it is another program.
        let end = Instant::now() + Duration::from_secs(10);
        while node.pods[0].run("ip -o link").contains("micrun0") {
            assert!(Instant::now() < end, "the tap outlives its descriptor");
        }
        pod.release().await.unwrap();
        assert_eq!(node.pods[0].state(), before);
        pod.release().await.unwrap();
    }
    // A shim that was killed releases nothing.
    drop(pod.attach().await.unwrap());
    let tap = pod.attach().await.unwrap();
    write(&tap.fd, &frame(mac(9), mac(1), "again"));
}

#[tokio::test]
async fn one_guest_has_it_and_the_others_are_told() {
    let node = Node::new(1, 1500);
    let tap = node.interface(0).attach().await.unwrap();
    let said = node.interface(0).attach().await.unwrap_err();
    assert!(matches!(said, NetworkError::Taken), "{said}");
    write(&tap.fd, &frame(mac(9), mac(1), "still there"));
}

#[tokio::test]
async fn a_tap_that_is_about_to_go_is_waited_for() {
    let node = Node::new(1, 1500);
    let first = node.interface(0).attach().await.unwrap();
    let second = node.interface(0);
    let later = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        drop(first);
    });
    second.attach().await.unwrap();
    later.join().unwrap();
}

/// A pair of interfaces stands for a domain's: the node has one end, the guest, which is a kernel here, the other.
#[tokio::test]
async fn an_interface_of_the_nodes_becomes_the_guests_side() {
    let node = Node::new(1, 1450);
    let (pod, before) = (node.interface(0), node.pods[0].state());
    // This thread is the shim: within the node's network.
    let network = File::open(node.node.path()).unwrap();
    move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
    let said = pod.take_in("vif7.0".to_owned()).await.unwrap_err();
    assert!(matches!(said, NetworkError::NoGuestSide(_)), "{said}");
    assert_eq!(node.pods[0].state(), before);

    let guest = Namespace::new();
    node.node.run(&format!("ip link add vif7.0 type veth peer name guest netns {}", guest.0.id()));
    guest.run("ip address add 10.88.0.11/24 dev guest");
    guest.run(&format!("ip link set guest address {} up", pod.mac().await.unwrap()));
    pod.take_in("vif7.0".to_owned()).await.unwrap();
    assert!(node.pods[0].run("ip -o link show micrun0").contains("mtu 1450"), "as the interface's");
    let to_node = "import socket; s = socket.create_connection(('10.88.0.11', 9), 5)";
    let mut ask = Command::new("nsenter");
    ask.arg(format!("--net={}", node.node.path().display())).args(["python3", "-c", to_node]);
    let said = String::from_utf8(ask.output().unwrap().stderr).unwrap();
    assert!(said.contains("Connection refused"), "the guest answers that nobody listens: {said}");

    node.node.run("ip link add vif8.0 type veth peer name other");
    let said = pod.take_in("vif8.0".to_owned()).await.unwrap_err();
    assert!(matches!(said, NetworkError::Taken), "{said}");
    assert!(node.node.run("ip -o link").contains("vif8.0"), "it was not touched");

    guest.run("ip link delete guest");
    pod.release().await.unwrap();
    assert_eq!(node.pods[0].state(), before);
}

#[tokio::test]
async fn what_is_no_pods_network_is_refused_in_a_sentence() {
    let said = |path: &str| PodInterface::in_namespace(path.as_ref()).unwrap_err().to_string();
    let own = format!("/proc/{}/ns/net", std::process::id());
    assert!(said(&own).contains("the node's own network"), "{}", said(&own));
    assert!(said("/run/netns/nothing-of-this-name").contains("nothing-of-this-name"));
    assert!(said("/").contains("entering"));

    let file = tempfile::NamedTempFile::new().unwrap();
    let no_namespace = PodInterface::in_namespace(file.path()).unwrap().attach().await.unwrap_err();
    assert!(matches!(no_namespace, NetworkError::Io { .. }), "{no_namespace}");

    let empty = Namespace::new();
    let said = PodInterface::in_namespace(&empty.path()).unwrap().attach().await.unwrap_err();
    assert!(matches!(said, NetworkError::NoInterface), "{said}");

    let node = Node::new(1, 1500);
    let pod = &node.pods[0];
    pod.run("ip link delete eth0");
    pod.run("ip tuntap add eth0 mode tun");
    let said = node.interface(0).attach().await.unwrap_err();
    assert!(matches!(said, NetworkError::NotEthernet), "{said}");
}

#[tokio::test]
async fn a_namespace_that_is_gone_needs_no_release() {
    let node = Node::new(1, 1500);
    let pod = node.interface(0);
    drop(node);
    pod.release().await.unwrap();
}
