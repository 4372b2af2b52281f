import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "flow"))
sys.path.insert(0, str(HERE))

import pytest  # noqa: E402

import ganesha  # noqa: E402
import harness  # noqa: E402


@pytest.fixture
def server(tmp_path):
    """A real NFS server whose export is an empty directory."""
    if ganesha.why_not():
        pytest.skip(ganesha.why_not())
    (tmp_path / "export").mkdir()
    started = ganesha.Ganesha(tmp_path / "nfs", tmp_path / "export")
    yield started
    started.kill()


@pytest.fixture
def make(tmp_path):
    """make(vm, ...) -> (lab, engine, server): the lab's pools are exports of a real NFS server, and nothing is
    mounted.  With @size the export is a file system of its own, of that size."""
    if ganesha.why_not():
        pytest.skip(ganesha.why_not())
    started, mounted = [], []

    def start(*vms, size=None, access="RW", squash="No_Root_Squash", **cloudstack):
        pools = [{"kind": "storagepool", "name": "primary",
                  "set": {"type": "NetworkFilesystem", "ipaddress": "127.0.0.1"}}]
        lab = harness.Lab(tmp_path, harness.scenario(*vms, changes=pools, **cloudstack))
        started.append(lab)
        pool = lab.info["cloudstack"]["storagepath"]
        if size:
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", pool], check=True)
            mounted.append(pool)
        server = ganesha.Ganesha(tmp_path / "nfs", pool, access, squash)
        engine = harness.Engine(tmp_path, lab)
        engine.config["storage"] = {"nfs": "userspace"}
        engine.environment["V2C_NFS_PORTS"] = server.ports
        read = engine.state_json

        def state_json(name):
            state = read(name)
            for disk in state["disks"].values():  # as the lab, which has the export's directory, sees them
                if disk["target_qcow2"]:
                    assert disk["target_qcow2"].startswith(server.url + "/"), disk
                    disk["target_qcow2"] = disk["target_qcow2"][len(server.url):]
            return state

        engine.state_json = state_json
        started.extend([engine, server])
        return lab, engine, server

    yield start
    for thing in reversed(started):
        if isinstance(thing, harness.Engine):
            for run in thing.runs:
                if run.is_running():
                    run.kill_all()
        elif isinstance(thing, ganesha.Ganesha):
            thing.kill()
        else:
            thing.stop()
    for pool in mounted:
        subprocess.run(["umount", "-l", pool], check=True)
