"""The pretend CloudStack, spoken to by `cs`, a client that others wrote: its signing, its expiry, its
idea of answers and jobs must fit."""

import json
import os
import pathlib
import subprocess
import uuid

import pytest

cs = pytest.importorskip("cs", reason="python3-cs is not installed")

TOP = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = pathlib.Path(os.environ.get("V2C_BUILD_DIR", TOP / "build")) / "tests/interop/cloudstack_lab"


class Lab:
    def __init__(self, directory):
        self.directory = directory
        self.process = subprocess.Popen(
            [PROGRAM, directory], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.told = json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=30)

    def client(self, **options):
        settings = {
            "endpoint": self.told["endpoint"],
            "key": self.told["api_key"],
            "secret": self.told["secret_key"],
            "verify": str(self.directory / "ca.pem"),
            "poll_interval": 0.05,
            "job_timeout": 60,
            "timeout": 60,
        }
        settings.update(options)
        return cs.CloudStack(**settings)

    def make_disk(self, name, *options):
        path = self.directory / "primary" / name
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, path, "8M"], check=True)
        return path

    def import_vm(self, client, file, **more):
        arguments = {
            "name": "web01", "zoneid": self.told["zoneid"], "clusterid": self.told["clusterid"],
            "hypervisor": "KVM", "importsource": "shared", "storageid": self.told["storageid"],
            "diskpath": file, "networkid": self.told["networkid"],
            "serviceofferingid": self.told["serviceofferingid"], "fetch_result": True,
        }
        arguments.update(more)
        return client.importVm(**arguments)


@pytest.fixture(name="lab")
def fixture_lab(tmp_path):
    lab = Lab(tmp_path)
    yield lab
    lab.close()


@pytest.mark.parametrize("method", ["get", "post"])
def test_lists(lab, method):
    client = lab.client(method=method)
    assert [zone["name"] for zone in client.listZones()["zone"]] == ["lab"]
    pools = client.listStoragePools(fetch_list=True)
    assert {pool["path"] for pool in pools} == {str(lab.directory / name) for name in ("primary", "primary2")}
    assert client.listOsTypes(keyword="Ubuntu")["count"] == 1
    assert client.listHosts(type="SecondaryStorage") == {}
    assert client.listCapabilities()["capability"]["cloudstackversion"] == "4.22.1.0"


def test_names_with_every_kind_of_byte_are_signed_alike(lab):
    # `cs` leaves "~" as it is where Java encodes it, so that one is left out here.
    assert lab.client().listVirtualMachines(keyword="Web 01 (*)/+&=é", listall=True) == {}


def test_wrong_secret_is_refused(lab):
    with pytest.raises(cs.CloudStackApiException) as caught:
        lab.client(secret="wrong").listZones()
    assert caught.value.error["errorcode"] == 401
    assert "unable to verify user credentials" in caught.value.error["errortext"]


@pytest.mark.parametrize("expires", ["2026-01-02T03:04:05+0000", "2026-01-02T03:04:05Z", "soon"])
def test_expired_request_is_refused(lab, expires):
    with pytest.raises(cs.CloudStackApiException) as caught:
        lab.client().listZones(signatureversion="3", expires=expires)
    assert caught.value.error["errorcode"] == 401


def test_unknown_parameter_is_refused(lab):
    with pytest.raises(cs.CloudStackApiException) as caught:
        lab.client().listZones(nonsense="1")
    assert caught.value.error["errorcode"] == 431


def test_unknown_certificate_is_refused_by_the_client(lab):
    with pytest.raises(Exception, match="(?i)certificate"):
        lab.client(verify=None).listZones()


def test_import_says_what_is_wrong(lab):
    client = lab.client(method="post")
    with pytest.raises(cs.CloudStackApiException) as caught:
        lab.import_vm(client, "missing.qcow2")
    assert "Disk not found or is invalid" in str(caught.value.error)
    lab.make_disk("base.qcow2")
    lab.make_disk("link.qcow2", "-F", "qcow2", "-b", "base.qcow2")
    with pytest.raises(cs.CloudStackApiException) as caught:
        lab.import_vm(client, "link.qcow2")
    assert "Volume with backing file" in str(caught.value.error)


