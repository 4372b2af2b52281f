"""Credentials reach who needs them, and stand nowhere else."""

import os
from pathlib import Path

from harness import synthetic, until



def processes(run):
    for pid in [run.process.pid, *run.children()]:
        try:
            yield pid, Path(f"/proc/{pid}/cmdline").read_bytes(), Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue


def files(engine):
    for path in [*engine.control.rglob("*"), *engine.dir.glob("run-*.log")]:
        if path.is_file() and path.suffix != ".qcow2":
            yield path


def test_a_password_in_the_environment_goes_to_nobody_elses(make):
    """The worker needs it and does not have it in its environment; VDDK's process has it in no way that
    /proc shows; no log or state file has it."""
    disks = [{"address": "scsi0:0", "size": "16MiB", "fill": 100, "seed": 1}]
    lab, engine = make(synthetic(disks=disks))
    password = engine.config["vcenter"].pop("password")
    secret_key = engine.config["cloudstack"].pop("secret_key")
    engine.environment |= {"VC_PASSWORD": password, "V2C_CLOUDSTACK_SECRET_KEY": secret_key}
    spec = engine.spec("web01", bandwidth_limit="512KiB/s")
    run = engine.run(spec)
    engine.until_stage(spec, "base_copy", run)
    until(lambda: run.children("v2c-vddk"), "VDDK's process")
    seen = list(processes(run))
    assert len(seen) >= 3
    for pid, command_line, environment in seen:
        assert password.encode() not in command_line and secret_key.encode() not in command_line
        if pid != run.process.pid:  # that one was given it by whoever started it
            assert password.encode() not in environment and secret_key.encode() not in environment
    run.interrupt()
    run.fail()
    spec = engine.spec("web01", bandwidth_limit="none")
    run = engine.run(spec)
    engine.until_rounds("web01", 1, run)
    engine.finalize(spec, "--now")
    run.succeed()
    engine.assert_migrated("web01")
    for path in files(engine):
        data = path.read_bytes()
        assert password.encode() not in data and secret_key.encode() not in data, path


def test_credentials_may_stand_in_files_of_their_own(make):
    lab, engine = make(synthetic())
    for section, key in (("vcenter", "password"), ("cloudstack", "secret_key"), ("cloudstack", "api_key")):
        path = engine.dir / f"{section}-{key}"
        path.write_text(engine.config[section].pop(key) + "\n")
        path.chmod(0o600)
        engine.config[section][f"{key}_file"] = str(path)
    spec = engine.spec("web01")
    run = engine.run(spec)
    engine.until_rounds("web01", 1, run)
    engine.finalize(spec, "--now")
    run.succeed()
    engine.assert_migrated("web01")
    os.chmod(engine.dir / "vcenter-password", 0o644)
    assert "others can read or write it" in engine.run(spec).fail()
