//! A line that breaks: a TCP proxy which ends a connection after so many bytes.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Up,
    Down,
}

#[derive(Default)]
struct Counts {
    up: u64,
    down: u64,
    /// Bytes of all connections together after which the one that carries them ends, the next one last.
    cuts: Vec<u64>,
}

#[derive(Clone)]
pub struct Proxy {
    pub address: SocketAddr,
    counts: Arc<Mutex<Counts>>,
}

impl Proxy {
    /// Cuts on this way, once at each of these numbers of bytes.
    pub fn start(upstream: SocketAddr, way: Way, cuts: &[u64]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut cuts = cuts.to_vec();
        cuts.sort_unstable_by(|a, b| b.cmp(a));
        let counts = Arc::new(Mutex::new(Counts { cuts, ..Counts::default() }));
        let proxy = Proxy { address: listener.local_addr().unwrap(), counts };
        let shared = proxy.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(upstream).unwrap());
                for (from, to, direction) in [(&client, &server, Way::Up), (&server, &client, Way::Down)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let proxy = shared.clone();
                    thread::spawn(move || proxy.carry(from, to, direction, direction == way));
                }
            }
        });
        proxy
    }

    pub fn bytes(&self, way: Way) -> u64 {
        let counts = self.counts.lock().unwrap();
        if way == Way::Up { counts.up } else { counts.down }
    }

    pub fn cuts_left(&self) -> usize {
        self.counts.lock().unwrap().cuts.len()
    }

    fn carry(&self, mut from: TcpStream, mut to: TcpStream, way: Way, may_cut: bool) {
        let mut buffer = [0; 16 << 10];
        while let Ok(n @ 1..) = from.read(&mut buffer) {
            let (n, cut) = self.count(n, way, may_cut);
            if to.write_all(&buffer[..n]).is_err() || cut {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }

    /// How many of these bytes may pass, and whether the line breaks behind them.
    fn count(&self, n: usize, way: Way, may_cut: bool) -> (usize, bool) {
        let mut counts = self.counts.lock().unwrap();
        let before = if way == Way::Up { counts.up } else { counts.down };
        let cut = counts.cuts.last().filter(|&&cut| may_cut && before + n as u64 >= cut).copied();
        let pass = cut.map_or(n as u64, |cut| cut.saturating_sub(before));
        *(if way == Way::Up { &mut counts.up } else { &mut counts.down }) += pass;
        if cut.is_some() {
            counts.cuts.pop();
        }
        (pass as usize, cut.is_some())
    }
}
