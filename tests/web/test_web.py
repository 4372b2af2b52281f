"""The web UI: built, its logic, its pages against a mock of the contract, and the whole way against the real
service and the lab."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
WEB = TOP / "web"
sys.path.insert(0, str(TOP / "tests" / "flow"))

import harness  # noqa: E402
from service import Service  # noqa: E402

CHROMIUM = os.environ.get("V2C_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


def node_version():
    try:
        text = subprocess.run(["node", "--version"], capture_output=True, text=True, timeout=30).stdout
    except OSError:
        return (0, 0)
    found = re.match(r"v(\d+)\.(\d+)", text)
    return tuple(map(int, found.groups())) if found else (0, 0)


pytestmark = pytest.mark.skipif(node_version() < (20, 19), reason="the web UI is built with Node 20.19 or newer (scripts/test.sh fetches one)")


def run(*words, seconds, **more):
    done = subprocess.run(words, cwd=WEB, capture_output=True, text=True, timeout=seconds,
                          stdin=subprocess.DEVNULL, env={**os.environ, "V2C_CHROMIUM": CHROMIUM or ""},
                          **more)
    assert done.returncode == 0, f"{words}:\n{done.stdout[-5000:]}\n{done.stderr[-5000:]}"
    return done.stdout


@pytest.fixture(scope="session")
def built():
    run("npm", "ci", "--no-audit", "--no-fund", seconds=300)
    run("npm", "run", "build", seconds=300)
    return WEB / "dist"


def test_it_is_built_and_small_enough(built):
    assert (built / "index.html").exists()


def test_the_contract_that_its_types_are_made_from(built):
    run("npm", "run", "-s", "lint:contract", seconds=100)


def test_its_logic(built):
    run("npm", "test", seconds=200)


def test_its_pages_against_the_mock(built):
    run("npm", "run", "test:browser", seconds=200)


def test_the_whole_way(built, tmp_path):
    lab = harness.Lab(tmp_path, harness.scenario(
        harness.synthetic("web01"),
        harness.synthetic("mail01", disks=[{"address": "scsi0:0", "size": "32MiB", "fill": 60, "seed": 3}],
                          nics=[{"mac": "00:50:56:aa:00:03", "network": "VM Network"}])))
    engine = harness.Engine(tmp_path, lab)
    service = Service(engine, "--ui-dir", str(built)).start()
    try:
        run("node", TOP / "tests" / "web" / "whole.mjs", service.url, service.passwords["operator"],
            service.passwords["viewer"], os.environ.get("V2C_SHOTS", str(tmp_path)), seconds=300)
        engine.assert_identical("mail01")
        assert engine.state_json("mail01")["stage"] == "done"
    finally:
        if service.process.poll() is None:
            service.kill_all()
        lab.stop()
