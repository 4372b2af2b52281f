"""cleanup finds what migrations have left, says why, and removes nothing that is in use or somebody else's."""

import json
import os
import pty
import re
import shutil
import subprocess
from pathlib import Path

from harness import ENGINE, Engine, synthetic, until

DISKS = [{"address": "scsi0:0", "size": "8MiB", "fill": 80, "seed": 1}]


def vm(name="web01"):
    return synthetic(name, disks=DISKS, writer_kib_per_s=0, shutdown_ms=50)


def cleanup(engine, *arguments, status=0):
    done = engine.command("cleanup", "--config", engine.write_config(), *arguments, check=False)
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    return done


def listing(engine, *arguments, status=0):
    return json.loads(cleanup(engine, "--json", *arguments, status=status).stdout)


def states(items):
    return sorted((item["kind"], item["state"]) for item in items)


def targets(engine, name="web01"):
    return [Path(disk["target_qcow2"]) for disk in engine.state_json(name)["disks"].values()]


def killed(lab, engine, name="web01", **migration):
    """A run that is killed in its base copy, with its snapshot and a partial file."""
    spec = engine.spec(name, bandwidth_limit="64KiB/s", **migration)
    run = engine.run(spec)
    engine.until_stage(spec, "base_copy", run)
    until(lambda: all(path.exists() for path in targets(engine, name)), "the target file")
    run.kill_all()
    assert lab.snapshots(name)
    return spec


def in_delta(lab, engine, **migration):
    spec = engine.spec("web01", **migration)
    run = engine.run(spec)
    engine.until_stage(spec, "delta", run)
    return spec, run


def migrate(engine, lab):
    spec, run = in_delta(lab, engine)
    engine.finalize(spec, "--now")
    run.succeed()
    return spec


def snap(lab, name, vm_name="web01"):
    lab.call("POST", f"/vms/{lab.moref(vm_name)}/snapshot", {"name": name})


def tag(lab):
    return lab.snapshots("web01")[0]["name"].rsplit("-", 2)[0]


