"""Webhooks: what happens to jobs is told once, in order and signed, whatever becomes of either side."""

import hashlib
import hmac
import http.server
import json
import ssl
import subprocess
import threading
import time

import jsonschema
import pytest

import contract
import harness
from service import Service

SECRET = "a secret of at least 16 characters"


class Receiver:
    """An HTTP(S) server that checks every delivery by itself.

    `answer(n)` is the status of the n-th request, or a callable that is given the handler."""

    def __init__(self, secret=SECRET, cert=None, port=0, answer=lambda n: 204):
        self.secret, self.cert, self.answer = secret, cert, answer
        self.accepted, self.requests, self.problems = [], [], []
        self.lock = threading.Lock()
        self.port = port
        self.open()

    def open(self):
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with receiver.lock:
                    receiver.take(self, body)

            def do_GET(self):
                receiver.problems.append(f"GET {self.path}")
                self.send_error(404)

            def log_message(self, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        if self.cert:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.cert)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def take(self, handler, body):
        event = json.loads(body)
        timestamp = handler.headers["X-V2C-Timestamp"]
        wanted = hmac.new(self.secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        if handler.headers["X-V2C-Signature"] != "sha256=" + wanted:
            self.problems.append(f"signature of {event}")
        if abs(time.time() - int(timestamp)) > 60:
            self.problems.append(f"timestamp {timestamp}")
        if (handler.headers["X-V2C-Event"], handler.headers["X-V2C-Delivery"]) != (event["type"], event["id"]):
            self.problems.append(f"headers of {event}")
        try:
            jsonschema.validate(event, {"$ref": "#/components/schemas/WebhookEvent",
                                        "components": contract.document()["components"]})
        except jsonschema.ValidationError as failure:
            self.problems.append(str(failure))
        self.requests.append(event)
        status = self.answer(len(self.requests) - 1)
        if callable(status):
            status(handler)
            return
        if 200 <= status < 300:
            self.accepted.append(event)
        handler.send_response(status)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    def url(self, path="/v2c?token=s3cr3t"):
        return f"{'https' if self.cert else 'http'}://127.0.0.1:{self.port}{path}"

    def of(self, job):
        return [e for e in self.accepted if e.get("job_id") == job]

    def types(self, job):
        return [e["type"] for e in self.of(job)]

    def check(self):
        assert not self.problems, self.problems
        ids = [e["id"] for e in self.accepted]
        assert len(ids) == len(set(ids)), "something was told twice"


def hook(receiver, name="ops", **more):
    return {"name": name, "url": receiver.url(), "secret": SECRET, **more}


@pytest.fixture
def serve(make):
    """serve([webhook, ...]) -> (lab, engine, service)"""
    services = []

    def start(webhooks, *vms, migration=None):
        lab, engine = make(*(vms or (harness.synthetic(),)), migration={"parallel_vms": 3, **(migration or {})})
        engine.config["serve"] = {"webhooks": webhooks}
        service = Service(engine)
        services.append(service.start())
        return lab, engine, service

    yield start
    for service in services:
        if service.process and service.process.poll() is None:
            service.kill_all()


@pytest.fixture
def receivers():
    made = []

    def make_one(**more):
        made.append(Receiver(**more))
        return made[-1]

    yield make_one
    for receiver in made:
        receiver.close()


def certificate(directory, name):
    """A certificate for 127.0.0.1 that signs itself."""
    cert, key = directory / f"{name}.pem", directory / f"{name}.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=receiver",
                    "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True, timeout=60)
    return str(cert), str(key)


def migrate(service, job):
    service.until_job(job, lambda j: j["state"] == "waiting" and j["delta_rounds"] >= 1, "deltas")
    service.act(job, "finalize")
    done = service.until_state(job, "completed", "failed")
    assert done["state"] == "completed", done


def delivered(receiver, job, kind, seconds=30):
    harness.until(lambda: kind in receiver.types(job), f"{kind} is told: {receiver.types(job)}", seconds)


def test_a_whole_migration_is_told_in_order_and_once(serve, receivers):
    receiver = receivers()
    _, engine, service = serve([hook(receiver)])
    [job] = service.begin("web01", wave="night")
    migrate(service, job)
    delivered(receiver, job, "job.completed")
    events = receiver.of(job)
    states = [e["state"] for e in events if e["type"] not in ("job.stage", "job.needs_person")]
    assert states == ["queued", "running", "waiting", "running", "completed"]
    stages = [e["stage"] for e in events if e["type"] == "job.stage"]
    order = ["init", "discovering_vmware_disks", "preparing_target_storage", "enabling_cbt",
             "creating_base_snapshot", "base_copy", "delta", "final_sync", "import_root_disk", "import_data_disk",
             "done"]
    assert [s for s in order if s in stages] == [s for s in stages if s in order], stages
    assert {"base_copy", "delta", "final_sync", "done"} <= set(stages)
    assert [e["at"] for e in events] == sorted(e["at"] for e in events)
    last = events[-1]
    assert (last["type"], last["vm_name"], last["vm_moref"], last["wave"], last["link"]) == (
        "job.completed", "web01", engine.lab.moref("web01"), "night", f"/#/jobs/{job}")
    assert last["error"] is None and last["required_action"] is None
    receiver.check()
    [shown] = service.call("GET", "/api/v1/webhooks", role="admin")
    harness.until(lambda: service.call("GET", "/api/v1/webhooks", role="admin")[0]["pending"] == 0, "all is told")
    assert shown["url"] == f"http://127.0.0.1:{receiver.port}" and shown["error"] is None
    metrics = service.call("GET", "/metrics", role="viewer").decode()
    assert f'v2c_webhook_deliveries_total{{webhook="ops",result="delivered"}} {len(receiver.accepted)}' in metrics
    assert 'v2c_webhook_pending{webhook="ops"} 0' in metrics
    for text in (service.text(), metrics, json.dumps(shown)):
        assert SECRET not in text and "s3cr3t" not in text


def test_a_receiver_that_fails_is_told_everything_later(serve, receivers):
    receiver = receivers(answer=lambda n: 500 if n < 3 else 200)
    other = receivers()
    _, _, service = serve([hook(receiver), hook(other, "chat")])
    [job] = service.begin("web01")
    service.until_state(job, "waiting")
    delivered(receiver, job, "job.waiting")
    assert len({e["id"] for e in receiver.requests[:4]}) == 1, "the same delivery is tried again, and none overtakes it"
    delivered(other, job, "job.waiting")
    service.act(job, "stop")
    service.until_state(job, "stopped")
    delivered(receiver, job, "job.stopped")
    assert receiver.types(job) == other.types(job)
    harness.until(lambda: "answers again" in service.text(), "the log says that it answers again")
    assert service.text().count("answered 500") == 1
    [ops, _] = service.call("GET", "/api/v1/webhooks", role="admin")
    assert ops["failed"] == 3 and ops["failed_at"] and ops["error"] is None
    receiver.check()


def test_what_happens_while_a_receiver_is_down_is_told_when_it_is_back(serve, receivers):
    receiver, hung = receivers(), receivers(answer=lambda n: lambda handler: time.sleep(20))
    receiver.close()
    _, _, service = serve([hook(receiver), hook(hung, "hung", timeout_seconds=1)])
    [job] = service.begin("web01")
    migrate(service, job)
    harness.until(lambda: all(w["error"] for w in service.call("GET", "/api/v1/webhooks", role="admin")),
                  "both have failed", 30)
    [first, second] = service.call("GET", "/api/v1/webhooks", role="admin")
    assert first["name"] == "hung" or second["name"] == "hung"
    assert all(w["pending"] > 8 and w["delivered"] == 0 for w in (first, second))
    receiver.open()
    delivered(receiver, job, "job.completed")
    assert receiver.types(job)[0] == "job.queued"
    receiver.check()


def test_a_killed_service_forgets_nothing(serve, receivers):
    receiver = receivers(answer=lambda n: 503)
    _, _, service = serve([hook(receiver)])
    [job] = service.begin("web01")
    service.until_job(job, lambda j: j["state"] == "waiting" and j["delta_rounds"] >= 1, "deltas")
    assert receiver.requests and not receiver.accepted
    service.kill_all()
    receiver.answer = lambda n: 200
    service.start()
    service.until_job(job, lambda j: j["state"] == "waiting", "it goes on")
    service.act(job, "finalize")
    service.until_state(job, "completed")
    delivered(receiver, job, "job.completed")
    states = [e["state"] for e in receiver.of(job) if e["type"] not in ("job.stage", "job.needs_person")]
    assert states[:4] == ["queued", "running", "waiting", "queued"], states
    assert states[-1] == "completed"
    assert receiver.accepted[0]["id"] == receiver.requests[0]["id"]
    receiver.check()
    service.kill_all()
    told = len(receiver.requests)
    service.start()
    [again] = service.begin("web01")
    delivered(receiver, again, "job.queued")
    assert receiver.requests[told]["job_id"] == again, "nothing is told again after a restart"


def test_what_is_too_old_is_given_up_and_said_so(serve, receivers):
    receiver = receivers(answer=lambda n: 500)
    _, _, service = serve([hook(receiver, give_up_seconds=1)])
    [job] = service.begin("web01")
    service.until_state(job, "waiting")

    def given_up():
        [shown] = service.call("GET", "/api/v1/webhooks", role="admin")
        return shown["given_up"] and shown["pending"] == 0
    harness.until(given_up, "deliveries are given up", 30)
    assert "given up: " in service.text()
    audit = service.call("GET", "/api/v1/audit", role="admin")["items"]
    assert [(a["action"], a["subject"]) for a in audit if a["action"] == "webhook.give_up"][0] == (
        "webhook.give_up", "ops")
    receiver.answer = lambda n: 200
    service.act(job, "stop")
    delivered(receiver, job, "job.stopped")
    assert "job.queued" not in receiver.types(job)
    receiver.check()


def test_a_certificate_must_be_trusted(serve, receivers, tmp_path):
    own, foreign = certificate(tmp_path, "own"), certificate(tmp_path, "foreign")
    good, bad = receivers(cert=own), receivers(cert=foreign)
    _, _, service = serve([hook(good, "good", ca_file=own[0]), hook(bad, "bad", ca_file=own[0])])
    tests = {n: service.call("POST", f"/api/v1/webhooks/{n}/test", role="admin") for n in ("good", "bad")}
    assert tests["good"]["ok"] and tests["good"]["status"] == 204
    assert good.requests[0]["type"] == "test" and good.requests[0]["id"] == tests["good"]["delivery"]
    assert not tests["bad"]["ok"] and tests["bad"]["status"] is None
    assert tests["bad"]["error"]["code"] == "E_TLS_UNTRUSTED" and "serve.webhooks[bad]" in tests["bad"]["error"]["hint"]
    assert "s3cr3t" not in json.dumps(tests) and "/v2c" not in json.dumps(tests)
    [job] = service.begin("web01")
    delivered(good, job, "job.waiting")
    assert not bad.requests
    good.check()


def test_redirects_are_not_followed(serve, receivers):
    target = receivers()

    def redirect(handler):
        handler.send_response(307)
        handler.send_header("Location", target.url())
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    receiver = receivers(answer=lambda n: redirect)
    _, _, service = serve([hook(receiver)])
    tested = service.call("POST", "/api/v1/webhooks/ops/test", role="admin")
    assert not tested["ok"] and tested["status"] == 307 and "redirects are not followed" in tested["error"]["detail"]
    service.begin("web01")
    harness.until(lambda: len(receiver.requests) >= 3, "it is tried again", 30)
    assert not target.requests and not target.problems and not receiver.problems


def test_a_webhook_is_told_only_what_it_wants(serve, receivers):
    failures, night, elsewhere = receivers(), receivers(), receivers()
    lab, _, service = serve([
        hook(failures, "failures", events=["failed", "needs_person"]),
        hook(night, "night", waves=["night"], events=["queued", "waiting"]),
        hook(elsewhere, "elsewhere", environments=["vc-of-somebody-else"]),
    ], harness.synthetic("web01"), harness.synthetic(
        "web02", nics=[{"mac": "00:50:56:aa:00:02", "network": "VM Network"}]))
    [first] = service.begin("web01", wave="night")
    second = service.call("POST", "/api/v1/jobs", {"vms": [service.spec("web02", {"storageid": "none"})]})[0]["id"]
    service.until_state(second, "failed")
    service.until_state(first, "waiting")
    delivered(failures, second, "job.needs_person")
    delivered(night, first, "job.waiting")
    assert [e["type"] for e in failures.accepted] == ["job.failed", "job.needs_person"]
    failed, person = failures.accepted
    assert failed["error"]["code"].startswith("E_") and failed["error"]["detail"]
    assert person["required_action"] == "see_error" and person["state"] == "failed"
    assert [(e["job_id"], e["type"]) for e in night.accepted] == [(first, "job.queued"), (first, "job.waiting")]
    assert not elsewhere.requests
    harness.until(lambda: all(w["pending"] == 0 for w in service.call("GET", "/api/v1/webhooks", role="admin")),
                  "what nobody wants does not wait")


def test_a_person_who_must_shut_a_vm_down_is_told(serve, receivers):
    receiver = receivers()
    lab, _, service = serve([hook(receiver, events=["needs_person"])])
    [job] = service.call("POST", "/api/v1/jobs", {"vms": [service.spec("web01", shutdown_mode="manual")]})
    job = job["id"]
    service.until_job(job, lambda j: j["state"] == "waiting" and j["delta_rounds"] >= 1, "deltas")
    service.act(job, "finalize")
    delivered(receiver, job, "job.needs_person", 60)
    [event] = receiver.of(job)
    assert event["required_action"] == "shutdown_choice" and event["stage"] == "awaiting_shutdown_action"
    assert event["error"]["detail"]
    receiver.check()


def test_only_admins_see_and_test_webhooks(serve, receivers):
    receiver = receivers()
    _, _, service = serve([hook(receiver)])
    assert service.request("GET", "/api/v1/webhooks", role="operator").status == 403
    assert service.request("POST", "/api/v1/webhooks/ops/test", role="operator").status == 403
    assert service.request("POST", "/api/v1/webhooks/none/test", role="admin").status == 404
    assert not receiver.requests


@pytest.mark.parametrize("change, why", [
    ({"url": "ftp://example.com/"}, "expected an address such as https://"),
    ({"url": "https://user:pw@example.com/"}, "expected no user and password"),
    ({"secret": "short"}, "less than 16 characters"),
    ({"secret": None}, "the webhook ops has no secret"),
    ({"events": ["finished"]}, "finished is none of"),
    ({"retries": 3}, "retries"),
    ({"name": "a/b"}, "expected a `name`"),
])
def test_a_wrong_webhook_is_refused(make, change, why):
    _, engine = make(harness.synthetic())
    engine.config["serve"] = {"webhooks": [
        {"name": "ops", "url": "https://hooks.example.com/", "secret": SECRET, **change}]}
    done = engine.command("serve", "--config", engine.write_config(), "--listen", "127.0.0.1:0", check=False)
    assert done.returncode != 0 and why in done.stderr, done.stderr
    assert SECRET not in done.stderr
