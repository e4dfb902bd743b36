//! What Zephyr's build leaves as text: `.config`, and the header with the version.

use std::sync::LazyLock;

use micrun_image_builder::zephyr::{BoardTarget, Kconfig, kernel_version};
use micrun_image_spec::board::Boards;

static BOARDS: LazyLock<Boards> = LazyLock::new(Boards::builtin);

/// Reads the text as both.
pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(version) = kernel_version(text) {
        assert!(version.len() <= 64 && version.is_ascii());
    }
    let config = Kconfig::parse(text);
    config.number("SRAM_SIZE");
    if let Some(board) = BoardTarget::from_kconfig(&config) {
        board.find(&BOARDS);
    }
}
