"""Server-sent events: what happens is told once, in order, also after a broken connection."""

import http.client
import json
import sqlite3
import threading
import urllib.parse

import harness
from test_service import serve  # noqa: F401  a fixture


class Listener:
    """Reads events in a thread; `events` grows."""

    def __init__(self, service, last_id=None, cookie=None, token=None):
        address = urllib.parse.urlsplit(service.url)
        self.connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
        headers = {"Authorization": "Bearer " + (token or service.tokens["viewer"])}
        if cookie:
            headers = {"Cookie": cookie}
        if last_id:
            headers["Last-Event-ID"] = last_id
        self.connection.request("GET", "/api/v1/stream", headers=headers)
        self.answer = self.connection.getresponse()
        assert self.answer.status == 200
        assert self.answer.headers["Content-Type"] == "text/event-stream"
        self.events = []
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        event = {}
        try:
            while line := self.answer.readline():
                line = line.decode().rstrip("\n")
                if line and not line.startswith(":"):
                    name, _, value = line.partition(": ")
                    event[name] = value
                elif not line and event:
                    self.events.append((event["id"], event["event"], json.loads(event["data"])))
                    event = {}
        except (OSError, ValueError, AttributeError, http.client.HTTPException):
            pass

    def jobs(self, job_id):
        return [data for _, kind, data in self.events if kind == "job" and data["id"] == job_id]

    def close(self):
        # The socket, so that the reader wakes.
        self.connection.sock and self.connection.sock.shutdown(2)
        self.thread.join(10)


def test_transitions_are_told(serve):  # noqa: F811
    _, _, service = serve(harness.synthetic())
    listener = Listener(service)
    [job] = service.begin("web01")
    harness.until(lambda: [j for j in listener.jobs(job) if j["state"] == "waiting"], "deltas are told", 60)
    service.act(job, "stop")
    harness.until(lambda: listener.jobs(job)[-1]["state"] == "stopped", "the stop is told", 30)
    service.call("DELETE", f"/api/v1/jobs/{job}")
    harness.until(lambda: [d for _, kind, d in listener.events if kind == "gone" and d["id"] == job],
                  "it is told to be gone", 30)
    listener.close()


def test_a_broken_connection_goes_on_where_it_was(serve):  # noqa: F811
    _, _, service = serve(harness.synthetic())
    listener = Listener(service)
    [job] = service.begin("web01")
    harness.until(lambda: listener.jobs(job), "it is told", 30)
    listener.close()
    last = listener.events[-1][0]
    service.until_job(job, lambda j: j["state"] == "waiting", "deltas")
    service.act(job, "pause")
    again = Listener(service, last)
    harness.until(lambda: [j for j in again.jobs(job) if j.get("paused")], "what was missed is told", 30)
    assert not set(e[0] for e in again.events) & set(e[0] for e in listener.events)
    again.close()
    unknown = Listener(service, "123-4")
    harness.until(lambda: [e for e in unknown.events if e[1] == "reset"], "it is told to read anew", 30)
    unknown.close()


def test_what_cannot_be_read_for_a_while_is_told_later(serve):  # noqa: F811
    _, engine, service = serve(harness.synthetic())
    listener = Listener(service)
    [job] = service.begin("web01")
    service.until_job(job, lambda j: "finalize" in j["actions"], "it can be finalized")
    service.act(job, "finalize", {"now": True})
    store = sqlite3.connect(engine.control / "v2c.db", timeout=30)
    store.execute("ALTER TABLE wave RENAME TO hidden")  # without it no job can be described
    store.commit()
    harness.until(lambda: store.execute("SELECT state FROM job").fetchone()[0] >= 3, "it has ended", 60)
    harness.until(lambda: service.text().count("jobs cannot be read") >= 2, "the service has tried to read", 30)
    assert not [j for j in listener.jobs(job) if j["state"] == "completed"]
    store.execute("ALTER TABLE hidden RENAME TO wave")
    store.commit()
    harness.until(lambda: [j for j in listener.jobs(job) if j["state"] == "completed"], "its end is told", 20)
    listener.close()


