"""Drives the real v2c-engine against the pretend data centre.

A Lab is one v2c-lab process; an Engine is a configuration for it and runs commands.  Nothing sleeps to
wait: `until` polls a condition with a deadline.
"""

import json
import os
import shutil
import signal
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path

import yaml

TOP = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("V2C_BUILD_DIR", TOP / "build"))
ENGINE = BUILD / "src" / "cli" / "v2c-engine"
LAB = BUILD / "lab" / "v2c-lab"


def until(condition, what, seconds=60, every=0.05):
    """Polls until `condition()` is true and returns its value; fails with `what` otherwise."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(every)
    raise AssertionError(f"not within {seconds} s: {what}")


def is_alive(pid):
    """Whether any thread of a process lives: the first may be a zombie while others hold its files."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0]
    except OSError:
        return False
    return len(threads) > 1 or state != "Z"


class Lab:
    """One pretend data centre in a directory of its own."""

    def __init__(self, directory, scenario):
        self.dir = Path(directory) / "lab"
        self.dir.mkdir(parents=True, exist_ok=True)
        path = self.dir / "scenario.yaml"
        path.write_text(yaml.safe_dump(scenario))
        self.log = open(self.dir / "lab.log", "wb")
        self.process = subprocess.Popen(
            [LAB, "--dir", self.dir, "--scenario", path, "--die-with-parent"],
            stdout=self.log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        until(lambda: (self.dir / "lab.json").exists() or self.process.poll() is not None,
              "the lab is ready", 60)
        if self.process.poll() is not None:
            raise AssertionError("v2c-lab ended: " + (self.dir / "lab.log").read_text())
        self.info = json.loads((self.dir / "lab.json").read_text())

    def call(self, method, path, body=None, **query):
        url = self.info["control"].rstrip("/") + path
        if query:
            url += "?" + urllib.parse.urlencode(query)
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data=data, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
        return json.loads(text) if text.strip() else None

    def state(self):
        return self.call("GET", "/state")

    def vm(self, name):
        return next(vm for vm in self.state()["vms"] if vm["name"] == name)

    def moref(self, name):
        return next(vm["moref"] for vm in self.info["vms"] if vm["name"] == name)

    def fault(self, where, action, detail="", delay_ms=0, skip=0, count=1):
        self.call("POST", "/faults", {"where": where, "action": action, "detail": detail,
                                      "delay_ms": delay_ms, "skip": skip, "count": count})

    def clear_faults(self):
        self.call("DELETE", "/faults")

    def calls(self):
        """How often each API call was made: {"vsphere.Login": 1, ...}"""
        return self.call("GET", "/calls")

    def count(self, name):
        return self.calls().get(name, 0)

    def power(self, name, state):
        self.call("POST", f"/vms/{self.moref(name)}/power", {"state": state})

    def snapshots(self, name):
        return self.vm(name)["snapshots"]

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()


class Run:
    """A `v2c-engine run` in the background."""

    def __init__(self, engine, arguments, env):
        self.engine = engine
        self.output = engine.dir / f"run-{len(engine.runs)}.log"
        self.file = open(self.output, "wb")
        self.process = subprocess.Popen([ENGINE, "run", *arguments], stdin=subprocess.DEVNULL,
                                        stdout=self.file, stderr=subprocess.STDOUT, env=env,
                                        start_new_session=True)

    def text(self):
        return self.output.read_text(errors="replace")

    def wait(self, seconds=120):
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill_all()
            raise AssertionError(f"the engine did not end in {seconds} s:\n{self.text()[-4000:]}")
        self.file.close()
        return status

    def succeed(self, seconds=120):
        status = self.wait(seconds)
        assert status == 0, f"exit status {status}:\n{self.text()[-6000:]}"
        return self.text()

    def fail(self, seconds=120):
        status = self.wait(seconds)
        assert status == 1, f"exit status {status}, expected 1:\n{self.text()[-6000:]}"
        return self.text()

    def is_running(self):
        return self.process.poll() is None

    def children(self, name=None):
        """pids of all descendants, of those whose program is called `name`."""
        parents, names = {}, {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                text = stat.read_text()
            except OSError:
                continue
            pid = int(text.split(" ", 1)[0])
            rest = text[text.rindex(")") + 2:].split()
            parents[pid], names[pid] = int(rest[1]), text[text.index("(") + 1:text.rindex(")")]
        found, queue = [], [self.process.pid]
        while queue:
            parent = queue.pop()
            for pid, ppid in parents.items():
                if ppid == parent:
                    queue.append(pid)
                    if name is None or names[pid].startswith(name):
                        found.append(pid)
        return found

    def workers(self):
        return self.children("v2c-engine")

    def kill_all(self):
        """kill -9 of supervisor, workers and helpers at once, as a power cut would."""
        pids = [self.process.pid, *self.children()]
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()
        until(lambda: not any(is_alive(pid) for pid in pids[1:]), "the killed processes are gone", 30)

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)


class Engine:
    """A configuration of v2c-engine for a lab."""

    def __init__(self, directory, lab, **migration):
        self.dir = Path(directory)
        self.lab = lab
        self.control = self.dir / "control"
        self.runs = []
        info, cs = lab.info, lab.info["cloudstack"]
        self.config = {
            "vcenter": {"host": info["vcenter"]["address"],
                        "user": info["vcenter"]["user"],
                        "password": info["vcenter"]["password"],
                        "thumbprint": info["vcenter"]["sha256"]},
            "cloudstack": {"endpoint": cs["endpoint"], "api_key": cs["api_key"],
                           "secret_key": cs["secret_key"], "thumbprint": cs["sha256"]},
            "storage": {"allow_unmounted_paths": True},  # the lab's is a directory of this machine
            "migration": {"vddk_path": info["vddk_path"], "control_dir": str(self.control),
                          "finalize_settle_seconds": 1, **migration},
        }
        self.environment = {"V2C_RETRY_SCALE": "0.005"}  # pauses before another try

    def write_config(self):
        path = self.dir / "config.yaml"
        text = yaml.safe_dump(self.config)
        if not path.exists() or path.read_text() != text:
            path.with_suffix(".new").write_text(text)  # workers read it at any time
            path.with_suffix(".new").chmod(0o600)
            path.with_suffix(".new").rename(path)
        return path

    def spec(self, *names, target=None, disks=None, nics=None, **migration):
        """The path of a spec for these VMs."""
        cs = self.lab.info["cloudstack"]
        entry = {
            "migration": {"delta_interval": 1, "finalize_delta_interval": 1,
                          "start_vm_after_import": True, **migration},
            "target": {"cloudstack": {
                **{key: cs[key] for key in ("zoneid", "clusterid", "storageid", "networkid",
                                            "serviceofferingid", "diskofferingid", "ostypeid")},
                "rootdiskcontroller": "virtio", "nicadapter": "virtio", **(target or {})}},
        }
        if nics:
            entry["target"]["cloudstack"]["nic_mappings"] = nics
        if disks:
            entry["disks"] = disks
        vms = []
        for name in names:
            vm = {"moref": name} if name.startswith("vm-") else {"name": name}
            vms.append({**json.loads(json.dumps(entry)), "vm": vm})
        path = self.dir / f"spec-{len(list(self.dir.glob('spec-*.yaml')))}.yaml"
        path.write_text(yaml.safe_dump({"vms": vms} if len(vms) > 1 else vms[0]))
        return path

    def env(self):
        return {**os.environ, **self.environment}

    def run(self, spec, *arguments):
        run = Run(self, ["--config", self.write_config(), "--spec", spec, *arguments], self.env())
        self.runs.append(run)
        return run

    def command(self, *arguments, check=True):
        done = subprocess.run([ENGINE, *arguments], capture_output=True, text=True, timeout=60,
                              env=self.env(), stdin=subprocess.DEVNULL)
        if check:
            assert done.returncode == 0, done.stdout + done.stderr
        return done

    def status(self, spec, *arguments):
        done = self.command("status", "--config", self.write_config(), "--spec", spec, "--json",
                            *arguments)
        return json.loads(done.stdout)

    def stage(self, spec):
        return self.status(spec)[0]["current_stage"]

    def finalize(self, spec, *arguments):
        return self.command("finalize", "--config", self.write_config(), "--spec", spec,
                            *arguments).stdout

    def until_stage(self, spec, stage, run=None, seconds=90):
        def reached():
            assert run is None or run.is_running(), f"the engine ended:\n{run.text()[-4000:]}"
            return self.stage(spec) == stage
        until(reached, f"stage {stage}", seconds)

    def directory(self, name):
        return next(path for path in self.control.glob(f"{name}_*") if ".forgotten-" not in path.name)

    def state_json(self, name):
        return json.loads((self.directory(name) / "state.json").read_text())

    def until_rounds(self, name, rounds, run=None, seconds=90):
        def reached():
            assert run is None or run.is_running(), f"the engine ended:\n{run.text()[-4000:]}"
            try:
                disks = self.state_json(name)["disks"].values()
            except (StopIteration, OSError):
                return False
            return disks and min(d.get("delta_rounds", 0) for d in disks) >= rounds
        until(reached, f"{rounds} delta rounds", seconds)

    def log(self, name):
        return (self.directory(name) / "migration.log").read_text()

    def assert_identical(self, name):
        """Every target file equals the powered-off source disk, and passes the oracle's check."""
        moref = self.lab.moref(name)
        disks = self.state_json(name)["disks"]
        # Device order is what both sides agree on.
        ordered = sorted(disks.values(), key=lambda d: d["key"])
        info = next(vm for vm in self.lab.info["vms"] if vm["name"] == name)
        by_key = {d["key"]: i for i, d in enumerate(info["disks"])}
        assert len(ordered) == len(info["disks"])
        for disk in ordered:
            file = disk["target_qcow2"]
            answer = self.lab.call("GET", f"/vms/{moref}/compare", disk=by_key[disk["key"]], file=file)
            assert answer["identical"], f"{name} {disk['key']}: {answer['text']}"
            checked = subprocess.run(["qemu-img", "check", "-U", file], capture_output=True, text=True)
            assert checked.returncode == 0, checked.stdout + checked.stderr

    def assert_nothing_left(self, name):
        """No snapshot of ours on the source, no process of ours, no marker."""
        ours = [s for s in self.lab.snapshots(name) if s["name"].startswith("v2c-")]
        assert not ours, ours
        for run in self.runs:
            assert not run.is_running() and not run.children()
        if list(self.control.glob(f"{name}_*")):
            for marker in ("FINALIZE", "FINALIZE_NOW", "SHUTDOWN_FORCE", "SHUTDOWN_MANUAL"):
                assert not (self.directory(name) / marker).exists(), marker

    def assert_migrated(self, name):
        """The whole promise: identical disks, one imported VM that was started, nothing left."""
        state = self.state_json(name)
        assert state["stage"] == "done"
        self.assert_identical(name)
        self.assert_nothing_left(name)
        imported = [vm for vm in self.lab.state()["cloudstack"]["vms"]
                    if vm.get("displayname") == name]
        assert len(imported) == 1, imported
        assert imported[0]["id"] == state["cloudstack_vm_id"]
        return imported[0]


def synthetic(name="web01", disks=None, **more):
    """A scripted VM of a scenario."""
    return {"name": name, "kind": "synthetic", "power": "on", "tools": True,
            "disks": disks or [{"address": "scsi0:0", "size": "24MiB", "fill": 60, "seed": 1},
                               {"address": "scsi0:1", "size": "16MiB", "fill": 40, "seed": 2}],
            "nics": [{"mac": "00:50:56:aa:00:01", "network": "VM Network"}],
            "writer_kib_per_s": 256, "shutdown_ms": 300, **more}


def scenario(*vms, vcenter=None, **cloudstack):
    return {"vms": list(vms), "vcenter": vcenter or {},
            "cloudstack": {"boot": "none", "job_ms": 50, **cloudstack}}


def remove_tree(path):
    shutil.rmtree(path, ignore_errors=True)
