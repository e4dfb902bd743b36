# SPDX-License-Identifier: MulanPSL-2.0
require ${@'u-boot-micrun.inc' if 'micrun' in d.getVar('DISTRO_FEATURES').split() and 'rpi' in d.getVar('MACHINEOVERRIDES').split(':') else ''}
