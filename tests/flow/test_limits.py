"""Limits of the bandwidth, and pauses, while migrations run."""

import sqlite3
import time
from datetime import datetime, timedelta, timezone

from harness import synthetic, until

SLOW = "64KiB/s"  # at which these disks take minutes; without a limit they take a second
DISKS = [{"address": "scsi0:0", "size": "16MiB", "fill": 100, "seed": 1}]


def bandwidth(engine, *arguments, check=True):
    return engine.command("bandwidth", "--config", engine.write_config(), *arguments, check=check)


def pause(engine, spec, command="pause", check=True):
    return engine.command(command, "--config", engine.write_config(), "--spec", spec, check=check)


def until_read(engine, spec, run):
    """Some of the base copy is done, and the limit holds the rest."""
    def has_read():
        assert run.is_running(), run.text()[-4000:]
        row = engine.status(spec)[0]
        return row["current_stage"] == "base_copy" and row["disks"][0]["bytes_read"] > 0
    until(has_read, "a part of the base copy")


def until_paused(engine, spec, name, lab):
    """The pause has taken effect: nothing of ours is on the source, nothing reads."""
    def is_paused():
        return engine.state_json(name).get("paused")
    until(is_paused, "paused in state.json")
    assert engine.status(spec)[0]["paused"] is True
    assert lab.snapshots(name) == []
    run = engine.runs[-1]
    assert run.is_running() and run.workers() and not run.children("v2c-vddk")


def cut_over(engine, spec, run, *names):
    for name in names:
        engine.until_rounds(name, 1, run)
    engine.finalize(spec, "--now")
    run.succeed()
    for name in names:
        engine.assert_migrated(name)


def time_passes(seconds=2):
    seen_at = time.monotonic()
    until(lambda: time.monotonic() - seen_at > seconds, "time to copy it many times over")


def test_a_limit_is_changed_while_it_runs_and_outlasts_the_run(make):
    lab, engine = make(synthetic(disks=DISKS))
    spec = engine.spec("web01", bandwidth_limit=SLOW)
    refused = bandwidth(engine, "--spec", spec, "none", check=False)
    assert refused.returncode == 1 and "has a migration" in refused.stderr
    run = engine.run(spec)
    until_read(engine, spec, run)
    assert "bandwidth limit: 64 KiB/s" in engine.log("web01")
    assert "limit=128KiB/s (set; spec: 64KiB/s) host=esx1.DC1.lab" in bandwidth(
        engine, "--spec", spec, "128KiB/s").stdout
    until(lambda: "bandwidth limit: 128 KiB/s" in engine.log("web01"), "the limit in the log")
    run.kill_all()
    run = engine.run(spec)
    until(lambda: engine.log("web01").count("bandwidth limit: 128 KiB/s") == 2, "the limit again")
    time_passes()
    assert engine.stage(spec) == "base_copy"
    assert "limit=none (set; spec: 64KiB/s)" in bandwidth(engine, "--spec", spec, "none").stdout
    cut_over(engine, spec, run, "web01")
    assert "limit=64KiB/s (spec)" in bandwidth(engine, "--spec", spec, "default").stdout


def test_what_is_no_limit_is_refused(make):
    lab, engine = make(synthetic(disks=DISKS))
    for wrong in (["--engine", "fast"], ["5MiB/s"], ["--engine", "--host", "a", "none"],
                  ["--engine", "25:00-26:00 5MiB/s"]):
        done = bandwidth(engine, *wrong, check=False)
        assert done.returncode == 1 and "bandwidth failed: " in done.stderr, wrong
    assert "is no limit" in bandwidth(engine, "--engine", "fast", check=False).stderr


