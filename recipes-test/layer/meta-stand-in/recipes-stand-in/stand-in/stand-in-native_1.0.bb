# SPDX-License-Identifier: MulanPSL-2.0
SUMMARY = "Stands in for build tools that the machine has"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/MIT;md5=0835ade698e0bcf8506ecda2f7b4f302"

INHIBIT_DEFAULT_DEPS = "1"
inherit native

S = "${UNPACKDIR}"

# Tasks ask for these by name, for their own sysroots; ASSUME_PROVIDED does not answer that.
PROVIDES += " \
    dpkg-native \
    dwarfsrcfiles-native \
    file-native \
    pseudo-native \
    rpm-native \
    virtual/fakeroot-native \
    xz-native \
    zstd-native \
"
