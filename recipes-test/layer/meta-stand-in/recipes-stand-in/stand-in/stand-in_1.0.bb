# SPDX-License-Identifier: MulanPSL-2.0
SUMMARY = "Stands in for packages of other layers that ours need when they run"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/MIT;md5=0835ade698e0bcf8506ecda2f7b4f302"

INHIBIT_DEFAULT_DEPS = "1"

S = "${UNPACKDIR}"

ALLOW_EMPTY:${PN} = "1"
RPROVIDES:${PN} += "\
    kernel-module-xen-wdt \
    libc6 \
    libgcc1 \
    logrotate \
    man-db \
    ptest-runner \
    qemu-system-aarch64 \
    virtual-containerd \
    xen-tools \
"
