"""The pretend data centre (v2c-lab), for rows that read through the pretend VDDK."""

import json
import os
import signal
import subprocess
import time
import urllib.parse
import urllib.request

from lib.measure import Failed

PATIENCE_S = 300


def machine(name, disks, **more):
    """A scripted VM with up to 15 @disks, (MiB, percent that is data); unit 7 is the controller."""
    return {"name": name, "kind": "synthetic", "power": "off", "tools": True, "shutdown_ms": 300,
            "disks": [{"address": f"scsi0:{number + (number >= 7)}", "size": f"{mib}MiB", "fill": fill,
                       "seed": number + 1} for number, (mib, fill) in enumerate(disks)],
            "nics": [{"mac": "00:50:56:bb:00:01", "network": "VM Network"}], **more}


class Centre:
    def __init__(self, programs, directory, machines, cloudstack=None):
        self.directory = directory
        self.programs = programs
        os.makedirs(directory)
        scenario = os.path.join(directory, "scenario.yaml")  # JSON is YAML
        with open(scenario, "w", encoding="utf-8") as f:
            json.dump({"vms": machines, "cloudstack": {"boot": "none", "job_ms": 50, **(cloudstack or {})}}, f)
        with open(os.path.join(directory, "lab.log"), "wb") as log:
            self.process = subprocess.Popen(
                [programs.lab, "--dir", directory, "--scenario", scenario, "--die-with-parent"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        try:
            self.info = self.wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def wait_until_ready(self):
        ready = os.path.join(self.directory, "lab.json")
        deadline = time.monotonic() + PATIENCE_S
        while not os.path.exists(ready):
            if self.process.poll() is not None or time.monotonic() > deadline:
                with open(os.path.join(self.directory, "lab.log"), encoding="utf-8") as f:
                    raise Failed(f"v2c-lab does not start: {f.read()[-2000:]}")
            time.sleep(0.02)
        with open(ready, encoding="utf-8") as f:
            return json.load(f)

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def call(self, method, path, body=None, **query):
        url = self.info["control"].rstrip("/") + path
        if query:
            url += "?" + urllib.parse.urlencode(query)
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data=data, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            text = answer.read()
        return json.loads(text) if text.strip() else None

    def slow_down(self, delay_ms, connection_rate):
        """Of the disk server: a delay for each read, and bytes/s of each connection (0: no limit)."""
        try:
            self.call("POST", "/nfc", {"delay_ms": delay_ms, "connection_rate": connection_rate})
        except OSError as error:
            raise Failed(f"the lab's disk server cannot be slowed down: {error}") from error

    def vm(self, name):
        return next(vm for vm in self.info["vms"] if vm["name"] == name)

    def verify(self, name, disk, path):
        """The powered-off VM's disk against a copy of it."""
        moref = self.vm(name)["moref"]
        answer = self.call("GET", f"/vms/{moref}/compare", disk=disk, file=path)
        if not answer["identical"]:
            raise Failed(f"{name}, disk {disk}: {answer['text']}")

    def base_copy(self, name, disk, target, *flags):
        """The command line of base-copy for a disk of a powered-off VM, and its environment."""
        vm, vcenter = self.vm(name), self.info["vcenter"]
        argv = [self.programs.engine, "base-copy", "--vddk-libdir", self.info["vddk_path"],
                "--server", vcenter["address"], "--user", vcenter["user"],
                "--thumbprint", vcenter["sha256"], "--vm-moref", vm["moref"],
                "--disk-path", vm["disks"][disk]["path"], "--target-qcow2", target,
                "--run-virt-v2v=false", *flags]
        return argv, {"VC_PASSWORD": vcenter["password"], "V2C_ENABLE_EXPERT_COMMANDS": "1"}
