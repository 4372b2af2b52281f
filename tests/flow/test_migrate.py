"""The working side: VMs of many shapes arrive whole."""

import json
import time
from datetime import datetime, timedelta, timezone

from harness import synthetic, until


def test_one_vm_with_two_delta_rounds(make):
    lab, engine = make(synthetic())
    spec = engine.spec("web01")
    run = engine.run(spec)
    engine.until_rounds("web01", 2, run)
    assert "finalize requested" in engine.finalize(spec)
    run.succeed()
    vm = engine.assert_migrated("web01")
    assert vm["state"] == "Running"
    assert [v["type"] for v in vm["volumes"]] == ["ROOT", "DATADISK"]


def test_a_bandwidth_limit_holds_until_the_spec_says_otherwise(make):
    """Without it this base copy is over in a second; with it, four minutes."""
    disks = [{"address": "scsi0:0", "size": "16MiB", "fill": 100, "seed": 1}]
    lab, engine = make(synthetic(disks=disks))
    spec = engine.spec("web01", bandwidth_limit="64KiB/s")
    run = engine.run(spec)
    engine.until_stage(spec, "base_copy", run)
    until(lambda: "bandwidth limit: 64 KiB/s" in engine.log("web01"), "the limit in the log")
    seen_at = time.monotonic()
    until(lambda: time.monotonic() - seen_at > 4, "time to copy it many times over")
    assert engine.stage(spec) == "base_copy"
    run.kill_all()
    spec = engine.spec("web01", bandwidth_limit="none")
    run = engine.run(spec)
    engine.until_stage(spec, "delta", run)
    engine.finalize(spec, "--now")
    run.succeed()
    engine.assert_migrated("web01")


def test_two_nics_on_two_networks_with_their_mac_addresses(make):
    lab, engine = make(
        synthetic(nics=[{"mac": "00:50:56:aa:00:01", "network": "A"},
                        {"mac": "00:50:56:aa:00:02", "network": "B"}]),
        importvm_macaddress=True)
    networks = list(lab.info["cloudstack"]["networks"].values())
    spec = engine.spec("web01", nics={
        "4000": {"source_label": "Network adapter 1", "source_index": 0, "networkid": networks[0]},
        "4001": {"source_label": "Network adapter 2", "source_index": 1, "networkid": networks[1]}})
    run = engine.run(spec)
    engine.until_stage(spec, "delta", run)
    engine.finalize(spec, "--now")
    run.succeed()
    vm = engine.assert_migrated("web01")
    assert {n["networkid"]: n["macaddress"] for n in vm["nic"]} == {
        networks[0]: "00:50:56:aa:00:01", networks[1]: "00:50:56:aa:00:02"}


def test_equal_unit_numbers_on_two_controllers_are_two_disks(make):
    """Defect C of the existing tool: disks were keyed by unit number alone, and one was lost."""
    disks = [{"address": "scsi0:0", "size": "16MiB", "fill": 50, "seed": 1},
             {"address": "scsi1:0", "size": "8MiB", "fill": 90, "seed": 2},
             {"address": "sata0:0", "size": "8MiB", "fill": 20, "seed": 3}]
    lab, engine = make(synthetic(disks=disks))
    spec = engine.spec("web01")
    run = engine.run(spec)
    engine.until_rounds("web01", 1, run)
    engine.finalize(spec)
    run.succeed()
    vm = engine.assert_migrated("web01")
    assert len(vm["volumes"]) == 3
    assert set(engine.state_json("web01")["disks"]) == {"0", "scsi1:0", "sata0:0"}


def test_thin_disk_with_nothing_allocated(make):
    disks = [{"address": "scsi0:0", "size": "8MiB", "fill": 50, "seed": 1},
             {"address": "scsi0:1", "size": "1GiB", "fill": 0, "seed": 2}]
    lab, engine = make(synthetic(disks=disks, writer_kib_per_s=0))
    spec = engine.spec("web01")
    run = engine.run(spec)
    engine.until_stage(spec, "delta", run)
    engine.finalize(spec, "--now")
    run.succeed()
    engine.assert_migrated("web01")


def test_sizes_that_are_not_whole_blocks(make):
    disks = [{"address": "scsi0:0", "size": 5 * 1024 * 1024 + 512, "fill": 100, "seed": 1},
             {"address": "scsi0:1", "size": 1024 * 1024 - 512, "fill": 100, "seed": 2},
             {"address": "scsi0:2", "size": 512, "fill": 100, "seed": 3}]
    lab, engine = make(synthetic(disks=disks))
    spec = engine.spec("web01")
    run = engine.run(spec)
    engine.until_rounds("web01", 1, run)
    engine.finalize(spec)
    run.succeed()
    engine.assert_migrated("web01")


def test_several_vms_at_once_one_failing_leaves_the_others_alone(make):
    lab, engine = make(synthetic("web01"), synthetic("db01"), synthetic("odd name & co"))
    spec = engine.spec("web01", "db01", "odd name & co", "nobody")
    run = engine.run(spec)
    vms = engine.spec("web01", "db01", "odd name & co")
    until(lambda: all(s["current_stage"] == "delta" for s in engine.status(vms)), "all in delta", 120)
    engine.finalize(vms)
    text = run.fail(180)
    assert "nobody" in text
    for name in ("web01", "db01"):
        engine.assert_migrated(name)
    # Defect F: a name with a space had two directories.
    assert engine.directory("odd_name___co")
    imported = [vm["displayname"] for vm in lab.state()["cloudstack"]["vms"]]
    assert sorted(imported) == ["db01", "odd name & co", "web01"]


