"""Ways back: before the import (cancel, on_failure) and after it (rollback)."""

import subprocess
from pathlib import Path

import pytest

from harness import synthetic, until


def command(engine, name, spec, *arguments, check=True):
    return engine.command(name, "--config", engine.write_config(), "--spec", spec, "--yes", *arguments,
                          check=check)


def targets(engine, name="web01"):
    return [Path(disk["target_qcow2"]) for disk in engine.state_json(name)["disks"].values()]


def migrate(engine, spec, name="web01"):
    run = engine.run(spec)
    engine.until_rounds(name, 1, run)
    engine.finalize(spec, "--now")
    run.succeed()


def fail_in_cutover(lab, engine, spec):
    """A run that fails after the source went down and before anything was imported."""
    run = engine.run(spec)
    engine.until_rounds("web01", 1, run)
    lab.fault("cloudstack.importVm", "fail", detail="Suitable deployment destination not found")
    return run


# ---- cancel ------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["base_copy", "delta"])
def test_a_running_migration_is_cancelled_and_leaves_nothing(make, stage):
    disks = [{"address": "scsi0:0", "size": "16MiB", "fill": 100, "seed": 1}]
    lab, engine = make(synthetic(disks=disks))
    spec = engine.spec("web01", bandwidth_limit="64KiB/s" if stage == "base_copy" else "none")
    run = engine.run(spec)
    engine.until_stage(spec, stage, run)
    if stage == "base_copy":
        until(lambda: all(path.exists() for path in targets(engine)), "the target file")
    files = targets(engine)
    text = command(engine, "cancel", spec).stdout
    assert "asked its run to stop" in text and "removes file" in text
    assert "cancelled in stage" in run.fail()
    assert not run.children() and lab.snapshots("web01") == []
    assert not any(path.exists() for path in files)
    assert lab.vm("web01")["power"] == "on" and engine.status(spec)[0]["current_stage"] == "not_started"
    migrate(engine, engine.spec("web01"))
    engine.assert_migrated("web01")


def test_cancel_asks_first_and_a_no_leaves_it_to_go_on(make):
    lab, engine = make(synthetic())
    spec = engine.spec("web01")
    run = engine.run(spec)
    engine.until_rounds("web01", 1, run)
    done = engine.command("cancel", "--config", engine.write_config(), "--spec", spec, check=False)
    assert done.returncode == 1 and "no terminal to ask on" in done.stderr
    run.fail()
    migrate(engine, spec)
    engine.assert_migrated("web01")


def test_cancel_keeps_files_and_turns_tracking_off_when_told(make):
    lab, engine = make(synthetic())
    spec = engine.spec("web01")
    run = engine.run(spec)
    engine.until_rounds("web01", 1, run)
    assert lab.vm("web01")["cbt"] is True
    files = targets(engine)
    command(engine, "cancel", spec, "--keep-files", "--restore-cbt")
    run.fail()
    assert all(path.exists() for path in files)
    assert lab.vm("web01")["cbt"] is False


def test_cancel_after_the_shutdown_powers_the_source_on_when_told(make):
    lab, engine = make(synthetic())
    spec = engine.spec("web01")
    run = fail_in_cutover(lab, engine, spec)
    lab.clear_faults()
    lab.fault("vsphere.QueryChangedDiskAreas", "fail", detail="NotSupported", count=100)
    engine.finalize(spec, "--now")
    run.fail()
    assert lab.vm("web01")["power"] == "off"
    lab.clear_faults()
    text = command(engine, "cancel", spec, "--power-on-source").stdout
    assert "powers the source VM on" in text
    assert lab.vm("web01")["power"] == "on"


def test_cancel_is_refused_from_the_import_on(make):
    lab, engine = make(synthetic())
    spec = engine.spec("web01")
    migrate(engine, spec)
    done = command(engine, "cancel", spec, check=False)
    assert done.returncode == 1 and "rollback" in done.stderr
    engine.assert_migrated("web01")


# ---- on_failure --------------------------------------------------------------------------------


def test_a_failed_cutover_powers_the_source_on_when_the_spec_says_so(make):
    lab, engine = make(synthetic())
    spec = engine.spec("web01", on_failure="power_on_source")
    run = engine.run(spec)
    engine.until_rounds("web01", 1, run)
    lab.fault("vsphere.QueryChangedDiskAreas", "fail", detail="NotSupported", skip=0, count=100)
    engine.finalize(spec, "--now")
    text = run.fail()
    assert "Powering the source VM on again" in text
    assert lab.vm("web01")["power"] == "on"
    row = engine.status(spec)[0]
    assert row["current_stage"] == "delta" and not row["finalize_requested"]
    lab.clear_faults()
    migrate(engine, spec)
    engine.assert_migrated("web01")


