"""A migration that is not to go on is taken away whole, with nothing else, and can begin anew."""

import subprocess
from pathlib import Path

import pytest

from harness import synthetic, until


def forget(engine, *arguments, check=True):
    return engine.command("forget", "--config", engine.write_config(), *arguments, check=check)


def targets(engine, name):
    return [Path(disk["target_qcow2"]) for disk in engine.state_json(name)["disks"].values()
            if disk.get("target_qcow2")]


def kill_in(lab, engine, spec, stage, call, skip):
    """A run that is killed in `stage`, with its snapshot and files left behind."""
    lab.fault(call, "delay", delay_ms=5000, skip=skip, count=1)
    run = engine.run(spec)
    engine.until_stage(spec, stage, run)
    if call.startswith("vsphere."):
        until(lambda: lab.count(call) > skip, f"{call} is made")
    until(lambda: lab.snapshots("web01"), "a snapshot is there")
    until(lambda: any(path.exists() for path in targets(engine, "web01")), "a target file is there")
    run.kill_all()
    lab.clear_faults()
    assert lab.snapshots("web01")


def migrate(engine, spec):
    run = engine.run(spec)
    engine.until_rounds("web01", 1, run)
    engine.finalize(spec)
    run.succeed()
    engine.assert_migrated("web01")


@pytest.mark.parametrize("is_reachable", [True, False])
def test_the_empty_vm_of_a_shell_import_goes_too(make, is_reachable):
    lab, engine = make(synthetic())
    spec = engine.spec("web01", import_method="shell", shutdown_mode="manual")
    run = engine.run(spec)
    engine.until_stage(spec, "delta", run)
    engine.finalize(spec, "--now")
    engine.until_stage(spec, "awaiting_shutdown_action", run)
    run.interrupt()
    run.fail()
    shell = lab.state()["cloudstack"]["vms"][0]
    if not is_reachable:
        engine.config["cloudstack"]["secret_key"] = "wrong"
    text = forget(engine, "--spec", spec, "--yes").stdout
    assert shell["id"] in text and ("stays in CloudStack" in text) != is_reachable
    assert len(lab.state()["cloudstack"]["vms"]) == (0 if is_reachable else 1)


@pytest.mark.parametrize("stage,call,skip", [("base_copy", "nfc.read", 8),
                                             ("delta", "vsphere.QueryChangedDiskAreas", 2)],
                         ids=["base_copy", "delta"])
def test_interrupted_migration_is_forgotten_and_begins_anew(make, stage, call, skip):
    lab, engine = make(synthetic(), synthetic("db01"))
    spec = engine.spec("web01")
    kill_in(lab, engine, spec, stage, call, skip)
    files = targets(engine, "web01")
    theirs = files[0].parent / "theirs.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", theirs, "1M"], check=True)

    # Without a terminal and --yes it only says what it would do.
    refused = forget(engine, "--spec", spec, check=False)
    assert refused.returncode == 1 and "--yes" in refused.stderr
    snapshot = lab.snapshots("web01")[0]["name"]
    for word in (snapshot, *(str(path) for path in files if path.exists())):
        assert word in refused.stdout
    assert lab.snapshots("web01") and any(path.exists() for path in files)
    assert engine.stage(spec) == stage

    done = forget(engine, "--spec", spec, "--yes")
    assert "forgotten" in done.stdout
    assert not lab.snapshots("web01")
    assert not any(path.exists() for path in files)
    assert theirs.exists()
    assert engine.stage(spec) == "not_started"
    kept = list(engine.control.glob("web01_*.forgotten-*"))
    assert len(kept) == 1 and (kept[0] / "migration.log").exists()

    again = forget(engine, "--spec", spec, "--yes", check=False)
    assert again.returncode == 1 and "none of these VMs has a migration" in again.stderr
    migrate(engine, spec)
    assert theirs.exists()


def test_running_migration_is_not_forgotten(make):
    lab, engine = make(synthetic())
    spec = engine.spec("web01")
    run = engine.run(spec)
    engine.until_stage(spec, "delta", run)
    refused = forget(engine, "--vm-id", lab.moref("web01"), "--yes", check=False)
    assert refused.returncode == 1 and "another run" in refused.stderr, refused.stderr
    assert all(path.exists() for path in targets(engine, "web01"))
    engine.finalize(spec, "--now")
    run.succeed()
    engine.assert_migrated("web01")


def test_file_that_is_not_this_migrations_is_left(make):
    lab, engine = make(synthetic())
    spec = engine.spec("web01")
    kill_in(lab, engine, spec, "delta", "vsphere.QueryChangedDiskAreas", 2)
    first, second = targets(engine, "web01")
    first.unlink()
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", first, "1M"], check=True)
    content = first.read_bytes()
    done = forget(engine, "--vm", "web01", "--yes")
    assert f"leaves file {first}" in done.stdout
    assert first.read_bytes() == content
    assert not second.exists()