def test_the_limit_of_all_holds_two_vms_together(make):
    lab, engine = make(synthetic("web01", disks=DISKS), synthetic("db01", disks=DISKS),
                       migration={"bandwidth_limit": SLOW})
    spec = engine.spec("web01", "db01")
    run = engine.run(spec)
    until(lambda: all(row["current_stage"] == "base_copy" for row in engine.status(spec)),
          "both in base_copy")
    for name in ("web01", "db01"):
        until(lambda: "bandwidth limit of all VMs: 64 KiB/s" in engine.log(name), "the limit")
    time_passes()
    rows = engine.status(spec)
    assert [row["current_stage"] for row in rows] == ["base_copy", "base_copy"]
    # One burst, and one request each 16 s: together, not each.
    assert sum(row["disks"][0]["bytes_read"] for row in rows) <= 4 * 1024 * 1024
    assert "limit=none (set; configuration: 64KiB/s)" in bandwidth(engine, "--engine", "none").stdout
    cut_over(engine, spec, run, "web01", "db01")


def test_the_limit_of_a_host_holds_its_vms_only(make):
    lab, engine = make(synthetic("web01", datacenter="East", disks=DISKS),
                       synthetic("db01", datacenter="West", disks=DISKS),
                       migration={"host_bandwidth": {"ESX1.east.lab": SLOW}})
    spec = engine.spec("web01", "db01")
    run = engine.run(spec)
    engine.until_rounds("db01", 1, run)
    assert engine.stage(engine.spec("web01")) == "base_copy"
    shown = bandwidth(engine).stdout
    assert "host=ESX1.east.lab limit=64KiB/s (configuration)" in shown
    assert "host=esx1.West.lab limit=none (configuration)" in shown
    done = bandwidth(engine, "--host", "esx1.nowhere.lab", "1MiB/s")
    assert "no VM has been read from a host of that name yet" in done.stderr
    assert not bandwidth(engine, "--host", "esx1.east.lab", "none").stderr
    cut_over(engine, spec, run, "web01", "db01")


def test_a_pause_in_the_base_copy_leaves_nothing_behind_and_goes_on(make):
    lab, engine = make(synthetic(disks=DISKS))
    spec = engine.spec("web01", bandwidth_limit=SLOW)
    run = engine.run(spec)
    until_read(engine, spec, run)
    assert lab.snapshots("web01")
    assert "paused" in pause(engine, spec).stdout
    until_paused(engine, spec, "web01", lab)
    assert "already paused" in pause(engine, spec).stdout
    assert "paused: `v2c-engine resume` goes on" in engine.command(
        "status", "--config", engine.write_config(), "--spec", spec).stdout
    refused = engine.command("finalize", "--config", engine.write_config(), "--spec", spec,
                             check=False)
    assert refused.returncode == 1 and "v2c-engine resume" in refused.stderr
    assert engine.status(spec)[0]["finalize_requested"] is False
    bandwidth(engine, "--spec", spec, "none")
    time_passes()
    assert engine.stage(spec) == "base_copy" and lab.snapshots("web01") == []
    assert "resumed" in pause(engine, spec, "resume").stdout
    cut_over(engine, spec, run, "web01")
    assert "paused" not in engine.state_json("web01")
    assert "going on from another" in engine.log("web01")


def test_a_pause_that_cannot_remove_the_snapshot_is_no_pause(make):
    lab, engine = make(synthetic(disks=DISKS))
    spec = engine.spec("web01", bandwidth_limit=SLOW)
    run = engine.run(spec)
    until_read(engine, spec, run)
    lab.fault("vsphere.RemoveSnapshot_Task", "fail", "SnapshotFault", count=-1)
    pause(engine, spec)
    assert "pausing: removing our snapshot" in run.fail()
    assert lab.snapshots("web01") and "paused" not in engine.state_json("web01")
    lab.clear_faults()
    run = engine.run(spec)
    until_paused(engine, spec, "web01", lab)
    bandwidth(engine, "--spec", spec, "none")
    pause(engine, spec, "resume")
    cut_over(engine, spec, run, "web01")


