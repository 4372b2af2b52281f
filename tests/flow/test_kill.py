"""kill -9 at any moment, and the same command goes on to a byte-exact result."""

import os
import signal
import sqlite3

import pytest

from harness import synthetic, until

# Where to be killed: the stage, the call that is held up in it so that there is time, and how often it
# is let through before (the preflight asks for the pools; a base copy asks what is in use of two disks).
MOMENTS = [
    ("preparing_target_storage", "cloudstack.listStoragePools", 1),
    ("enabling_cbt", "vsphere.ReconfigVM_Task", 0),
    ("creating_base_snapshot", "vsphere.CreateSnapshot_Task", 0),
    ("base_copy", "nfc.read", 8),
    ("delta", "vsphere.QueryChangedDiskAreas", 2),
    ("final_sync", "vsphere.QueryChangedDiskAreas", 0),
    ("import_root_disk", "cloudstack.importVm", 0),
    ("import_data_disk", "cloudstack.importVolume", 0),
    ("import_data_disk", "cloudstack.attachVolume", 0),
    ("import_data_disk", "cloudstack.startVirtualMachine", 0),
]
LATE = ("final_sync", "import_root_disk", "import_data_disk")


def bring_to(lab, engine, spec, stage, call, skip):
    """Runs until `stage`, where `call` is being held up."""
    run = None
    if stage in LATE:
        run = engine.run(spec)
        engine.until_rounds("web01", 1, run)
        if stage == "final_sync":
            lab.fault("nfc.open", "delay", delay_ms=3000, count=1)
            call = None
        else:
            lab.fault(call, "delay", delay_ms=3000, count=1)
        engine.finalize(spec, "--now")
    else:
        lab.fault(call, "delay", delay_ms=3000, skip=skip, count=1)
        run = engine.run(spec)
    engine.until_stage(spec, stage, run)
    if call and not call.startswith("nfc."):
        until(lambda: lab.count(call) > skip or not run.is_running(), f"{call} is made")
    return run


def go_on(engine, spec):
    """The same command again, to the end, without a second finalize when the first was not lost."""
    run = engine.run(spec)
    until(lambda: engine.stage(spec) not in ("base_copy",) or not run.is_running(), "it is past the base", 90)
    if engine.stage(spec) not in LATE and run.is_running():
        def over():
            if not run.is_running():
                return True
            if engine.stage(spec) == "delta":
                engine.finalize(spec, "--now")
            return engine.stage(spec) in (*LATE, "done")
        until(over, "the cutover begins", 90)
    run.succeed()
    return engine.assert_migrated("web01")


@pytest.mark.parametrize("stage,call,skip", MOMENTS, ids=[f"{m[0]}-{m[1].split('.')[1]}" for m in MOMENTS])
def test_everything_is_killed_and_goes_on(make, stage, call, skip):
    lab, engine = make(synthetic())
    spec = engine.spec("web01")
    run = bring_to(lab, engine, spec, stage, call, skip)
    run.kill_all()
    lab.clear_faults()
    go_on(engine, spec)
    for once in ("cloudstack.importVm", "cloudstack.importVolume"):
        assert len(lab.state()["cloudstack"]["vms"]) == 1, once


@pytest.mark.parametrize("stage,call,skip", [MOMENTS[3], MOMENTS[4], MOMENTS[5], MOMENTS[6]],
                         ids=lambda value: str(value))
def test_killed_worker_is_started_again_by_its_supervisor(make, stage, call, skip):
    lab, engine = make(synthetic())
    spec = engine.spec("web01")
    run = bring_to(lab, engine, spec, stage, call, skip)
    for pid in run.workers():
        os.kill(pid, signal.SIGKILL)
    lab.clear_faults()
    if stage not in LATE:
        engine.until_rounds("web01", 1, run)
        engine.finalize(spec)
    run.succeed()
    engine.assert_migrated("web01")


