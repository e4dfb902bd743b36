# SPDX-License-Identifier: MulanPSL-2.0
#
# RAUC's configuration of a node with two slots. Only where the distro feature "micrun" asks for it: other distros keep
# what they have. docs/ota.md says what each setting does.

# Which bundles this node takes: those for exactly this board.
MICRUN_COMPATIBLE ??= "micrun-${MACHINE}"

# The version of this image (major.minor.patch, semver.org). Bundles that are older are refused.
MICRUN_VERSION ??= "${DISTRO_VERSION}"

MICRUN_RAUC_BOOTLOADER ??= "${@'uboot' if 'rpi' in d.getVar('MACHINEOVERRIDES').split(':') else 'grub'}"

require ${@bb.utils.contains('DISTRO_FEATURES', 'micrun', 'rauc-conf-micrun.inc', '', d)}
