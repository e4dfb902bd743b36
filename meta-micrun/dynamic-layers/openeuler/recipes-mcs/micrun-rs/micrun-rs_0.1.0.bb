# SPDX-License-Identifier: MulanPSL-2.0
SUMMARY = "Runs RTOS firmware as containers"
DESCRIPTION = "The shim with which containerd starts, watches and stops RTOS guests as it does containers, and the command for \
operators: static programs of a release, since openEuler Embedded's Rust is older than the one that MicRun is written in."
HOMEPAGE = "https://gitee.com/openeuler/micrun"
BUGTRACKER = "https://gitee.com/openeuler/micrun/issues"
SECTION = "console/utils"
LICENSE = "MulanPSL-2.0"
LIC_FILES_CHKSUM = "file://LICENSE;md5=74b1b7a7ee537a16390ed514498bf23c"

# Where the archive of a release for arm64 is, and its digest; file:///FOLDER/ARCHIVE will do. docs/openeuler.md says what is in one.
MICRUN_ARCHIVE ?= ""
MICRUN_ARCHIVE_SHA256 ?= ""

# The files are those of meta-micrun, whose folder this one is in.
FILESEXTRAPATHS:prepend := "${THISDIR}/../../../../recipes-containers/micrun/files:"
SRC_URI = " \
    ${@'${MICRUN_ARCHIVE};name=release' if d.getVar('MICRUN_ARCHIVE') else ''} \
    file://containerd-1/config.toml \
    file://micrun-import \
    file://micrun-import.service \
    file://micrun.conf.example \
"
SRC_URI[release.sha256sum] = "${MICRUN_ARCHIVE_SHA256}"

# Where sources are unpacked to; releases before 5.1 have no variable for it.
MICRUN_UNPACKED = "${@d.getVar('UNPACKDIR') or d.getVar('WORKDIR')}"
S = "${MICRUN_UNPACKED}/micrun-${PV}-aarch64"

# openEuler looks sources up in a list of its own, which has none of these.
OPENEULER_FETCH = "disable"

COMPATIBLE_HOST = "aarch64.*-linux"

inherit systemd

python () {
    if 'micrun' in (d.getVar('MCS_FEATURES') or '').split():
        raise bb.parse.SkipRecipe("MCS_FEATURES has micrun: that is openEuler's own program of the same name; choose one")
    if not d.getVar('MICRUN_ARCHIVE'):
        raise bb.parse.SkipRecipe("MICRUN_ARCHIVE is not set: where a MicRun release for arm64 is (docs/openeuler.md)")
}

do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install() {
    install -D -m 0755 ${S}/containerd-shim-mica-v2 ${D}${bindir}/containerd-shim-mica-v2
    install -m 0755 ${S}/micrun ${D}${bindir}/micrun
    install -D -m 0644 ${MICRUN_UNPACKED}/micrun.conf.example ${D}${sysconfdir}/mica/micrun/micrun.conf
    install -D -m 0755 ${MICRUN_UNPACKED}/micrun-import ${D}${libexecdir}/micrun-import
    install -D -m 0644 ${MICRUN_UNPACKED}/micrun-import.service ${D}${systemd_system_unitdir}/micrun-import.service
    install -D -m 0644 ${MICRUN_UNPACKED}/containerd-1/config.toml ${D}${sysconfdir}/containerd/config.toml
}

# They come stripped.
INHIBIT_PACKAGE_STRIP = "1"
INHIBIT_PACKAGE_DEBUG_SPLIT = "1"
INSANE_SKIP:${PN} += "already-stripped"

PACKAGES = "${PN} ${PN}-import ${PN}-containerd1-config"

# openEuler's recipe `micrun` installs a shim of the same name.
RCONFLICTS:${PN} = "micrun"
FILES:${PN} = "${bindir} ${sysconfdir}/mica"
CONFFILES:${PN} = "${sysconfdir}/mica/micrun/micrun.conf"
RSUGGESTS:${PN} = "xen-tools"

SUMMARY:${PN}-import = "Brings the node's own firmware images into containerd"
FILES:${PN}-import = "${libexecdir} ${systemd_system_unitdir}"
# ctr; tar and a shell, which may be busybox's.
RDEPENDS:${PN}-import = "virtual-containerd"
SYSTEMD_PACKAGES = "${PN}-import"
SYSTEMD_SERVICE:${PN}-import = "micrun-import.service"

SUMMARY:${PN}-containerd1-config = "A whole configuration for containerd 1.6 and 1.7, which take the runtime mica in no other way"
FILES:${PN}-containerd1-config = "${sysconfdir}/containerd"
CONFFILES:${PN}-containerd1-config = "${sysconfdir}/containerd/config.toml"