def test_progress_comes_as_one_event_for_all_jobs(serve):  # noqa: F811
    _, _, service = serve(harness.synthetic(disks=[{"address": "scsi0:0", "size": "256MiB", "fill": 100}]),
                          migration={"bandwidth_limit": "24MiB/s"})
    listener = Listener(service)
    [job] = service.begin("web01")
    [first] = harness.until(lambda: [d for _, kind, d in listener.events if kind == "progress"][:1],
                            "progress is told", 60)
    assert [j["id"] for j in first] == [job] and first[0]["rate_bytes_per_s"] > 0
    service.act(job, "cancel")
    listener.close()


def test_a_stream_ends_with_what_it_was_opened_with(serve):  # noqa: F811
    _, engine, service = serve(harness.synthetic())
    password = "correct horse battery"
    for name in ("ann", "bob"):
        service.call("POST", "/api/v1/users", {"name": name, "role": "operator", "password": password}, role="admin")
    token = service.call("POST", "/api/v1/tokens", {"name": "ci", "role": "viewer"}, role="operator")
    session = service.request("POST", "/api/v1/login", {"user": "ann", "password": password}, role=None)
    cookie = session.headers["Set-Cookie"].split(";")[0]
    bob = service.request("POST", "/api/v1/login", {"user": "bob", "password": password}, role=None)
    listeners = {
        "logout": Listener(service, cookie=cookie),
        "token": Listener(service, token=token["token"]),
        "user": Listener(service, cookie=bob.headers["Set-Cookie"].split(";")[0]),
        "role": Listener(service, token=service.tokens["operator"]),
        "other": Listener(service),
    }
    def ends(name, what):
        assert listeners[name].thread.is_alive(), f"{what}: it has not happened yet"
        return lambda: harness.until(lambda: not listeners[name].thread.is_alive(), f"{what} ends the stream", 10)
    wait = ends("logout", "a logout")
    service.call("POST", "/api/v1/logout", role=None, headers={"Cookie": cookie, "X-CSRF-Token": session.json()["csrf"]})
    wait()
    wait = ends("token", "a revoked token")
    service.call("DELETE", f"/api/v1/tokens/{token['id']}", role="operator")
    wait()
    wait = ends("user", "a deleted user")
    service.call("DELETE", "/api/v1/users/bob", role="admin")
    wait()
    wait = ends("role", "a changed role")
    engine.command("user", "role", "operator", "--role", "viewer", "--config", service.config)
    wait()
    assert listeners["other"].thread.is_alive(), "nothing of it has changed"
    listeners["other"].close()


def test_the_service_stops_while_clients_listen(serve):  # noqa: F811
    _, _, service = serve(harness.synthetic())
    listeners = [Listener(service) for _ in range(20)]
    assert service.stop(20) == 0, service.text()
    for listener in listeners:
        listener.thread.join(10)
        assert not listener.thread.is_alive()


def test_a_job_whose_migration_was_taken_back_is_told(serve):  # noqa: F811
    _, _, service = serve(harness.synthetic())
    [job] = service.begin("web01")
    service.until_job(job, lambda j: "finalize" in (j["actions"] or []), "it can be finalized")
    service.act(job, "finalize", {"now": True})
    assert service.until_state(job, "completed", "failed")["state"] == "completed"
    listener = Listener(service)
    back = service.act(job, "rollback", {"force": True})
    assert service.until_state(back["id"], "completed", "failed")["state"] == "completed"
    # The end of the first job may be told late, after the listener is there.
    [told] = harness.until(lambda: [j for j in listener.jobs(job) if j["stage"] == "rolled_back"][:1],
                           "the first job is told again", 10)
    assert "rollback" not in told["actions"]
    listener.close()
