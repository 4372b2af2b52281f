"""The pretend vCenter as govc, the Go client of the vSphere API, sees it.

GOVC names the program; without it PATH is looked at, and then `go install` fetches it into the build
directory.  v0.30.7 is the last whose module can be installed that way."""
import json
import os
import pathlib
import shutil
import subprocess

import pytest

from v2clab import BUILD, Lab, wait_for

MODULE = "github.com/vmware/govmomi/govc@v0.30.7"
SCENARIO = """
vcenter: {page_objects: 2}
vms:
  - name: web01
    writer_kib_per_s: 500
    disks:
      - {address: "scsi0:0", size: 4MiB}
      - {address: "scsi0:1", size: 2MiB}
    nics: [{mac: "00:50:56:00:00:01", network: "VM Network"}]
  - {name: off01, power: "off", disks: [{address: "sata0:0", size: 1MiB}]}
  - {name: app01, datacenter: DC2, tools: false, disks: [{address: "scsi0:0", size: 1MiB}]}
"""


def find_govc():
    given = os.environ.get("GOVC") or shutil.which("govc")
    if given:
        return given
    target = BUILD / "interop-bin"
    if (target / "govc").exists():
        return str(target / "govc")
    go = shutil.which("go")
    if not go:
        return None
    try:
        subprocess.run([go, "install", MODULE], timeout=400, capture_output=True, check=True,
                       env=dict(os.environ, GOBIN=str(target), GOFLAGS="-mod=mod"))
    except (subprocess.SubprocessError, OSError):
        return None
    return str(target / "govc")


@pytest.fixture(scope="module")
def lab():
    lab = Lab(SCENARIO)
    yield lab
    lab.close()


@pytest.fixture(scope="module")
def govc(lab):
    program = find_govc()
    if not program:
        pytest.skip(f"govc is not installed and go install {MODULE} does not work here")
    home = pathlib.Path(lab.scratch.name) / "home"
    home.mkdir()
    environment = dict(
        PATH=os.environ["PATH"], HOME=str(home), GOVC_INSECURE="1", GOVC_PERSIST_SESSION="false",
        GOVC_URL=f"https://{lab.vcenter['address']}/sdk", GOVC_USERNAME=lab.vcenter["user"],
        GOVC_PASSWORD=lab.vcenter["password"])

    def run(*arguments, fails=False, **more):
        done = subprocess.run([program, *arguments], text=True, capture_output=True, timeout=60,
                              env=dict(environment, **more))
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stderr if fails else done.stdout

    return run


def test_about_names_a_vcenter(govc):
    about = json.loads(govc("about", "-json"))["About"]
    assert (about["ApiType"], about["ProductLineId"]) == ("VirtualCenter", "vpx")


def test_wrong_password_is_refused(govc):
    assert "incorrect user name or password" in govc("find", "/", fails=True,
                                                     GOVC_PASSWORD="wrong")


def test_find_lists_all_vms_by_their_paths(govc):
    assert sorted(govc("find", "/", "-type", "m").split()) == [
        "/DC1/vm/off01", "/DC1/vm/web01", "/DC2/vm/app01"]


def test_find_filters_by_property(govc):
    assert govc("find", "/", "-type", "m", "-runtime.powerState", "poweredOff").split() == [
        "/DC1/vm/off01"]


def test_ls_walks_the_folders(govc):
    assert govc("ls", "/").split() == ["/DC1", "/DC2"]
    assert govc("ls", "/DC1").split() == ["/DC1/vm", "/DC1/host", "/DC1/datastore", "/DC1/network"]
    inside = govc("ls", "/DC1/host/cluster1").splitlines()
    assert {"/DC1/host/cluster1/esx1.DC1.lab", "/DC1/host/cluster1/Resources"} <= set(inside)


def test_vm_info_reads_a_vm(govc, lab):
    told = lab.vm("web01")
    info = json.loads(govc("vm.info", "-json", "/DC1/vm/web01"))["VirtualMachines"][0]
    assert info["Self"]["Value"] == told["moref"]
    assert info["Config"]["InstanceUuid"] == told["uuid"]
    assert info["Runtime"]["PowerState"] == "poweredOn"
    text = govc("vm.info", "-dc", "DC1", "-vm.uuid", told["bios_uuid"])
    assert "/DC1/vm/web01" in text and "esx1.DC1.lab" in text


def test_devices_are_listed(govc):
    text = govc("device.ls", "-vm", "/DC1/vm/web01")
    for name in ("pvscsi-1000", "disk-1000-0", "disk-1000-1", "ethernet-0"):
        assert name in text


def test_snapshot_is_made_shown_and_removed(govc, lab):
    govc("snapshot.create", "-vm", "/DC1/vm/web01", "-m=false", "-q=false", "-d", "text", "first")
    govc("snapshot.create", "-vm", "/DC1/vm/web01", "-m=false", "second")
    tree = govc("snapshot.tree", "-vm", "/DC1/vm/web01")
    assert "first" in tree and "second" in tree
    assert [s["name"] for s in lab.vm("web01")["snapshots"]] == ["first", "second"]
    govc("snapshot.remove", "-vm", "/DC1/vm/web01", "first")
    assert [s["name"] for s in lab.vm("web01")["snapshots"]] == ["second"]
    govc("snapshot.remove", "-vm", "/DC1/vm/web01", "*")
    assert lab.vm("web01")["snapshots"] == []


def test_change_that_the_lab_does_not_know_is_refused(govc):
    assert "spec" in govc("vm.change", "-vm", "/DC2/vm/app01", "-e", "x=y", fails=True)


def test_power_goes_off_and_on(govc, lab):
    govc("vm.power", "-off", "/DC1/vm/web01")
    assert lab.vm("web01")["power"] == "off"
    assert "current state" in govc("vm.power", "-off", "/DC1/vm/web01", fails=True)
    govc("vm.power", "-on", "/DC1/vm/web01")
    assert lab.vm("web01")["power"] == "on"


def test_guest_is_shut_down(govc, lab):
    govc("vm.power", "-s", "/DC1/vm/web01")
    wait_for(lambda: lab.vm("web01")["power"] == "off")
    govc("vm.power", "-on", "/DC1/vm/web01")


def test_failed_task_is_reported(govc, lab):
    lab.fault("vsphere.CreateSnapshot_Task", "fail", detail="TooManySnapshotLevels")
    govc("snapshot.create", "-vm", "/DC1/vm/off01", "-m=false", "x", fails=True)
    assert lab.vm("off01")["snapshots"] == []
