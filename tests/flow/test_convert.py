"""Conversion of the guest: on overlays, committed when it has succeeded, whatever happens on the way.

virt-v2v and virt-inspector are scripted here; tests/convert has the real ones and real guests.
"""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from harness import is_alive, synthetic, until
from service import Service

FAKE = Path(__file__).resolve().parent / "fake_guest_tools.py"
ONE_DISK = [{"address": "scsi0:0", "size": "24MiB", "fill": 60, "seed": 1}]
INSPECTION = """<?xml version='1.0'?><operatingsystems><operatingsystem><root>{root}</root>
<name>linux</name><product_name>Debian GNU/Linux 12</product_name>
<mountpoints><mountpoint dev='{root}'>/</mountpoint><mountpoint dev='{data}'>/srv</mountpoint></mountpoints>
</operatingsystem></operatingsystems>"""


class Tools:
    def __init__(self, directory):
        self.dir = directory
        self.dir.mkdir()
        for name in ("virt-v2v-in-place", "virt-inspector", "qemu-img"):
            (self.dir / name).symlink_to(FAKE)

    def say(self, **what):
        for name, text in what.items():
            (self.dir / name).write_text(text)

    def calls(self, program="virt-v2v-in-place"):
        path = self.dir / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [call for call in map(json.loads, lines) if call["program"] == program]

    def companion(self):
        return int((self.dir / "companion").read_text())

    def until_hangs(self, run):
        until(lambda: (self.dir / "hangs").exists() or not run.is_running(), "the tool hangs")
        assert run.is_running(), run.text()[-4000:]
        (self.dir / "hangs").unlink()


@pytest.fixture
def world(make, tmp_path):
    """world(disks) -> (lab, engine, tools); the engine finds the scripted tools first."""
    def start(disks=None, **virt):
        lab, engine = make(synthetic(disks=disks or ONE_DISK))
        tools = Tools(tmp_path / "tools")
        engine.environment |= {"FAKE_GUEST_TOOLS": str(tools.dir),
                               "PATH": f"{tools.dir}:{os.environ['PATH']}",
                               "VC_PASSWORD": "not for converters"}
        engine.config["virt"] = {"run_virt_v2v": True, **virt}
        return lab, engine, tools
    return start


def cut_over(engine, run, *arguments):
    engine.until_rounds("web01", 1, run)
    spec = engine.spec("web01")
    engine.finalize(spec, "--now")
    return spec


def target(engine, disk="0"):
    return engine.state_json("web01")["disks"][disk]["target_qcow2"]


def read_back(file, pattern, at, length):
    done = subprocess.run(["qemu-io", "-r", "-f", "qcow2", "-c", f"read -P {pattern} {at} {length}", file],
                          capture_output=True, text=True)
    return done.returncode == 0 and "verification failed" not in done.stdout + done.stderr


def is_converted(file):
    return read_back(file, 0xa5, "1M", "64k")


def assert_converted(engine, lab):
    """The conversion is in the file, which CloudStack has, and nothing of it is left beside it."""
    assert engine.state_json("web01")["stage"] == "done"
    file = target(engine)
    assert is_converted(file)
    info = json.loads(subprocess.run(["qemu-img", "info", "--output=json", file], capture_output=True,
                                     check=True).stdout)
    assert "backing-filename" not in info and not info.get("dirty-flag")
    assert subprocess.run(["qemu-img", "check", file], capture_output=True).returncode == 0
    assert_no_overlays(engine)
    engine.assert_nothing_left("web01")
    assert len(lab.state()["cloudstack"]["vms"]) == 1


def assert_no_overlays(engine):
    assert list(Path(target(engine)).parent.glob(".v2c-vm-*")) == []


def assert_untouched(engine, lab):
    """The target is what the last sync made it: the source, byte for byte."""
    assert_no_overlays(engine)
    engine.assert_identical("web01")
    assert lab.state()["cloudstack"]["vms"] == []


def test_what_the_conversion_changes_is_in_the_imported_disk(world):
    lab, engine, tools = world()
    run = engine.run(engine.spec("web01"))
    cut_over(engine, run)
    text = run.succeed()
    assert_converted(engine, lab)
    assert "virt-v2v: [   1.0] Converting the guest to run on KVM" in text
    assert engine.state_json("web01")["virt_v2v_done"] is True
    call, = tools.calls()
    assert call["argv"][:5] == ["--root", "first", "-i", "disk", "-if"]
    assert call["env"]["LIBGUESTFS_BACKEND"] == "direct"
    assert not [v for v in call["env"].values() if "not for converters" in v]
    assert tools.calls("virt-inspector") == []


