//! One repository of a registry that ends with the test.

use micrun_image_builder::registry::{Registry, RegistryName, RegistrySink, RegistrySource};
use micrun_image_spec::digest::Sha256Digest;

use super::registry::debian::DebianRegistry;
use super::registry::options;
use super::signing::put_image;

/// A repository, and what is under its tag `latest`.
pub struct Repository {
    registry: Registry,
    name: RegistryName,
}

impl Repository {
    /// A repository that may be empty.
    pub fn new(registry: &DebianRegistry, name: &str) -> Self {
        let name = format!("docker://{}/{name}:latest", registry.address).parse().unwrap();
        Repository { registry: Registry::new(options()), name }
    }

    /// The repository with an image, whose digest comes along. Each name makes another image.
    pub fn with_image(registry: &DebianRegistry, name: &str) -> (Self, Sha256Digest) {
        let repository = Self::new(registry, name);
        let digest = put_image(Box::new(repository.sink()), name).unwrap();
        (repository, digest)
    }

    pub fn source(&self) -> RegistrySource {
        self.registry.source(&self.name)
    }

    pub fn sink(&self) -> RegistrySink {
        self.registry.sink(&self.name)
    }

    /// `127.0.0.1:PORT/name`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.name.registry(), self.name.repository())
    }

    /// The name of an image in it, as cosign takes it.
    pub fn at(&self, digest: Sha256Digest) -> String {
        format!("{}@{digest}", self.full_name())
    }
}
