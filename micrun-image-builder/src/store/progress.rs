//! Who wants to know how far a transfer is.

/// Told about each blob that is transferred. What happens with it, if anything, is the caller's business.
pub trait Progress: Send + Sync {
    /// A blob of that many bytes is next.
    fn begin(&self, name: &str, size: u64);
    /// That many more bytes of it have passed.
    fn advance(&self, bytes: u64);
    /// The transfer is interrupted and will be tried again, for this reason, in that many milliseconds; then it goes on
    /// at `offset`.
    fn retry(&self, reason: &str, delay_ms: u64, offset: u64);
    /// The blob is there, or was there already.
    fn end(&self);
}

/// Nobody wants to know.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _name: &str, _size: u64) {}
    fn advance(&self, _bytes: u64) {}
    fn retry(&self, _reason: &str, _delay_ms: u64, _offset: u64) {}
    fn end(&self) {}
}
