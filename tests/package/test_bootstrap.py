"""scripts/bootstrap.sh and scripts/uninstall.sh in a clean Debian, from the source tree: what they install, what
they leave alone, and what they refuse.

systemd does not run there.  Where it matters what would be asked of it, made-up programs in /fake, which
stands first in PATH, write that down; the same way stands in for Enterprise Linux, which cannot be had here."""

import hashlib
import os
import pty
import shutil
import subprocess
import time

import pytest

from clean import TOP, attempt, attempt_inside, command_inside, inside, make_root, mode_of, put, run

CONFIG = "etc/v2c-engine/config.yaml"
PROGRAM = "usr/local/bin/v2c-engine"
UNIT = "usr/local/lib/systemd/system/v2c-engine.service"
OPTIONS = ("--install-service", "--with-ui", "--no-conversion")
AGAIN = (*OPTIONS, "--skip-build")
ROCKY = 'ID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.4"\n'


def bootstrap(root, *options, **more):
    return attempt_inside(root, "/src/scripts/bootstrap.sh", *options, **more)


def done_well(done):
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def files(root, *folders):
    return {str(path.relative_to(root)) for folder in folders for path in (root / folder).rglob("*")}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """With the packages, and what else makes a bootstrap quick: the tests are about the rest."""
    copy = make_root(tmp_path_factory.mktemp("bootstrap") / "debian")
    (copy / "src").mkdir()
    run("sh", "-c", f"tar -c --exclude='./build*' --exclude=./.git --exclude=__pycache__ --exclude=./web/node_modules"
        f" --exclude=./web/dist -C '{TOP}' . |"
        f" tar -x --no-same-owner -C '{copy}/src'")
    library = copy / "tmp/vmware-vix-disklib-distrib/lib64/libvixDiskLib.so.8"
    put(library, "not a library")
    run("tar", "-cf", copy / "tmp/vddk.tar", "-C", copy / "tmp", "vmware-vix-disklib-distrib")
    inside(copy, "/src/scripts/install-packages.sh", "run", "build", "web")
    yield copy
    shutil.rmtree(copy, ignore_errors=True)


@pytest.fixture(scope="module")
def before(root):
    return files(root, "etc", "usr/local", "var/lib/vm-migrator", "opt", "usr/share/virtio-win")


@pytest.fixture(scope="module")
def installed(root, before):
    archive = (root / "tmp/vddk.tar").read_bytes()
    done_well(bootstrap(root, *OPTIONS, "--vddk-tar", "/tmp/vddk.tar", "--listen", "127.0.0.1:8000", "--vddk-sha256",
                        hashlib.sha256(archive).hexdigest()))
    return root


@pytest.fixture
def systemctl(installed):
    """systemd seems to run, and so does each service that is asked for; returns what was asked of it."""
    log = installed / "tmp/systemctl.log"
    log.write_text("")
    put(installed / "fake/systemctl", "#!/bin/sh\necho \"$@\" >>/tmp/systemctl.log\n", 0o755)
    (installed / "run/systemd/system").mkdir(parents=True)
    yield lambda: log.read_text().splitlines()
    shutil.rmtree(installed / "run/systemd")
    shutil.rmtree(installed / "fake")


@pytest.fixture
def el(installed):
    """Seems to be Rocky Linux 9 without any package; returns what dnf was asked for."""
    release, log = installed / "etc/os-release", installed / "tmp/dnf.log"
    kept = os.readlink(release)
    release.unlink()
    release.write_text(ROCKY)
    log.write_text("")
    put(installed / "fake/rpm", "#!/bin/sh\nexit 1\n", 0o755)
    put(installed / "fake/dnf", '#!/bin/sh\necho "$@" >>/tmp/dnf.log\n', 0o755)
    (installed / "usr/lib64/guestfs/supermin.d").mkdir(parents=True)
    yield log.read_text
    release.unlink()
    release.symlink_to(kept)
    shutil.rmtree(installed / "fake")
    shutil.rmtree(installed / "usr/lib64/guestfs")


# ---- what is refused, before anything is touched ---------------------------------------------------------


@pytest.mark.parametrize("options, why", [
    (["--start-services"], "--start-services needs --install-service"),
    (["--ui-listen", ":1"], "need --install-service"),
    (["--vddk-dir", "/usr"], "it is not VDDK"),
    (["--vddk-tar", "/tmp/vddk.tar", "--vddk-sha256", "0" * 64], "another checksum"),
    (["--bin-path", "bin/v2c"], "absolute path"),
    (["--config"], "--config needs a value"),
    (["--install-services"], "unknown argument"),
])
def test_wrong_arguments_are_refused_and_nothing_is_done(root, before, options, why):
    done = bootstrap(root, *options)
    assert done.returncode == 1
    assert why in done.stderr
    assert files(root, "etc", "usr/local", "var/lib/vm-migrator", "opt", "usr/share/virtio-win") == before


