"""The UI, built once, and what runs its tools and browser tests."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
WEB = TOP / "web"
CHROMIUM = os.environ.get("V2C_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
sys.path.insert(0, str(TOP / "tests" / "flow"))


def node_version():
    try:
        text = subprocess.run(["node", "--version"], capture_output=True, text=True, timeout=30).stdout
    except OSError:
        return (0, 0)
    found = re.match(r"v(\d+)\.(\d+)", text)
    return tuple(map(int, found.groups())) if found else (0, 0)


def environment():
    return {**os.environ, "V2C_CHROMIUM": CHROMIUM or ""}


def npm(*words, seconds):
    done = subprocess.run(["npm", *words], cwd=WEB, capture_output=True, text=True, timeout=seconds,
                          stdin=subprocess.DEVNULL, env=environment())
    assert done.returncode == 0, f"npm {words}:\n{done.stdout[-5000:]}\n{done.stderr[-5000:]}"


@pytest.fixture(scope="session")
def built():
    if node_version() < (20, 19):
        pytest.skip("the web UI is built with Node 20.19 or newer")
    npm("ci", "--no-audit", "--no-fund", seconds=300)
    npm("run", "build", seconds=300)
    return WEB / "dist"
