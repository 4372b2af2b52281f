"""The Debian package, in a clean Debian: it installs, works, keeps what is edited, and goes again."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "v2c-package"


def run(*command, seconds=900, **more):
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds,
                          stdin=subprocess.DEVNULL, **more)
    assert done.returncode == 0, f"{command}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def deb(tmp_path_factory):
    out = tmp_path_factory.mktemp("deb")
    return Path(run(TOP / "scripts" / "build-deb.sh", out).split()[-1])


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A minimal Debian of its own, made once and kept outside the tree; tests change a copy."""
    if os.geteuid() != 0:
        pytest.skip("needs root: debootstrap and chroot")
    base = CACHE / "bookworm"
    if not (base / "complete").exists():
        shutil.rmtree(base, ignore_errors=True)
        CACHE.mkdir(parents=True, exist_ok=True)
        run("debootstrap", "--variant=minbase", "bookworm", base)
        (base / "complete").touch()
    copy = tmp_path_factory.mktemp("root") / "debian"
    run("cp", "-a", base, copy)
    # The same package sources and proxies as here.
    for name in ("resolv.conf", "hosts"):
        shutil.copy(f"/etc/{name}", copy / "etc" / name)
    run("cp", "-a", "/etc/apt/.", copy / "etc" / "apt")
    (copy / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
    (copy / "usr/sbin/policy-rc.d").chmod(0o755)
    yield copy
    shutil.rmtree(copy, ignore_errors=True)


def inside(root, *command, **more):
    return run("chroot", root, "env", "DEBIAN_FRONTEND=noninteractive", "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
               *command, **more)


@pytest.fixture(scope="module")
def installed(root, deb):
    shutil.copy(deb, root / "tmp" / "v2c-engine.deb")
    inside(root, "apt-get", "-q", "update")
    inside(root, "apt-get", "-q", "install", "-y", "--no-install-recommends", "/tmp/v2c-engine.deb")
    return root


def test_the_installed_program_runs(installed):
    assert "0.1.0" in inside(installed, "v2c-engine", "version")
    assert "rollback" in inside(installed, "v2c-engine", "help")
    assert (installed / "usr/libexec/v2c-engine/v2c-vddk").exists()


def test_manual_completion_examples_and_docs_are_there(installed):
    for path in ("usr/share/man/man1/v2c-engine.1.gz", "usr/share/bash-completion/completions/v2c-engine.bash",
                 "usr/share/doc/v2c-engine/examples/config.yaml"):
        assert (installed / path).exists(), path
    assert list((installed / "usr/share/doc/v2c-engine").glob("undo.md*"))


def test_credentials_and_state_have_private_places(installed):
    for path in ("etc/v2c-engine", "var/lib/vm-migrator"):
        assert (installed / path).stat().st_mode & 0o777 == 0o750, path


def test_nothing_of_the_lab_is_in_it(installed):
    names = inside(installed, "dpkg", "-L", "v2c-engine")
    assert "v2c-lab" not in names and "fakevddk" not in names


def test_doctor_says_what_is_missing_on_a_bare_system(installed):
    done = subprocess.run(["chroot", installed, "v2c-engine", "doctor"], capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 1
    assert "migration.vddk_path is not set" in done.stdout and "libraries" in done.stdout


def test_removing_and_purging_leave_what_people_made(installed):
    config, state = installed / "etc/v2c-engine/config.yaml", installed / "var/lib/vm-migrator/v2c.db"
    config.write_text("vcenter: {}\n")
    state.write_text("state")
    inside(installed, "apt-get", "-q", "install", "-y", "--reinstall", "--no-install-recommends",
           "/tmp/v2c-engine.deb")
    assert config.read_text() == "vcenter: {}\n"
    inside(installed, "apt-get", "-q", "purge", "-y", "v2c-engine")
    assert not (installed / "usr/bin/v2c-engine").exists()
    assert config.exists() and state.exists()