# ---- what is installed -------------------------------------------------------------------------------------


def test_it_builds_and_installs_a_program_that_runs(installed):
    assert "v2c-engine 0.1.0" in inside(installed, "v2c-engine", "version")
    assert os.access(installed / "usr/local/libexec/v2c-engine/v2c-vddk", os.X_OK)
    assert (installed / "usr/local/share/man/man1/v2c-engine.1").exists()


def test_it_builds_the_web_interface_with_a_node_that_debian_has_not(installed):
    assert not (installed / "usr/bin/node").exists()
    assert (installed / "usr/local/share/v2c-engine/ui/index.html").exists()


def test_the_configuration_is_private_and_names_the_vddk_that_was_unpacked(installed):
    vddk = "opt/vmware-vddk/vmware-vix-disklib-distrib"
    assert (installed / vddk / "lib64/libvixDiskLib.so.8").exists()
    for path in (CONFIG, "src/config.yaml"):
        assert mode_of(installed / path) == 0o600
        assert f"vddk_path: /{vddk} " in (installed / path).read_text()
    assert mode_of(installed / "etc/v2c-engine") == 0o750
    assert mode_of(installed / "etc/default/v2c-engine") == 0o600
    assert mode_of(installed / "var/lib/vm-migrator") == 0o750
    assert "configuration" in attempt_inside(installed, "v2c-engine", "doctor", "--config", f"/{CONFIG}").stdout


def test_the_units_are_those_of_the_tree_with_the_path_of_the_program(installed):
    for name in ("v2c-engine", "v2c-ui"):
        unit = (installed / f"usr/local/lib/systemd/system/{name}.service").read_text()
        tree = (TOP / f"packaging/systemd/{name}.service").read_text()
        assert unit == tree.replace("ExecStart=/usr/bin/", "ExecStart=/usr/local/bin/")
        assert "ExecStart=/usr/local/bin/" in unit
    drop_in = (installed / UNIT).with_name("v2c-engine.service.d") / "10-bootstrap.conf"
    assert "Environment=V2C_LISTEN=127.0.0.1:8000\n" in drop_in.read_text()


def test_there_is_one_administrator_whose_password_is_shown_once(installed):
    people = inside(installed, "v2c-engine", "user", "list", "--config", f"/{CONFIG}")
    assert people.split() == ["admin", "admin"]
    assert "password" not in done_well(bootstrap(installed, *AGAIN))


def test_it_says_that_systemd_does_not_run(installed):
    assert "nothing was started" in done_well(bootstrap(installed, *AGAIN))


def test_the_virtio_drivers_are_not_downloaded_but_asked_for(installed):
    fakes = {"apt-get": "exit 1", "curl": "touch /tmp/downloaded", "wget": "touch /tmp/downloaded"}
    for name, text in fakes.items():
        put(installed / "fake" / name, f"#!/bin/sh\n{text}\n", 0o755)
    run_convert = installed / "src/scripts/packages/run-convert.txt"
    packages = run_convert.read_text()
    run_convert.write_text("")
    try:
        assert "virtio-win drivers" in done_well(bootstrap(installed, "--skip-build"))
        assert not (installed / "tmp/downloaded").exists()
        put(installed / "usr/share/virtio-win/virtio-win-0.1.240.iso", "an ISO")
        assert "virtio-win drivers" not in done_well(bootstrap(installed, "--skip-build"))
        assert (installed / "usr/share/virtio-win/virtio-win.iso").read_text() == "an ISO"
    finally:
        run_convert.write_text(packages)
        shutil.rmtree(installed / "usr/share/virtio-win", ignore_errors=True)
        shutil.rmtree(installed / "fake")


# ---- a second run ------------------------------------------------------------------------------------------


def test_a_second_run_keeps_what_was_edited_byte_by_byte(installed):
    edited = {CONFIG: "vcenter: {host: vc1}\n# mine\n", "etc/default/v2c-engine": "VC_PASSWORD=x",
              "etc/v2c-ui/.env.local": "VITE_API_BASE=https://a\n\n"}
    former = {path: (installed / path).read_text() for path in edited}
    for path, text in edited.items():
        (installed / path).write_text(text)
    (installed / "etc/default/v2c-engine").chmod(0o644)
    said = done_well(bootstrap(installed, *AGAIN, "--listen", ":9000"))
    assert {path: (installed / path).read_text() for path in edited} == edited
    assert f"/{CONFIG} differs" in said
    # The existing tool made it readable for all.
    assert mode_of(installed / "etc/default/v2c-engine") == 0o600
    for path, text in former.items():
        (installed / path).write_text(text)


