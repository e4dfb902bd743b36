//! What a reader gets, however slow it is.

use std::io::Read;

use micrun::config::NodeConfig;
use rustix::pipe::fcntl_getpipe_size;

use crate::client::{Client, run, run_request};
use crate::support::Shim;
use crate::support::echo::Echo;

/// More than the FIFO and the ring hold.
const FLOOD: usize = 40 * 32 * 1024;

#[tokio::test]
async fn an_absent_reader_stalls_nobody_and_is_told_what_it_missed() {
    let shim = Shim::start(Echo::default()).await;
    let mut client = Client::new(shim.dir.path());
    run(&shim, &client, false).await;
    client.expect("echo ready").await;
    client.flood(FLOOD).await;
    client.expect("bytes of output lost").await;
}

/// What was lost and what came add up.
#[tokio::test]
async fn the_notice_says_how_much_is_gone() {
    let mut config = NodeConfig::default();
    config.console.buffer = 4096;
    let shim = Shim::configured(config, Echo::default()).await;
    let mut client = Client::new(shim.dir.path());
    run(&shim, &client, false).await;
    client.expect("echo ready\r\n").await;
    client.flood(FLOOD).await;
    client.type_all(b"the end").await;
    let seen = client.expect("the end").await;
    let notice = |piece: &str| piece.split(' ').next().unwrap().parse::<usize>().unwrap();
    let lost: usize = seen.split("[micrun: ").skip(1).map(notice).sum();
    assert_eq!(lost + seen.matches('x').count(), FLOOD);
}

/// A terminal gets no NUL bytes, and line ends as the guest wrote them. A pipe gets every byte.
#[tokio::test]
async fn bytes_are_left_alone_but_for_terminals() {
    const TYPED: &[u8] = b"<a\0\r\r\nb\r\n\0c\n\rd>";
    for (terminal, expected) in [(true, "<a\r\nb\r\nc\n\rd>"), (false, "<a\0\r\r\nb\r\n\0c\n\rd>")] {
        let shim = Shim::start(Echo::default()).await;
        let mut client = Client::new(shim.dir.path());
        run(&shim, &client, terminal).await;
        client.expect("echo ready\r\n").await;
        client.write(TYPED);
        assert_eq!(client.expect(">").await, expected, "terminal: {terminal}");
    }
}

/// A client that dies does not take the shim with it, however much is written meanwhile.
#[tokio::test]
async fn a_reader_may_leave_in_the_midst_of_a_flood() {
    let shim = Shim::start(Echo::default()).await;
    let mut client = Client::new(shim.dir.path());
    run(&shim, &client, false).await;
    for _ in 0..3 {
        client.flood(FLOOD / 4).await;
        client.replace();
    }
    client.stdout.read_exact(&mut [0; 1000]).unwrap();
    client.type_all(b"[after]").await;
    client.expect("[after]").await;
}

/// A container may ask for larger pipes, and is not refused where the kernel does not give them.
#[tokio::test]
async fn the_pipes_have_the_size_that_was_asked_for() {
    for (asked, expected) in [("262144", 262_144), ("1125899906842624", 65536)] {
        let shim = Shim::start(Echo::default()).await;
        let mut client = Client::new(shim.dir.path());
        let request = client.request(&shim, false);
        shim.bundle("a").annotate(&[("org.openeuler.micrun.runtime.pipe_size", asked)]);
        run_request(&shim, &request).await;
        client.expect("echo ready").await;
        assert_eq!(fcntl_getpipe_size(&client.stdout).unwrap(), expected, "{asked} bytes were asked for");
    }
}
