"""Whole migrations into a real NFS server's export, without a mount."""

import os
import subprocess

from harness import synthetic, until


def finish(engine, spec, run, name="web01"):
    engine.until_rounds(name, 1, run)
    engine.finalize(spec)
    run.succeed()
    engine.assert_migrated(name)


def test_migration_into_an_export_that_is_not_mounted(make):
    lab, engine, server = make(synthetic())
    spec = engine.spec("web01")
    finish(engine, spec, engine.run(spec))
    for disk in server.export.glob("*.qcow2"):
        assert (disk.stat().st_uid, disk.stat().st_gid, disk.stat().st_mode & 0o7777) == (0, 0, 0o644)
    assert len(list(server.export.glob(".*"))) == 0, "hidden files are left"


def test_killed_engine_goes_on_in_the_export(make):
    lab, engine, server = make(synthetic())
    spec = engine.spec("web01")
    run = engine.run(spec)
    engine.until_stage(spec, "delta", run)
    run.kill_all()
    finish(engine, spec, engine.run(spec))


def test_server_that_restarts_in_mid_copy_and_lost_what_was_not_committed(make):
    disks = [{"address": "scsi0:0", "size": "96MiB", "fill": 90, "seed": 1}]
    lab, engine, server = make(synthetic(disks=disks))
    spec = engine.spec("web01", bandwidth_limit="8MiB/s")
    engine.environment["V2C_RETRY_SCALE"] = "0.2"  # the server takes a moment to start
    run = engine.run(spec)
    until(lambda: any(p.stat().st_blocks > 16 << 11 for p in server.export.glob("*.qcow2")),
          "some of the copy is there")
    server.kill()
    assert server.lose_what_is_not_committed() > 0
    server.start()
    finish(engine, spec, run)


def test_export_that_fills_is_said_and_the_copy_goes_on_by_itself_when_there_is_room(make):
    lab, engine, server = make(synthetic(), size="6m")
    spec = engine.spec("web01")
    run = engine.run(spec)
    until(lambda: "Waiting for space" in run.text(), "the run to wait for space")
    assert "No space left" in engine.log("web01") or "are left in its pool" in engine.log("web01")
    until(lambda: engine.status(spec)[0]["waits_for_space"], "the status to say so")
    assert run.is_running() and not lab.snapshots("web01")  # that would grow all the while
    subprocess.run(["mount", "-o", "remount,size=256m", server.export], check=True)
    engine.until_rounds("web01", 1, run)
    assert not engine.status(spec)[0]["waits_for_space"]
    engine.finalize(spec)
    run.succeed()
    engine.assert_migrated("web01")


def test_export_that_squashes_root_is_refused_before_anything_is_touched(make):
    lab, engine, server = make(synthetic(), squash="Root_Squash")
    os.chmod(server.export, 0o777)
    text = engine.run(engine.spec("web01")).fail()
    assert "squashes root" in text and "no_root_squash" in text
    assert lab.count("vsphere.CreateSnapshot_Task") == 0
    assert not list(server.export.iterdir())


def test_export_that_is_read_only_is_refused(make):
    lab, engine, server = make(synthetic(), access="RO")
    text = engine.run(engine.spec("web01")).fail()
    assert "a file cannot be made" in text
    assert lab.count("vsphere.CreateSnapshot_Task") == 0