def test_a_second_run_leaves_services_alone(installed, systemctl):
    done_well(bootstrap(installed, *AGAIN))
    assert systemctl() == ["daemon-reload"]


def test_a_service_that_runs_is_not_restarted_by_asking_to_start_it(installed, systemctl):
    config = installed / CONFIG
    example = config.read_text()
    config.write_text("vcenter: {host: vc1}\n")
    said = done_well(bootstrap(installed, *AGAIN, "--start-services"))
    assert systemctl() == ["daemon-reload", "enable v2c-engine.service", "-q is-active v2c-engine.service",
                           "enable v2c-ui.service", "-q is-active v2c-ui.service"]
    assert "v2c-engine.service runs and was left alone" in said
    config.write_text(example)


def test_the_example_is_not_started(installed, systemctl):
    done = bootstrap(installed, *AGAIN, "--start-services")
    assert done.returncode == 1
    assert "still has the example's servers" in done.stderr
    assert systemctl() == ["daemon-reload"]


def test_files_that_a_new_version_lacks_are_removed_and_no_others(installed):
    manifest = installed / "usr/local/share/v2c-engine/installed"
    for path in ("usr/local/share/v2c-engine/old", "etc/keep-me"):
        put(installed / path, "")
        manifest.write_text("".join(sorted([*manifest.open(), f"/{path}\n"])))
    done_well(bootstrap(installed, *AGAIN))
    assert not (installed / "usr/local/share/v2c-engine/old").exists()
    assert (installed / "etc/keep-me").exists()
    (installed / "etc/keep-me").unlink()


def test_what_the_existing_tool_left_does_not_get_in_the_way(installed):
    profile, unit = installed / "etc/profile.d/v2c-engine.sh", installed / "etc/systemd/system/v2c-engine.service"
    put(profile, "export LD_LIBRARY_PATH=/opt/vmware-vddk/lib64\n")
    put(unit, "[Service]\nEnvironment=LD_LIBRARY_PATH=/opt/vmware-vddk/lib64\n")
    done_well(bootstrap(installed, *AGAIN))
    assert not profile.exists() and not unit.exists()
    unit.with_name("v2c-engine.service.before-bootstrap").unlink()


def test_a_program_that_is_not_ours_is_kept_and_refused_while_it_runs(installed):
    other = installed / "opt/other/bin/v2c-engine"
    put(other, "")
    shutil.copy(installed / "bin/sleep", other)
    other.chmod(0o755)
    options = ("--skip-build", "--no-conversion", "--bin-path", "/opt/other/bin/v2c-engine")
    with subprocess.Popen([str(other), "60"]) as running:
        try:
            done = bootstrap(installed, *options)
        finally:
            running.kill()
    assert done.returncode == 1
    assert f"process {running.pid}" in done.stderr
    done_well(bootstrap(installed, *options))
    assert "0.1.0" in inside(installed, "/opt/other/bin/v2c-engine", "version")
    assert (other.with_name("v2c-engine.before-bootstrap")).read_bytes() == (installed / "bin/sleep").read_bytes()
    done_well(attempt_inside(installed, "/src/scripts/uninstall.sh", "--yes"))
    assert not other.exists()
    shutil.rmtree(installed / "opt/other")
    done_well(bootstrap(installed, *AGAIN))


def test_the_service_can_have_a_user_of_its_own(installed):
    done_well(bootstrap(installed, *AGAIN, "--userspace-nfs"))
    drop_in = (installed / UNIT).with_name("v2c-engine.service.d") / "userspace-nfs.conf"
    assert "User=v2c\n" in drop_in.read_text()
    owners = inside(installed, "stat", "-c", "%U:%G %a", f"/{CONFIG}", "/etc/v2c-engine")
    assert owners == "v2c:v2c 600\nroot:v2c 750\n"


# ---- Enterprise Linux, as far as made-up programs tell -------------------------------------------------------


def test_on_enterprise_linux_dnf_is_asked_for_what_runs_and_converts(installed, el):
    done_well(bootstrap(installed, "--skip-build"))
    words = el().split()
    for package in ("nfs-utils", "virt-v2v", "libguestfs-winsupport", "ntfs-3g"):
        assert package in words
    assert "meson" not in words and "nfs-common" not in words
    appliance = installed / "usr/lib64/guestfs/supermin.d/zz-packages-v2c"
    assert appliance.read_text() == "fuse-libs\nntfs-3g\nntfs-3g-libs\n"


def test_on_enterprise_linux_building_needs_the_devel_packages(installed, el):
    put(installed / "fake/meson", "#!/bin/sh\nexit 1\n", 0o755)
    assert bootstrap(installed, "--no-conversion").returncode == 1
    words = el().split()
    assert "libcurl-devel" in words and "xxhash-devel" in words and "virt-v2v" not in words


