//! What a product's recipes put on a node. The tests of the layer compare it with what bitbake packages.

/// Files of meta-micrun, from their place in the layer to the one on the node.
pub const INSTALLED: [(&str, &str); 4] = [
    ("recipes-containers/micrun/files/micrun-import", "usr/libexec/micrun-import"),
    ("recipes-containers/micrun/files/micrun-import.service", "usr/lib/systemd/system/micrun-import.service"),
    ("recipes-containers/micrun/files/containerd-1/config.toml", "etc/containerd/config.toml"),
    ("recipes-mcs/mcs/files/micad.service", "usr/lib/systemd/system/micad.service"),
];

/// What a node has besides that is updated by slots: recipes micrun-grub, micrun-data, micrun-health, and declared guests.
pub const INSTALLED_WITH_SLOTS: [(&str, &str); 26] = [
    ("recipes-bsp/grub/files/boot.cfg", "boot/boot.cfg"),
    (
        "recipes-containers/micrun-guests/files/micrun-guests-again.service",
        "usr/lib/systemd/system/micrun-guests-again.service",
    ),
    (
        "recipes-containers/micrun-guests/files/micrun-guests-stop.service",
        "usr/lib/systemd/system/micrun-guests-stop.service",
    ),
    (
        "recipes-containers/micrun-guests/files/micrun-guests.path",
        "usr/lib/systemd/system/micrun-guests.path",
    ),
    (
        "recipes-containers/micrun-guests/files/micrun-guests.service",
        "usr/lib/systemd/system/micrun-guests.service",
    ),
    ("recipes-core/micrun-data/files/boot-efi.mount", "usr/lib/systemd/system/boot-efi.mount"),
    ("recipes-core/micrun-data/files/data.mount", "usr/lib/systemd/system/data.mount"),
    ("recipes-core/micrun-data/files/etc-mica.mount", "usr/lib/systemd/system/etc-mica.mount"),
    ("recipes-core/micrun-data/files/etc-rancher.mount", "usr/lib/systemd/system/etc-rancher.mount"),
    ("recipes-core/micrun-data/files/etc-xen.mount", "usr/lib/systemd/system/etc-xen.mount"),
    ("recipes-core/micrun-data/files/journal.conf", "usr/lib/systemd/journald.conf.d/50-micrun.conf"),
    ("recipes-core/micrun-data/files/micrun-boot-env", "usr/libexec/micrun-boot-env"),
    (
        "recipes-core/micrun-data/files/micrun-boot-env.service",
        "usr/lib/systemd/system/micrun-boot-env.service",
    ),
    ("recipes-core/micrun-data/files/micrun-data", "usr/libexec/micrun-data"),
    ("recipes-core/micrun-data/files/micrun-data.service", "usr/lib/systemd/system/micrun-data.service"),
    ("recipes-core/micrun-data/files/var.mount", "usr/lib/systemd/system/var.mount"),
    (
        "recipes-core/micrun-health/files/boot-complete.conf",
        "usr/lib/systemd/system/boot-complete.target.d/50-micrun.conf",
    ),
    (
        "recipes-core/micrun-health/files/emergency.conf",
        "usr/lib/systemd/system/emergency.target.d/50-micrun.conf",
    ),
    (
        "recipes-core/micrun-health/files/micrun-emergency.service",
        "usr/lib/systemd/system/micrun-emergency.service",
    ),
    ("recipes-core/micrun-health/files/micrun-good.service", "usr/lib/systemd/system/micrun-good.service"),
    ("recipes-core/micrun-health/files/micrun-health", "usr/libexec/micrun-health"),
    (
        "recipes-core/micrun-health/files/micrun-health.service",
        "usr/lib/systemd/system/micrun-health.service",
    ),
    (
        "recipes-core/micrun-health/files/micrun-rollback.service",
        "usr/lib/systemd/system/micrun-rollback.service",
    ),
    ("recipes-core/micrun-health/files/micrun-verdict", "usr/libexec/micrun-verdict"),
    (
        "recipes-core/micrun-health/files/micrun-watchdog.service",
        "usr/lib/systemd/system/micrun-watchdog.service",
    ),
    (
        "recipes-core/micrun-health/files/watchdog.conf",
        "usr/lib/systemd/system.conf.d/50-micrun-watchdog.conf",
    ),
];
