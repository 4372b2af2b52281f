"""Starts v2c-lab for a test and talks to its control port."""
import json
import os
import pathlib
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("V2C_BUILD_DIR", TOP / "build"))
PROGRAM = BUILD / "lab" / "v2c-lab"
DEADLINE_S = 30


def wait_for(what, seconds=DEADLINE_S):
    """The first true value of what(); fails when there is none in time."""
    deadline = time.monotonic() + seconds
    while True:
        value = what()
        if value:
            return value
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.02)


class Lab:
    """A lab of its own for one test module, ended with it."""

    def __init__(self, scenario):
        if not PROGRAM.exists():
            pytest.fail(f"{PROGRAM} is not built: run ninja first")
        self.scratch = tempfile.TemporaryDirectory(prefix="v2c-lab-")
        self.dir = pathlib.Path(self.scratch.name) / "lab"
        path = pathlib.Path(self.scratch.name) / "scenario.yaml"
        path.write_text(scenario)
        self.process = subprocess.Popen(
            [PROGRAM, "--dir", self.dir, "--scenario", path, "--die-with-parent"],
            stdout=subprocess.PIPE, text=True)
        assert "ready" in self.process.stdout.readline()
        self.info = json.loads((self.dir / "lab.json").read_text())
        self.vcenter = self.info["vcenter"]

    def close(self):
        self.process.terminate()
        status = self.process.wait(DEADLINE_S)
        self.process.stdout.close()
        self.scratch.cleanup()
        assert status == 0

    def control(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.info["control"] + path, method=method, data=data)
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
            return json.load(answer)

    def fault(self, where, action, **more):
        self.control("POST", "/faults", dict(where=where, action=action, **more))

    def vm(self, name, datacenter="DC1"):
        """What the lab itself says of a VM now."""
        for vm in self.control("GET", "/state")["vms"]:
            if (vm["name"], vm["datacenter"]) == (name, datacenter):
                return vm
        raise KeyError(name)
