"""`v2c-engine serve`: jobs through the API, and what outlasts the service."""

import ctypes
import os
import socket
import subprocess
import time

import pytest

import harness
from service import Service


@pytest.fixture
def serve(make):
    """serve(vm, ...) -> (lab, engine, service)"""
    services = []

    def start(*vms, arguments=(), migration=None, **more):
        lab, engine = make(*vms, migration={"parallel_vms": 3, **(migration or {})}, **more)
        service = Service(engine, *arguments).start()
        services.append(service)
        return lab, engine, service

    yield start
    for service in services:
        if service.process.poll() is None:
            service.kill_all()


def test_health_needs_nobody_and_everything_else_somebody(serve):
    lab, engine, service = serve(harness.synthetic())
    assert service.call("GET", "/health", role=None) == {"status": "ok"}
    for method, path in (("GET", "/api/v1/jobs"), ("GET", "/metrics"), ("GET", "/environments"),
                         ("GET", "/migration/jobs"), ("GET", "/api/v1/stream"),
                         ("POST", "/migration/start"), ("GET", "/vmware/vms")):
        answer = service.request(method, path, role=None)
        assert answer.status == 401, (path, answer.status)
        assert "detail" in answer.json()


def test_an_answer_waits_for_nothing(serve):
    """An answer comes from another thread than the one with the connections, which must be woken for it."""
    lab, engine, service = serve(harness.synthetic())
    def quickest(*request):
        times = []
        for _ in range(10):
            began = time.monotonic()
            service.request(*request)
            times.append(time.monotonic() - began)
        return min(times)
    assert quickest("GET", "/api/v1/jobs") < 0.25
    assert quickest("PUT", "/api/v1/waves/one", {}) < 0.25


def test_a_job_migrates_a_vm(serve):
    lab, engine, service = serve(harness.synthetic())
    [job] = service.begin("web01")
    service.until_job(job, lambda j: j["state"] == "waiting" and j["delta_rounds"] >= 1, "deltas")
    service.act(job, "finalize")
    done = service.until_state(job, "completed", "failed")
    assert done["state"] == "completed", done
    engine.assert_migrated("web01")


def test_a_control_directory_has_one_service(serve):
    lab, engine, service = serve(harness.synthetic())
    key = (engine.control / "service.key").read_bytes()
    second = subprocess.run([harness.ENGINE, "serve", "--config", service.config, "--listen", "127.0.0.1:0"],
                            env=engine.env(), capture_output=True, text=True, timeout=30)
    assert second.returncode and "service.lock is locked by process" in second.stderr, second
    assert "listening" not in second.stderr, "nobody has reached it"
    assert (engine.control / "service.key").read_bytes() == key
    assert service.call("GET", "/health", role=None) == {"status": "ok"}


class Frozen:
    """One thread of a process that does nothing, while the others go on."""

    SEIZE, INTERRUPT, DETACH, WALL = 0x4206, 0x4207, 17, 0x40000000
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]

    def __init__(self, pid, name):
        self.threads = [int(task.name) for task in harness.Path(f"/proc/{pid}/task").iterdir()
                        if (task / "comm").read_text().strip() == name]
        assert self.threads, name

    def _do(self, request, thread):
        assert self.libc.ptrace(request, thread, None, None) == 0, os.strerror(ctypes.get_errno())

    def __enter__(self):
        for thread in self.threads:
            self._do(self.SEIZE, thread)
            self._do(self.INTERRUPT, thread)
            os.waitpid(thread, self.WALL)

    def __exit__(self, *_):
        for thread in self.threads:
            self._do(self.DETACH, thread)


@pytest.mark.parametrize("thread", ["v2c-http", "v2c-quick", "v2c-events"])
def test_the_watchdog_is_fed_only_while_requests_are_answered(serve, tmp_path, thread):
    lab, engine, service = serve(harness.synthetic())
    service.stop()
    told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    told.bind(str(tmp_path / "notify"))
    told.settimeout(10)
    def feeds(within):
        told.setblocking(False)
        try:
            while told.recv(100):
                pass
        except BlockingIOError:
            told.settimeout(within)
        try:
            return told.recv(100) == b"WATCHDOG=1"
        except TimeoutError:
            return False
    engine.environment |= {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "3000000"}
    service.start()
    assert feeds(10) and feeds(10)
    with Frozen(service.process.pid, thread):
        harness.until(lambda: "requests are not answered any more" in service.text(), "it is seen", 30)
        assert not feeds(4)
    assert feeds(10), "it goes on"


