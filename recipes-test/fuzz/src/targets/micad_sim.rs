//! What reaches the stand-in for the mica daemon: messages, firmware files, orders.

use micad_sim::fault::Order;
use micad_sim::wire::control::{Command, LENGTH};
use micad_sim::wire::create::Create;
use micad_sim::wire::table::{self, Found, Table};

/// Whatever comes is a message; no text of it is longer than its field, and no table lies outside of its file.
pub fn run(bytes: &[u8]) {
    let message = Create::decode(bytes);
    assert!(message.name.len() < 66 && message.cpu.len() < 128 && message.iomem.len() < 512);
    if let Command::Set { key, value } = Command::decode(bytes) {
        // The shortest word before them is `set`.
        assert!("set".len() + 1 + key.len() + 1 + value.len() < LENGTH);
    }
    let table = match table::find(bytes) {
        Found::Table(part) => {
            assert!(bytes.as_ptr_range().contains(&part.as_ptr()) && part.len() <= bytes.len());
            part
        }
        // The fuzzer need not make an ELF file for every table.
        Found::NoElf | Found::NoTable => bytes,
    };
    if let Ok(table) = Table::decode(table) {
        // A domain needs no less than a core does.
        assert!(table.has_rpmsg(false) || !table.has_rpmsg(true));
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Err(error) = text.parse::<Order>()
    {
        assert!(error.to_string().contains("is no order"));
    }
}
