#
# SPDX-License-Identifier: MulanPSL-2.0
#
# MicRun on the image that was booted: its programs, the images that it came with, a guest from its first line to its
# last, and what the product declares. TEST_SUITES += "micrun". An image names the guest to try:
#
#   MICRUN_TEST_GUEST = "localhost/test-firmware-qemu-arm64:0.1.0"

import json
import time

from oeqa.core.decorator.depends import OETestDepends
from oeqa.runtime.case import OERuntimeTestCase
from oeqa.runtime.decorator.package import OEHasPackage

# Emulated nodes are slow.
PATIENCE = 240


class MicrunTest(OERuntimeTestCase):
    """What the cases below share."""

    def said(self, command):
        """What a command says, which has to succeed."""
        status, output = self.target.run(command, timeout=PATIENCE)
        self.assertEqual(status, 0, "%s\n%s" % (command, output))
        return output

    def wait_for(self, command, text):
        """Runs a command again and again until it says this."""
        end = time.monotonic() + PATIENCE
        while True:
            _, output = self.target.run(command, timeout=PATIENCE)
            if text in output:
                return
            if time.monotonic() > end:
                self.fail("%r did not come from %s, but\n%s" % (text, command, output))
            time.sleep(1)


class MicrunNodeTest(MicrunTest):
    """The node before any guest."""

    # Everything depends on this, and this on no way of reaching the node: ssh or serial.
    def test_node_answers(self):
        self.said("uname -a")

    @OETestDepends(["micrun.MicrunNodeTest.test_node_answers"])
    @OEHasPackage(["micrun"])
    def test_shim_answers(self):
        version = self.said("micrun --version").split()[-1]
        self.assertIn(version, self.said("containerd-shim-mica-v2 -v"))

    @OETestDepends(["micrun.MicrunNodeTest.test_node_answers"])
    @OEHasPackage(["containerd"])
    def test_containerd_answers(self):
        self.assertIn("Server:", self.said("ctr version"))

    @OETestDepends(["micrun.MicrunNodeTest.test_shim_answers", "micrun.MicrunNodeTest.test_containerd_answers"])
    def test_check_finds_nothing_wrong(self):
        self.said("micrun check")


class MicrunImagesTest(MicrunTest):
    """The archives that the image came with are in containerd, and stay there."""

    ARCHIVES = "/usr/share/micrun/images"

    def names(self):
        """The images of all archives."""
        names = []
        for archive in self.said("ls %s" % self.ARCHIVES).split():
            index = json.loads(self.said("tar -xOf %s/%s index.json" % (self.ARCHIVES, archive)))
            names += [one["annotations"]["io.containerd.image.name"] for one in index["manifests"]]
        return names

    def namespaces(self):
        """Those of containerd that get them: the service's own default, or what the node's file says."""
        _, settings = self.target.run("cat /etc/mica/micrun/import.env")
        for line in settings.splitlines():
            name, _, value = line.partition("=")
            if name == "MICRUN_NAMESPACES":
                return value.strip("\"'").split()
        return ["default", "k8s.io"]

    @OETestDepends(["micrun.MicrunNodeTest.test_containerd_answers"])
    @OEHasPackage(["micrun-import"])
    def test_images_are_imported_and_pinned(self):
        self.said("systemctl is-active micrun-import.service")
        names = self.names()
        self.assertTrue(names, "there is no archive in %s" % self.ARCHIVES)
        for namespace in self.namespaces():
            pinned = self.said("ctr -n %s image ls -q 'labels.\"io.cri-containerd.pinned\"==pinned'" % namespace)
            missing = set(names) - set(pinned.split())
            self.assertFalse(missing, "not there, or not pinned, in %s: %s" % (namespace, missing))


class MicrunGuestTest(MicrunTest):
    """A guest from its first line to its last."""

    ID = "oeqa-guest"
    LOG = "/tmp/oeqa-guest.log"
    BANNER = "MicRun test firmware"

    def setUp(self):
        super().setUp()
        self.image = self.td.get("MICRUN_TEST_GUEST")
        if not self.image:
            self.skipTest("MICRUN_TEST_GUEST names no image of this node")

    def tearDown(self):
        self.target.run("ctr task kill -s SIGKILL %s; ctr task rm -f %s; ctr container rm %s; rm -f %s" % (self.ID, self.ID, self.ID, self.LOG), timeout=PATIENCE)
        super().tearDown()

    def run_guest(self, options):
        return "ctr run %s --runtime io.containerd.mica.v2 %s %s" % (options, self.image, self.ID)

    @OETestDepends(["micrun.MicrunImagesTest.test_images_are_imported_and_pinned"])
    def test_guest_answers_and_powers_off(self):
        output = self.said("printf 'echo one  two\\npoweroff\\n' | %s" % self.run_guest("--rm"))
        self.assertIn(self.BANNER, output)
        self.assertIn("\none  two", output.replace("\r", ""))

    @OETestDepends(["micrun.MicrunImagesTest.test_images_are_imported_and_pinned"])
    def test_guest_is_stopped(self):
        self.said(self.run_guest("--detach --log-uri file://%s" % self.LOG))
        self.wait_for("cat %s" % self.LOG, self.BANNER)
        self.said("ctr task kill -s SIGTERM %s" % self.ID)
        self.wait_for("ctr task ls", "STOPPED")
        # 128 and the signal, as of any container.
        self.assertIn("exit code 143", self.said("ctr task rm %s" % self.ID))
        self.said("ctr container rm %s" % self.ID)


class MicrunDeclaredTest(MicrunTest):
    """The guests that the product declares run, and are healthy."""

    @OETestDepends(["micrun.MicrunNodeTest.test_containerd_answers"])
    @OEHasPackage(["micrun-guests"])
    def test_declared_guests_run(self):
        self.said("micrun guests check --wait 120")
