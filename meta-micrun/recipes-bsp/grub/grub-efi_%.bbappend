# SPDX-License-Identifier: MulanPSL-2.0
require ${@bb.utils.contains('DISTRO_FEATURES', 'micrun', 'grub-efi-micrun.inc', '', d)}
