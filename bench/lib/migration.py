"""A whole migration by the real engine, from a pretend data centre to its CloudStack."""

import json
import os
import time

from lib.measure import Failed, status_kib

PATIENCE_S = 300


def private(path, flags):
    return os.open(path, flags, 0o600)


class Memory:
    """What a process and all its descendants have resident, at its highest."""

    def __init__(self, pid):
        self.pid = pid
        self.parts = {"total_mib": 0}

    def look(self):
        """The total counts the pool that a worker and its v2c-vddk share once; double_mib is the plain
        sum, in which it is in both."""
        parts = dict.fromkeys(("total_mib", "engine_mib", "vddk_mib", "pool_mib", "double_mib"), 0)
        for pid, name in self.tree():
            own, file, shared = (kib / 1024 for kib in
                                 status_kib(pid, "RssAnon", "RssFile", "RssShmem"))
            is_vddk = name.startswith("v2c-vddk")
            parts["vddk_mib" if is_vddk else "engine_mib"] += own + file
            parts["pool_mib"] += 0 if is_vddk else shared
            parts["double_mib"] += own + file + shared
        parts["total_mib"] = parts["engine_mib"] + parts["vddk_mib"] + parts["pool_mib"]
        if parts["total_mib"] > self.parts["total_mib"]:
            self.parts = parts

    def tree(self):
        """(pid, name) of all of them."""
        parents = {}
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as f:
                    text = f.read()
            except OSError:
                continue
            name = text[text.index("(") + 1:text.rindex(")")]
            parents[int(entry)] = (int(text[text.rindex(")") + 2:].split()[1]), name)
        queue, found = [self.pid], []
        while queue:
            at = queue.pop()
            if at in parents:
                found.append((at, parents[at][1]))
            queue += [pid for pid, (parent, _) in parents.items() if parent == at]
        return found


class Migration:
    def __init__(self, programs, centre, directory, name, parallel_disks, settings=None):
        self.programs, self.centre, self.name = programs, centre, name
        self.control = os.path.join(directory, f"control-{name}")
        self.config = os.path.join(directory, f"config-{name}.yaml")  # JSON is YAML
        self.spec = os.path.join(directory, f"spec-{name}.yaml")
        self.memory = None
        self.write(self.config, self.configuration(parallel_disks))
        self.write(self.spec, self.specification(settings or {}))

    @staticmethod
    def write(path, content):
        with open(path, "w", encoding="utf-8", opener=private) as f:
            json.dump(content, f)

    def configuration(self, parallel_disks):
        vcenter, stack = self.centre.info["vcenter"], self.centre.info["cloudstack"]
        return {
            "vcenter": {"host": vcenter["address"], "user": vcenter["user"],
                        "password": vcenter["password"], "thumbprint": vcenter["sha256"]},
            "cloudstack": {"endpoint": stack["endpoint"], "api_key": stack["api_key"],
                           "secret_key": stack["secret_key"], "thumbprint": stack["sha256"]},
            "storage": {"allow_unmounted_paths": True},
            "migration": {"vddk_path": self.centre.info["vddk_path"], "control_dir": self.control,
                          "finalize_settle_seconds": 1, "parallel_disks": parallel_disks}}

    def specification(self, settings):
        stack = self.centre.info["cloudstack"]
        ids = ("zoneid", "clusterid", "storageid", "networkid", "serviceofferingid",
               "diskofferingid", "ostypeid")
        return {"vm": {"name": self.name},
                "migration": {"delta_interval": 1, "finalize_delta_interval": 1,
                              "start_vm_after_import": True, **settings},
                "target": {"cloudstack": {**{key: stack[key] for key in ids},
                                          "rootdiskcontroller": "virtio", "nicadapter": "virtio"}}}

    def run(self, run, prefix):
        """Base copy, at least one delta, final sync and import."""
        files = ["--config", self.config, "--spec", self.spec]
        process = run.start([*prefix, self.programs.engine, "run", *files], {"V2C_RETRY_SCALE": "0.005"})
        self.memory = Memory(process.popen.pid)
        run.on_tick = self.memory.look
        self.wait_for_deltas(run)
        run.call([self.programs.engine, "finalize", *files])
        run.wait(process)
        run.on_tick = None

    def disks(self):
        """As state.json tells of them; nothing while there is none."""
        try:
            folder = next(path for path in os.listdir(self.control)
                          if path.startswith(f"{self.name}_"))
            with open(os.path.join(self.control, folder, "state.json"), encoding="utf-8") as f:
                return list(json.load(f)["disks"].values())
        except (OSError, StopIteration):
            return []

    def wait_for_deltas(self, run):
        deadline = time.monotonic() + PATIENCE_S
        disks = []
        while not disks or min(disk.get("delta_rounds", 0) for disk in disks) < 1:
            run.fail_if_over()
            run.tick()
            if time.monotonic() > deadline:
                raise Failed("the migration comes to no delta")
            time.sleep(0.05)
            disks = self.disks()

    def verify(self):
        for number, disk in enumerate(sorted(self.disks(), key=lambda disk: disk["key"])):
            self.centre.verify(self.name, number, disk["target_qcow2"])
