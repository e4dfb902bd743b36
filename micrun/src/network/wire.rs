//! The kernel's messages about interfaces and traffic control: netlink(7), rtnetlink(7), and the structs of
//! `linux/netlink.h`, `linux/rtnetlink.h`, `linux/pkt_sched.h` and `linux/pkt_cls.h`. Numbers are in the node's byte order.

use std::os::fd::{AsRawFd, BorrowedFd};

use super::Mac;

/// Length of the header of every message, bytes (`struct nlmsghdr`).
const HEADER: usize = 16;
/// Length of what says which interface (`struct ifinfomsg`), bytes.
const INTERFACE: usize = 16;
/// Messages and attributes begin at multiples of this (`NLMSG_ALIGNTO`, `RTA_ALIGNTO`).
const ALIGN: usize = 4;

/// What a message is (`linux/netlink.h`, `linux/rtnetlink.h`), as far as it is used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
enum Kind {
    Error = 2,
    NewLink = 16,
    GetLink = 18,
    NewQueueing = 36,
    DelQueueing = 37,
    NewFilter = 44,
}

/// `NLM_F_REQUEST`, in every message to the kernel.
const REQUEST: u16 = 1;
/// `NLM_F_ACK`: the kernel answers although there is nothing to tell.
const ACK: u16 = 4;
/// `NLM_F_CREATE | NLM_F_EXCL`: what is there already is an error.
const CREATE: u16 = 0x400 | 0x200;

/// Attributes of an interface.
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_NET_NS_FD: u16 = 28;
/// `ARPHRD_ETHER` of `linux/if_arp.h`.
const ETHERNET: u16 = 1;
/// `IFF_UP` of `linux/if.h`.
const UP: u32 = 1;

/// Attributes of traffic control.
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_U32_SEL: u16 = 5;
const TCA_U32_ACT: u16 = 7;
const TCA_ACT_KIND: u16 = 1;
const TCA_ACT_OPTIONS: u16 = 2;
const TCA_MIRRED_PARMS: u16 = 2;

/// What comes in, before anybody has seen it: `TC_H_INGRESS`, and the handle that is always its own.
const INGRESS: u32 = 0xffff_fff1;
const INGRESS_HANDLE: u32 = 0xffff_0000;
/// `ETH_P_ALL` of `linux/if_ether.h`.
const ALL_PROTOCOLS: u16 = 3;
/// `TC_U32_TERMINAL`: what matches goes no further.
const TERMINAL: u8 = 1;
/// `TC_ACT_STOLEN`: nobody else gets it.
const STOLEN: u32 = 4;
/// `TCA_EGRESS_REDIR`: it leaves by another interface.
const REDIRECT: u32 = 1;

/// A message under way: the header is completed at the end.
struct Message(Vec<u8>);

impl Message {
    fn new(kind: Kind, flags: u16) -> Message {
        let mut message = Message(vec![0; 4]);
        message.0.extend((kind as u16).to_ne_bytes());
        message.0.extend((REQUEST | flags).to_ne_bytes());
        // One message at a time goes over a socket of its own: no number is needed to tell answers apart.
        message.0.extend([0; 8]);
        message
    }

    /// `struct ifinfomsg`; the interface is up afterwards where `is_up` says so, and else as it was.
    fn interface(mut self, index: u32, is_up: bool) -> Message {
        let flags = if is_up { UP } else { 0 };
        self.numbers(&[0, index, flags, flags]);
        self
    }

    /// `struct tcmsg`.
    fn traffic(mut self, index: u32, handle: u32, parent: u32, info: u32) -> Message {
        self.numbers(&[0, index, handle, parent, info]);
        self
    }

    fn numbers(&mut self, numbers: &[u32]) {
        self.0.extend(numbers.iter().flat_map(|number| number.to_ne_bytes()));
    }

    fn attribute(self, kind: u16, value: &[u8]) -> Message {
        self.nested(kind, |mut message| {
            message.0.extend_from_slice(value);
            message
        })
    }

    /// An attribute made of what `inside` adds.
    fn nested(mut self, kind: u16, inside: impl FnOnce(Message) -> Message) -> Message {
        let start = self.0.len();
        self.0.extend([0; 2]);
        self.0.extend(kind.to_ne_bytes());
        let mut message = inside(self);
        // Nothing here is as long as 16 bits can say.
        let length = u16::try_from(message.0.len() - start).unwrap_or(u16::MAX);
        message.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        message.0.resize(aligned(message.0.len()), 0);
        message
    }

    fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        self.0
    }
}

/// Asks for the interface of this name.
pub fn get_link(name: &str) -> Vec<u8> {
    let name = [name.as_bytes(), b"\0"].concat();
    Message::new(Kind::GetLink, 0).interface(0, false).attribute(IFLA_IFNAME, &name).finish()
}

/// Switches an interface on, with this MTU.
pub fn set_up(index: u32, mtu: u32) -> Vec<u8> {
    Message::new(Kind::NewLink, ACK).interface(index, true).attribute(IFLA_MTU, &mtu.to_ne_bytes()).finish()
}

/// Takes an interface, which is off, to another network namespace, of which this is an open descriptor, under another name.
pub fn hand_over(index: u32, namespace: BorrowedFd<'_>, name: &str) -> Vec<u8> {
    let name = [name.as_bytes(), b"\0"].concat();
    Message::new(Kind::NewLink, ACK)
        .interface(index, false)
        .attribute(IFLA_NET_NS_FD, &namespace.as_raw_fd().to_ne_bytes())
        .attribute(IFLA_IFNAME, &name)
        .finish()
}

/// Gives an interface a place for filters of what comes in.
pub fn add_ingress(index: u32) -> Vec<u8> {
    let message = Message::new(Kind::NewQueueing, ACK | CREATE);
    message.traffic(index, INGRESS_HANDLE, INGRESS, 0).attribute(TCA_KIND, b"ingress\0").finish()
}

/// Takes that place away, with all filters.
pub fn remove_ingress(index: u32) -> Vec<u8> {
    let message = Message::new(Kind::DelQueueing, ACK);
    message.traffic(index, INGRESS_HANDLE, INGRESS, 0).attribute(TCA_KIND, b"ingress\0").finish()
}

/// Whatever comes in at one interface goes out at another, unseen by anybody else: the filter `u32` with a key that
/// every packet has, and the action `mirred`.
pub fn redirect(from: u32, to: u32) -> Vec<u8> {
    let priority = 1 << 16;
    let info = priority | u32::from(ALL_PROTOCOLS.to_be());
    // struct tc_u32_sel with one struct tc_u32_key, which masks everything out.
    let mut select = [0; 32];
    (select[0], select[2]) = (TERMINAL, 1);
    // struct tc_mirred.
    let parameters = [0, 0, STOLEN, 0, 0, REDIRECT, to].map(u32::to_ne_bytes).concat();
    let options = |message: Message| message.attribute(TCA_MIRRED_PARMS, &parameters);
    let action =
        |message: Message| message.attribute(TCA_ACT_KIND, b"mirred\0").nested(TCA_ACT_OPTIONS, options);
    let actions = |message: Message| message.nested(1, action);
    Message::new(Kind::NewFilter, ACK | CREATE)
        .traffic(from, 0, INGRESS_HANDLE, info)
        .attribute(TCA_KIND, b"u32\0")
        .nested(TCA_OPTIONS, |message| message.attribute(TCA_U32_SEL, &select).nested(TCA_U32_ACT, actions))
        .finish()
}

/// What the kernel answers.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// Done, or the number of an error.
    Done(Result<(), i32>),
    /// An interface.
    Link(Link),
}

/// An interface, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number in its namespace.
    pub index: u32,
    /// Its address; `None` for what is no Ethernet.
    pub mac: Option<Mac>,
    /// The longest packet that it takes, bytes without Ethernet's header.
    pub mtu: u32,
}

/// The first message of what was received; `None` where it is none that is waited for.
pub fn parse(received: &[u8]) -> Option<Answer> {
    let length = usize::try_from(number(received, 0)?).ok()?;
    let body = received.get(HEADER..length)?;
    let kind = u16_at(received, 4)?;
    if kind == Kind::Error as u16 {
        // struct nlmsgerr: a negative errno, 0 where there was none.
        let error = number(body, 0)?.cast_signed();
        return Some(Answer::Done(if error == 0 { Ok(()) } else { Err(error.wrapping_neg()) }));
    }
    if kind != Kind::NewLink as u16 {
        return None;
    }
    let is_ethernet = u16_at(body, 2)? == ETHERNET;
    let mut link = Link { index: number(body, 4)?, mac: None, mtu: 0 };
    let mut rest = body.get(INTERFACE..)?;
    while let Some((kind, value, after)) = attribute(rest) {
        match kind {
            IFLA_ADDRESS if is_ethernet => link.mac = value.try_into().ok().map(Mac),
            IFLA_MTU => link.mtu = number(value, 0)?,
            _ => {}
        }
        rest = after;
    }
    Some(Answer::Link(link))
}

