#!/usr/bin/env python3
# SPDX-License-Identifier: MulanPSL-2.0
"""Runs the layer's test cases with OpenEmbedded's own framework, on a node that somebody else reaches.

    run.py CASES VARIABLES PACKAGES     with both libraries of OpenEmbedded in PYTHONPATH

CASES is a folder of test modules, VARIABLES what the image's build would tell them (NAME=VALUE, separated by commas),
PACKAGES what is on the node (separated by commas). On stdout goes a line for each command:

    run COMMAND

The answer is a line with exit status and length, then as many bytes. At the end a line for each case: passed, skipped or
failed, and its name. What the framework itself says goes to stderr.
"""

import logging
import os
import sys

from oeqa.core.target import OETarget
from oeqa.core.utils.test import getSuiteCases
from oeqa.runtime.context import OERuntimeTestContext


class Line:
    """To whoever reaches the node; not sys.stdout, which the framework keeps from the cases."""

    def __init__(self):
        self.to = os.fdopen(os.dup(1), "w")
        self.answers = os.fdopen(os.dup(0), "rb")

    def say(self, *words):
        print(*words, file=self.to, flush=True)

    def ask(self, command):
        self.say("run", command.replace("\n", " "))
        status, length = self.answers.readline().split()
        return int(status), self.answers.read(int(length)).decode("utf-8", "replace").rstrip()


class Node(OETarget):
    """What the cases know as their target."""

    def __init__(self, line, logger):
        super().__init__(logger)
        self.line = line

    def run(self, cmd, timeout=None):
        return self.line.ask(cmd if timeout is None else "timeout %d sh -c %s" % (timeout, quoted(cmd)))


def quoted(text):
    return "'%s'" % text.replace("'", "'\\''")


def main():
    cases, variables, packages = sys.argv[1:]
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    logger, line = logging.getLogger("oeqa"), Line()
    # Which bitbake always sets, and decorators rely on.
    td = {"MLPREFIX": ""}
    td.update(pair.split("=", 1) for pair in variables.split(",") if pair)
    context = OERuntimeTestContext(td, logger, Node(line, logger), set(packages.split(",")), None)
    context.loadTests([cases], modules=sorted(name[:-3] for name in os.listdir(cases) if name.endswith(".py")))
    all_cases = {case.id() for case in getSuiteCases(context.suites)}
    result = context.runTests()
    named = {"passed": result.successes, "skipped": result.skipped}
    told = {}
    for word, outcomes in named.items():
        told.update({case.id(): word for case, _ in outcomes})
    for name in sorted(all_cases):
        line.say(told.get(name, "failed"), name)


main()
