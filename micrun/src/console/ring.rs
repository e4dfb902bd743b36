//! Output that a reader has not taken yet. Bounded: a slow or absent reader loses the oldest bytes and is
//! told how many, so the guest never waits for it.

use std::collections::VecDeque;

/// A byte buffer that forgets its oldest bytes.
#[derive(Debug)]
pub struct Ring {
    bytes: VecDeque<u8>,
    capacity: usize,
    /// Bytes forgotten that the reader has not been told of.
    lost: u64,
    /// What it is told, as far as it is not written yet.
    notice: Vec<u8>,
    /// The notice was begun: it stays as it is.
    begun: bool,
}

impl Ring {
    /// A buffer for at most `capacity` bytes. It takes no memory before it is used.
    pub fn new(capacity: usize) -> Ring {
        Ring { bytes: VecDeque::new(), capacity, lost: 0, notice: Vec::new(), begun: false }
    }

    /// Adds bytes, at the cost of the oldest ones.
    pub fn push(&mut self, bytes: &[u8]) {
        let kept = &bytes[bytes.len().saturating_sub(self.capacity)..];
        let surplus = (self.bytes.len() + kept.len()).saturating_sub(self.capacity);
        self.bytes.drain(..surplus);
        self.bytes.extend(kept);
        self.lost += (surplus + bytes.len() - kept.len()) as u64;
    }

    /// The oldest bytes, as far as they lie together. After a loss, the first of them say so.
    pub fn front(&mut self) -> &[u8] {
        if self.lost > 0 && !self.begun {
            let lost = self.lost;
            self.notice =
                format!("\r\n[micrun: {lost} bytes of output lost: nobody took them in time]\r\n").into();
        }
        if self.notice.is_empty() { self.bytes.as_slices().0 } else { &self.notice }
    }

    /// Forgets the `count` first bytes of [`Ring::front`]: they were written.
    pub fn consume(&mut self, count: usize) {
        if !self.notice.is_empty() {
            if !self.begun {
                // What is lost from here on is told afterwards.
                self.begun = true;
                self.lost = 0;
            }
            self.notice.drain(..count.min(self.notice.len()));
            if self.notice.is_empty() {
                self.notice = Vec::new();
                self.begun = false;
            }
            return;
        }
        self.bytes.drain(..count.min(self.bytes.len()));
        if self.bytes.is_empty() {
            // An idle container keeps no buffer.
            self.bytes = VecDeque::new();
        }
    }

    /// Forgets everything, losses too.
    pub fn clear(&mut self) {
        *self = Ring::new(self.capacity);
    }

    /// True if there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.lost == 0 && self.notice.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn take_all(ring: &mut Ring) -> Vec<u8> {
        let mut all = Vec::new();
        while !ring.is_empty() {
            let front = ring.front().to_vec();
            ring.consume(front.len());
            all.extend(front);
        }
        all
    }

    #[test]
    fn keeps_the_newest_bytes_and_says_how_many_are_gone() {
        let mut ring = Ring::new(4);
        ring.push(b"abc");
        ring.push(b"def");
        let text = String::from_utf8(take_all(&mut ring)).unwrap();
        assert!(text.contains("2 bytes of output lost") && text.ends_with("cdef"), "{text:?}");
        ring.push(b"g");
        assert_eq!(take_all(&mut ring), b"g", "one loss is told once");
    }

    #[test]
    fn a_notice_that_nobody_took_is_not_told_twice() {
        let mut ring = Ring::new(4);
        ring.push(b"abcdef");
        assert!(String::from_utf8_lossy(ring.front()).contains(" 2 bytes"));
        ring.push(b"gh");
        let text = String::from_utf8(take_all(&mut ring)).unwrap();
        assert!(text.contains(" 4 bytes") && text.matches("lost").count() == 1, "{text:?}");
    }

    #[test]
    fn a_notice_that_was_begun_is_ended_and_the_next_loss_has_its_own() {
        let mut ring = Ring::new(4);
        ring.push(b"abcdef");
        let begun = ring.front()[..10].to_vec();
        ring.consume(10);
        ring.push(b"g");
        let text = String::from_utf8([begun, take_all(&mut ring)].concat()).unwrap();
        assert!(text.contains(" 2 bytes") && text.contains(" 1 bytes") && text.ends_with("defg"), "{text:?}");
    }

    proptest! {
        #[test]
        fn nothing_is_lost_below_the_capacity(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..20),
        ) {
            let mut ring = Ring::new(1000);
            let all: Vec<u8> = chunks.concat();
            for chunk in &chunks {
                ring.push(chunk);
            }
            prop_assert_eq!(take_all(&mut ring), all);
        }

        #[test]
        fn kept_and_lost_add_up(sizes in proptest::collection::vec(0_usize..30, 0..30)) {
            let mut ring = Ring::new(16);
            for size in &sizes {
                ring.push(&vec![b'x'; *size]);
                prop_assert!(ring.bytes.len() <= 16);
            }
            let total: usize = sizes.iter().sum();
            prop_assert_eq!(ring.bytes.len() as u64 + ring.lost, total as u64);
        }
    }
}