def test_a_killed_service_goes_on_by_itself(serve):
    lab, engine, service = serve(harness.synthetic())
    [job] = service.begin("web01")
    service.until_job(job, lambda j: j["state"] == "waiting" and j["delta_rounds"] >= 1, "deltas")
    service.kill_all()
    service.start()
    service.until_job(job, lambda j: j["state"] == "waiting", "it goes on")
    service.act(job, "finalize")
    assert service.until_state(job, "completed", "failed")["state"] == "completed"
    engine.assert_migrated("web01")


def test_a_stopped_service_keeps_a_finalize_request(serve):
    lab, engine, service = serve(harness.synthetic())
    lab.fault("vsphere.CreateSnapshot_Task", "delay", delay_ms=3000, skip=1, count=50)
    [job] = service.begin("web01")
    service.until_job(job, lambda j: j["state"] == "waiting", "deltas")
    service.act(job, "finalize")
    assert service.stop() == 0, service.text()
    lab.clear_faults()
    service.start()
    assert service.until_state(job, "completed", "failed")["state"] == "completed"
    engine.assert_migrated("web01")


def test_a_vm_has_one_unfinished_job(serve):
    lab, engine, service = serve(harness.synthetic())
    [job] = service.begin("web01")
    again = service.request("POST", "/api/v1/jobs", {"vms": [service.spec("web01")]})
    assert again.status == 409 and again.json()["code"] == "E_JOB_EXISTS"
    service.act(job, "stop")
    stopped = service.until_state(job, "stopped")
    assert "retry" in stopped["actions"]
    refused = service.request("POST", f"/api/v1/jobs/{job}/actions/retry", {"source_untouched": True})
    assert refused.status == 409, "a word for what nobody asked"
    retried = service.act(job, "retry")
    assert retried["id"] != job and retried["retry_of"] == job
    service.until_job(retried["id"], lambda j: j["state"] == "waiting", "the retry goes on")
    assert service.job(job)["state"] == "stopped"
    service.call("DELETE", f"/api/v1/jobs/{job}")
    service.act(retried["id"], "stop")
    service.until_state(retried["id"], "stopped")
    third = service.act(retried["id"], "retry")
    service.until_job(third["id"], lambda j: j["state"] == "waiting", "its spec is not gone with the first")


def spec_of(service, **vm):
    return {**service.spec("web01"), "vm": vm}


def other_environment(lab, service):
    """The same vCenter under another name; (its id, the name)."""
    address = lab.info["vcenter"]["address"].replace("127.0.0.1", "localhost")
    assert address != lab.info["vcenter"]["address"]
    made = service.call("POST", "/api/v1/environments", {
        "kind": "vcenter", "name": "the same", "address": address, "user": lab.info["vcenter"]["user"],
        "password": lab.info["vcenter"]["password"], "thumbprint": lab.info["vcenter"]["sha256"]})
    return made["id"]


def refuse(service, body):
    answer = service.request("POST", "/api/v1/jobs", body)
    assert answer.status == 409 and answer.json()["code"] == "E_JOB_EXISTS", (answer.status, answer.body)


def test_a_vm_is_one_by_whatever_it_is_called(serve):
    lab, engine, service = serve(harness.synthetic())
    by_name, by_moref = spec_of(service, name="web01"), spec_of(service, moref=lab.moref("web01"))
    refuse(service, {"vms": [by_name, by_moref]})
    assert service.call("GET", "/api/v1/jobs")["total"] == 0, "all or none"
    other = other_environment(lab, service)
    [job] = service.call("POST", "/api/v1/jobs", {"vms": [by_name], "not_before": "2099-01-01T00:00:00Z"})
    assert job["vm_moref"] == lab.moref("web01")
    refuse(service, {"vms": [by_moref]})
    refuse(service, {"vms": [by_moref], "vcenter": other})
    refuse(service, {"vms": [by_name], "vcenter": other})
    service.act(job["id"], "stop")
    service.until_state(job["id"], "stopped")
    service.call("POST", "/api/v1/jobs", {"vms": [by_moref], "vcenter": other})


