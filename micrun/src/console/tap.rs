//! The console in the hands of a command: it types, and sees what the guest answers. The streams of the container
//! see it, too; what is typed there waits until the tap is gone.

use tokio::sync::mpsc;

/// A command's end.
pub struct Tap {
    keys: mpsc::UnboundedSender<Vec<u8>>,
    output: mpsc::UnboundedReceiver<Vec<u8>>,
}

/// The console's end. Its queues have no limit: both sides move bytes on as fast as they come, and keep their own limits.
pub(super) struct TapEnd {
    keys: mpsc::UnboundedReceiver<Vec<u8>>,
    output: mpsc::UnboundedSender<Vec<u8>>,
}

impl Tap {
    pub(super) fn new() -> (Tap, TapEnd) {
        let (keys_in, keys) = mpsc::unbounded_channel();
        let (output_in, output) = mpsc::unbounded_channel();
        (Tap { keys: keys_in, output }, TapEnd { keys, output: output_in })
    }

    /// Types bytes, behind those that the guest has not taken yet.
    pub fn write(&self, bytes: impl Into<Vec<u8>>) {
        // A console at its end shows in the next read.
        let _ = self.keys.send(bytes.into());
    }

    /// What the guest wrote next; `None` when the console is at its end or another has the tap.
    pub async fn read(&mut self) -> Option<Vec<u8>> {
        self.output.recv().await
    }
}

impl TapEnd {
    /// Hands over what the guest wrote.
    pub fn output(&self, bytes: &[u8]) {
        // A tap that is being dropped needs it no more.
        let _ = self.output.send(bytes.to_vec());
    }
}

/// What was typed; `None` when the tap is gone. Waits for ever without one.
pub(super) async fn typed(tap: Option<&mut TapEnd>) -> Option<Vec<u8>> {
    match tap {
        Some(tap) => tap.keys.recv().await,
        None => std::future::pending().await,
    }
}