def test_a_vm_that_is_deployed_and_gets_an_imported_root(lab):
    client = lab.client(method="post")
    root, own_id = lab.make_disk("root.qcow2"), str(uuid.uuid4())
    networks = lab.told["networks"]
    vm = client.deployVirtualMachine(
        customid=own_id, name="web01", zoneid=lab.told["zoneid"], startvm=False, hypervisor="KVM",
        serviceofferingid=lab.told["serviceofferingid"], templateid=lab.told["templates"]["tiny"],
        boottype="UEFI", bootmode="Secure",
        iptonetworklist=[{"networkid": networks["lab-isolated"], "mac": "00:50:56:11:22:33",
                          "ip": "10.1.1.77"}, {"networkid": networks["lab-l2"]}],
        fetch_result=True)["virtualmachine"]
    assert vm["id"] == own_id and vm["state"] == "Stopped" and vm["details"] == {"UEFI": "SECURE"}
    assert (vm["nic"][0]["macaddress"], vm["nic"][0]["ipaddress"]) == ("00:50:56:11:22:33", "10.1.1.77")
    planned, = client.listVolumes(virtualmachineid=own_id, listall=True, fetch_list=True)
    assert planned["state"] == "Allocated"
    client.detachVolume(id=planned["id"], fetch_result=True)
    client.deleteVolume(id=planned["id"])
    volume = client.importVolume(storageid=lab.told["storageid"], path="root.qcow2",
                                 fetch_result=True)["volume"]
    attached = client.attachVolume(id=volume["id"], virtualmachineid=own_id, deviceid=0,
                                   fetch_result=True)["volume"]
    assert (attached["type"], attached["deviceid"]) == ("ROOT", 0)
    client.createTags(resourceids=own_id, resourcetype="UserVm",
                      tags=[{"key": "v2c-migration", "value": "x"}], fetch_result=True)
    assert client.listTags(resourceid=own_id, listall=True)["tag"][0]["value"] == "x"
    client.updateDefaultNicForVirtualMachine(virtualmachineid=own_id, nicid=vm["nic"][1]["id"],
                                             fetch_result=True)
    client.removeNicFromVirtualMachine(virtualmachineid=own_id, nicid=vm["nic"][0]["id"],
                                       fetch_result=True)
    nic, = client.listNics(virtualmachineid=own_id)["nic"]
    assert nic["networkid"] == networks["lab-l2"] and nic["isdefault"]
    client.unmanageVirtualMachine(id=own_id, fetch_result=True)
    assert root.exists()


def test_a_vm_from_import_to_expunge(lab):
    client = lab.client(method="post")
    root, data = lab.make_disk("root.qcow2"), lab.make_disk("data.qcow2")
    vm = lab.import_vm(client, "root.qcow2", displayname="Web 01",
                       details=[{"rootDiskController": "virtio", "nicAdapter": "virtio"}])["virtualmachine"]
    assert vm["displayname"] == "Web 01"
    assert vm["details"] == {"rootDiskController": "virtio", "nicAdapter": "virtio"}
    uuid.UUID(vm["id"])
    volume = client.importVolume(storageid=lab.told["storageid"], path="data.qcow2",
                                 fetch_result=True)["volume"]
    client.attachVolume(id=volume["id"], virtualmachineid=vm["id"], fetch_result=True)
    client.addNicToVirtualMachine(virtualmachineid=vm["id"], networkid=lab.told["networks"]["lab-l2"],
                                  macaddress="00:50:56:11:22:33", fetch_result=True)
    started = client.startVirtualMachine(id=vm["id"], fetch_result=True)["virtualmachine"]
    assert started["state"] == "Running"
    assert [nic["macaddress"] for nic in started["nic"]][1] == "00:50:56:11:22:33"
    volumes = client.listVolumes(virtualmachineid=vm["id"], listall=True, fetch_list=True)
    assert {item["type"] for item in volumes} == {"ROOT", "DATADISK"}
    client.destroyVirtualMachine(id=vm["id"], expunge=True, fetch_result=True)
    assert not root.exists()
    assert data.exists()
