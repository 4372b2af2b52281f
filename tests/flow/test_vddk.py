"""How VDDK is used: settings reach the library, and a host that is short of memory is no failure."""

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


def copy_slowly(make, size, readers, **limits):
    """A base copy with the disk server as slow as that: its log, and what reached the library."""
    disks = [{"address": "scsi0:0", "size": size, "fill": 100, "seed": 1}]
    lab, engine = make(synthetic(disks=disks, writer_kib_per_s=0))
    lab.call("POST", "/nfc", limits)
    engine.environment["V2C_SECOND_HURRY"] = "8"
    record = fake(engine)
    spec = engine.spec("web01", readers=readers)
    run = engine.run(spec)
    engine.until_stage(spec, "delta", run)
    lines = record.read_text().splitlines()
    lab.call("POST", "/nfc", {"connection_rate": 0, "rate": 0})
    engine.finalize(spec, "--now")
    run.succeed()
    engine.assert_migrated("web01")
    return engine.log("web01"), [line for line in lines if line.startswith("connect ")]


def test_a_second_connection_stays_where_a_connection_is_limited(make):
    log, connections = copy_slowly(make, "240MiB", 2, connection_rate=40 << 20)
    assert "[disk0] second connection kept: " in log
    assert len(connections) == 2


def test_one_reader_means_one_connection(make):
    log, connections = copy_slowly(make, "64MiB", 1, connection_rate=32 << 20)
    assert "second connection" not in log
    assert len(connections) == 1
