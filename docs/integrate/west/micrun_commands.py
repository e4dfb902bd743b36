"""west micrun: packs a Zephyr build into a container image."""

import shutil
import subprocess
import sys

from west.commands import WestCommand

BUILDER = "micrun-image-builder"


class Micrun(WestCommand):
    def __init__(self):
        super().__init__(
            "micrun",
            "pack a Zephyr build into a container image",
            "Packs what west build made. Options that are not listed here go to `micrun-image-builder pack`,\n"
            "for instance: west micrun --tag registry.example/demo/app:1.0 --sbom generate",
            accepts_unknown_args=True,
        )

    def do_add_parser(self, parser_adder):
        parser = parser_adder.add_parser(self.name, help=self.help, description=self.description)
        parser.add_argument("-d", "--build-dir", default="build", help="build directory [default: build]")
        return parser

    def do_run(self, args, unknown_args):
        builder = shutil.which(BUILDER)
        if builder is None:
            self.die(f"{BUILDER} is not on PATH: install it first")
        sys.stdout.flush()
        ended = subprocess.run([builder, "pack", args.build_dir, *unknown_args])
        if ended.returncode != 0:
            sys.exit(ended.returncode)