def test_many_vms_are_looked_up_at_once(serve):
    vms = [harness.synthetic(f"web{i:02}", nics=[{"mac": f"00:50:56:aa:01:{i:02}", "network": "VM Network"}])
           for i in range(1, 31)]
    lab, engine, service = serve(*vms)
    before = lab.calls()
    jobs = service.call("POST", "/api/v1/jobs", {
        "vms": [{**service.spec(f"web{i:02}"), "vm": {"name": f"web{i:02}"}} for i in range(1, 31)],
        "not_before": "2099-01-01T00:00:00Z"})
    assert [job["vm_moref"] for job in jobs] == [lab.moref(f"web{i:02}") for i in range(1, 31)]
    after = lab.calls()
    asked = {name: n - before.get(name, 0) for name, n in after.items() if n > before.get(name, 0)}
    assert asked["vsphere.Login"] == 1 and sum(asked.values()) < 20, asked


def test_where_the_vcenter_cannot_be_asked_the_second_job_ends_by_itself(serve):
    lab, engine, service = serve(harness.synthetic())
    by_name, by_moref = spec_of(service, name="web01"), spec_of(service, moref=lab.moref("web01"))
    other = other_environment(lab, service)
    def dont_answer(times):
        lab.fault("vsphere.Login", "fail", "SystemError", count=times)
    dont_answer(1)
    [first] = service.call("POST", "/api/v1/jobs", {"vms": [by_name]})
    assert first["vm_moref"] is None
    running = service.until_job(first["id"], lambda j: j["state"] == "waiting", "deltas")
    refuse(service, {"vms": [by_moref], "vcenter": other})  # by now its worker has said which VM it is
    dont_answer(1)
    refuse(service, {"vms": [by_moref]})
    dont_answer(1)
    [second] = service.call("POST", "/api/v1/jobs", {"vms": [by_moref], "vcenter": other})
    failed = service.until_state(second["id"], "failed", "completed")
    assert failed["error"]["code"] == "E_STORE_FOREIGN", failed["error"]
    assert "is being migrated already" in failed["error"]["detail"]
    assert service.job(first["id"])["state"] == "waiting"
    assert len(lab.snapshots("web01")) <= 1, "one of its own"
    assert all(harness.Path(disk["path"]).exists() for disk in running["disks"])
    service.act(first["id"], "finalize")
    assert service.until_state(first["id"], "completed", "failed")["state"] == "completed"
    engine.assert_migrated("web01")


def test_two_jobs_of_a_vm_that_nobody_could_tell_are_one_migration(serve):
    lab, engine, service = serve(harness.synthetic())
    lab.fault("vsphere.Login", "fail", "SystemError", count=2)
    later = {"not_before": "2099-01-01T00:00:00Z"}
    [first] = service.call("POST", "/api/v1/jobs", {"vms": [spec_of(service, name="web01")], **later})
    [second] = service.call("POST", "/api/v1/jobs", {"vms": [spec_of(service, moref=lab.moref("web01"))], **later})
    for job in (first, second):
        service.call("PATCH", f"/api/v1/jobs/{job['id']}", {"not_before": None})
        if job is first:
            service.until_job(job["id"], lambda j: j["state"] == "waiting", "deltas")
    failed = service.until_state(second["id"], "failed", "completed")
    assert failed["error"]["code"] == "E_LOCKED" and "is migrating this VM" in failed["error"]["detail"], failed
    assert service.job(first["id"])["state"] == "waiting"
    service.act(first["id"], "finalize")
    assert service.until_state(first["id"], "completed", "failed")["state"] == "completed"
    engine.assert_migrated("web01")


def test_waiting_jobs_hold_no_slot(serve):
    lab, engine, service = serve(
        harness.synthetic("web01"),
        harness.synthetic("web02", nics=[{"mac": "00:50:56:aa:00:02", "network": "VM Network"}]),
        arguments=("--max-workers", "1"))
    first, second = service.begin("web01", "web02")
    service.until_job(first, lambda j: j["state"] == "waiting", "the first makes deltas")
    service.until_job(second, lambda j: j["state"] == "waiting", "the second, too, with one slot")
    assert service.job(first)["state"] == "waiting"


