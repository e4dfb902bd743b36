#
# SPDX-License-Identifier: MulanPSL-2.0
#
# Updates on the image that was booted: RAUC knows its slots, the boot was found good, and what is not signed is refused.
# TEST_SUITES += "micrun_ota"

import json

from oeqa.core.decorator.depends import OETestDepends
from oeqa.runtime.case import OERuntimeTestCase
from oeqa.runtime.decorator.package import OEHasPackage

PATIENCE = 240


class MicrunUpdateTest(OERuntimeTestCase):

    def said(self, command):
        status, output = self.target.run(command, timeout=PATIENCE)
        self.assertEqual(status, 0, "%s\n%s" % (command, output))
        return output

    @OEHasPackage(["micrun-health"])
    def test_health_check_passed(self):
        self.said("systemctl start boot-complete.target")
        self.assertIn("Result=success", self.said("systemctl show -p Result micrun-health.service"))

    @OETestDepends(["micrun_ota.MicrunUpdateTest.test_health_check_passed"])
    @OEHasPackage(["rauc"])
    def test_booted_slot_is_good(self):
        # Waits until it has run; it does so once.
        self.said("systemctl start rauc-mark-good.service")
        status = json.loads(self.said("rauc status --output-format=json"))
        slots = {name: slot for entry in status["slots"] for name, slot in entry.items()}
        booted = [name for name, slot in slots.items() if slot["state"] == "booted"]
        self.assertEqual(len(booted), 1, "one slot should be booted: %s" % status)
        self.assertEqual(slots[booted[0]]["boot_status"], "good", "%s" % status)

    @OETestDepends(["micrun_ota.MicrunUpdateTest.test_booted_slot_is_good"])
    def test_what_is_not_signed_is_refused(self):
        status, output = self.target.run("head -c 1000000 /dev/zero > /tmp/oeqa.raucb && rauc install /tmp/oeqa.raucb", timeout=PATIENCE)
        self.assertNotEqual(status, 0, output)
        self.said("rm /tmp/oeqa.raucb")
