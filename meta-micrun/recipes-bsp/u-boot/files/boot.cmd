# SPDX-License-Identifier: MulanPSL-2.0
#
# On the firmware's partition, for boards with U-Boot: which of the two root file systems is booted. What is booted there, and with
# which arguments, is in that root file system (/boot/slot.scr), and so comes and goes with an update.
#
# The state is in U-Boot's environment, as RAUC's U-Boot backend keeps it:
#
#   BOOT_ORDER                 the slots that are not bad, the wanted one first
#   BOOT_A_LEFT, BOOT_B_LEFT   boots that are left to the slot; RAUC's mark-good gives it all of them back
#
# A boot is counted before it begins. A slot whose script cannot be loaded costs nothing, and the next slot's turn comes at once.

test -n "${BOOT_ORDER}" || setenv BOOT_ORDER "A B"
test -n "${BOOT_A_LEFT}" || setenv BOOT_A_LEFT 3
# Empty when the node leaves the factory: nothing to go back to.
test -n "${BOOT_B_LEFT}" || setenv BOOT_B_LEFT 0

# First what may be tried. Then, when every good slot has had its turns: from the beginning, for a node that tries for ever can
# still recover. Then anything.
for micrun_round in fresh again any; do
  micrun_order="${BOOT_ORDER}"
  if test "${micrun_round}" = again; then
    echo "No slot could be begun: all of them get their boots back"
    setenv BOOT_A_LEFT 3
    setenv BOOT_B_LEFT 3
  elif test "${micrun_round}" = any; then
    micrun_order="A B"
  fi
  for micrun_slot in ${micrun_order}; do
    if test "${micrun_slot}" = A; then
      micrun_label=rootfs.0
      micrun_part=2
      micrun_left="${BOOT_A_LEFT}"
    else
      micrun_label=rootfs.1
      micrun_part=3
      micrun_left="${BOOT_B_LEFT}"
    fi
    if test "${micrun_round}" = any || test ${micrun_left} -gt 0; then
      if load ${devtype} ${devnum}:${micrun_part} ${pxefile_addr_r} /boot/slot.scr; then
        echo "Slot ${micrun_slot}, ${micrun_label}: boots left, with this one: ${micrun_left}"
        if test ${micrun_left} -gt 0; then
          setexpr BOOT_${micrun_slot}_LEFT ${micrun_left} - 1
        fi
        saveenv
        source ${pxefile_addr_r}
      fi
      echo "Slot ${micrun_slot} cannot be booted"
    fi
  done
done

# A card may need its time; and what restarts at once is hard to stop.
echo "No slot can be booted. Once more in 10 seconds."
sleep 10
reset
