//! Questions to the daemon, one at a time and at a pace that spares it: it has one thread for all guests.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::client::{Client, Look};

/// Between two questions while nothing is expected to happen, where only questions tell of the end.
pub const STEADY: Duration = Duration::from_secs(1);

/// Between the first questions for a console, which mostly comes soon after the start.
const FIRST: Duration = Duration::from_millis(50);

/// What is being waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// A console, since then. The longer it takes, the rarer the questions, up to this.
    Console(Instant, Duration),
    /// The end.
    Steady,
    /// Nothing that the daemon would tell.
    Never,
}

type Question = Pin<Box<dyn Future<Output = Look> + Send>>;

/// What is being asked.
pub struct Inquiry {
    client: Arc<Client>,
    next: Option<Instant>,
    question: Option<Question>,
}

impl Inquiry {
    /// Asks at once.
    pub fn new(client: Arc<Client>) -> Inquiry {
        Inquiry { client, next: Some(Instant::now()), question: None }
    }

    /// Sets when to ask next.
    pub fn pace(&mut self, pace: Pace) {
        let now = Instant::now();
        self.next = match pace {
            Pace::Console(since, longest) => {
                Some(now + (now.duration_since(since) / 4).clamp(FIRST, longest))
            }
            Pace::Steady => Some(now + STEADY),
            Pace::Never => None,
        };
    }

    /// Waits for the next answer. Nothing is lost if the wait is given up.
    pub async fn answer(&mut self) -> Look {
        if self.question.is_none() {
            match self.next {
                Some(at) => sleep_until(at).await,
                None => pending().await,
            }
        }
        let client = &self.client;
        let question = self.question.get_or_insert_with(|| {
            let client = Arc::clone(client);
            Box::pin(async move { client.look().await })
        });
        let look = question.await;
        self.question = None;
        look
    }
}

#[cfg(test)]
mod tests {
    use libmica::{ClientName, Micad};
    use micrun_image_spec::firmware::Pedestal;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn questions_become_rarer_and_stop() {
        let name = ClientName::new("a").unwrap();
        let client = Client::new(Micad::new("/nowhere"), name, Pedestal::Baremetal, "/dev".into()).unwrap();
        let mut inquiry = Inquiry::new(Arc::new(client));
        let start = Instant::now();
        let mut after = async |pace| {
            inquiry.pace(pace);
            let Ok(_) = tokio::time::timeout(Duration::from_secs(3600), inquiry.answer()).await else {
                return None;
            };
            Some(start.elapsed().as_millis())
        };
        assert_eq!(after(Pace::Console(start, STEADY)).await, Some(50));
        assert_eq!(after(Pace::Console(start, STEADY)).await, Some(100));
        assert_eq!(after(Pace::Steady).await, Some(1100));
        assert_eq!(after(Pace::Console(start, STEADY)).await, Some(1375));
        assert_eq!(after(Pace::Never).await, None);
    }
}
