"""Rehearsals of the conversion while the source runs: what they tell, and that nothing comes of them.

virt-v2v and QEMU are scripted here; tests/convert has the real ones and real guests."""

import json
import os
import sqlite3
import subprocess
from pathlib import Path

import pytest

from harness import ENGINE, synthetic, until
from test_convert import ONE_DISK, Tools, assert_converted, assert_no_overlays, is_converted, target

# Stands for qemu-system-x86_64: says on the "serial port" what the test wants, and stays.
QEMU = """#!/usr/bin/python3
import json, os, re, sys, time
from pathlib import Path
here = Path(os.environ["FAKE_GUEST_TOOLS"])
console = next(a for a in sys.argv if a.startswith("file,id=console"))
(here / "qemu").write_text(json.dumps(sys.argv[1:]))
says = (here / "console").read_text() if (here / "console").exists() else "web01 login: "
if says == "exit":
    sys.exit("qemu: no such machine")
Path(console.partition("path=")[2].replace(",,", ",")).write_text(says)
while says != "reset":
    time.sleep(60)
"""


@pytest.fixture
def world(make, tmp_path):
    def start(disks=None, **spec):
        lab, engine = make(synthetic(disks=disks or ONE_DISK))
        tools = Tools(tmp_path / "tools")
        (tools.dir / "qemu-system-x86_64").write_text(QEMU)
        (tools.dir / "qemu-system-x86_64").chmod(0o755)
        engine.environment |= {"FAKE_GUEST_TOOLS": str(tools.dir),
                               "PATH": f"{tools.dir}:{os.environ['PATH']}"}
        engine.config["virt"] = {"run_virt_v2v": True}
        spec = engine.spec("web01", **spec)
        run = engine.run(spec)
        engine.until_stage(spec, "delta", run)
        return lab, engine, tools, spec, run
    return start


def rehearse(engine, spec, *arguments):
    return engine.command("rehearse", "--config", engine.write_config(), "--spec", spec, *arguments,
                          check=False)


def begin(engine, spec):
    return subprocess.Popen([ENGINE, "rehearse", "--config", engine.write_config(), "--spec", spec],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            env=engine.env(), stdin=subprocess.DEVNULL)


def settings(engine):
    with sqlite3.connect(f"file:{engine.control}/v2c.db?mode=ro", uri=True) as db:
        return dict(db.execute("SELECT key, value FROM setting WHERE scope = 'vm'").fetchall())


def finish(engine, spec, run):
    engine.finalize(spec, "--now")
    run.succeed()


def test_a_rehearsal_tells_and_leaves_nothing_behind(world):
    lab, engine, tools, spec, run = world()
    done = rehearse(engine, spec)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "converts=yes" in done.stdout and "boots=yes" in done.stdout
    assert lab.vm("web01")["power"] == "on"
    assert_no_overlays(engine)
    assert not is_converted(target(engine))
    assert int(settings(engine)["rehearsed_convert_ms"]) > 0
    rounds = engine.status(spec)[0]["delta_rounds"]
    engine.until_rounds("web01", rounds + 1, run)
    finish(engine, spec, run)
    assert_converted(engine, lab)
    assert len(tools.calls()) == 2


def test_the_rehearsed_guest_has_no_network_and_sees_all_its_disks(world):
    disks = [*ONE_DISK, {"address": "scsi0:1", "size": "8MiB", "fill": 50, "seed": 2}]
    lab, engine, tools, spec, run = world(disks)
    tools.say(inspection="<operatingsystems><operatingsystem><root>/dev/sda1</root><name>linux</name>"
                         "<mountpoints><mountpoint dev='/dev/sda1'>/</mountpoint></mountpoints>"
                         "</operatingsystem></operatingsystems>")
    assert rehearse(engine, spec).returncode == 0
    qemu = json.loads((tools.dir / "qemu").read_text())
    assert qemu[qemu.index("-nic") + 1] == "none"
    drives = [a for a in qemu if "format=qcow2" in a]
    assert len(drives) == 2 and all("/rehearsal-" in drive for drive in drives)
    assert qemu[qemu.index("-machine") + 1] == "pc"
    assert not any("netdev" in a for a in qemu)
    finish(engine, spec, run)


