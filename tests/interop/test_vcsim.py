"""Our vSphere client against vcsim, govmomi's simulator of a vCenter: what it makes of our requests, and
we of its answers.  vcsim has no changed-block tracking and no consolidation; those are for the lab.

It is built here from `vcsim/main.go`: with the release in `go.mod` where Go is new enough and modules can
be fetched, else with the source that Debian packages (golang-github-vmware-govmomi-dev)."""

import json
import os
import pathlib
import re
import shutil
import ssl
import subprocess
import time
import urllib.request

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("V2C_BUILD_DIR", TOP / "build"))
PROBE = BUILD / "tests/interop/vsphere_probe"
SOURCE = TOP / "tests/interop/vcsim"
DEBIAN = pathlib.Path("/usr/share/gocode")


def go_build(target, environment, *what):
    return subprocess.run(
        ["go", "build", "-o", target, *what], cwd=SOURCE, env={**os.environ, **environment},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=900, check=False)


def build_vcsim():
    """The program, or why there is none."""
    target = BUILD / "tests/interop/vcsim"
    sources = [SOURCE / "main.go", SOURCE / "go.mod"]
    if target.exists() and all(target.stat().st_mtime > s.stat().st_mtime for s in sources):
        return target, None
    if not shutil.which("go"):
        return None, "vcsim cannot be built: there is no Go compiler"
    target.parent.mkdir(parents=True, exist_ok=True)
    modules = go_build(target, {"GOFLAGS": "-mod=readonly"}, ".")
    if modules.returncode == 0:
        return target, None
    if (DEBIAN / "src/github.com/vmware/govmomi").is_dir():
        debian = go_build(target, {"GO111MODULE": "off", "GOFLAGS": "", "GOPATH": str(DEBIAN)}, "main.go")
        if debian.returncode == 0:
            return target, None
        return None, f"vcsim cannot be built: {debian.stdout.strip()[-300:]}"
    return None, f"vcsim cannot be built: {modules.stdout.strip()[-300:]}"