def test_a_failed_conversion_leaves_the_target_as_it_was_and_can_be_tried_again(world):
    lab, engine, tools = world()
    tools.say(behaviour="fail")
    spec = engine.spec("web01")
    run = engine.run(spec)
    cut_over(engine, run)
    text = run.fail()
    assert 'failed (exit status 1) in step "Converting the guest to run on KVM": ' \
           "no installed kernel packages were found." in text
    assert "conversion; the target disks are as they were: " in text
    assert engine.status(spec)[0]["current_stage"] == "converting"
    assert engine.status(spec)[0]["last_error_code"] == "E_GUEST_CONVERT"
    assert_untouched(engine, lab)
    tools.say(behaviour="convert")
    engine.run(spec).succeed()
    assert_converted(engine, lab)


def test_deltas_go_on_when_the_source_is_started_after_a_failed_conversion(world):
    lab, engine, tools = world()
    tools.say(behaviour="fail")
    spec = engine.spec("web01")
    run = engine.run(spec)
    cut_over(engine, run)
    run.fail()
    lab.power("web01", "on")
    run = engine.run(spec)
    engine.until_stage(spec, "delta", run)
    rounds = engine.status(spec)[0]["delta_rounds"]
    engine.until_rounds("web01", rounds + 1, run)
    tools.say(behaviour="convert")
    engine.finalize(spec, "--now")
    run.succeed()
    assert_converted(engine, lab)


def test_a_conversion_that_is_killed_is_begun_anew(world):
    lab, engine, tools = world()
    tools.say(behaviour="hang")
    spec = engine.spec("web01")
    run = engine.run(spec)
    cut_over(engine, run)
    tools.until_hangs(run)
    run.kill_all()
    tools.say(behaviour="convert")
    engine.run(spec).succeed()
    assert_converted(engine, lab)
    assert len(tools.calls()) == 2


def test_a_conversion_that_is_stopped_leaves_nothing_running(world):
    lab, engine, tools = world()
    tools.say(behaviour="hang")
    spec = engine.spec("web01")
    run = engine.run(spec)
    cut_over(engine, run)
    tools.until_hangs(run)
    run.interrupt()
    run.fail()
    assert_untouched(engine, lab)
    assert not run.children()
    tools.say(behaviour="convert")
    engine.run(spec).succeed()
    assert_converted(engine, lab)


def test_a_commit_that_is_killed_is_repeated_and_nothing_is_copied_over_it(world):
    lab, engine, tools = world()
    tools.say(commit="hang")
    spec = engine.spec("web01")
    run = engine.run(spec)
    cut_over(engine, run)
    tools.until_hangs(run)
    run.kill_all()
    assert subprocess.run(["qemu-img", "check", target(engine)], capture_output=True).returncode == 3  # leaks
    engine.run(spec).succeed()
    assert_converted(engine, lab)
    assert len(tools.calls()) == 1
    assert engine.log("web01").count("Stage: final_sync") == 1


def test_a_source_that_is_powered_on_after_the_commit_has_no_deltas_copied_over_the_guest(world):
    """on_failure: power_on_source brings the service back, and the converted copy is left as it is."""
    lab, engine, tools = world()
    spec = engine.spec("web01", on_failure="power_on_source")
    run = engine.run(spec)
    engine.until_rounds("web01", 1, run)
    tools.say(commit="fail")
    engine.finalize(spec, "--now")
    text = run.fail()
    assert "its copy is converted already" in text
    assert lab.vm("web01")["power"] == "on"
    assert engine.status(spec)[0]["current_stage"] == "converting"
    (tools.dir / "commit").unlink()
    assert "was started since its copy was converted" in engine.run(spec).fail()
    assert lab.state()["cloudstack"]["vms"] == []


def test_a_source_that_is_started_after_the_commit_is_told_of(world):
    lab, engine, tools = world()
    tools.say(commit="hang")
    spec = engine.spec("web01")
    run = engine.run(spec)
    cut_over(engine, run)
    tools.until_hangs(run)
    run.kill_all()
    lab.power("web01", "on")
    text = engine.run(spec).fail()
    assert "was started since its copy was converted" in text
    assert lab.state()["cloudstack"]["vms"] == []


