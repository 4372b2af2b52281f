"""How VDDK is used: settings reach the library, and a host that is short of memory is no failure."""

import pytest
from harness import synthetic

DISK = [{"address": "scsi0:0", "size": "24MiB", "fill": 60, "seed": 1}]


def fake(engine, *words):
    """Tells the pretend library what to do; the file that it writes down its settings in."""
    record = engine.dir / "vddk.record"
    engine.environment["V2C_FAKEVDDK"] = ",".join([f"record={record}", *words])
    return record


def test_settings_of_configuration_and_spec_reach_the_library(make):
    lab, engine = make(synthetic(disks=DISK))
    engine.config["migration"]["vddk"] = {"transports": "nbd:nbdssl", "compression": "skipz",
                                          "nfc_buffer_kb": 512, "log_level": 3}
    record = fake(engine)
    spec = engine.spec("web01", vddk={"compression": "fastlz", "nfc_buffer_count": 8})
    run = engine.run(spec)
    engine.until_stage(spec, "delta", run)
    engine.finalize(spec, "--now")
    run.succeed()
    engine.assert_migrated("web01")
    lines = record.read_text().splitlines()
    for line in ("config vixDiskLib.nfcAio.Session.BufSizeIn64KB=8",
                 "config vixDiskLib.nfcAio.Session.BufCount=8",
                 "config vixDiskLib.nfc.LogLevel=3"):
        assert line in lines
    opened = [line for line in lines if line.startswith("open ")]
    assert opened and all(line.startswith("open flags=37 ") for line in opened)  # fastlz, unbuffered
    assert any(line.startswith("connect transports=nbd:nbdssl ") for line in lines)


def test_a_host_that_is_short_of_memory_is_asked_for_less(make):
    lab, engine = make(synthetic(disks=DISK))
    record = fake(engine, "session-memory-kb=1024", "read-memory-kb=200")
    spec = engine.spec("web01")
    run = engine.run(spec)
    engine.until_stage(spec, "delta", run)
    engine.finalize(spec, "--now")
    run.succeed()
    engine.assert_migrated("web01")
    assert "Failed to allocate the requested 1048576 bytes" in engine.log("web01")
    assert "config vixDiskLib.nfcAio.Session.BufSizeIn64KB=4" in record.read_text()


def test_a_transport_that_is_not_there_says_what_it_needs(make):
    lab, engine = make(synthetic(disks=DISK))
    engine.config["migration"]["vddk"] = {"transports": "hotadd"}
    run = engine.run(engine.spec("web01"))
    assert "hotadd that it is a VM of that vCenter" in run.fail()
    engine.assert_nothing_left("web01")


@pytest.mark.parametrize("readers, most", [(1, 1), (2, 2), (4, 2)])
def test_a_slow_connection_gets_a_second_one_unless_the_spec_says_one(make, readers, most):
    """Whether it helps, and so stays, is for the unit tests, where nothing else is under way."""
    disks = [{"address": "scsi0:0", "size": "48MiB", "fill": 100, "seed": 1}]
    lab, engine = make(synthetic(disks=disks, writer_kib_per_s=0))
    lab.call("POST", "/nfc", {"connection_rate": 16 << 20})
    engine.environment["V2C_SECOND_HURRY"] = "8"
    record = fake(engine)
    spec = engine.spec("web01", readers=readers, delta_interval=60)
    run = engine.run(spec)
    engine.until_stage(spec, "delta", run)
    lines = record.read_text().splitlines()
    assert len([line for line in lines if line.startswith("connect ")]) == most
    lab.call("POST", "/nfc", {"connection_rate": 0})
    engine.finalize(spec, "--now")
    run.succeed()
    engine.assert_migrated("web01")