def test_source_found_by_moref_and_by_uuid(make):
    lab, engine = make(synthetic("twin", datacenter="East"), synthetic("twin", datacenter="West"))
    first, second = (vm["moref"] for vm in lab.info["vms"])
    text = engine.run(engine.spec("twin")).fail()
    assert first in text and second in text  # an ambiguous name lists the candidates
    spec = engine.spec(second)
    run = engine.run(spec)
    engine.until_stage(spec, "delta", run)
    engine.finalize(spec, "--now")
    run.succeed()
    assert lab.state()["vms"][0]["power"] == "on"
    assert lab.state()["vms"][1]["power"] == "off"


def test_finalize_during_the_base_copy_waits_for_its_end(make):
    lab, engine = make(synthetic())
    lab.fault("nfc.read", "delay", delay_ms=300, count=10)
    spec = engine.spec("web01")
    run = engine.run(spec)
    engine.until_stage(spec, "base_copy", run)
    assert "finalize requested" in engine.finalize(spec)
    assert "already requested" in engine.finalize(spec)
    run.succeed()
    engine.assert_migrated("web01")
    assert engine.state_json("web01")["disks"]["0"]["delta_rounds"] == 1  # while it was still on


def test_marker_files_request_finalize_and_are_consumed(make):
    lab, engine = make(synthetic())
    spec = engine.spec("web01")
    run = engine.run(spec)
    engine.until_stage(spec, "delta", run)
    (engine.directory("web01") / "FINALIZE_NOW").touch()
    run.succeed()
    engine.assert_migrated("web01")


def test_finalize_now_interrupts_a_long_wait(make):
    lab, engine = make(synthetic())
    spec = engine.spec("web01", delta_interval=3600)
    run = engine.run(spec)
    engine.until_stage(spec, "delta", run)
    assert "finalize-now requested" in engine.finalize(spec, "--now")
    assert "finalize-now already requested" in engine.finalize(spec, "--now")
    run.succeed()
    engine.assert_migrated("web01")


def test_finalize_at_a_near_time_cuts_over_by_itself(make):
    lab, engine = make(synthetic())
    at = datetime.now(timezone.utc) + timedelta(seconds=8)
    spec = engine.spec("web01", finalize_at=at.strftime("%Y-%m-%dT%H:%M:%S+00:00"))
    engine.run(spec).succeed()
    engine.assert_migrated("web01")
    assert time.time() >= at.timestamp()


def test_finalize_at_far_away_keeps_on_making_rounds(make):
    lab, engine = make(synthetic())
    at = datetime.now(timezone.utc) + timedelta(days=3)
    spec = engine.spec("web01", finalize_at=at.strftime("%Y-%m-%dT%H:%M"))
    run = engine.run(spec)
    engine.until_rounds("web01", 2, run)
    assert "taken as UTC" in engine.log("web01")
    assert lab.vm("web01")["power"] == "on"
    engine.finalize(spec, "--now")
    run.succeed()
    engine.assert_migrated("web01")


def test_finalize_at_in_the_past_is_refused_unless_allowed(make):
    lab, engine = make(synthetic())
    spec = engine.spec("web01", finalize_at="2024-01-01T00:00:00Z")
    assert "has passed" in engine.run(spec).fail()
    assert lab.vm("web01")["power"] == "on" and not lab.snapshots("web01")
    engine.run(spec, "--allow-past-finalize").succeed()
    engine.assert_migrated("web01")


def test_running_it_again_when_done_does_nothing(make):
    lab, engine = make(synthetic())
    spec = engine.spec("web01")
    run = engine.run(spec)
    engine.until_stage(spec, "delta", run)
    engine.finalize(spec, "--now")
    run.succeed()
    before = lab.calls()
    assert "already done" in engine.run(spec).succeed()
    after = lab.calls()
    for name in ("cloudstack.importVm", "cloudstack.importVolume", "vsphere.CreateSnapshot_Task"):
        assert before.get(name, 0) == after.get(name, 0)
    assert "already completed" in engine.finalize(spec)


def test_status_has_the_existing_tools_fields(make):
    lab, engine = make(synthetic())
    spec = engine.spec("web01")
    row = engine.status(spec, "--control-dir", str(engine.control))[0]
    assert row["current_stage"] == "not_started" and row["vm_moref"] is None
    run = engine.run(spec)
    engine.until_stage(spec, "delta", run)
    engine.finalize(spec)
    row = engine.status(spec)[0]
    assert set(row) >= {"vm_name", "vm_moref", "current_stage", "next_stage", "finalize_requested",
                        "finalize_now_requested", "progress", "control_dir", "state_file"}
    run.succeed()
    row = engine.status(spec)[0]
    assert row["current_stage"] == "done" and row["progress"] == 100
    assert json.loads(open(row["state_file"]).read())["vm_moref"] == lab.moref("web01")


def test_a_disk_that_hardly_answers_does_not_hold_up_its_sibling(make):
    """Each has a thread, buffers and a connection of its own: one is through before the other has
    anything at all."""
    lab, engine = make(synthetic(disks=[
        {"address": "scsi0:0", "size": "64MiB", "fill": 100, "seed": 1, "delay_ms": 60000},
        {"address": "scsi0:1", "size": "64MiB", "fill": 100, "seed": 2}]))
    spec = engine.spec("web01")
    run = engine.run(spec)

    def quick_one_is_through():
        assert run.is_running(), run.text()[-4000:]
        disks = {disk["address"]: disk for disk in engine.status(spec)[0]["disks"]}
        return disks.get("scsi0:1", {}).get("progress") == 100 and disks["scsi0:0"]["bytes_read"] == 0

    until(quick_one_is_through, "the quick disk is copied", 50)
    assert engine.stage(spec) == "base_copy"
    run.kill_all()