def test_a_conversion_that_takes_too_long_is_ended(world):
    lab, engine, tools = world(timeout_seconds=2)
    tools.say(behaviour="hang")
    spec = engine.spec("web01")
    run = engine.run(spec)
    cut_over(engine, run)
    text = run.fail()
    assert "has not ended after 2 s" in text
    assert engine.status(spec)[0]["last_error_code"] == "E_GUEST_TIMEOUT"
    assert_untouched(engine, lab)


def test_what_virt_v2v_has_started_ends_with_it(world):
    """They hold the images: deltas could not go on."""
    lab, engine, tools = world(timeout_seconds=2)
    tools.say(behaviour="hang")
    spec = engine.spec("web01")
    run = engine.run(spec)
    cut_over(engine, run)
    run.fail()
    assert not is_alive(tools.companion())


def test_what_virt_v2v_has_started_ends_with_a_worker_that_is_killed(world):
    lab, engine, tools = world()
    tools.say(behaviour="hang")
    spec = engine.spec("web01")
    run = engine.run(spec)
    cut_over(engine, run)
    tools.until_hangs(run)
    companion = tools.companion()  # the supervisor starts another worker, which will have one too
    for pid in run.workers():
        if b"worker" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
            os.kill(pid, signal.SIGKILL)
    until(lambda: not is_alive(companion), "the companion is gone", 20)
    run.kill_all()


def test_a_system_on_the_boot_disk_is_converted_without_the_data_disks(world):
    lab, engine, tools = world([*ONE_DISK, {"address": "scsi0:1", "size": "8MiB", "fill": 50, "seed": 2}])
    tools.say(inspection=INSPECTION.format(root="/dev/sda1", data="/dev/sdb1"))
    run = engine.run(engine.spec("web01"))
    cut_over(engine, run)
    run.succeed()
    assert_converted(engine, lab)
    call, = tools.calls()
    assert call["argv"][:2] == ["--root", "/dev/sda1"] and call["argv"][2:4] == ["-i", "disk"]


@pytest.mark.parametrize("root", ["/dev/sdb1", "/dev/vg_v2c/root"])
def test_a_system_that_may_be_on_several_disks_is_converted_with_all(world, root):
    lab, engine, tools = world([*ONE_DISK, {"address": "scsi0:1", "size": "8MiB", "fill": 50, "seed": 2}])
    tools.say(inspection=INSPECTION.format(root=root, data="/dev/sda1"))
    run = engine.run(engine.spec("web01", target={"rootdiskcontroller": "virtio-scsi"}))
    cut_over(engine, run)
    run.succeed()
    assert_converted(engine, lab)
    call, = tools.calls()
    assert call["argv"][:-1] == ["--root", root, "--block-driver", "virtio-scsi", "-i", "libvirtxml"]


def test_a_version_that_can_leave_out_the_trimming_is_told_to(world):
    lab, engine, tools = world()
    tools.say(help="virt-v2v-in-place: options\n  --no-fstrim   Do not trim")
    run = engine.run(engine.spec("web01"))
    cut_over(engine, run)
    run.succeed()
    call, = tools.calls()
    assert call["argv"][:4] == ["--root", "first", "--no-fstrim", "-i"]


def test_disks_without_a_system_are_told_of_and_left_alone(world):
    lab, engine, tools = world([*ONE_DISK, {"address": "scsi0:1", "size": "8MiB", "fill": 50, "seed": 2}])
    spec = engine.spec("web01")
    run = engine.run(spec)
    cut_over(engine, run)
    text = run.fail()
    assert "virt-inspector: exit status 1" in text
    assert engine.status(spec)[0]["last_error_code"] == "E_GUEST_INSPECT"
    assert_untouched(engine, lab)


def test_a_host_without_virt_v2v_is_told_of_before_the_first_snapshot(world):
    lab, engine, tools = world()
    engine.environment["V2C_VIRT_V2V_BIN"] = str(tools.dir / "nowhere")
    text = engine.run(engine.spec("web01")).fail()
    assert "there is no virt-v2v-in-place" in text
    assert lab.snapshots("web01") == [] and lab.vm("web01")["power"] == "on"


LARGE_DISK = [{"address": "scsi0:0", "size": "64MiB", "fill": 20, "seed": 1}]


