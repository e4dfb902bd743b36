//! Typing no faster than a slow shell reads: a pure function from bytes and clock to what goes out now and when
//! it goes on.
//!
//! Some RTOS shells poll a UART without a FIFO and lose what comes while they are busy. Their OS profile says
//! how fast they can be typed at; without that, input goes out as fast as the guest takes it.

use std::num::NonZeroUsize;
use std::time::Duration;

use tokio::time::Instant;

/// How fast a guest can be typed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pacing {
    /// So many bytes at once,
    pub bytes: NonZeroUsize,
    /// and then nothing for so long.
    pub interval: Duration,
}

impl Pacing {
    /// As an OS profile says it.
    pub fn of(profile: micrun_image_spec::os::Pacing) -> Option<Pacing> {
        let bytes = NonZeroUsize::new(profile.bytes.into())?;
        Some(Pacing { bytes, interval: Duration::from_millis(profile.interval_ms.into()) })
    }
}

/// The input of one guest, in the midst of typing.
#[derive(Debug)]
pub struct Pace {
    pacing: Option<Pacing>,
    /// Bytes of the present interval that have gone out.
    sent: usize,
    /// When the next interval begins; none where nothing was typed lately.
    next: Option<Instant>,
}

/// What may be done with input that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// So many of its bytes may go out now.
    Send(usize),
    /// Nothing before this time.
    Wait(Instant),
}

impl Pace {
    /// Input at this pace; as fast as the guest takes it without one.
    pub fn new(pacing: Option<Pacing>) -> Pace {
        Pace { pacing, sent: 0, next: None }
    }

    /// What may go out of `waiting` bytes at this time.
    pub fn turn(&self, waiting: usize, now: Instant) -> Turn {
        let Some(pacing) = self.pacing else { return Turn::Send(waiting) };
        match self.next.filter(|next| now < *next) {
            Some(next) if self.sent >= pacing.bytes.get() => Turn::Wait(next),
            Some(_) => Turn::Send(waiting.min(pacing.bytes.get() - self.sent)),
            None => Turn::Send(waiting.min(pacing.bytes.get())),
        }
    }

    /// So many bytes went out at this time.
    pub fn sent(&mut self, count: usize, now: Instant) {
        let Some(pacing) = self.pacing else { return };
        if self.next.is_none_or(|next| now >= next) {
            self.sent = 0;
        }
        self.sent += count;
        self.next = Some(now + pacing.interval);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn pace(bytes: usize, interval: Duration) -> Pace {
        Pace::new(Some(Pacing { bytes: NonZeroUsize::new(bytes).unwrap(), interval }))
    }

    #[test]
    fn without_a_pace_everything_goes_out_at_once() {
        let mut free = Pace::new(None);
        let now = Instant::now();
        assert_eq!(free.turn(5000, now), Turn::Send(5000));
        free.sent(5000, now);
        assert_eq!(free.turn(7, now), Turn::Send(7));
    }

    /// What is typed when, in milliseconds; and what may go out then of 10 bytes that wait.
    #[test]
    fn the_table() {
        let begin = Instant::now();
        let mut pace = pace(4, 10 * MS);
        let steps = [
            // (time, may go out, goes out)
            (0, Turn::Send(4), 4),
            (0, Turn::Wait(begin + 10 * MS), 0),
            (9, Turn::Wait(begin + 10 * MS), 0),
            (10, Turn::Send(4), 1),
            // A guest that took one byte may have three more, and the pause is counted from the last one.
            (12, Turn::Send(3), 3),
            (21, Turn::Wait(begin + 22 * MS), 0),
            (22, Turn::Send(4), 4),
            (500, Turn::Send(4), 4),
        ];
        for (at, expected, sent) in steps {
            let now = begin + at * MS;
            assert_eq!(pace.turn(10, now), expected, "after {at} ms");
            if sent > 0 {
                pace.sent(sent, now);
            }
        }
    }

    proptest! {
        /// However the clock runs, no interval sees more bytes than it may, and waiting is never in vain.
        #[test]
        fn it_is_kept(
            bytes in 1_usize..8, interval in 1_u32..20,
            steps in proptest::collection::vec((0_u32..30, 1_usize..20), 1..40),
        ) {
            let mut pace = pace(bytes, interval * MS);
            let mut now = Instant::now();
            let mut log: Vec<(Instant, usize)> = Vec::new();
            for (later, waiting) in steps {
                now += later * MS;
                match pace.turn(waiting, now) {
                    Turn::Send(count) => {
                        prop_assert!(count >= 1 && count <= waiting);
                        pace.sent(count, now);
                        log.push((now, count));
                    }
                    Turn::Wait(until) => prop_assert!(matches!(pace.turn(waiting, until), Turn::Send(1..))),
                }
            }
            for (first, (begin, _)) in log.iter().enumerate() {
                let within = log[first..].iter().take_while(|(at, _)| *at < *begin + interval * MS);
                prop_assert!(within.map(|(_, count)| count).sum::<usize>() <= bytes);
            }
        }
    }
}