def test_a_failed_cutover_leaves_the_source_off_as_it_comes(make):
    lab, engine = make(synthetic())
    spec = engine.spec("web01")
    run = engine.run(spec)
    engine.until_rounds("web01", 1, run)
    lab.fault("vsphere.QueryChangedDiskAreas", "fail", detail="NotSupported", count=100)
    engine.finalize(spec, "--now")
    run.fail()
    assert lab.vm("web01")["power"] == "off"


def test_the_source_stays_off_once_an_import_may_have_begun(make):
    """CloudStack may have made the VM although it answered with an error."""
    lab, engine = make(synthetic())
    spec = engine.spec("web01", on_failure="power_on_source")
    run = engine.run(spec)
    engine.until_rounds("web01", 1, run)
    lab.fault("cloudstack.importVolume", "fail", detail="Volume is already managed", count=100)
    engine.finalize(spec, "--now")
    assert "the source VM stays off" in run.fail()
    assert lab.vm("web01")["power"] == "off"


# ---- rollback ----------------------------------------------------------------------------------


def assert_source_runs_and_files_are_there(lab, files):
    assert lab.vm("web01")["power"] == "on"
    for file in files:
        assert subprocess.run(["qemu-img", "check", "-U", file], capture_output=True).returncode == 0


def test_a_migrated_vm_is_taken_back(make):
    lab, engine = make(synthetic(), version="4.22.1")
    spec = engine.spec("web01")
    migrate(engine, spec)
    engine.assert_migrated("web01")
    files = targets(engine)
    text = command(engine, "rollback", spec).stdout
    assert "stays in these files, and only there" in text and "rolled back" in text
    assert_source_runs_and_files_are_there(lab, files)
    state = lab.state()["cloudstack"]
    assert state["vms"] == [] and not state.get("volumes")
    assert engine.status(spec)[0]["current_stage"] == "rolled_back"
    assert "was rolled back" in engine.run(spec).fail()
    again = command(engine, "rollback", spec, check=False)
    assert again.returncode == 1 and "rolled back already" in again.stderr


def test_an_old_server_keeps_the_stopped_vm_and_gives_up_the_data_disks(make):
    lab, engine = make(synthetic(), version="4.20.1", shared_mount_point=True)
    spec = engine.spec("web01")
    migrate(engine, spec)
    files = targets(engine)
    text = command(engine, "rollback", spec).stdout
    assert "cannot give up a stopped VM" in text + engine.log("web01")
    vm, = lab.state()["cloudstack"]["vms"]
    assert vm["state"] == "Stopped" and [v["type"] for v in vm["volumes"]] == ["ROOT"]
    assert_source_runs_and_files_are_there(lab, files)


def test_a_rollback_that_is_interrupted_goes_on(make):
    """Each call fails in turn; the same command brings it to its end."""
    lab, engine = make(synthetic(), version="4.20.1", shared_mount_point=True)
    spec = engine.spec("web01")
    migrate(engine, spec)
    files = targets(engine)
    for call in ("cloudstack.stopVirtualMachine", "cloudstack.detachVolume", "cloudstack.unmanageVolume",
                 "cloudstack.createTags", "vsphere.PowerOnVM_Task"):
        lab.fault(call, "fail", detail="InvalidState" if call.startswith("vsphere") else "not now")
        done = command(engine, "rollback", spec, check=False)
        assert done.returncode == 1 and "goes on where it stopped" in done.stderr, call
        assert lab.vm("web01")["power"] == "off"
        lab.clear_faults()
    command(engine, "rollback", spec)
    assert_source_runs_and_files_are_there(lab, files)


def test_a_half_done_import_is_taken_back(make):
    lab, engine = make(synthetic(), version="4.22.1")
    spec = engine.spec("web01")
    run = engine.run(spec)
    engine.until_rounds("web01", 1, run)
    lab.fault("cloudstack.importVolume", "fail", detail="Volume is already managed", count=100)
    engine.finalize(spec, "--now")
    run.fail()
    lab.clear_faults()
    files = targets(engine)
    command(engine, "rollback", spec)
    assert_source_runs_and_files_are_there(lab, files)
    assert lab.state()["cloudstack"]["vms"] == []


def test_the_source_can_stay_off(make):
    lab, engine = make(synthetic(), version="4.22.1")
    spec = engine.spec("web01")
    migrate(engine, spec)
    command(engine, "rollback", spec, "--keep-source-off")
    assert lab.vm("web01")["power"] == "off"


def test_nothing_is_taken_back_before_there_is_an_import(make):
    lab, engine = make(synthetic())
    spec = engine.spec("web01")
    run = engine.run(spec)
    engine.until_rounds("web01", 1, run)
    done = command(engine, "rollback", spec, check=False)
    assert done.returncode == 1 and "v2c-engine cancel" in done.stderr
    run.interrupt()
    run.fail()