/// Takes the first attribute apart: its kind, its value, and what follows.
fn attribute(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::from(u16_at(bytes, 0)?);
    let value = bytes.get(4..length)?;
    Some((u16_at(bytes, 2)?, value, bytes.get(aligned(length)..).unwrap_or_default()))
}

const fn aligned(length: usize) -> usize {
    length.next_multiple_of(ALIGN)
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use proptest::prelude::*;

    use super::*;

    /// What `tc qdisc add dev eth0 ingress` of iproute2 6.1 sent, but for its sequence number.
    #[test]
    #[cfg(target_endian = "little")]
    fn a_request_is_what_tc_sends() {
        let sent = add_ingress(3);
        let taken = b"\x30\0\0\0\x24\0\x05\x06\0\0\0\0\0\0\0\0\
                      \0\0\0\0\x03\0\0\0\0\0\xff\xff\xf1\xff\xff\xff\0\0\0\0\
                      \x0c\0\x01\0ingress\0";
        assert_eq!(sent, taken);
    }

    /// What `ip link set dev vif4.0 netns PATH name micrun0` of iproute2 6.1 sent, but for its sequence number.
    #[test]
    #[cfg(target_endian = "little")]
    fn an_interface_is_handed_over_as_ip_does_it() {
        let stdin = std::io::stdin();
        let sent = hand_over(4, stdin.as_fd(), "micrun0");
        let taken = b"\x34\0\0\0\x10\0\x05\0\0\0\0\0\0\0\0\0\
                      \0\0\0\0\x04\0\0\0\0\0\0\0\0\0\0\0\
                      \x08\0\x1c\0\0\0\0\0\x0c\0\x03\0micrun0\0";
        assert_eq!(sent, taken);
    }

    #[test]
    fn a_message_is_as_long_as_it_says_and_its_attributes_fill_it() {
        let stdin = std::io::stdin();
        let moved = hand_over(3, stdin.as_fd(), "micrun0");
        for message in [get_link("eth0"), set_up(3, 1450), moved, remove_ingress(3), redirect(3, 4)] {
            assert_eq!(number(&message, 0), u32::try_from(message.len()).ok());
            let body = if u16_at(&message, 4) < Some(Kind::NewQueueing as u16) { 16 } else { 20 };
            let mut rest = &message[HEADER + body..];
            while let Some((_, _, after)) = attribute(rest) {
                rest = after;
            }
            assert_eq!(rest, b"");
        }
    }

    #[test]
    fn an_interface_is_read_back() {
        let answer = Message::new(Kind::NewLink, 0).interface(7, true).attribute(IFLA_IFNAME, b"eth0\0");
        let answer =
            answer.attribute(IFLA_ADDRESS, &[2, 0, 0, 0, 0, 9]).attribute(IFLA_MTU, &1450u32.to_ne_bytes());
        let mut bytes = answer.finish();
        let link = |mac| Some(Answer::Link(Link { index: 7, mac, mtu: 1450 }));
        assert_eq!(parse(&bytes), link(None), "no Ethernet, so no address that counts");
        bytes[HEADER + 2..HEADER + 4].copy_from_slice(&ETHERNET.to_ne_bytes());
        assert_eq!(parse(&bytes), link(Some(Mac([2, 0, 0, 0, 0, 9]))));
    }

    #[test]
    fn an_answer_without_news_is_an_error_or_none() {
        let answer = |error: i32| {
            let mut message = Message::new(Kind::Error, 0);
            message.numbers(&[error.cast_unsigned(), 0, 0, 0, 0]);
            parse(&message.finish())
        };
        assert_eq!(answer(0), Some(Answer::Done(Ok(()))));
        assert_eq!(answer(-19), Some(Answer::Done(Err(19))));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn any_attributes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut message = Message::new(Kind::NewLink, 0).interface(1, false);
            message.0.extend(bytes);
            let _ = parse(&message.finish());
        }
    }
}