def test_a_pause_survives_kills_and_stops(make):
    lab, engine = make(synthetic(disks=DISKS))
    spec = engine.spec("web01", bandwidth_limit=SLOW)
    run = engine.run(spec)
    until_read(engine, spec, run)
    run.kill_all()  # a snapshot of ours stays
    assert lab.snapshots("web01")
    assert "no run is active" in pause(engine, spec).stderr
    run = engine.run(spec)
    until_paused(engine, spec, "web01", lab)
    run.kill_all()
    run = engine.run(spec)
    until(lambda: engine.log("web01").count("Paused in stage base_copy") == 2, "paused again")
    until_paused(engine, spec, "web01", lab)
    run.interrupt()
    assert "stopped on request" in run.fail(30)
    assert engine.status(spec)[0]["paused"] is True
    assert "no run is active" in pause(engine, spec, "resume").stderr
    bandwidth(engine, "--spec", spec, "none")
    run = engine.run(spec)
    cut_over(engine, spec, run, "web01")


def test_between_delta_rounds_a_pause_holds_rounds_and_cutover(make):
    lab, engine = make(synthetic())
    spec = engine.spec("web01")
    run = engine.run(spec)
    engine.until_rounds("web01", 1, run)
    pause(engine, spec)
    until_paused(engine, spec, "web01", lab)
    (engine.directory("web01") / "FINALIZE_NOW").touch()  # not by our command
    rounds = engine.state_json("web01")["disks"]["0"]["delta_rounds"]
    time_passes()
    assert engine.state_json("web01")["disks"]["0"]["delta_rounds"] == rounds
    assert lab.vm("web01")["power"] == "on" and engine.stage(spec) == "delta"
    pause(engine, spec, "resume")
    run.succeed()
    engine.assert_migrated("web01")


def test_a_finalize_at_that_passes_in_a_pause_is_not_acted_on(make):
    lab, engine = make(synthetic(disks=DISKS))
    at = datetime.now(timezone.utc) + timedelta(seconds=10)
    spec = engine.spec("web01", bandwidth_limit=SLOW,
                       finalize_at=at.strftime("%Y-%m-%dT%H:%M:%S+00:00"))
    run = engine.run(spec)
    until_read(engine, spec, run)
    pause(engine, spec)
    until_paused(engine, spec, "web01", lab)
    until(lambda: "finalize_at has passed in the pause" in engine.log("web01"), "the time passes")
    assert engine.status(spec)[0]["finalize_at_missed"] is True
    bandwidth(engine, "--spec", spec, "none")
    assert "finalize_at has passed" in pause(engine, spec, "resume").stderr
    engine.until_rounds("web01", 2, run)
    assert lab.vm("web01")["power"] == "on"
    run.kill_all()  # nor by a run that is started later
    run = engine.run(spec, "--allow-past-finalize")
    engine.until_rounds("web01", 3, run)
    assert lab.vm("web01")["power"] == "on"
    cut_over(engine, spec, run, "web01")


def test_once_the_cutover_has_begun_a_pause_is_refused(make):
    lab, engine = make(synthetic(shutdown_ms=600000))
    spec = engine.spec("web01")
    run = engine.run(spec)
    engine.until_stage(spec, "delta", run)
    engine.finalize(spec, "--now")
    engine.until_stage(spec, "awaiting_shutdown_action", run)
    refused = pause(engine, spec, check=False)
    assert refused.returncode == 1
    assert "in stage awaiting_shutdown_action: the cutover has begun" in refused.stderr
    assert engine.status(spec)[0]["paused"] is False
    # One that slips in between the worker's last look and the cutover is dropped.
    with sqlite3.connect(engine.control / "v2c.db", timeout=20) as db:
        db.execute("INSERT INTO setting (migration, scope, subject, key, value, changed_at)"
                   " SELECT id, 'vm', '', 'paused', 'yes', 0 FROM migration")
    assert engine.status(spec)[0]["paused"] is True
    lab.power("web01", "off")
    run.succeed()
    engine.assert_migrated("web01")
    assert "the pause came too late" in engine.log("web01")
    assert engine.status(spec)[0]["paused"] is False
    assert "it is done" in pause(engine, spec, check=False).stderr