def test_cancel_removes_snapshots_and_files(serve):
    lab, engine, service = serve(harness.synthetic())
    [job] = service.begin("web01")
    running = service.until_job(job, lambda j: j["state"] == "waiting", "deltas")
    files = [disk["path"] for disk in running["disks"]]
    cancel = service.act(job, "cancel")
    assert cancel["kind"] == "cancel"
    assert service.until_state(cancel["id"], "completed", "failed")["state"] == "completed"
    assert service.until_state(job, "cancelled", "stopped", "failed")["state"] == "cancelled"
    assert not [f for f in files if harness.Path(f).exists()]
    assert not lab.snapshots("web01")


def test_a_cancel_at_any_moment_leaves_nothing(serve):
    lab, engine, service = serve(harness.synthetic())
    for wait in (lambda j: True, lambda j: j["state"] == "running",
                 lambda j: j["stage"] == "base_copy" or j["state"] == "waiting"):
        [job] = service.begin("web01")
        service.until_job(job, wait, "the moment to cancel")
        service.act(job, "cancel")
        service.until_state(job, "cancelled", "stopped", "failed")
        harness.until(lambda: not service.call("GET", "/api/v1/jobs?state=active")["items"], "all has ended")
        assert service.job(job)["state"] == "cancelled", service.job(job)
        assert not lab.snapshots("web01")
        assert not engine.command("cleanup", "--json", "--config", service.config, check=False).stderr
        assert not engine.command("status", "--config", service.config, "--vm", "web01", check=False).stdout


def test_rollback_powers_the_source_on(serve):
    lab, engine, service = serve(harness.synthetic())
    [job] = service.begin("web01")
    service.until_job(job, lambda j: "finalize" in (j["actions"] or []), "it can be finalized")
    service.act(job, "finalize", {"now": True})
    done = service.until_state(job, "completed", "failed")
    assert done["state"] == "completed" and "rollback" in done["actions"]
    back = service.act(job, "rollback", {"force": True})
    assert service.until_state(back["id"], "completed", "failed")["state"] == "completed"
    assert lab.vm("web01")["power"] == "on"
    assert service.job(job)["stage"] == "rolled_back"


def test_a_check_reports_its_findings(serve):
    lab, engine, service = serve(harness.synthetic())
    [check] = service.call("POST", "/api/v1/jobs",
                           {"kind": "check", "vms": [service.spec("web01", target={"zoneid": "nowhere"})]})
    assert service.until_state(check["id"], "completed", "failed")["state"] == "completed"
    report = service.call("GET", f"/api/v1/jobs/{check['id']}/report")
    failures = [f for f in report["findings"] if f["level"] == "failure"]
    assert any(f["code"].startswith("target.") for f in failures), report["findings"]


def test_a_failed_job_says_why(serve):
    lab, engine, service = serve(harness.synthetic())
    spec = service.spec("web01")
    spec["vm"] = {"name": "nobody"}
    [job] = service.call("POST", "/api/v1/jobs", {"vms": [spec]})
    failed = service.until_state(job["id"], "failed")
    assert failed["error"]["code"] == "E_VSPHERE_NOT_FOUND", failed["error"]
    assert "nobody" in failed["error"]["detail"]


def test_a_wrong_spec_begins_nothing(serve):
    lab, engine, service = serve(harness.synthetic())
    good, bad = service.spec("web01"), service.spec("web01", no_such_key=1)
    bad["vm"] = {"name": "other"}
    answer = service.request("POST", "/api/v1/jobs", {"vms": [good, bad]})
    assert answer.status == 400 and "no_such_key" in answer.json()["detail"]
    assert service.call("GET", "/api/v1/jobs")["total"] == 0
    rendered = service.call("POST", "/api/v1/specs/render", {"vms": [bad]})
    assert "no_such_key" in " ".join(rendered["problems"]) and rendered["yaml"]


def test_jobs_wait_for_their_time_and_wave(serve):
    lab, engine, service = serve(harness.synthetic())
    service.call("PUT", "/api/v1/waves/night", {"not_before": "2099-01-01T00:00:00Z"})
    [job] = service.begin("web01", wave="night")
    harness.until(lambda: "2099" in (service.job(job)["waits_for"] or ""), "it says what it waits for")
    service.call("PUT", "/api/v1/waves/night", {"not_before": None})
    service.until_job(job, lambda j: j["state"] in ("running", "waiting"), "it begins")


