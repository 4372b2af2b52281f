"""A `v2c-engine serve` for tests, and a client of its API."""

import json
import os
import signal
import ssl
import subprocess
import urllib.error
import urllib.parse
import urllib.request

import contract
import harness


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)


class Service:
    """The service of an Engine, with one user of each role and a token for each."""

    ROLES = ("viewer", "operator", "admin")

    def __init__(self, engine, *arguments, listen="127.0.0.1:0"):
        if "--ui-dir" not in arguments:  # the same answers whether or not the tree's UI was built
            arguments = (*arguments, "--ui-dir", "/nonexistent")
        self.engine, self.arguments, self.listen = engine, arguments, listen
        self.process, self.url, self.tokens, self.passwords = None, None, {}, {}
        self.starts = 0
        self.config = engine.write_config()
        for role in self.ROLES:
            added = engine.command("user", "add", role, "--role", role, "--generate", "--config",
                                   self.config)
            self.passwords[role] = added.stdout.strip()
            done = engine.command("user", "token", role, "--config", self.config)
            self.tokens[role] = done.stdout.strip()

    def start(self):
        self.output = self.engine.dir / f"serve-{self.starts}.log"
        self.starts += 1
        log = open(self.output, "wb")
        self.process = subprocess.Popen(
            [harness.ENGINE, "serve", "--config", self.config, "--listen", self.listen,
             *self.arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            env=self.engine.env(), start_new_session=True)
        log.close()
        harness.until(lambda: "API listening on" in self.text() or self.process.poll() is not None,
                      "the service listens", 30)
        assert self.process.poll() is None, self.text()
        line = next(l for l in self.text().splitlines() if "API listening on" in l)
        self.url = line.split("listening on ")[1].split(" ")[0]
        return self

    def text(self):
        return self.output.read_text(errors="replace")

    def request(self, method, path, body=None, role="operator", token=None, headers=None, raw=None):
        all_headers = {"Content-Type": "application/json", **(headers or {})}
        token = token or self.tokens.get(role)
        if token:
            all_headers["Authorization"] = "Bearer " + token
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method,
                                         headers=all_headers)
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            with urllib.request.urlopen(request, timeout=60, context=context) as answer:
                result = Answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as failure:
            result = Answer(failure.code, failure.headers, failure.read())
        if method != "OPTIONS":
            contract.check(method, path, result.status, result.headers.get("Content-Type"), result.body)
        return result

    def fetch(self, path, headers=None, base=None):
        """A page or file, by nobody in particular."""
        request = urllib.request.Request((base or self.url) + path, headers=headers or {})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return Answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as failure:
            return Answer(failure.code, failure.headers, failure.read())

    def call(self, method, path, body=None, expect=None, **more):
        """The decoded answer of a request that succeeds, or has the status `expect`."""
        answer = self.request(method, path, body, **more)
        wanted = (expect,) if expect else (200, 201, 204)
        assert answer.status in wanted, f"{method} {path}: {answer.status} {answer.body[:2000]}"
        return json.loads(answer.body) if answer.body and answer.body[:1] in b"{[" else answer.body

    def job(self, job_id):
        return self.call("GET", f"/api/v1/jobs/{job_id}")

    def until_job(self, job_id, condition, what, seconds=90):
        def reached():
            assert self.process.poll() is None, self.text()[-4000:]
            job = self.job(job_id)
            return job if condition(job) else None
        try:
            return harness.until(reached, what, seconds)
        except AssertionError as failure:
            raise AssertionError(f"{failure}\n{self.job(job_id)}\n{self.text()[-3000:]}") from None

    def until_state(self, job_id, *states, seconds=90):
        return self.until_job(job_id, lambda job: job["state"] in states, f"state {states}", seconds)

    def spec(self, name, target=None, **migration):
        """A VM as POST /api/v1/jobs takes it."""
        cs = self.engine.lab.info["cloudstack"]
        return {
            "vm": {"name": name, "moref": self.engine.lab.moref(name)},
            "migration": {"delta_interval": 1, "finalize_delta_interval": 1,
                          "start_vm_after_import": True, **migration},
            "target": {"cloudstack": {
                **{key: cs[key] for key in ("zoneid", "clusterid", "storageid", "networkid",
                                            "serviceofferingid", "diskofferingid", "ostypeid")},
                "rootdiskcontroller": "virtio", "nicadapter": "virtio", **(target or {})}},
        }

    def begin(self, *names, **more):
        jobs = self.call("POST", "/api/v1/jobs", {"vms": [self.spec(n) for n in names], **more})
        return [job["id"] for job in jobs]

    def act(self, job_id, action, body=None, **more):
        return self.call("POST", f"/api/v1/jobs/{job_id}/actions/{action}", body, **more)

    def descendants(self):
        run = harness.Run.__new__(harness.Run)
        run.process = self.process
        return run.children()

    def kill_all(self):
        """As a power cut."""
        pids = [self.process.pid, *self.descendants()]
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()
        harness.until(lambda: not any(harness.is_alive(pid) for pid in pids[1:]),
                      "the killed processes are gone", 30)

    def stop(self, seconds=60):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill_all()
                raise AssertionError(f"the service did not stop:\n{self.text()[-4000:]}")
        return self.process.returncode
