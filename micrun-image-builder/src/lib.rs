//! Checks RTOS firmware and packs it into OCI images.
//!
//! | module | its one job |
//! | --- | --- |
//! | [`elf`] | reads facts from an ELF file that may be anything |
//! | [`check`] | judges those facts: findings with a code, a place and a remedy |
//! | [`inspect`] | puts the facts of firmwares and images together for people and programs |
//! | [`boot`] | makes and checks boot images, and wraps raw firmware into an ELF file |
//! | [`detect`] | recognises the RTOS, and guesses the board |
//! | [`pack`] | decides what goes into the image, from options, facts and assumptions |
//! | [`image`] | makes the OCI image, the same bytes every time |
//! | [`project`] | reads the project file, which says which firmwares become which images |
//! | [`audit`] | judges an image: documents, layers, what is said about the firmware, and the firmware |
//! | [`diff`] | what changed from one firmware or image to another |
//! | [`contents`] | what is in an image, for those who want to use it |
//! | [`rootfs`] | an image's root file system, seen without unpacking it |
//! | [`zephyr`] | reads a Zephyr build directory in place of an ELF file |
//! | [`sbom`] | bills of materials, given or written |
//! | [`source`] | bytes that can be read anywhere |
//! | [`small_file`] | files that are read whole, up to a limit |
//! | [`yaml`] | YAML from outside, within bounds |
//! | [`containerd`] | puts images into a running containerd |
//! | [`registry`] | a client of registries, resumable both ways |
//! | [`strip`] | a firmware without its debug information |
//! | [`store`] | the places where images live, behind one pair of traits |
//! | [`sign`] | signs images with a key, and verifies that, as cosign does |
//! | [`cli`] | the command line over all that |
//!
//! Check a firmware, pack it, write an archive, and copy that to a registry:
//!
//! ```no_run
//! use std::path::Path;
//!
//! use micrun_image_builder::check::Report;
//! use micrun_image_builder::image::Epoch;
//! use micrun_image_builder::pack::{Request, pack};
//! use micrun_image_builder::registry::{Options, Registry, RegistryName};
//! use micrun_image_builder::source::RegularFile;
//! use micrun_image_builder::store::Source as _;
//! use micrun_image_builder::store::archive::{ArchiveSink, ArchiveSource};
//! use micrun_image_builder::store::copy::copy;
//! use micrun_image_builder::store::layout::ImageName;
//! use micrun_image_builder::store::progress::Silent;
//! use micrun_image_spec::board::Boards;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let boards = Boards::load(&[])?;
//! let firmware = RegularFile::open(Path::new("zephyr.elf"))?;
//! let request = Request { file_stem: "zephyr", ..Request::new(&boards) };
//!
//! // Findings are no errors of this program: they are its result. `pack::check` makes them without an image.
//! let mut report = Report::default();
//! let packed = pack(&request, &firmware, &mut report)?;
//! for finding in report.iter() {
//!     eprintln!("{} {}: {}", finding.code, finding.severity, finding.message);
//! }
//! let Some(packed) = packed else { return Err("the firmware has errors".into()) };
//!
//! let reference = &packed.decisions.reference.value;
//! let name = ImageName { full: Some(reference.to_string()), tag: Some(reference.tag().to_owned()) };
//! let archive = Path::new("zephyr.oci.tar");
//! packed.image.write(Box::new(ArchiveSink::create(archive, name, Epoch::default())?), &[])?;
//!
//! let source = ArchiveSource::open(archive, None)?;
//! let registry = Registry::new(Options::default());
//! let name: RegistryName = "registry.example/demo/zephyr:1".parse()?;
//! copy(&source, Box::new(registry.sink(&name)), &source.resolve()?, true, &Silent)?;
//! # Ok(())
//! # }
//! ```
//!
//! Firmware people sit at Windows, macOS and Linux machines: nothing here needs one of them.

#![warn(clippy::missing_errors_doc)]

pub mod audit;
pub mod boot;
pub mod check;
pub mod cli;
pub mod containerd;
pub mod contents;
pub mod detect;
pub mod diff;
pub mod image;
pub mod inspect;
pub mod pack;
pub mod project;
pub mod registry;
pub mod rootfs;
pub mod sbom;
pub mod sign;
pub mod small_file;
pub mod store;
pub mod strip;
pub mod yaml;
pub mod zephyr;

// The shim reads firmware as well, so the reader has a crate of its own.
pub use micrun_firmware_elf as elf;
pub use micrun_firmware_elf::source;