def test_killed_supervisor_ends_its_worker_which_loses_nothing(make):
    lab, engine = make(synthetic())
    lab.fault("nfc.read", "delay", delay_ms=200, count=40)
    spec = engine.spec("web01")
    run = engine.run(spec)
    engine.until_stage(spec, "base_copy", run)
    workers = run.workers()
    assert workers
    os.kill(run.process.pid, signal.SIGKILL)
    run.process.wait()
    until(lambda: not any(os.path.exists(f"/proc/{pid}/exe") for pid in workers),
          "the orphaned worker stops by itself", 30)
    lab.clear_faults()
    go_on(engine, spec)


def test_base_copy_goes_on_from_its_checkpoint(make):
    disks = [{"address": "scsi0:0", "size": "64MiB", "fill": 100, "seed": 1}]
    lab, engine = make(synthetic(disks=disks, writer_kib_per_s=0))
    lab.fault("nfc.read", "delay", delay_ms=400, skip=40, count=-1)
    spec = engine.spec("web01")
    run = engine.run(spec)
    engine.until_stage(spec, "base_copy", run)
    # A checkpoint is at most seconds away; the first interrupt makes one and says how to go on.
    until(lambda: engine.state_json("web01")["disks"]["0"].get("bytes_read", 0) > 30 << 20, "half is read")
    run.interrupt()
    text = run.fail()
    assert "again to go on" in text
    lab.clear_faults()
    before = lab.count("nfc.read")  # a request is at most 1 MiB
    go_on(engine, spec)
    assert lab.count("nfc.read") - before < 48


def blocks_done(engine):
    """How many blocks of the base copies a checkpoint has covered, as the database says."""
    try:
        with sqlite3.connect(f"file:{engine.control}/v2c.db?mode=ro", uri=True) as database:
            rows = database.execute("SELECT bits FROM bitmap").fetchall()
    except sqlite3.Error:
        return 0
    return sum(bin(byte).count("1") for (bits,) in rows for byte in bits)


def test_after_kill_only_what_no_checkpoint_covered_is_read_again(make):
    disks = [{"address": "scsi0:0", "size": "64MiB", "fill": 100, "seed": 1}]
    lab, engine = make(synthetic(disks=disks, writer_kib_per_s=0))
    # Longer than a checkpoint is away: what comes after the first 40 reads is not covered by it.
    lab.fault("nfc.read", "delay", delay_ms=10000, skip=40, count=-1)
    spec = engine.spec("web01")
    run = engine.run(spec)
    until(lambda: blocks_done(engine) >= 24 or not run.is_running(), "a checkpoint covers much")
    run.kill_all()
    done = blocks_done(engine)
    assert 24 <= done < 64
    lab.clear_faults()
    before = lab.count("nfc.read")
    go_on(engine, spec)
    # Requests of a source that answers at once have 1 MiB, and are never larger.
    assert 64 - done <= lab.count("nfc.read") - before <= 64 - done + 4, (done, lab.count("nfc.read") - before)


def test_interrupt_stops_at_a_checkpoint_and_leaves_no_snapshot(make):
    lab, engine = make(synthetic())
    spec = engine.spec("web01")
    run = engine.run(spec)
    engine.until_rounds("web01", 1, run)
    run.interrupt()
    text = run.fail()
    assert "again to go on" in text
    engine.assert_nothing_left("web01")
    go_on(engine, spec)


def test_second_interrupt_stops_at_once_and_is_as_safe_as_a_crash(make):
    lab, engine = make(synthetic())
    lab.fault("nfc.read", "delay", delay_ms=2000, count=-1)
    spec = engine.spec("web01")
    run = engine.run(spec)
    engine.until_stage(spec, "base_copy", run)
    run.interrupt()
    run.interrupt()
    run.wait(20)
    until(lambda: not run.children(), "nothing of it runs")
    lab.clear_faults()
    go_on(engine, spec)