@pytest.fixture
def small_pool(world):
    """As world, with a pool whose file system tests can make smaller."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    lab, engine, tools = world(LARGE_DISK)
    pool = lab.info["cloudstack"]["storagepath"]
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4g", "tmpfs", pool], check=True)
    yield lab, engine, tools, pool
    for run in engine.runs:
        if run.is_running():
            run.kill_all()
    lab.stop()
    subprocess.run(["umount", "-l", pool], check=True)


def make_room(pool):
    subprocess.run(["mount", "-o", "remount,size=4g", pool], check=True)


def test_a_pool_that_fills_during_the_conversion_ends_it_and_gets_its_room_back(small_pool):
    lab, engine, tools, pool = small_pool
    tools.say(behaviour="fill")
    spec = engine.spec("web01")
    run = engine.run(spec)
    cut_over(engine, run)
    text = run.fail()
    assert f"the file system of pool {pool} was full" in text and "the target disks are as they were" in text
    assert "hint: make room there and run it again; or start the source VM, and deltas go on" in text
    assert engine.status(spec)[0]["last_error_code"] == "E_NO_SPACE"
    assert engine.status(spec)[0]["current_stage"] == "converting"
    assert not is_alive(tools.companion())
    assert_untouched(engine, lab)
    # Too little is told before anything is begun; then deltas go on, and another cutover goes through.
    tools.say(behaviour="convert")
    text = engine.run(spec).fail()
    assert f"the file system of pool {pool} has" in text and "a conversion may need 1024" in text
    assert_untouched(engine, lab)
    assert len(tools.calls()) == 1
    make_room(pool)
    lab.power("web01", "on")
    run = engine.run(spec)
    engine.until_stage(spec, "delta", run)
    engine.until_rounds("web01", engine.status(spec)[0]["delta_rounds"] + 1, run)
    engine.finalize(spec, "--now")
    run.succeed()
    assert_converted(engine, lab)


def test_a_rehearsal_whose_pool_fills_gives_the_room_back_and_deltas_go_on(small_pool):
    lab, engine, tools, pool = small_pool
    tools.say(behaviour="fill")
    spec = engine.spec("web01")
    run = engine.run(spec)
    engine.until_stage(spec, "delta", run)
    done = engine.command("rehearse", "--config", engine.write_config(), "--spec", spec, check=False)
    assert "converts=unknown" in done.stdout and f"the file system of pool {pool} was full" in done.stdout, done
    assert not is_alive(tools.companion())
    assert_no_overlays(engine)
    engine.until_rounds("web01", engine.status(spec)[0]["delta_rounds"] + 1, run)
    assert lab.vm("web01")["power"] == "on"


def test_a_pool_without_room_for_a_conversion_keeps_the_source_on(small_pool):
    lab, engine, tools, pool = small_pool
    spec = engine.spec("web01")
    run = engine.run(spec)
    engine.until_rounds("web01", 1, run)
    subprocess.run(["mount", "-o", "remount,size=512m", pool], check=True)
    engine.finalize(spec, "--now")
    text = run.fail()
    assert "the source stays on" in text and "a conversion in it is not begun with less than 1.0 GiB" in text
    assert lab.vm("web01")["power"] == "on" and lab.count("vsphere.ShutdownGuest") == 0


def test_a_conversion_that_has_no_room_to_be_put_into_the_copy_is_dropped(small_pool):
    lab, engine, tools, pool = small_pool
    tools.say(amount="16", then="shrink")
    spec = engine.spec("web01")
    run = engine.run(spec)
    cut_over(engine, run)
    text = run.fail()
    assert f"the file system of pool {pool} has" in text and "putting the conversion into the copy" in text
    assert engine.status(spec)[0]["last_error_code"] == "E_NO_SPACE"
    assert_untouched(engine, lab)
    (tools.dir / "then").unlink()
    make_room(pool)
    engine.run(spec).succeed()
    assert_converted(engine, lab)


def test_a_commit_whose_pool_is_full_waits_for_room_and_is_repeated(small_pool):
    lab, engine, tools, pool = small_pool
    tools.say(amount="16", commit="full")
    spec = engine.spec("web01")
    run = engine.run(spec)
    cut_over(engine, run)
    until(lambda: "Waiting for space" in run.text() or not run.is_running(), "the run to wait for space")
    assert "No space left on device" in run.text() and "then the conversion is put into the copy" in run.text()
    assert pool in engine.status(spec)[0]["waits_for_space"]
    assert not engine.state_json("web01").get("virt_v2v_done")
    assert lab.state()["cloudstack"]["vms"] == [] and lab.vm("web01")["power"] == "off"
    assert list(Path(target(engine)).parent.glob(".v2c-vm-*/*.qcow2"))
    # Neither a crash nor a stop changes that.
    run.kill_all()
    run = engine.run(spec)
    until(lambda: "Waiting for space" in run.text() or not run.is_running(), "the second run to wait for space")
    run.interrupt()
    run.fail()
    run = engine.run(spec)
    until(lambda: "Waiting for space" in run.text() or not run.is_running(), "the third run to wait for space")
    make_room(pool)
    run.succeed()
    assert_converted(engine, lab)
    assert read_back(target(engine), 0x5a, "24M", "16M")
    assert len(tools.calls()) == 1


def test_several_disks_without_virt_inspector_are_told_of_before_the_first_snapshot(world):
    lab, engine, tools = world([*ONE_DISK, {"address": "scsi0:1", "size": "8MiB", "fill": 50, "seed": 2}])
    engine.environment["V2C_VIRT_INSPECTOR"] = str(tools.dir / "nowhere")
    text = engine.run(engine.spec("web01")).fail()
    assert "there is no virt-inspector" in text
    assert lab.snapshots("web01") == [] and lab.vm("web01")["power"] == "on"


def stop_in_the_commit(engine, lab, tools):
    """Between conversion and import: the time in which sources are touched."""
    spec = engine.spec("web01")
    run = engine.run(spec)
    engine.until_rounds("web01", 1, run)
    tools.say(commit="hang")
    engine.finalize(spec, "--now")
    tools.until_hangs(run)
    run.kill_all()
    return spec


def touch(lab):
    """As somebody does who edits it, or moves it: its version is another then."""
    moref = lab.moref("web01")
    lab.call("POST", f"/vms/{moref}/snapshot", {"name": "mine"})
    lab.call("DELETE", f"/vms/{moref}/snapshot")


def test_a_source_that_was_touched_after_the_conversion_goes_on_by_somebodys_word(world):
    lab, engine, tools = world()
    spec = stop_in_the_commit(engine, lab, tools)
    touch(lab)
    text = engine.run(spec).fail()
    moref = lab.moref("web01")
    assert "was touched since its copy was converted" in text
    assert f"--source-untouched {moref}" in text
    assert "was touched" in engine.run(spec, "--source-untouched", "vm-999").fail()  # another VM's
    touch(lab)  # after somebody has looked
    assert "later than what --source-untouched was said of" in engine.run(spec, "--source-untouched", moref).fail()
    assert lab.state()["cloudstack"]["vms"] == []
    text = engine.run(spec, "--source-untouched", moref).succeed()
    assert "goes on by the operator's word" in text
    assert_converted(engine, lab)


def test_a_job_of_the_service_goes_on_by_somebodys_word(world):
    lab, engine, tools = world()
    stop_in_the_commit(engine, lab, tools)
    touch(lab)
    service = Service(engine).start()
    [job] = service.begin("web01")
    failed = service.until_state(job, "failed", "completed")
    assert failed["error"]["code"] == "E_SOURCE_CHANGED", failed
    again = service.act(job, "retry")["id"]
    assert service.until_state(again, "failed", "completed")["error"]["code"] == "E_SOURCE_CHANGED", "nobody said so"
    last = service.act(again, "retry", {"source_untouched": True})["id"]
    assert service.until_state(last, "failed", "completed")["state"] == "completed", service.job(last)
    told = [(e["user"], e["action"], e["subject"]) for e in
            service.call("GET", "/api/v1/audit", role="admin")["items"]]
    assert ("operator", "job.retry.source_untouched", again) in told
    service.stop()
    assert_converted(engine, lab)


def test_nobodys_word_counts_for_a_source_that_runs_or_lost_its_history(world):
    lab, engine, tools = world()
    spec = stop_in_the_commit(engine, lab, tools)
    moref = lab.moref("web01")
    lab.power("web01", "on")
    assert "was started" in engine.run(spec, "--source-untouched", moref).fail()
    lab.power("web01", "off")
    lab.call("POST", f"/vms/{moref}/cbt-reset")
    text = engine.run(spec, "--source-untouched", moref).fail()
    assert "changed-block tracking" in text
    assert engine.status(spec)[0]["last_error_code"] == "E_SOURCE_CHANGED"
    assert lab.state()["cloudstack"]["vms"] == []


def test_forgetting_a_migration_takes_its_overlays_along(world):
    lab, engine, tools = world()
    tools.say(behaviour="hang")
    spec = engine.spec("web01")
    run = engine.run(spec)
    cut_over(engine, run)
    tools.until_hangs(run)
    file = Path(target(engine))
    run.kill_all()
    assert list(file.parent.glob(".v2c-vm-*"))
    engine.command("forget", "--config", engine.write_config(), "--spec", spec, "--yes")
    assert not file.exists() and not list(file.parent.glob(".v2c-vm-*"))
