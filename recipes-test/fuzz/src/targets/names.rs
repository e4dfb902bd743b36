//! Names and numbers that users type and images carry.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use micrun_image_builder::boot::raw::Address;
use micrun_image_builder::image::{Platform, Reference};
use micrun_image_builder::store::Location;
use micrun_image_spec::annotation::{Kind, strip};
use micrun_image_spec::digest::Sha256Digest;
use micrun_image_spec::rootfs_path::RootfsPath;
use micrun_image_spec::units::ByteSize;

/// Reads each line as everything that is a line.
pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for line in text.lines() {
        read::<Address>(line);
        read::<ByteSize>(line);
        read::<Platform>(line);
        read::<Reference>(line);
        read::<RootfsPath>(line);
        read::<Sha256Digest>(line);
        let _ = line.parse::<Location>();
        annotation(line);
    }
}

/// What is read is written, and read again as it was.
fn read<T: FromStr + Display + Debug + PartialEq>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(value.to_string().parse().ok(), Some(value), "{text:?}");
    }
}

fn annotation(line: &str) {
    let Some((key, value)) = line.split_once('=') else { return };
    if let Some(kind) = strip(key).and_then(|key| Kind::of(key.name)) {
        let _ = kind.check(value);
    }
}
