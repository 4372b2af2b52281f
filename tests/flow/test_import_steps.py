"""Every call of an import is interrupted: the same command goes on, and neither repeats nor skips.

One migration is taken through all of its calls, because what is interrupted again and again must hold too,
and because the base copy before them is made once."""

import json

import pytest

from harness import synthetic, until

DISKS = [{"address": f"scsi0:{n}", "size": "4MiB", "fill": 50, "seed": n + 1} for n in range(3)]
NICS = [{"mac": "00:50:56:aa:00:01", "network": "A"}, {"mac": "00:50:56:aa:00:02", "network": "B"}]
# Each call, and how many there are of it.
CALLS = {
    "importvm": [("importVm", 1), ("addNicToVirtualMachine", 2),
                 ("updateDefaultNicForVirtualMachine", 1), ("removeNicFromVirtualMachine", 1),
                 ("importVolume", 2), ("attachVolume", 2), ("createTags", 2),
                 ("updateVirtualMachine", 1), ("startVirtualMachine", 1)],
    "shell": [("deployVirtualMachine", 1), ("detachVolume", 1), ("deleteVolume", 1),
              ("importVolume", 3), ("attachVolume", 3), ("createTags", 2),
              ("updateVirtualMachine", 1), ("startVirtualMachine", 1)],
}
SYNC = ("deleteVolume", "updateVirtualMachine")


def repeats(method, call, lost):
    """How often a call is made again when so many of it never reached the server.  importVm was told all
    the settings, so that there is nothing left to set."""
    return 0 if (method, call) == ("importvm", "updateVirtualMachine") else lost


class Migration:
    def __init__(self, make, method):
        self.lab, self.engine = make(synthetic(disks=DISKS, nics=NICS, writer_kib_per_s=0, shutdown_ms=50))
        networks = self.lab.info["cloudstack"]["networks"]
        self.method = method
        self.spec = self.engine.spec(
            "web01", import_method=method, target={"placeholder_networkid": networks["lab-l2-empty"]},
            nics={"4000": {"source_index": 0, "networkid": networks["lab-isolated"]},
                  "4001": {"source_index": 1, "networkid": networks["lab-shared"]}})
        self.networks = [networks["lab-isolated"], networks["lab-shared"]]
        self.run = None

    def go_on(self):
        """The same command; where a failure dropped the request, it is made again."""
        self.run = self.engine.run(self.spec)
        until(lambda: self.engine.stage(self.spec) not in (None, "init", "base_copy") or
              not self.run.is_running(), "it is at work")
        if self.engine.stage(self.spec) == "delta":
            self.engine.finalize(self.spec, "--now")

    def start(self):
        self.run = self.engine.run(self.spec)
        self.engine.until_stage(self.spec, "delta", self.run)

    def counts(self):
        calls = self.lab.calls()
        return {call: calls.get(f"cloudstack.{call}", 0) for call, _ in CALLS[self.method]}

    def assert_done(self):
        self.run.succeed()
        vm = self.engine.assert_migrated("web01")
        cloud = self.lab.state()["cloudstack"]
        assert len(cloud["vms"]) == 1 and len(cloud["volumes"]) == len(DISKS)
        assert vm["state"] == "Running"
        assert [n["networkid"] for n in vm["nic"]] == self.networks
        assert [n["macaddress"] for n in vm["nic"]] == [n["mac"] for n in NICS]
        assert [n["isdefault"] for n in vm["nic"]] == [True, False]
        volumes = sorted(vm["volumes"], key=lambda v: v["deviceid"])
        files = self.engine.state_json("web01")["disks"]
        assert [v["file"] for v in volumes] == [files[k]["target_qcow2"] for k in ("0", "1", "2")]
        assert [v["type"] for v in volumes] == ["ROOT", "DATADISK", "DATADISK"]
        return vm

    def assert_tagged(self, vm):
        for thing in (vm, *vm["volumes"]):
            keys = [tag["key"] for tag in thing.get("tags", [])]
            assert sorted(keys) == sorted(set(keys)) and "v2c-migration" in keys, json.dumps(thing)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("method", CALLS)
def test_killed_at_every_call(make, method, moment):
    """before: the server never got the call; after: it did it, and nobody heard."""
    m = Migration(make, method)
    suffix = ".after" if moment == "after" else ""
    m.start()
    is_first = True
    for call, count in CALLS[method]:
        for _ in range(count):
            where = f"cloudstack.{call}{suffix}"
            before = m.lab.count(where)
            m.lab.fault(where, "drop", delay_ms=1500)
            if is_first:
                m.engine.finalize(m.spec, "--now")
                is_first = False
            else:
                m.run = m.engine.run(m.spec)
            until(lambda: m.lab.count(where) > before or not m.run.is_running(), f"{call} is made")
            m.run.kill_all()
    m.go_on()
    m.assert_tagged(m.assert_done())
    for call, count in CALLS[method]:
        lost = count if moment == "before" else 0
        assert m.counts()[call] == count + repeats(method, call, lost), (call, m.counts())


@pytest.mark.parametrize("kind", ["refused", "job"])
@pytest.mark.parametrize("method", CALLS)
def test_every_call_fails_once(make, method, kind):
    """refused: when it is made; job: when the server works on it."""
    m = Migration(make, method)
    m.start()
    is_first = True
    for call, count in CALLS[method]:
        if kind == "job" and call in (*SYNC, "deployVirtualMachine"):
            continue  # it is there when its submission is answered
        m.lab.fault(f"cloudstack.{call}" + (".job" if kind == "job" else ""), "fail", "not today")
        if is_first:
            m.engine.finalize(m.spec, "--now")
            is_first = False
        else:
            m.go_on()
        if call == "createTags":  # is left out
            m.run.succeed()
            break
        text = m.run.fail()
        assert "not today" in text, text[-2000:]
    else:
        m.go_on()
    m.assert_done()
    for call, count in CALLS[method]:
        made = m.counts()[call]
        assert count <= made <= count + 1, (call, m.counts())


@pytest.mark.parametrize("action", ["drop", "drop_after"])
@pytest.mark.parametrize("method", CALLS)
def test_every_answer_is_lost_once(make, method, action):
    """The run goes on by itself."""
    m = Migration(make, method)
    m.start()
    for call, _ in CALLS[method]:
        m.lab.fault(f"cloudstack.{call}", action)
    m.engine.finalize(m.spec, "--now")
    m.assert_tagged(m.assert_done())
    for call, count in CALLS[method]:
        lost = 1 if action == "drop" else 0
        assert m.counts()[call] == count + repeats(method, call, lost), (call, m.counts())
