"""The Debian package, in a clean Debian: it installs, works, keeps what is edited, and goes again."""

import shutil
import subprocess
from pathlib import Path

import pytest

from clean import TOP, attempt_inside, inside, make_root, mode_of, run


@pytest.fixture(scope="module")
def deb(tmp_path_factory):
    out = tmp_path_factory.mktemp("deb")
    return Path(run(TOP / "scripts" / "build-deb.sh", out).split()[-1])


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    copy = make_root(tmp_path_factory.mktemp("root") / "debian")
    yield copy
    shutil.rmtree(copy, ignore_errors=True)


@pytest.fixture(scope="module")
def installed(root, deb):
    shutil.copy(deb, root / "tmp" / "v2c-engine.deb")
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
        assert mode_of(installed / path) == 0o750, path
    assert mode_of(installed / "etc/default/v2c-engine") == 0o600


def test_its_own_user_may_read_the_configuration_and_nobody_else(installed):
    user = inside(installed, "id", "v2c")
    assert "groups=" in user
    assert inside(installed, "stat", "-c", "%U:%G", "/etc/v2c-engine").strip() == "root:v2c"


def test_units_are_there_and_neither_enabled_nor_started(installed):
    for name in ("v2c-engine", "v2c-ui"):
        assert (installed / f"lib/systemd/system/{name}.service").exists()
        done = attempt_inside(installed, "systemd-analyze", "--man=no", "verify", f"{name}.service")
        assert done.stdout + done.stderr == ""
    assert list((installed / "etc/systemd/system").rglob("v2c-*")) == []
    assert "v2c-engine" in (installed / "usr/share/v2c-engine/userspace-nfs.conf").read_text()


def test_an_upgrade_stops_starts_and_restarts_nothing(installed):
    """As systemd would see it: a made-up systemctl says what is asked of it, and that the service runs."""
    (installed / "run/systemd/system").mkdir(parents=True, exist_ok=True)
    real, log = installed / "usr/bin/systemctl", installed / "tmp/systemctl.log"
    real.rename(installed / "tmp/systemctl")
    (installed / "usr/sbin/policy-rc.d").unlink()
    try:
        real.write_text(f"#!/bin/sh\necho \"$@\" >>/tmp/{log.name}\n")
        real.chmod(0o755)
        again = subprocess.run(
            ["chroot", installed, "apt-get", "-q", "install", "-y", "--reinstall", "--no-install-recommends",
             "/tmp/v2c-engine.deb"], capture_output=True, text=True, timeout=300, check=True)
        asked = [line.split() for line in log.read_text().splitlines()]
        assert ["--system", "daemon-reload"] in asked
        assert [words for words in asked if not {"daemon-reload", "is-active", "is-enabled"} & set(words)] == []
        assert "systemctl restart v2c-engine" in again.stdout + again.stderr
        log.write_text("")
        inside(installed, "dpkg", "--remove", "v2c-engine")
        assert any("stop" in line and "v2c-engine.service" in line for line in log.read_text().splitlines())
        inside(installed, "dpkg", "-i", "/tmp/v2c-engine.deb")
    finally:
        (installed / "tmp/systemctl").rename(real)
        shutil.rmtree(installed / "run/systemd")


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
    defaults = installed / "etc/default/v2c-engine"
    config.write_text("vcenter: {}\n")
    state.write_text("state")
    defaults.write_text("V2C_LISTEN=127.0.0.1:8000\n")
    inside(installed, "apt-get", "-q", "install", "-y", "--reinstall", "--no-install-recommends",
           "/tmp/v2c-engine.deb")
    assert config.read_text() == "vcenter: {}\n"
    assert defaults.read_text() == "V2C_LISTEN=127.0.0.1:8000\n"
    inside(installed, "apt-get", "-q", "purge", "-y", "v2c-engine")
    assert not (installed / "usr/bin/v2c-engine").exists()
    assert config.exists() and state.exists()
