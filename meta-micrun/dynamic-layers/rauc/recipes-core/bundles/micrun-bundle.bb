# SPDX-License-Identifier: MulanPSL-2.0
SUMMARY = "An update of the node: one root file system with kernel, hypervisor and all"
require micrun-bundle.inc

# A product names its own image.
MICRUN_BUNDLE_IMAGE ?= "micrun-image"

RAUC_BUNDLE_SLOTS = "rootfs"
RAUC_SLOT_rootfs = "${MICRUN_BUNDLE_IMAGE}"
RAUC_SLOT_rootfs[fstype] = "ext4"
# An installed system that has most of these blocks already does not fetch them again.
RAUC_SLOT_rootfs[adaptive] = "block-hash-index"
