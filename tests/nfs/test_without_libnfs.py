"""A build without libnfs, which is optional: it compiles, and refuses what it cannot do."""

import shutil
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent.parent
POOL = ["11111111-1111-1111-1111-111111111111", "127.0.0.1", "/export"]


@pytest.fixture
def build(tmp_path):
    for program in ("meson", "ninja"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    for command in (["meson", "setup", tmp_path / "b", TOP, "-Dtests=true", "-Dwerror=true", "-Dnfs=disabled"],
                    ["ninja", "-C", tmp_path / "b", "tests/nfs/nfs-resolve"]):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
        assert done.returncode == 0, done.stdout[-3000:]
    return tmp_path / "b"


def test_userspace_nfs_is_refused_with_what_to_do(build):
    program = build / "tests/nfs/nfs-resolve"
    assert "libnfs" not in subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    done = subprocess.run([program, *POOL, "userspace"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "this program was built without libnfs" in done.stdout
    assert "set storage.nfs to mount, or build v2c-engine with libnfs" in done.stdout
