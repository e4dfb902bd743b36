# SPDX-License-Identifier: MulanPSL-2.0
#
# On the firmware's partition, for boards with U-Boot: which of the two root file systems is booted. What is booted there, and with
# which arguments, is in that root file system (/boot/slot.scr), and so comes and goes with an update.
#
# The state is in U-Boot's environment, as RAUC's U-Boot backend keeps it:
#
#   BOOT_ORDER                 the slots, the wanted one first
#   BOOT_A_LEFT, BOOT_B_LEFT   boots that are left to the slot; RAUC's mark-good gives it all of them back
#
# A boot is counted before it begins. A slot that cannot be loaded costs one of its boots, and the next slot's turn comes at once.

test -n "${BOOT_ORDER}" || setenv BOOT_ORDER "A B"
test -n "${BOOT_A_LEFT}" || setenv BOOT_A_LEFT 3
test -n "${BOOT_B_LEFT}" || setenv BOOT_B_LEFT 3

for candidate in ${BOOT_ORDER}; do
  micrun_slot=none
  if test "${candidate}" = A && test ${BOOT_A_LEFT} -gt 0; then
    setexpr BOOT_A_LEFT ${BOOT_A_LEFT} - 1
    micrun_slot=A
    micrun_label=rootfs.0
    micrun_part=2
    micrun_left=${BOOT_A_LEFT}
  elif test "${candidate}" = B && test ${BOOT_B_LEFT} -gt 0; then
    setexpr BOOT_B_LEFT ${BOOT_B_LEFT} - 1
    micrun_slot=B
    micrun_label=rootfs.1
    micrun_part=3
    micrun_left=${BOOT_B_LEFT}
  fi
  if test "${micrun_slot}" != none; then
    echo "Slot ${micrun_slot}, ${micrun_label}: ${micrun_left} more boots if this one fails"
    saveenv
    if load ${devtype} ${devnum}:${micrun_part} ${pxefile_addr_r} /boot/slot.scr; then
      source ${pxefile_addr_r}
    fi
    echo "Slot ${micrun_slot} cannot be booted"
  fi
done

# A node that tries for ever can still recover.
echo "No slot has boots left: all of them get theirs back"
setenv BOOT_A_LEFT 3
setenv BOOT_B_LEFT 3
saveenv
reset
