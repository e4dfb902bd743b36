# SPDX-License-Identifier: MulanPSL-2.0
SUMMARY = "Memory for firmware beside Linux on a Raspberry Pi 4"
DESCRIPTION = "Device tree overlay for the mica daemon's baremetal pedestal: it keeps memory away from Linux and tells mcs_km where \
it is. conf/include/micrun-rpi-baremetal.inc puts it on the boot partition and into config.txt."
HOMEPAGE = "https://atomgit.com/openeuler/mcs"
LICENSE = "MulanPSL-2.0"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/MulanPSL-2.0;md5=74b1b7a7ee537a16390ed514498bf23c"

SRC_URI = "file://micrun-mcs.dts"

inherit devicetree

# It includes nothing, so it needs no kernel.
KERNEL_INCLUDE = ""
# An overlay is no machine's tree.
PROVIDES:remove = "virtual/dtb"

COMPATIBLE_MACHINE = "^raspberrypi4-64$"
