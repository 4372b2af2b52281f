"""A clean Debian to install into, and what runs in it."""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "v2c-package"
# /proc is mounted for the command alone and goes with it.
CHROOT = ('root=$1; shift; mount -t proc proc "$root/proc" && exec chroot "$root" env -i LC_ALL=C.UTF-8 HOME=/ '
          'DEBIAN_FRONTEND=noninteractive PATH=/fake:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"')


def attempt(*command, seconds=900, **more):
    return subprocess.run([str(word) for word in command], text=True, timeout=seconds, check=False,
                          **{"stdin": subprocess.DEVNULL, "capture_output": True, **more})


def run(*command, **more):
    done = attempt(*command, **more)
    assert done.returncode == 0, f"{command}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


def command_inside(root, *command):
    return ["unshare", "--mount", "sh", "-c", CHROOT, "chroot", str(root), *[str(word) for word in command]]


def attempt_inside(root, *command, **more):
    return attempt(*command_inside(root, *command), **more)


def inside(root, *command, **more):
    return run(*command_inside(root, *command), **more)


def make_root(copy):
    """A minimal Debian in @copy; the first is made with debootstrap and kept outside the tree."""
    if os.geteuid() != 0:
        pytest.skip("needs root: debootstrap and chroot")
    base = CACHE / "bookworm"
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (base / "complete").exists():
            shutil.rmtree(base, ignore_errors=True)
            run("debootstrap", "--variant=minbase", "bookworm", base)
            (base / "complete").touch()
    run("cp", "-a", base, copy)
    # The same package sources, proxies and certificates as here.
    for name in ("resolv.conf", "hosts"):
        shutil.copy(f"/etc/{name}", copy / "etc" / name)
    run("cp", "-a", "/etc/apt/.", copy / "etc" / "apt")
    shutil.copy("/etc/ssl/certs/ca-certificates.crt", copy / "host-ca.crt")
    put(copy / "etc/pip.conf", "[global]\ncert = /host-ca.crt\n")
    put(copy / ".npmrc", "cafile=/host-ca.crt\n")
    put(copy / "usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755)
    inside(copy, "apt-get", "-q", "update")
    return copy


def put(path, text, mode=0o644):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def mode_of(path):
    return path.stat().st_mode & 0o777
