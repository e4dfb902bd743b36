# SPDX-License-Identifier: MulanPSL-2.0
SUMMARY = "Updates of a node over the air: RAUC, and the health check that decides about the new slot"
LICENSE = "MulanPSL-2.0"

PACKAGE_ARCH = "${MACHINE_ARCH}"

inherit packagegroup features_check

REQUIRED_DISTRO_FEATURES = "rauc systemd"

RDEPENDS:${PN} = "\
    micrun-health \
    rauc \
    rauc-mark-good \
    rauc-service \
    virtual-rauc-conf \
"
