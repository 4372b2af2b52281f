"""The downtime is known before it begins, and a limit on it is kept."""

import sqlite3

from harness import synthetic, until


def predicted(engine, spec, run):
    """What status says of a VM's downtime, once a round has told."""
    def known():
        assert run.is_running(), run.text()[-4000:]
        return engine.status(spec)[0]["predicted_downtime"]
    return until(known, "a predicted downtime")


def test_status_predicts_the_downtime_and_its_parts(make):
    lab, engine = make(synthetic())
    spec = engine.spec("web01")
    run = engine.run(spec)
    assert not engine.status(spec)[0].get("predicted_downtime")
    downtime = predicted(engine, spec, run)
    # Nobody has migrated here yet: shutdown and import are assumed.
    assert downtime["shutdown"] == 30 and downtime["import"] == 15
    assert downtime["settle"] == 1 and downtime["conversion"] == 0 and downtime["max"] is None
    parts = sum(downtime[key] for key in ("shutdown", "settle", "sync", "import"))
    assert abs(downtime["finalize"] - parts) < 0.01
    text = engine.command("status", "--config", engine.write_config(), "--spec", spec).stdout
    assert "downtime if finalized now: about 0:4" in text and "with --now about" in text
    assert "Downtime if finalized now: about" in engine.log("web01")
    engine.finalize(spec, "--now")
    run.succeed()
    assert engine.status(spec)[0]["predicted_downtime"] is None


def test_what_one_vm_took_is_expected_of_the_next(make):
    lab, engine = make(synthetic("web01"), synthetic("web02"))
    first, second = engine.spec("web01"), engine.spec("web02")
    run = engine.run(first)
    engine.until_rounds("web01", 1, run)
    engine.finalize(first, "--now")
    run.succeed()
    run = engine.run(second)
    downtime = predicted(engine, second, run)
    assert 0 < downtime["shutdown"] < 30 and 0 < downtime["import"] < 15
    engine.finalize(second, "--now")
    run.succeed()


def test_each_round_is_recorded_with_its_bytes_and_times(make):
    lab, engine = make(synthetic(writer_kib_per_s=2048))
    spec = engine.spec("web01")
    run = engine.run(spec)
    engine.until_rounds("web01", 3, run)
    engine.finalize(spec, "--now")
    run.succeed()
    with sqlite3.connect(engine.control / "v2c.db") as db:
        rounds = db.execute("SELECT number, covered_ms, changed_bytes, copy_ms, total_ms FROM round"
                            " ORDER BY number").fetchall()
    assert [r[0] for r in rounds] == list(range(len(rounds))) and len(rounds) >= 4
    for _, covered, changed, copy, total in rounds[1:]:
        assert covered > 0 and 0 < copy <= total
    assert sum(r[2] for r in rounds) > 0


def test_a_cutover_within_the_limit_goes_through(make):
    lab, engine = make(synthetic())
    spec = engine.spec("web01", cutover_max_downtime=600)
    run = engine.run(spec)
    assert predicted(engine, spec, run)["max"] == 600
    engine.finalize(spec)
    run.succeed()
    assert "The cutover waits" not in engine.log("web01")
    engine.assert_migrated("web01")


def test_a_cutover_that_would_take_too_long_waits_and_says_so(make):
    """The limit is less than the guest's shutdown alone is expected to take."""
    lab, engine = make(synthetic())
    spec = engine.spec("web01", cutover_max_downtime=10)
    run = engine.run(spec)
    engine.until_rounds("web01", 1, run)
    engine.finalize(spec)
    until(lambda: "cutover_max_downtime of 10 s will not be kept" in engine.log("web01"), "the reason")
    rounds = engine.status(spec)[0]["delta_rounds"]
    engine.until_rounds("web01", rounds + 2, run)  # it stays current meanwhile
    assert lab.vm("web01")["power"] == "on"
    row = engine.status(spec)[0]
    assert row["current_stage"] == "delta" and row["finalize_requested"]
    assert row["predicted_downtime"]["will_not_be_kept"] is True
    assert engine.log("web01").count("will not be kept") == 1
    text = engine.command("status", "--config", engine.write_config(), "--spec", spec).stdout
    assert "will not be kept: raise it, or finalize --now" in text
    engine.finalize(spec, "--now")
    run.succeed()
    engine.assert_migrated("web01")


def test_rounds_follow_each_other_until_the_downtime_fits(make):
    """A writer that has filled a long interval is caught up with by rounds that do not wait."""
    lab, engine = make(synthetic(disks=[{"address": "scsi0:0", "size": "64MiB", "fill": 90, "seed": 1}],
                                 writer_kib_per_s=256))
    # 46.x s are assumed for shutdown, settling and import: the sync has a second.
    spec = engine.spec("web01", cutover_max_downtime=48, delta_interval=3600,
                       bandwidth_limit="none")
    run = engine.run(spec)
    engine.until_stage(spec, "delta", run)
    engine.finalize(spec)
    run.succeed()
    engine.assert_migrated("web01")


def test_a_limit_is_a_number_of_seconds(make):
    lab, engine = make(synthetic())
    spec = engine.spec("web01", cutover_max_downtime="soon")
    assert "migration.cutover_max_downtime: expected a whole number" in engine.run(spec).fail()
