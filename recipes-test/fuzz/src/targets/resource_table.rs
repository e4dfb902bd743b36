//! Resource tables, without the ELF file around them.

use micrun_image_builder::elf::resource_table::decode;

use super::check_error;

/// Every entry lies in the table, or is an error.
pub fn run(bytes: &[u8]) {
    match decode(bytes) {
        Ok(table) => assert!(table.entries.len() <= bytes.len()),
        Err(error) => check_error(&error),
    }
}
