"""The log for programs: JSON lines, and entries of systemd's journal that can be asked for by VM."""

import json
import re
import socket
import threading

import harness
import pytest
from service import Service

TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")


class Journal:
    """A socket that reads datagrams as systemd-journald does."""

    def __init__(self, path):
        self.path = str(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.entries = []
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        while True:
            try:
                self.entries.append(self.parse(self.socket.recv(1 << 20)))
            except OSError:
                return

    @staticmethod
    def parse(data):
        entry = {}
        while data:
            head, _, rest = data.partition(b"\n")
            name, equals, value = head.partition(b"=")
            if not equals:
                size = int.from_bytes(rest[:8], "little")
                value, rest = rest[8:8 + size], rest[8 + size:]
                assert rest[:1] == b"\n"
                rest = rest[1:]
            entry[name.decode()] = value.decode()
            data = rest
        return entry

    def of(self, **fields):
        return [e for e in self.entries if all(e.get(k) == v for k, v in fields.items())]


@pytest.fixture
def service(make):
    """service(*arguments, log=..., journal=...) -> Service"""
    made = []

    def start(*arguments, log=None, environment=None):
        _, engine = make(harness.synthetic())
        if log:
            engine.config["log"] = log
        engine.environment.update(environment or {})
        made.append(Service(engine, *arguments))
        return made[-1]

    yield start
    for one in made:
        if one.process and one.process.poll() is None:
            one.kill_all()


def lines_of(text):
    lines = [json.loads(line) for line in text.splitlines()]
    assert all(TIME.match(line["time"]) for line in lines)
    assert all(line["level"] in ("debug", "info", "warning", "error") and line["room"] and "message" in line
               for line in lines)
    return lines


def migrate(service):
    [job] = service.begin("web01")
    service.until_job(job, lambda j: j["state"] == "waiting" and j["delta_rounds"] >= 1, "deltas")
    service.act(job, "finalize")
    assert service.until_state(job, "completed", "failed")["state"] == "completed"
    return job


def test_the_service_logs_json(service):
    one = service("--log-format", "json").start()
    job = migrate(one)
    moref = one.engine.lab.moref("web01")
    harness.until(lambda: f"[job {job}] migrate of web01: completed" in one.text(), "its end is logged")
    lines = lines_of(one.text())
    mine = [line for line in lines if line.get("job_id") == job]
    own = [line for line in mine if line["room"] == "migration"]
    assert any(line["message"] == "Stage: final_sync" for line in own), own
    assert {line["vm"] for line in mine} == {"web01"} and {line["moref"] for line in own} == {moref}
    assert any(line.get("stage") == "delta" and line.get("migration_id") for line in own)
    assert any(line["room"] == "supervisor" and "completed" in line["message"] for line in mine)
    assert any("[audit]" in line["message"] and line["room"] == "api" for line in lines)
    text = (one.engine.directory("web01") / "migration.log").read_text()
    assert re.search(r"^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] Stage: final_sync$", text, re.M), "the VM's log is as it was"


def test_a_failure_has_its_code(service):
    one = service(log={"format": "json"}).start()
    one.engine.lab.fault("vsphere.CreateSnapshot_Task", "fail", count=100)
    [job] = one.begin("web01")
    failed = one.until_state(job, "failed")
    harness.until(lambda: [line for line in lines_of(one.text()) if line.get("code") == failed["error"]["code"]
                           and line.get("job_id") == job], "the failure is logged with its code")


def test_the_journal_can_be_asked_for_a_vm(service, tmp_path):
    journal = Journal(tmp_path / "journal")
    one = service("--log-format", "journald", environment={"V2C_JOURNAL_SOCKET": journal.path})
    one.engine.write_config()
    # It says where it listens to the journal, and to nobody else.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(one, "text", lambda: "\n".join(e["MESSAGE"] for e in journal.entries))
        one.start()
        job = migrate(one)
        harness.until(lambda: journal.of(V2C_JOB_ID=job, MESSAGE=f"[job {job}] migrate of web01: completed"),
                      "its end is in the journal")
    assert one.output.read_text() == ""
    entries = journal.of(V2C_VM="web01")
    assert [e for e in entries if e["MESSAGE"] == "Stage: final_sync" and e["PRIORITY"] == "6"
            and e["V2C_ROOM"] == "migration" and e["V2C_JOB_ID"] == job
            and e["V2C_MOREF"] == one.engine.lab.moref("web01")], entries
    assert all(e["SYSLOG_IDENTIFIER"] == "v2c-engine" for e in journal.entries)
    assert any(e["PRIORITY"] == "4" for e in journal.entries), "warnings have their priority"


def test_run_logs_json(make):
    _, engine = make(harness.synthetic())
    spec = engine.spec("web01")
    run = engine.run(spec, "--log-format", "json")
    engine.until_rounds("web01", 1, run)
    engine.finalize(spec)
    run.succeed()
    lines = lines_of(run.text())
    own = [line for line in lines if line["room"] == "migration"]
    assert any(line["message"] == "Stage: done" and line["vm"] == "web01" and line["migration_id"] and line["moref"]
               for line in own), lines
    assert any(line["message"].startswith("[run] completed VM workflow") for line in lines)


def test_the_end_of_a_run_that_fails_is_json_too(make):
    lab, engine = make(harness.synthetic())
    lab.fault("vsphere.CreateSnapshot_Task", "fail", count=100)
    run = engine.run(engine.spec("web01"), "--log-format", "json")
    run.fail()
    lines = lines_of(run.text())
    assert lines[-1]["level"] == "error" and lines[-1]["code"].startswith("E_")
    assert [line for line in lines if line.get("vm") == "web01" and line.get("code") == lines[-1]["code"]]


@pytest.mark.parametrize("command", ["run", "serve"])
def test_a_format_that_does_not_exist_is_refused(make, command):
    _, engine = make(harness.synthetic())
    done = engine.command(command, "--config", engine.write_config(), "--log-format", "xml", check=False)
    assert done.returncode != 0 and "expected text, json or journald" in done.stderr
    engine.environment["V2C_JOURNAL_SOCKET"] = "/nonexistent"
    engine.config["log"] = {"format": "journald"}
    done = engine.command(command, "--config", engine.write_config(), "--spec" if command == "run" else "--listen",
                          engine.spec("web01") if command == "run" else "127.0.0.1:0", check=False)
    assert done.returncode != 0 and "there is no journal at /nonexistent" in done.stderr
