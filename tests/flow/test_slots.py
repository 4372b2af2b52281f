"""Handles on VDDK are few: everybody gets one in time, and a VM that is off waits for nobody."""

from harness import synthetic, until

SMALL = [{"address": "scsi0:0", "size": "8MiB", "fill": 60, "seed": 1},
         {"address": "scsi0:1", "size": "4MiB", "fill": 60, "seed": 2}]
LARGE = [{"address": "scsi0:0", "size": "32MiB", "fill": 100, "seed": 1}]


def test_many_vms_share_one_handle_and_all_arrive(make):
    names = [f"vm{i}" for i in range(5)]
    lab, engine = make(*(synthetic(name, disks=SMALL) for name in names),
                       migration={"parallel_vms": 5})
    engine.environment["V2C_VDDK_MAX_OPEN"] = "1"
    spec = engine.spec(*names)
    run = engine.run(spec)
    until(lambda: all(s["current_stage"] == "delta" for s in engine.status(spec)), "all in delta", 120)
    engine.finalize(spec)
    run.succeed(180)
    for name in names:
        engine.assert_migrated(name)
    assert any("waiting for one of 1 VDDK handles" in engine.log(name) for name in names)


def test_status_says_what_a_disk_waits_for_and_a_killed_worker_frees_it(make):
    lab, engine = make(synthetic("web01", disks=LARGE), synthetic("db01", disks=LARGE))
    engine.environment["V2C_VDDK_MAX_OPEN"] = "1"
    first, second = engine.spec("web01", bandwidth_limit="64KiB/s"), engine.spec("db01")
    slow = engine.run(first)
    until(lambda: lab.count("nfc.read") > 0, "the first VM copies")
    run = engine.run(second)
    until(lambda: engine.status(second)[0].get("disks")
          and engine.status(second)[0]["disks"][0]["stage"] == "waits for one of 1 handles",
          "the second VM waits")
    assert "waits for one of 1 handles" in engine.command(
        "status", "--config", engine.write_config(), "--spec", second).stdout
    slow.kill_all()
    engine.until_stage(second, "delta", run)
    engine.finalize(second, "--now")
    run.succeed()
    engine.assert_migrated("db01")


def test_a_final_sync_does_not_wait_for_the_copies_of_others(make):
    """Neither for the engine's only handle, nor for the host's."""
    lab, engine = make(synthetic("web01", disks=SMALL), synthetic("db01", disks=LARGE),
                       migration={"max_handles_per_host": 1})
    engine.environment["V2C_VDDK_MAX_OPEN"] = "1"
    first, second = engine.spec("web01", delta_interval=3600), engine.spec("db01", bandwidth_limit="64KiB/s")
    run = engine.run(first)
    engine.until_stage(first, "delta", run)
    slow = engine.run(second)
    reads = lab.count("nfc.read")
    until(lambda: lab.count("nfc.read") > reads, "the other VM copies")
    engine.finalize(first, "--now")
    run.succeed()
    engine.assert_identical("web01")
    assert slow.is_running() and engine.stage(second) == "base_copy"
    slow.kill_all()


def test_a_host_has_a_limit_of_its_own(make):
    lab, engine = make(synthetic("web01", disks=LARGE), synthetic("db01", disks=LARGE),
                       synthetic("far01", disks=SMALL, datacenter="DC2"),
                       migration={"max_handles_per_host": 1})
    first, second, third = (engine.spec("web01", bandwidth_limit="64KiB/s"), engine.spec("db01"),
                            engine.spec("far01"))
    slow = engine.run(first)
    until(lambda: lab.count("nfc.read") > 0, "the first VM copies")
    waiting, far = engine.run(second), engine.run(third)
    engine.until_stage(second, "base_copy", waiting)
    until(lambda: "one of 1 VDDK handles of host esx1.DC1.lab (max_handles_per_host)"
          in engine.log("db01"), "the second VM waits for its host")
    engine.until_stage(third, "delta", far)  # on another host
    assert engine.stage(second) == "base_copy"
    slow.kill_all()
    engine.until_stage(second, "delta", waiting)
    for run in (waiting, far):
        run.kill_all()
