//! What a product's recipes put on a node. The tests of the layer compare it with what bitbake packages.

/// Files of meta-micrun, from their place in the layer to the one on the node.
pub const INSTALLED: [(&str, &str); 4] = [
    ("recipes-containers/micrun/files/micrun-import", "usr/libexec/micrun-import"),
    ("recipes-containers/micrun/files/micrun-import.service", "usr/lib/systemd/system/micrun-import.service"),
    ("recipes-containers/micrun/files/containerd-1/config.toml", "etc/containerd/config.toml"),
    ("recipes-mcs/mcs/files/micad.service", "usr/lib/systemd/system/micad.service"),
];
