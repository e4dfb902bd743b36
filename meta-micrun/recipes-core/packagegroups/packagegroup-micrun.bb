# SPDX-License-Identifier: MulanPSL-2.0
SUMMARY = "What a node needs to run firmware as containers"
DESCRIPTION = "Groups by what a node does: the runtime itself, guests on Xen, guests through micad, a node of a k3s cluster."
LICENSE = "MulanPSL-2.0"

# Kernel modules and hypervisors are the machine's.
PACKAGE_ARCH = "${MACHINE_ARCH}"

inherit packagegroup features_check

REQUIRED_DISTRO_FEATURES = "systemd virtualization"

PACKAGES = "\
    ${PN} \
    ${PN}-mcs \
    ${@bb.utils.contains('DISTRO_FEATURES', 'xen', '${PN}-xen', '', d)} \
    ${@bb.utils.contains('DISTRO_FEATURES', 'k3s', '${PN}-k3s', '', d)} \
"

SUMMARY:${PN} = "Containers, the shim, the node's own firmware images and its declared guests"
RDEPENDS:${PN} = "\
    containerd \
    micrun \
    micrun-containerd-config \
    micrun-guests \
    micrun-import \
"

# The mica daemon and its kernel modules, where a layer has recipes of them: "mcs mcs-km" with openEuler's. BitBake plans what is
# recommended, too, so nothing can be named here that no layer has. Without it, guests run on Xen and in QEMU all the same.
MICRUN_MICAD_PACKAGES ?= ""
SUMMARY:${PN}-mcs = "micad and what it talks to firmware through"
RDEPENDS:${PN}-mcs = "${MICRUN_MICAD_PACKAGES}"

# xl and its daemons, and the folders below /var that they expect. The whole of xen-tools would bring QEMU, Perl and Python for guests
# that are no firmware.
SUMMARY:${PN}-xen = "Dom0's tools, as far as firmware needs them"
RDEPENDS:${PN}-xen = "\
    ${PN}-mcs \
    xen-tools-console \
    xen-tools-volatiles \
    xen-tools-xencommons \
    xen-tools-xenstore \
    xen-tools-xl \
    virtual-xenstored \
"

SUMMARY:${PN}-k3s = "A node that can join a k3s cluster as an agent"
RDEPENDS:${PN}-k3s = "\
    ${PN} \
    k3s-agent \
    micrun-k3s-config \
"
