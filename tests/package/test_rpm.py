"""The RPM, built by Debian's rpmbuild: there is no Enterprise Linux here to install it on."""

import re

import pytest

from clean import TOP, run

SPEC = TOP / "packaging/rpm/v2c-engine.spec"
# What EL's own macros would say.
MACROS = {"_libexecdir": "/usr/libexec", "_unitdir": "/usr/lib/systemd/system",
          "systemd_post()": "post %*", "systemd_preun()": "preun %*", "systemd_postun()": "postun %*"}


def defines(**more):
    return [word for name, value in {**MACROS, **more}.items() for word in ("--define", f"{name} {value}")]


def version():
    return re.search(r"version: '([^']+)'", (TOP / "meson.build").read_text()).group(1)


@pytest.fixture(scope="module")
def rpm(tmp_path_factory):
    top = tmp_path_factory.mktemp("rpm")
    (top / "SOURCES").mkdir()
    name = f"v2c-engine-{version()}"
    # What is in the tree, committed or not, and nothing that was built.
    run("tar", "-czf", top / "SOURCES" / f"{name}.tar.gz", "--exclude=./build*", "--exclude=./.git",
        "--exclude=__pycache__", f"--transform=s,^\\.,{name},", "-C", TOP, ".")
    # Without optimization: what is compiled is tested elsewhere.
    run("rpmbuild", "-bb", "--nodeps", *defines(_topdir=top, optflags="-O0 -g0", debug_package="%{nil}"), SPEC)
    return next((top / "RPMS").rglob("*.rpm"))


@pytest.fixture(scope="module")
def listed(rpm):
    """Path -> (mode, owner:group, is configuration)."""
    lines = run("rpm", "-qp", "--nosignature", "--qf",
                "[%{FILENAMES} %{FILEMODES:octal} %{FILEUSERNAME}:%{FILEGROUPNAME} %{FILEFLAGS:fflags}.\n]", rpm)
    return {path: (int(mode, 8) & 0o7777, owner, "c" in flags)
            for path, mode, owner, flags in (line.split() for line in lines.splitlines())}


def test_the_version_is_that_of_the_tree():
    assert re.search(r"^Version: +(.*)$", SPEC.read_text(), re.MULTILINE).group(1) == version()


def test_program_units_and_manual_are_in_it(listed):
    for path in ("/usr/bin/v2c-engine", "/usr/libexec/v2c-engine/v2c-vddk", "/usr/lib/systemd/system/v2c-engine.service",
                 "/usr/lib/systemd/system/v2c-ui.service", "/usr/lib/sysusers.d/v2c-engine.conf",
                 "/usr/share/v2c-engine/userspace-nfs.conf", "/usr/share/bash-completion/completions/v2c-engine.bash"):
        assert path in listed, path
    assert any(path.startswith("/usr/share/man/man1/v2c-engine.1") for path in listed)
    assert any(path.endswith("examples/config.yaml") for path in listed)


def test_what_is_private_is_private_and_what_is_edited_is_kept(listed):
    assert listed["/etc/v2c-engine"][:2] == (0o750, "root:v2c")
    assert listed["/var/lib/vm-migrator"][:2] == (0o750, "root:root")
    assert listed["/etc/default/v2c-engine"] == (0o600, "root:root", True)
    assert listed["/etc/v2c-ui/.env.local"][2]


def test_nothing_of_the_lab_is_in_it(listed):
    assert [path for path in listed if "v2c-lab" in path or "fakevddk" in path] == []


def test_an_upgrade_restarts_nothing(rpm):
    scripts = run("rpm", "-qp", "--nosignature", "--scripts", rpm)
    asked = [line.split("#")[0].strip() for line in scripts.splitlines()]
    assert "post v2c-engine.service v2c-ui.service" in asked
    assert [line for line in asked if re.search(r"\b(re)?start\b", line) and not line.startswith("echo")] == []