def test_a_wave_is_made_with_its_jobs_and_stays_while_they_are_unfinished(serve):
    lab, engine, service = serve(harness.synthetic())
    [job] = service.begin("web01", wave="night")
    [wave] = service.call("GET", "/api/v1/waves")
    assert (wave["name"], wave["concurrency"], wave["position"], wave["not_before"]) == ("night", 0, 0, None)
    limits = {"concurrency": 2, "position": 3, "not_after": "2099-01-01T00:00:00Z"}
    changed = service.call("PUT", "/api/v1/waves/night", limits)
    assert (changed["concurrency"], changed["position"], changed["not_after"]) == (2, 3, "2099-01-01T00:00:00Z")
    refused = service.request("DELETE", "/api/v1/waves/night")
    assert refused.status == 409 and refused.json()["code"] == "E_JOB_STATE"
    service.until_job(job, lambda j: j["state"] == "waiting", "deltas")
    service.act(job, "stop")
    service.until_state(job, "stopped")
    assert service.call("GET", "/api/v1/waves")[0]["jobs"] == {"stopped": 1}
    service.call("DELETE", "/api/v1/waves/night", expect=204)
    assert service.call("GET", "/api/v1/waves") == []
    assert service.request("DELETE", "/api/v1/waves/night").status == 404


def test_a_list_of_jobs_tells_how_far_each_disk_is(serve):
    disks = [{"address": f"scsi0:{i}", "size": "16MiB", "fill": 50, "seed": i + 1} for i in range(2)]
    lab, engine, service = serve(harness.synthetic(disks=disks))
    [job] = service.begin("web01")
    service.until_job(job, lambda j: j["state"] == "waiting" and j["delta_rounds"] >= 1, "deltas")
    [listed] = service.call("GET", "/api/v1/jobs")["items"]
    assert [d["name"] for d in listed["disk_progress"]] == [d["name"] for d in service.job(job)["disks"]]
    assert all(d["progress"] == 100 for d in listed["disk_progress"])


def test_an_inventory_tells_where_each_vm_is(serve):
    lab, engine, service = serve(harness.synthetic())
    environment = next(e for e in service.call("GET", "/api/v1/environments") if e["kind"] == "vcenter")
    [vm] = service.call("GET", f"/api/v1/environments/{environment['id']}/vms")
    assert vm["datacenter"] and vm["cluster"] == "cluster1" and vm["folder"] is None
    assert vm["host"] and not vm["host"].startswith("host-"), "a name, not a moref"


def ui_files(tmp_path):
    directory = tmp_path / "ui"
    (directory / "assets").mkdir(parents=True)
    (directory / "index.html").write_text("<!doctype html><title>v2c</title>")
    (directory / "assets" / "app.js").write_text("console.log(1)")
    (directory / "assets" / "app.js.gz").write_bytes(b"\x1f\x8bpacked")
    return directory


def test_the_ui_is_served_by_the_service(serve, tmp_path):
    lab, engine, service = serve(harness.synthetic(), arguments=("--ui-dir", str(ui_files(tmp_path))))
    page = service.fetch("/")
    assert page.status == 200 and b"<title>v2c" in page.body
    assert service.fetch("/jobs/123").body == page.body, "the UI draws its pages itself"
    assert service.fetch("/assets/missing.js").status == 404
    script = service.fetch("/assets/app.js")
    assert script.body == b"console.log(1)" and "immutable" in script.headers["Cache-Control"]
    packed = service.fetch("/assets/app.js", {"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip" and packed.body == b"\x1f\x8bpacked"
    assert service.fetch("/config.js").body == b"window.__V2C__ = {};\n"


def test_the_ui_alone(serve, tmp_path):
    lab, engine, service = serve(harness.synthetic())
    process = subprocess.Popen(
        [harness.ENGINE, "ui", "--listen", "127.0.0.1:0", "--ui-dir", str(ui_files(tmp_path))],
        env={**engine.env(), "VITE_API_BASE": service.url}, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stderr.readline()
        service.ui = line.split("listening on ")[1].split(",")[0]
        config = service.fetch("/config.js", base=service.ui)
        assert service.url.encode() in config.body
        assert service.url in config.headers["Content-Security-Policy"]
        assert service.fetch("/api/v1/jobs", base=service.ui).status in (200, 404)
        assert b"items" not in service.fetch("/api/v1/jobs", base=service.ui).body
    finally:
        process.terminate()
        assert process.wait(20) == 0