class Vcsim:
    def __init__(self, program, *options):
        self.process = subprocess.Popen(
            [program, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        told = json.loads(self.process.stdout.readline())
        self.host, self.user, self.password = told["host"], told["user"], told["password"]
        address, port = self.host.split(":")
        pem = ssl.get_server_certificate((address, int(port)))
        shown = subprocess.run(["openssl", "x509", "-noout", "-fingerprint", "-sha256"], input=pem,
                               stdout=subprocess.PIPE, text=True, check=True)
        self.sha256 = shown.stdout.strip().split("=")[1]
        shown = subprocess.run(["openssl", "x509", "-noout", "-fingerprint", "-sha1"], input=pem,
                               stdout=subprocess.PIPE, text=True, check=True)
        self.sha1 = shown.stdout.strip().split("=")[1]

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=30)

    def start_probe(self, *command, password=None, thumbprint=None):
        return subprocess.Popen(
            [PROBE, self.host, self.user, self.sha256 if thumbprint is None else thumbprint, *command],
            env={**os.environ, "VC_PASSWORD": password or self.password}, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True)

    def probe(self, *command, **options):
        process = self.start_probe(*command, **options)
        out, _ = process.communicate(timeout=120)
        assert process.returncode in (0, 1), out
        return json.loads(out)

    def named(self, name):
        return self.probe("find", "name", name)

    def soap(self, body, cookie=None):
        """A request of our own, as an administrator's other tool would make it."""
        envelope = ('<?xml version="1.0"?><soapenv:Envelope xmlns:soapenv='
                    '"http://schemas.xmlsoap.org/soap/envelope/" xmlns:xsi='
                    '"http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>'
                    f"{body}</soapenv:Body></soapenv:Envelope>")
        request = urllib.request.Request(
            f"https://{self.host}/sdk", envelope.encode(),
            {"Content-Type": "text/xml", "SOAPAction": '"urn:vim25/6.5"',
             **({"Cookie": cookie} if cookie else {})})
        context = ssl._create_unverified_context()
        with urllib.request.urlopen(request, timeout=30, context=context) as answer:
            return answer.read().decode(), answer.headers.get("Set-Cookie", "").split(";")[0]


@pytest.fixture(name="program", scope="session")
def fixture_program():
    program, reason = build_vcsim()
    if not program:
        pytest.skip(reason)
    return program


@pytest.fixture(name="vcsim", scope="module")
def fixture_vcsim(program):
    server = Vcsim(program, "-vm", "2", "-dc", "2")
    yield server
    server.close()


def test_pinned_by_either_fingerprint(vcsim):
    assert vcsim.probe("about")["sha1"] == vcsim.sha1
    about = vcsim.probe("about", thumbprint=vcsim.sha1.replace(":", "").lower())
    assert about["name"].startswith("VMware vCenter Server")


def test_without_a_pin_it_is_refused_with_the_line_to_paste(vcsim):
    error = vcsim.probe("about", thumbprint="")
    assert error["error"] == "E_TLS_UNTRUSTED"
    assert f'vcenter.thumbprint: "{vcsim.sha256}"' in error["hint"]
    assert vcsim.sha1 in error["hint"]


def test_wrong_password_is_refused(vcsim):
    error = vcsim.probe("about", password="wrong")
    assert error["error"] == "E_VSPHERE_LOGIN"
    assert "InvalidLogin" in error["message"]


def test_find_by_name_moref_and_uuid(vcsim):
    moref = vcsim.named("DC1_H0_VM1")
    vm = vcsim.probe("read", moref)
    assert vm["name"] == "DC1_H0_VM1" and vm["datacenter"] == "DC1"
    assert vcsim.probe("find", "moref", moref) == moref
    assert vcsim.probe("find", "uuid", vm["instance_uuid"].upper()) == moref
    assert vcsim.probe("find", "uuid", vm["bios_uuid"]) == moref
    assert vcsim.probe("find", "name", "DC1_H0_VM1", "DC1") == moref
    assert vcsim.probe("find", "name", "/DC1/vm/DC1_H0_VM1") == moref


def test_facts_of_many_vms_in_few_calls(vcsim):
    facts = vcsim.probe("facts", "DC0_H0_VM0", "DC1_H0_VM1")
    assert [f["vm"]["name"] for f in facts["vms"]] == ["DC0_H0_VM0", "DC1_H0_VM1"]
    assert [f["vm"]["datacenter"] for f in facts["vms"]] == ["DC0", "DC1"]
    for fact, name in zip(facts["vms"], ("DC0_H0_VM0", "DC1_H0_VM1")):
        assert fact["vm"] == vcsim.probe("read", vcsim.named(name))  # the same as one by one
        assert fact["host"] in [h["moref"] for h in facts["hosts"]] and not fact["tolerant"]
        assert fact["vm"]["disks"][0]["datastore"] in [d["moref"] for d in facts["datastores"]]
    assert all(h["version"] for h in facts["hosts"])
    assert all(d["accessible"] and d["free"] > 0 for d in facts["datastores"])
    assert abs(facts["time"] - time.time()) < 60
    assert facts["missing"] == ""
    assert vcsim.probe("facts", "DC0_H0_VM0", "no-such")["error"] == "E_VSPHERE_NOT_FOUND"


def test_what_does_not_exist_is_not_found(vcsim):
    for how in (["name", "no-such"], ["moref", "vm-99999"], ["name", "DC1_H0_VM1", "DC0"],
                ["uuid", "00000000-0000-0000-0000-000000000000"], ["name", "x", "no-such-dc"]):
        assert vcsim.probe("find", *how)["error"] == "E_VSPHERE_NOT_FOUND", how
    assert vcsim.probe("read", "vm-99999")["error"] == "E_VSPHERE_NOT_FOUND"


def test_a_vm_has_its_disks_and_cards(vcsim):
    vm = vcsim.probe("read", vcsim.named("DC0_H0_VM0"))
    assert vm["power"] == "on" and vm["connection"] == "connected" and vm["firmware"] == "bios"
    assert [d["address"] for d in vm["disks"]] == ["scsi0:0"]
    assert vm["disks"][0]["file"].endswith("DC0_H0_VM0/disk1.vmdk")
    assert vm["disks"][0]["unsupported"] is None and vm["disks"][0]["capacity"] > 0
    assert len(vm["nics"]) == 1
    assert re.fullmatch("([0-9a-f]{2}:){5}[0-9a-f]{2}", vm["nics"][0]["mac"])
    assert vm["nics"][0]["network"] in ("DC0_DVPG0", "VM Network")


def test_all_vms_are_listed_over_pages(program):
    server = Vcsim(program, "-vm", "60", "-dc", "2")
    try:
        listed = server.probe("list")
    finally:
        server.close()
    names = {f"DC{d}_{pool}_VM{n}" for d in (0, 1) for pool in ("H0", "C0_RP0") for n in range(60)}
    assert len(listed) == len(names)
    assert {vm["name"] for vm in listed} == names
    assert all(vm["name"].startswith(vm["datacenter"]) for vm in listed)


def test_snapshots_are_made_once_and_removed(vcsim):
    moref = vcsim.named("DC0_H0_VM1")
    first = vcsim.probe("snapshot", moref, "v2c-test-1", "plain")
    assert vcsim.probe("snapshot", moref, "v2c-test-1", "plain") == first
    second = vcsim.probe("snapshot", moref, "v2c <2> & more", "quiesce")
    snapshots = vcsim.probe("read", moref)["snapshots"]
    assert [(s["moref"], s["name"]) for s in snapshots] == [
        (first, "v2c-test-1"), (second, "v2c <2> & more")]
    assert [d["address"] for d in vcsim.probe("disks", first)] == ["scsi0:0"]
    assert vcsim.probe("remove", moref, first) is True
    assert vcsim.probe("remove", moref, first) is True
    assert vcsim.probe("disks", first)["error"] == "E_VSPHERE_NOT_FOUND"
    assert [s["moref"] for s in vcsim.probe("read", moref)["snapshots"]] == [second]
    # Of another VM: not touched.
    assert vcsim.probe("remove", vcsim.named("DC0_H0_VM0"), second) is True
    assert [s["moref"] for s in vcsim.probe("read", moref)["snapshots"]] == [second]


def test_change_tracking_is_turned_on(vcsim):
    moref = vcsim.named("DC0_C0_RP0_VM0")
    before = vcsim.probe("read", moref)
    assert before["cbt"] is False
    if not before["cbt_supported"]:  # Debian's vcsim does not say that it is
        assert vcsim.probe("cbt", moref)["error"] == "E_CBT_UNSUPPORTED"
        return
    assert vcsim.probe("cbt", moref) is True
    assert vcsim.probe("read", moref)["cbt"] is True
    assert vcsim.probe("cbt", moref) is True


def test_a_method_the_server_does_not_have_keeps_its_fault(vcsim):
    error = vcsim.probe("changes", vcsim.named("DC0_H0_VM0"), "-", "2000", "1048576", "*")
    assert error["error"] == "E_VSPHERE_FAULT"
    assert "MethodNotFound" in error["message"]


def test_power_goes_off_and_on(vcsim):
    moref = vcsim.named("DC1_C0_RP0_VM0")
    for command, state in (("on", "on"), ("off", "off"), ("off", "off"), ("shutdown", "off"),
                           ("on", "on"), ("shutdown", "off")):
        assert vcsim.probe("power", command, moref) == state


def sessions(vcsim, cookie):
    """The keys of all sessions, from the session manager."""
    text, _ = vcsim.soap(
        '<RetrievePropertiesEx xmlns="urn:vim25"><_this type="PropertyCollector">propertyCollector'
        "</_this><specSet><propSet><type>SessionManager</type><pathSet>sessionList</pathSet></propSet>"
        '<objectSet><obj type="SessionManager">SessionManager</obj></objectSet></specSet><options/>'
        "</RetrievePropertiesEx>", cookie)
    return set(re.findall("<key>([^<]+)</key>", text))


def test_a_terminated_session_is_renewed(vcsim):
    uuid = vcsim.probe("read", vcsim.named("DC0_H0_VM0"))["instance_uuid"]
    password = vcsim.password.replace("&", "&amp;").replace("<", "&lt;")
    _, cookie = vcsim.soap('<Login xmlns="urn:vim25"><_this type="SessionManager">SessionManager</_this>'
                           f"<userName>{vcsim.user}</userName><password>{password}</password></Login>")
    before = sessions(vcsim, cookie)
    process = vcsim.start_probe("twice", uuid)
    assert process.stdout.readline() == "found\n"
    ended = sessions(vcsim, cookie) - before
    assert len(ended) == 1
    vcsim.soap('<TerminateSession xmlns="urn:vim25"><_this type="SessionManager">SessionManager</_this>'
               f"<sessionId>{ended.pop()}</sessionId></TerminateSession>", cookie)
    assert sessions(vcsim, cookie) == before
    out, _ = process.communicate("go on\n", timeout=60)
    first, second = json.loads(out)
    assert first == second == vcsim.named("DC0_H0_VM0")
    # And every probe has logged out: only the administrator's own session is left.
    assert sessions(vcsim, cookie) == before