def test_what_can_go_on_is_in_use_and_what_lost_its_record_goes_only_as_an_orphan(make):
    lab, engine = make(vm(), vm("db01"))
    spec = killed(lab, engine)
    file, ours = targets(engine)[0], tag(lab)
    moref = lab.moref("web01")
    theirs = ["v2c-test", f"{ours}-before-upgrade", f"v2c-{moref}-before-base-1", f"{ours}-base-1x",
              f"v2c-{lab.moref('db01')}-65a1b2c3-base-1"]
    for name in theirs:
        snap(lab, name)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", file.parent / "x_disk0.qcow2", "1M"], check=True)
    for flags in ([], ["--yes", "--orphans"]):
        assert states(listing(engine, *flags)) == [
            ("file", "in use"), ("migration", "in use"), ("snapshot", "in use")]
    text = cleanup(engine).stdout
    assert "its migration is in stage base_copy, and `run` goes on with it" in text

    engine.control.rename(engine.dir / "lost")
    gone = cleanup(engine, status=1)
    assert "no migration was ever started" in gone.stderr
    found = listing(engine, "--orphans", status=3)
    assert states(found) == [("file", "remove"), ("snapshot", "remove")]
    by_kind = {item["kind"]: item for item in found}
    assert by_kind["file"]["what"] == str(file) and by_kind["file"]["bytes"] > 0
    assert by_kind["snapshot"]["vm"] == "web01" and ours in by_kind["snapshot"]["why"]
    assert states(listing(engine, "--yes")) == [("file", "left"), ("snapshot", "left")]
    assert file.exists() and len(lab.snapshots("web01")) == 1 + len(theirs)

    # Killed in the middle, and then again.
    lab.fault("vsphere.RemoveSnapshot_Task", "delay", delay_ms=1200)
    process = subprocess.Popen([ENGINE, "cleanup", "--config", engine.write_config(), "--orphans", "--yes"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=engine.env())
    until(lambda: lab.count("vsphere.RemoveSnapshot_Task"), "the snapshot's removal")
    process.kill()
    process.wait()
    lab.clear_faults()
    done = listing(engine, "--orphans", "--yes")
    assert ("file", "removed") in states(done)
    assert listing(engine, "--orphans") == []
    assert not file.exists() and (file.parent / "x_disk0.qcow2").exists()
    assert sorted(s["name"] for s in lab.snapshots("web01")) == sorted(theirs)

    # The lost record comes back: its migration goes on, having lost what it had.
    shutil.rmtree(engine.control)
    (engine.dir / "lost").rename(engine.control)
    assert engine.stage(spec) == "base_copy"


def test_leftovers_of_a_migration_that_was_given_up_are_known_without_its_record(make):
    lab, engine = make(vm())
    killed(lab, engine)
    files = targets(engine)
    password = engine.config["vcenter"]["password"]
    engine.config["vcenter"]["password"] = "wrong"
    engine.command("forget", "--config", engine.write_config(), "--vm", "web01", "--yes", "--keep-files",
                   "--leave-snapshots")
    blind = cleanup(engine, status=1)
    assert "vSphere: " in blind.stderr and "kept when its migration was given up" in blind.stdout
    engine.config["vcenter"]["password"] = password
    assert states(listing(engine, status=3)) == [("file", "left"), ("snapshot", "remove")]
    assert states(listing(engine, "--yes", "--orphans")) == [("file", "left"), ("snapshot", "removed")]
    assert not lab.snapshots("web01") and all(path.exists() for path in files)


def test_it_asks_on_a_terminal_and_a_no_changes_nothing(make):
    lab, engine = make(vm())
    killed(lab, engine)
    engine.config["vcenter"]["password"], password = "wrong", engine.config["vcenter"]["password"]
    engine.command("forget", "--config", engine.write_config(), "--vm", "web01", "--yes", "--leave-snapshots")
    engine.config["vcenter"]["password"] = password
    for answer, status, left in ((b"n\n", 3, 1), (b"y\n", 0, 0)):
        master, slave = pty.openpty()
        os.write(master, answer)
        done = subprocess.run([ENGINE, "cleanup", "--config", engine.write_config()], stdin=slave,
                              capture_output=True, text=True, env=engine.env(), timeout=60)
        os.close(master)
        os.close(slave)
        assert "Remove 1 of these?" in done.stdout and done.returncode == status, done.stderr
        assert len(lab.snapshots("web01")) == left


def test_a_cancel_that_was_killed_is_finished(make):
    lab, engine = make(vm())
    killed(lab, engine)
    files = targets(engine)
    lab.fault("vsphere.RemoveSnapshot_Task", "drop", delay_ms=1200)
    process = subprocess.Popen([ENGINE, "cancel", "--config", engine.write_config(), "--vm", "web01", "--yes"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=engine.env())
    until(lambda: lab.count("vsphere.RemoveSnapshot_Task"), "the snapshot's removal")
    process.kill()
    process.wait()
    found = listing(engine, status=3)
    assert states(found) == [("file", "in use"), ("migration", "remove"), ("snapshot", "in use")]
    assert ("migration", "removed") in states(listing(engine, "--yes"))
    assert not lab.snapshots("web01") and not any(path.exists() for path in files)
    assert listing(engine, "--orphans") == []


def test_of_a_finished_migration_only_what_nobody_needs_goes(make):
    lab, engine = make(vm(), vm("db01"), vm("app01"))
    migrate(engine, lab)
    file = targets(engine)[0]
    assert listing(engine, "--orphans", "--yes") == []
    ours = re.search(rb"v2c-vm-\d+-[0-9a-f]+", file.read_bytes()[:4096]).group().decode()
    overlays = file.parent / f".{ours}"
    overlays.mkdir()
    (overlays / "rehearsal-disk0.qcow2").write_bytes(b"x" * 8192)
    (overlays / "disks.xml").write_text("<domain/>")
    snap(lab, f"{ours}-delta-1767225600")  # a call that came too late
    assert states(listing(engine, status=3)) == [("overlays", "remove"), ("snapshot", "remove")]
    assert states(listing(engine, "--yes")) == [("overlays", "removed"), ("snapshot", "removed")]
    assert not overlays.exists() and not lab.snapshots("web01")
    engine.assert_migrated("web01")

    # A partial file that a volume has the name of, its own whole disk, and no record of either.
    killed(lab, engine, "db01")
    partial = targets(engine, "db01")[0]
    whole = file.with_name("kept_disk0.qcow2")
    file.rename(whole)
    shutil.copyfile(partial, file)
    engine.control.rename(engine.dir / "lost")
    found = {item["what"]: item for item in listing(engine, "--orphans", status=3)}
    assert found[str(partial)]["state"] == "remove"
    assert found[str(whole)]["state"] == "left" and "whole disk" in found[str(whole)]["why"]
    assert found[str(file)]["state"] == "in use" and "volume of CloudStack" in found[str(file)]["why"]
    # CloudStack cannot be asked: the pool is known from another record, and no file of it is removed.
    killed(lab, engine, "app01")
    engine.config["cloudstack"]["secret_key"], key = "wrong", engine.config["cloudstack"]["secret_key"]
    lost = cleanup(engine, "--orphans", "--yes", status=1)
    assert "CloudStack: " in lost.stderr and "cannot be asked whether a volume uses it" in lost.stdout
    assert partial.exists() and file.exists() and not lab.snapshots("db01")
    engine.config["cloudstack"]["secret_key"] = key
    listing(engine, "--orphans", "--yes")
    assert not partial.exists() and file.exists() and whole.exists()


def test_temporary_files_go_when_they_are_old_and_their_vm_is_not_in_use(make):
    lab, engine = make(vm())
    killed(lab, engine)
    pool = targets(engine)[0].parent
    old = [pool / ".db01_vm-999_disk0.qcow2.v2c-new", pool / ".v2c-preflight-1-2.tmp"]
    others = [pool / ".db01_vm-998_disk0.qcow2.v2c-new", pool / ".notes", pool / "v2c-preflight-1-2.tmp",
              pool / f".web01_{lab.moref('web01')}_disk0.qcow2.v2c-new"]
    for path in (*old, *others):
        path.write_bytes(b"\0" * 4096)
        if path is not others[0]:  # being made
            os.utime(path, (1767225600, 1767225600))
    assert {item["what"] for item in listing(engine, status=3) if item["state"] == "remove"} == set(map(str, old))
    assert sorted(item["state"] for item in listing(engine, "--yes") if item["kind"] == "temporary file") == [
        "in use", "removed", "removed"]
    assert not any(path.exists() for path in old) and all(path.exists() for path in others)


def test_another_engine_at_work_is_left_alone(make):
    lab, engine = make(vm())
    spec = engine.spec("web01", bandwidth_limit="64KiB/s")
    run = engine.run(spec)
    engine.until_stage(spec, "base_copy", run)
    until(lambda: all(path.exists() for path in targets(engine)) and lab.snapshots("web01"), "it is at work")
    (engine.dir / "second").mkdir()
    other = Engine(engine.dir / "second", lab)
    assert listing(other, "--orphans", status=3)  # makes its database
    found = listing(other)
    assert states(found) == [("file", "left"), ("snapshot", "left")]
    assert all("may be of another engine, and in use there" in item["why"] for item in found)
    # What is open is not removed even so.
    assert ("file", "in use") in states(listing(other, "--orphans", status=3))
    assert states(listing(engine, "--orphans")) == [
        ("file", "in use"), ("migration", "in use"), ("snapshot", "in use")]
    run.interrupt()
    run.fail()


def test_the_empty_vm_of_an_import_goes(make):
    lab, engine = make(vm())
    spec, run = in_delta(lab, engine, import_method="shell", shutdown_mode="manual")
    engine.finalize(spec, "--now")
    engine.until_stage(spec, "awaiting_shutdown_action", run)
    run.interrupt()
    run.fail()
    engine.config["cloudstack"]["secret_key"], key = "wrong", engine.config["cloudstack"]["secret_key"]
    engine.command("forget", "--config", engine.write_config(), "--spec", spec, "--yes")
    engine.config["cloudstack"]["secret_key"] = key
    assert states(listing(engine, status=3)) == [("vm", "remove")]
    assert states(listing(engine, "--yes")) == [("vm", "removed")]
    assert lab.state()["cloudstack"]["vms"] == []
    assert listing(engine) == []


def test_a_directory_of_a_run_that_had_no_record_yet_is_renamed(make):
    lab, engine = make(vm())
    engine.command("status", "--config", engine.write_config(), "--spec", engine.spec("web01"))
    assert listing(engine, "--orphans") == []  # makes the database
    ours, theirs = engine.control / "web01_vm-77", engine.control / "old01_vm-78"
    for directory in (ours, theirs):
        directory.mkdir()
        (directory / "migration.log").write_text("killed\n")
    (theirs / "state.json").write_text('{"stage": "delta"}')
    assert states(listing(engine, "--yes")) == [("directory", "removed")]
    assert theirs.exists() and not ours.exists()
    kept, = engine.control.glob("web01_vm-77.forgotten-*")
    assert (kept / "migration.log").read_text() == "killed\n"


def test_a_migration_that_was_rolled_back_keeps_its_files(make):
    lab, engine = make(vm(), version="4.22.1")
    spec = migrate(engine, lab)
    file = targets(engine)[0]
    engine.command("rollback", "--config", engine.write_config(), "--spec", spec, "--yes")
    for flags in ([], ["--orphans", "--yes"]):
        item, = listing(engine, *flags)
        assert item["state"] == "left" and "is rolled_back: it may hold a VM's data" in item["why"]
    engine.command("forget", "--config", engine.write_config(), "--spec", spec, "--yes")
    item, = listing(engine, "--orphans", "--yes")
    assert item["state"] == "left" and "to be kept" in item["why"]
    assert file.exists() and lab.vm("web01")["power"] == "on"