def test_a_guest_that_does_not_convert_is_told_of_and_deltas_go_on(world):
    lab, engine, tools, spec, run = world()
    tools.say(behaviour="fail")
    done = rehearse(engine, spec)
    assert done.returncode == 1
    assert "converts=no" in done.stdout and "no installed kernel packages" in done.stdout
    assert "rehearsed_convert_ms" not in settings(engine)
    assert_no_overlays(engine)
    rounds = engine.status(spec)[0]["delta_rounds"]
    engine.until_rounds("web01", rounds + 1, run)
    tools.say(behaviour="convert")
    finish(engine, spec, run)
    assert_converted(engine, lab)


@pytest.mark.parametrize("console, boots, status, text", [
    ("Kernel panic - not syncing: VFS", "no", 1, "Kernel panic"),
    ("(initramfs) ", "no", 1, "(initramfs)"),
    ("reset", "no", 1, "without having written"),
    ("exit", "unknown", 0, "no such machine"),
])
def test_a_guest_that_does_not_boot_is_told_of(world, console, boots, status, text):
    lab, engine, tools, spec, run = world()
    tools.say(console=console)
    done = rehearse(engine, spec)
    assert done.returncode == status, done.stdout + done.stderr
    assert f"converts=yes" in done.stdout and f"boots={boots}" in done.stdout and text in done.stdout
    assert_no_overlays(engine)
    run.kill_all()


def test_without_conversion_the_disks_are_booted_as_they_are(world):
    lab, engine, tools, spec, run = world(run_virt_v2v=False)
    done = rehearse(engine, spec)
    assert done.returncode == 0
    assert "converts=not wanted" in done.stdout and "boots=yes" in done.stdout
    assert tools.calls() == []
    finish(engine, spec, run)
    engine.assert_migrated("web01")


@pytest.mark.parametrize("what", ["finalize", "pause"])
def test_a_rehearsal_gives_way(world, what):
    lab, engine, tools, spec, run = world()
    tools.say(behaviour="hang")
    waiting = begin(engine, spec)
    tools.until_hangs(run)
    tools.say(behaviour="convert")
    if what == "finalize":
        engine.finalize(spec, "--now")
    else:
        engine.command("pause", "--config", engine.write_config(), "--spec", spec)
    out, _ = waiting.communicate(timeout=60)
    assert waiting.returncode == 1 and "it gave way" in out, out
    if what == "pause":
        until(lambda: engine.state_json("web01").get("paused"), "the pause has taken effect")
        assert_no_overlays(engine)
        engine.command("resume", "--config", engine.write_config(), "--spec", spec)
        finish(engine, spec, run)
    run.succeed()
    assert_converted(engine, lab)


def test_a_rehearsal_that_is_killed_is_not_repeated_and_leaves_nothing(world):
    lab, engine, tools, spec, run = world()
    tools.say(behaviour="hang")
    waiting = begin(engine, spec)
    tools.until_hangs(run)
    run.kill_all()
    out, _ = waiting.communicate(timeout=60)
    assert waiting.returncode == 1 and "the run ended before the rehearsal" in out, out
    tools.say(behaviour="convert")
    again = engine.run(spec)
    until(lambda: "the run ended in the middle of it" in engine.log("web01"), "it is told of")
    rounds = engine.status(spec)[0]["delta_rounds"]
    engine.until_rounds("web01", rounds + 2, again)
    assert_no_overlays(engine)
    assert len(tools.calls()) == 1
    finish(engine, spec, again)
    assert_converted(engine, lab)


def test_a_rehearsal_after_the_cutover_is_refused(world):
    lab, engine, tools, spec, run = world()
    finish(engine, spec, run)
    done = rehearse(engine, spec)
    assert done.returncode == 1 and "the cutover has begun" in done.stderr


def test_one_that_is_asked_for_without_a_run_is_done_by_the_next(world):
    lab, engine, tools, spec, run = world()
    run.kill_all()
    done = rehearse(engine, spec)
    assert done.returncode == 0 and "no run is active" in done.stderr
    again = engine.run(spec)
    until(lambda: "Rehearsal: converts=yes" in engine.log("web01"), "the rehearsal is done")
    finish(engine, spec, again)
    assert_converted(engine, lab)
