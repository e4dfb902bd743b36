//! Bills of materials that the user gives.

use micrun_image_builder::sbom::Sbom;

/// What is taken is taken as it is.
pub fn run(bytes: &[u8]) {
    match Sbom::parse(bytes.to_vec()) {
        Ok(sbom) => assert!(sbom.bytes() == bytes && sbom.version().len() < 64),
        Err(problem) => assert!(problem.to_string().len() < 1500, "{problem}"),
    }
}