def test_a_dnf_that_fails_ends_it_with_the_cure(installed, el):
    put(installed / "fake/dnf", "#!/bin/sh\nexit 1\n", 0o755)
    done = bootstrap(installed, "--skip-build")
    assert done.returncode == 1
    assert "are CRB and EPEL enabled?" in done.stderr


def test_an_unknown_distribution_is_refused(installed, el):
    (installed / "etc/os-release").write_text("ID=arch\n")
    done = bootstrap(installed)
    assert done.returncode == 1
    assert "this system is arch" in done.stderr


# ---- and away with it: these come last, and in this order ----------------------------------------------------


def uninstall(root, *options):
    return attempt_inside(root, "/src/scripts/uninstall.sh", *options)


def uninstall_on_terminal(root, *answers, options=()):
    """Types the answers, each when it is asked for."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(command_inside(root, "/src/scripts/uninstall.sh", *options), stdin=theirs, stdout=theirs,
                          stderr=theirs, start_new_session=True) as process:
        os.close(theirs)
        text, asked, end = "", 0, time.monotonic() + 60
        while time.monotonic() < end:
            try:
                text += os.read(ours, 4096).decode()
            except OSError:  # closed by its end
                break
            if asked < len(answers) and text.count("? (") > asked:
                os.write(ours, f"{answers[asked]}\n".encode())
                asked += 1
        os.close(ours)
        return process.wait(timeout=60), text


def test_uninstalling_needs_a_yes(installed):
    done = uninstall(installed)
    assert done.returncode == 1
    assert "nothing was removed" in done.stderr
    status, text = uninstall_on_terminal(installed, "y")
    assert status == 1 and "nothing was removed" in text
    assert (installed / PROGRAM).exists() and (installed / CONFIG).exists()


def test_state_is_purged_only_when_that_is_confirmed_by_itself(installed):
    status, text = uninstall_on_terminal(installed, "yes", "yes", options=["--purge-state"])
    assert status == 1 and "nothing was removed" in text
    assert (installed / "var/lib/vm-migrator").exists() and (installed / PROGRAM).exists()


def test_uninstalling_is_refused_while_a_migration_runs(installed):
    program = installed / PROGRAM
    kept = program.read_bytes()
    program.unlink()
    shutil.copy(installed / "bin/sleep", program)
    with subprocess.Popen([str(program), "60"]) as running:
        try:
            done = uninstall(installed, "--yes")
        finally:
            running.kill()
    assert done.returncode == 1
    assert f"process {running.pid}" in done.stderr
    program.unlink()
    program.write_bytes(kept)
    program.chmod(0o755)


def test_the_packages_are_named(installed):
    names = uninstall(installed, "--list-packages").stdout.split()
    assert {"nfs-common", "virt-v2v", "libnbd-dev"} <= set(names)
    assert "libcurl-devel" not in names


def test_uninstalling_leaves_nothing_but_what_it_says(installed, before, systemctl):
    put(installed / "etc/v2c-engine/vcenter-password", "secret", 0o600)
    put(installed / "var/lib/vm-migrator/web01_vm-1/state.json", '{"stage": "delta"}')
    put(installed / "var/lib/vm-migrator/web02_vm-2/state.json", '{"stage": "done"}')
    said = done_well(uninstall(installed, "--yes"))
    assert "disable --now v2c-engine.service" in systemctl() and "disable --now v2c-ui.service" in systemctl()
    assert "    web01_vm-1" in said and "web02_vm-2" not in said
    assert "/var/lib/vm-migrator stays" in said and "left in /etc/v2c-engine: vcenter-password" in said
    left = files(installed, "etc", "usr/local") - before
    # Made by the distribution's own programs for users; and directories that others use too.
    expected = {"etc/v2c-engine", "etc/v2c-engine/vcenter-password"}
    assert {path for path in left if (installed / path).is_file()} - expected <= {
        "etc/passwd-", "etc/group-", "etc/shadow-", "etc/gshadow-", "etc/.pwd.lock", "etc/subuid-", "etc/subgid-"}
    assert {path for path in left if "v2c" in path} == expected
    assert (installed / "var/lib/vm-migrator/web01_vm-1/state.json").exists()


def test_purging_removes_state_and_user(installed):
    done_well(bootstrap(installed, *AGAIN, "--userspace-nfs"))
    status, text = uninstall_on_terminal(installed, "yes", "purge", options=["--purge-state"])
    assert status == 0, text
    assert "nobody will know of them" in text
    assert not (installed / "var/lib/vm-migrator").exists()
    assert "v2c" not in (installed / "etc/passwd").read_text()
    assert "nothing of v2c-engine is installed" in done_well(uninstall(installed, "--yes"))