def test_keep_files_keeps_them(make):
    lab, engine = make(synthetic())
    spec = engine.spec("web01")
    kill_in(lab, engine, spec, "delta", "vsphere.QueryChangedDiskAreas", 2)
    files = targets(engine, "web01")
    forget(engine, "--vm", "web01", "--yes", "--keep-files")
    assert all(path.exists() for path in files)
    assert not lab.snapshots("web01")


def test_snapshot_that_cannot_be_reached_keeps_the_record(make):
    lab, engine = make(synthetic())
    spec = engine.spec("web01")
    kill_in(lab, engine, spec, "base_copy", "nfc.read", 8)
    files = targets(engine, "web01")
    right = engine.config["vcenter"]["password"]
    engine.config["vcenter"]["password"] = "wrong"
    refused = forget(engine, "--vm", "web01", "--yes", check=False)
    assert refused.returncode == 1 and "--leave-snapshots" in refused.stderr
    assert any(path.exists() for path in files) and engine.stage(spec) == "base_copy"
    done = forget(engine, "--vm", "web01", "--yes", "--leave-snapshots")
    assert "stay there" in done.stdout
    assert lab.snapshots("web01") and not any(path.exists() for path in files)
    engine.config["vcenter"]["password"] = right
    assert engine.stage(spec) == "not_started"


def test_pool_that_is_not_there_keeps_everything_and_the_command_can_be_repeated(make):
    lab, engine = make(synthetic())
    spec = engine.spec("web01")
    kill_in(lab, engine, spec, "delta", "vsphere.QueryChangedDiskAreas", 2)
    pool = targets(engine, "web01")[0].parent
    away = pool.with_name(pool.name + ".unmounted")
    pool.rename(away)
    refused = forget(engine, "--vm", "web01", "--yes", check=False)
    assert refused.returncode == 1 and "mount the pool" in refused.stderr
    assert lab.snapshots("web01") and engine.stage(spec) == "delta"
    away.rename(pool)
    forget(engine, "--vm", "web01", "--yes")
    assert not lab.snapshots("web01") and not list(pool.glob("web01_*"))


def test_begun_import_is_not_forgotten_and_a_finished_one_keeps_its_files(make):
    lab, engine = make(synthetic())
    spec = engine.spec("web01")
    run = engine.run(spec)
    engine.until_rounds("web01", 1, run)
    lab.fault("cloudstack.importVm", "delay", delay_ms=3000, count=1)
    engine.finalize(spec, "--now")
    until(lambda: lab.count("cloudstack.importVm") > 0, "importVm is called")
    run.kill_all()
    lab.clear_faults()
    refused = forget(engine, "--vm", "web01", "--yes", check=False)
    assert refused.returncode == 1 and "import was begun" in refused.stderr
    files = targets(engine, "web01")
    assert all(path.exists() for path in files)
    until(lambda: lab.state()["cloudstack"]["vms"], "the call that was on its way has arrived")
    engine.run(spec).succeed()
    engine.assert_migrated("web01")
    before = [path.stat() for path in files]
    logins = lab.count("vsphere.Login")
    forget(engine, "--vm", "web01", "--yes")
    assert [(s.st_ino, s.st_mtime_ns) for s in before] == \
        [(path.stat().st_ino, path.stat().st_mtime_ns) for path in files]
    assert lab.count("vsphere.Login") == logins
    assert engine.stage(spec) == "not_started"


def test_finalize_of_a_name_that_two_migrations_have_is_refused(make):
    lab, engine = make(synthetic("twin", datacenter="East"), synthetic("twin", datacenter="West"))
    first, second = (vm["moref"] for vm in lab.info["vms"])
    spec = engine.spec(first, second)
    run = engine.run(spec)
    until(lambda: all(s["current_stage"] == "delta" for s in engine.status(spec)), "both in delta", 120)
    for command in ("finalize", "forget"):
        refused = engine.command(command, "--config", engine.write_config(), "--vm", "twin", check=False)
        assert refused.returncode == 1
        assert first in refused.stderr and second in refused.stderr and "--vm-id" in refused.stderr
    assert not any(s["finalize_requested"] for s in engine.status(spec))
    engine.command("finalize", "--config", engine.write_config(), "--vm", "twin", "--vm-id", second,
                   "--now")
    until(lambda: [s["current_stage"] for s in engine.status(spec) if s["vm_moref"] == second] == ["done"],
          "the one that was named is done", 120)
    assert [vm["power"] for vm in lab.state()["vms"]] == ["on", "off"]
    run.interrupt()
    run.wait()
