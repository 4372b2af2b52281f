"""`check`, and the same checks of `run`: every bad fact is told with its cure, before anything is touched."""

import json
import time

import pytest

from harness import synthetic


def check(engine, spec, *arguments):
    return engine.command("check", "--config", engine.write_config(), "--spec", spec, *arguments, check=False)


def findings(engine, spec, *arguments):
    """{vm: [finding]}, and the exit status."""
    done = check(engine, spec, "--json", *arguments)
    assert done.stderr == "", done.stderr
    answer = json.loads(done.stdout)
    for vm in answer:
        assert set(vm) == {"vm", "status", "findings"}
        for finding in vm["findings"]:
            assert set(finding) == {"check", "status", "message", "cure"}
            assert finding["status"] != "failure" or finding["cure"], finding
        levels = [f["status"] for f in vm["findings"]]
        assert vm["status"] == next(s for s in ("failure", "warning", "pass") if s in levels)
    return {vm["vm"]: vm["findings"] for vm in answer}, done.returncode


def said(all_findings, check_name, status):
    return " | ".join(f["message"] for f in all_findings if (f["check"], f["status"]) == (check_name, status))


def assert_untouched(lab):
    for call, count in lab.calls().items():
        assert not call.startswith(("vsphere.CreateSnapshot", "vsphere.Reconfig", "vsphere.Power",
                                    "vsphere.Shutdown", "cloudstack.import")), (call, count)


def test_a_vm_that_can_be_migrated(make):
    lab, engine = make(synthetic(), importvm_macaddress=True)
    spec = engine.spec("web01")
    found, status = findings(engine, spec)
    assert status == 0
    assert not [f for f in found["web01"] if f["status"] == "failure"]
    words = {f["check"] for f in found["web01"]}
    assert words >= {
        "source.vcenter", "source.vm", "source.state", "source.consolidation", "source.hardware_version",
        "source.cbt", "source.snapshots", "source.tools", "source.firmware", "source.guest", "source.host",
        "source.disks", "source.datastore", "source.privileges", "target.api", "target.zone", "target.cluster",
        "target.hosts", "target.pool", "target.space", "target.service_offering", "target.disk_offering",
        "target.os_type", "target.network", "target.mac", "target.name", "local.vddk", "local.io_uring",
        "local.clock"}, words
    done = check(engine, spec)
    assert done.returncode == 0 and "nothing stands in the way" in done.stdout
    assert "pass     source.cbt" in done.stdout  # of one VM everything is shown
    assert_untouched(lab)


def test_strict_ends_with_another_status_for_warnings(make):
    lab, engine = make(synthetic())  # its offering is smaller than the VM
    spec = engine.spec("web01")
    assert check(engine, spec).returncode == 0
    done = check(engine, spec, "--strict")
    assert done.returncode == 3
    assert "target.service_offering" in done.stdout


ODD_VMS = [
    # name, scenario, check, what its failure says
    ("template", {"template": True}, "source.template", "template"),
    ("suspended", {"power": "suspended"}, "source.state", "suspended"),
    ("orphaned", {"connection": "disconnected"}, "source.state", "disconnected"),
    ("asking", {"question": "Moved or copied?"}, "source.state", "Moved or copied?"),
    ("tolerant", {"fault_tolerant": True}, "source.state", "Fault Tolerance"),
    ("secret", {"encrypted": True}, "source.encryption", "encrypted"),
    ("old", {"version": "vmx-04"}, "source.cbt", "vmx-04"),
    ("rdm", {"disk": {"rdm": "physical"}}, "source.disks", "physical mode"),
    ("independent", {"disk": {"mode": "independent_persistent"}}, "source.disks", "independent"),
    ("cluster-node", {"disk": {"shared_bus": True}}, "source.disks", "shared"),
    ("shared-disk", {"disk": {"multi_writer": True}}, "source.disks", "multi-writer"),
    ("locked-disk", {"disk": {"encrypted": True}}, "source.disks", "encrypted"),
    ("half-tracked", {"cbt": True, "disk": {"ctk": False}}, "source.cbt", "scsi0:1"),
    ("full-ds", {"disk": {"datastore": "full"}}, "source.datastore", "no snapshot"),
    ("lost-ds", {"disk": {"datastore": "lost"}}, "source.datastore", "not accessible"),
]


def odd_vm(name, number, traits):
    traits = dict(traits)
    disks = [{"address": "scsi0:0", "size": "1MiB", "seed": 2 * number + 1},
             {"address": "scsi1:0" if traits.get("disk", {}).get("shared_bus") else "scsi0:1", "size": "1MiB",
              "seed": 2 * number + 2, **traits.pop("disk", {})}]
    return synthetic(name, disks=disks, writer_kib_per_s=0,
                     nics=[{"mac": f"00:50:56:bb:00:{number:02x}", "network": "VM Network"}], **traits)


def test_every_odd_vm_is_told_with_its_reason(make):
    vms = [odd_vm(name, i, traits) for i, (name, traits, _, _) in enumerate(ODD_VMS)]
    lab, engine = make(*vms, vcenter={"datastores": [
        {"name": "full", "capacity": "1GiB", "free": 0}, {"name": "lost", "accessible": False}]})
    spec = engine.spec(*(name for name, _, _, _ in ODD_VMS), "nobody")
    found, status = findings(engine, spec)
    assert status == 1
    for name, _, word, text in ODD_VMS:
        assert text in said(found[name], word, "failure"), (name, found[name])
    assert "nobody" in said(found["nobody"], "source.vm", "failure")
    assert_untouched(lab)


def test_what_may_go_otherwise_than_expected_is_a_warning(make):
    lab, engine = make(
        synthetic(guest_id="windows2019srv_64Guest", firmware="efi", secure_boot=True, vtpm=True, cbt=True,
                  tools=False, snapshot_disabled=True, cpus=8, memory_mib=4096),
        vcenter={"esxi_version": "6.0.0", "clock_ahead_s": 300,
                 "missing_privileges": ["VirtualMachine.Interact.PowerOff"]})
    found, status = findings(engine, engine.spec("web01"))
    assert status == 0, found
    for word, text in [("source.vtpm", "TPM"), ("source.tools", "Tools"), ("source.snapshots", "no new snapshot"),
                       ("source.guest", "virtio"), ("source.host", "6.0.0"), ("local.clock", "seconds behind"),
                       ("source.privileges", "PowerOff"), ("target.service_offering", "8"),
                       ("target.mac", "new MAC")]:
        assert text in said(found["web01"], word, "warning"), (word, found["web01"])
    assert "secure boot" in said(found["web01"], "source.firmware", "pass")


def test_privileges_that_are_missing_or_cannot_be_read(make):
    lab, engine = make(synthetic(), vcenter={
        "missing_privileges": ["VirtualMachine.State.CreateSnapshot", "VirtualMachine.Config.ChangeTracking"]})
    spec = engine.spec("web01")
    found, status = findings(engine, spec)
    assert status == 1
    assert "CreateSnapshot, VirtualMachine.Config.ChangeTracking" in said(found["web01"], "source.privileges",
                                                                        "failure")
    text = engine.run(spec).fail()
    assert "VirtualMachine.State.CreateSnapshot" in text
    assert lab.count("vsphere.CreateSnapshot_Task") == 0
    lab.fault("vsphere.HasPrivilegeOnEntities", "fail", "NoPermission", count=-1)
    found, status = findings(engine, spec)
    assert status == 0
    assert "cannot be told" in said(found["web01"], "source.privileges", "warning")


def change(kind, name, **values):
    return {"kind": kind, "name": name, "set": values}


TARGETS = [
    # what is wrong, more of the spec's target, check, what its failure says
    ([change("host", "kvm1-host1", state="Down")], {}, "target.hosts", "up and enabled"),
    ([change("storagepool", "primary", state="Maintenance")], {}, "target.pool", "Maintenance"),
    ([change("storagepool", "primary", type="RBD")], {}, "target.pool", "RBD"),
    ([change("storagepool", "primary", path="/nonexistent")], {}, "target.pool", "/nonexistent"),
    ([change("storagepool", "primary", disksizeused=1 << 44)], {}, "target.space", "100% full"),
    ([change("network", "lab-isolated", zoneid="elsewhere", zonename="elsewhere")], {}, "target.network",
     "zone elsewhere"),
    ([change("diskoffering", "custom", encrypt=True)], {}, "target.disk_offering", "encrypts"),
    ([change("diskoffering", "custom", storagetype="local")], {}, "target.disk_offering", "local"),
    ([change("diskoffering", "custom", tags="ssd")], {}, "target.tags", "ssd"),
    ([change("serviceoffering", "small", storagetags="ssd")], {}, "target.tags", "ssd"),
    ([change("account", "tenant", vmavailable="0", cpuavailable="0")],
     {"account": "tenant", "domainid": "5a6f6e65-0000-4000-8000-000000000005"}, "target.limits", "0 CPUs"),
    ([], {"account": "nobody", "domainid": "5a6f6e65-0000-4000-8000-000000000005"}, "target.owner", "nobody"),
    ([], {"serviceofferingid": "00000000-0000-0000-0000-000000000000"}, "target.service_offering", "00000000"),
    ([], {"clusterid": "00000000-0000-0000-0000-000000000000"}, "target.cluster", "00000000"),
]


def test_every_bad_fact_of_the_target_is_told(make):
    lab, engine = make(synthetic())
    originals = {"state": "Up", "type": "SharedMountPoint", "disksizeused": 0, "encrypt": False,
                 "storagetype": "shared", "tags": None, "storagetags": None, "vmavailable": None,
                 "cpuavailable": None, "path": lab.info["cloudstack"]["storagepath"],
                 "zoneid": lab.info["cloudstack"]["zoneid"], "zonename": "lab"}
    for changes, target, word, text in TARGETS:
        for one in changes:
            lab.call("POST", "/cloudstack/change", one)
        found, status = findings(engine, engine.spec("web01", target=target))
        assert status == 1 and text in said(found["web01"], word, "failure"), (word, found["web01"])
        for one in changes:
            lab.call("POST", "/cloudstack/change",
                     {**one, "set": {key: originals[key] for key in one["set"]}})
    assert findings(engine, engine.spec("web01"))[1] == 0  # as it was


def test_a_shared_mount_point_at_which_nothing_is_mounted_is_refused_unless_it_is_allowed(make):
    lab, engine = make(synthetic())
    del engine.config["storage"]
    spec = engine.spec("web01")
    found, status = findings(engine, spec)
    assert status == 1
    assert "nothing is mounted at" in said(found["web01"], "target.pool", "failure")
    text = engine.run(spec).fail()
    assert "allow_unmounted_paths" in text
    assert_untouched(lab)
    engine.config["storage"] = {"allow_unmounted_paths": True}
    found, _ = findings(engine, spec)
    assert said(found["web01"], "target.pool", "pass")


def test_a_uefi_vm_needs_a_host_that_can(make):
    lab, engine = make(synthetic(firmware="efi"),
                       changes=[change("host", "kvm1-host1", ueficapability=False)])
    found, status = findings(engine, engine.spec("web01"))
    assert status == 1 and "never start" in said(found["web01"], "target.uefi", "failure")


def test_commands_that_the_account_may_not_use(make):
    lab, engine = make(synthetic(), forbid=["importVm", "attachVolume", "listConfigurations", "listHosts"])
    found, status = findings(engine, engine.spec("web01"))
    assert status == 1
    failures = said(found["web01"], "target.api", "failure")
    assert "importVm" in failures and "attachVolume" in failures
    assert "could not be looked up" in said(found["web01"], "target.hosts", "warning")


def test_an_old_cloudstack_cannot_import_from_a_shared_mount_point(make):
    lab, engine = make(synthetic(), version="4.20")
    found, status = findings(engine, engine.spec("web01"))
    assert status == 1 and "4.20.0 cannot import" in said(found["web01"], "target.pool", "failure")


def test_addresses_and_networks_that_are_taken(make):
    lab, engine = make(synthetic(), synthetic("twin"), importvm_macaddress=True)
    networks = list(lab.info["cloudstack"]["networks"].values())
    spec = engine.spec("web01", shutdown_mode="force")
    run = engine.run(spec)
    engine.until_stage(spec, "delta", run)
    engine.finalize(spec, "--now")
    run.succeed()
    found, status = findings(engine, engine.spec("twin"))
    assert status == 1 and "in use" in said(found["twin"], "target.mac", "failure")
    found, status = findings(engine, engine.spec("web01"))
    assert "web01 is on the network already" in said(found["web01"], "target.name", "warning")
    both = engine.spec("twin", nics={
        "4000": {"source_label": "Network adapter 1", "source_index": 0, "networkid": networks[1]},
        "4001": {"source_label": "Network adapter 2", "source_index": 1, "networkid": networks[1]}})
    done = check(engine, both)  # the spec alone says so: it is not even looked at
    assert done.returncode == 1 and "one NIC of a VM on a network" in done.stderr


def test_servers_that_cannot_be_reached_are_findings_too(make):
    lab, engine = make(synthetic())
    spec = engine.spec("web01")
    engine.config["vcenter"]["password"] = "wrong"
    engine.config["migration"]["vddk_path"] = "/nonexistent"
    found, status = findings(engine, spec)
    assert status == 1
    assert "user name or password" in said(found["web01"], "source.vcenter", "failure")
    assert "/nonexistent" in said(found["web01"], "local.vddk", "failure")
    assert said(found["web01"], "target.zone", "pass")  # the rest is told all the same
    assert lab.count("vsphere.Login") == 1
    engine.config["cloudstack"]["secret_key"] = "wrong"
    found, status = findings(engine, spec)
    assert said(found["web01"], "target.cloudstack", "failure")


def test_run_refuses_before_any_snapshot_with_all_problems_in_one_message(make):
    lab, engine = make(odd_vm("web01", 1, {"disk": {"mode": "independent_persistent"}}),
                       changes=[change("host", "kvm1-host1", state="Down"),
                                change("diskoffering", "custom", tags="ssd")])
    text = engine.run(engine.spec("web01")).fail()
    assert "3 checks failed" in text
    for part in ("source.disks", "independent", "target.hosts", "target.tags", "ssd"):
        assert part in text, part
    hints = [line for line in text.splitlines() if line.startswith("hint: ")]
    assert len(hints) == 3, hints
    assert engine.state_json("web01")["last_error"].count("target.") == 2
    assert_untouched(lab)
    # And goes on once they are solved.
    assert engine.stage(engine.spec("web01")) == "init"


def test_a_target_that_broke_meanwhile_keeps_the_source_on(make):
    lab, engine = make(synthetic())
    spec = engine.spec("web01")
    run = engine.run(spec)
    engine.until_stage(spec, "delta", run)
    lab.call("POST", "/cloudstack/change", change("diskoffering", "custom", state="Inactive"))
    engine.finalize(spec, "--now")
    text = run.fail()
    assert "source stays on" in text and "Inactive" in text
    assert lab.vm("web01")["power"] == "on" and lab.count("vsphere.ShutdownGuest") == 0
    engine.assert_nothing_left("web01")
    lab.call("POST", "/cloudstack/change", change("diskoffering", "custom", state="Active"))
    run = engine.run(spec)
    engine.until_rounds("web01", 1, run)
    assert lab.vm("web01")["power"] == "on"  # the request was dropped
    engine.finalize(spec, "--now")
    run.succeed()
    engine.assert_migrated("web01")


def test_a_server_that_stumbles_during_the_preflight_is_asked_again(make):
    lab, engine = make(synthetic())
    for where in ("cloudstack.listZones", "cloudstack.listNetworks", "vsphere.CurrentTime"):
        lab.fault(where, "drop", count=4)
    spec = engine.spec("web01")
    run = engine.run(spec)
    engine.until_stage(spec, "delta", run)
    assert "preflight" in engine.log("web01") and "trying again" in engine.log("web01")
    run.interrupt()
    run.fail()


@pytest.mark.parametrize("count", [100])
def test_a_hundred_vms_are_checked_in_a_few_calls(make, count):
    names = [f"vm{i:03}" for i in range(count)]
    lab, engine = make(*(synthetic(name, disks=[{"address": "scsi0:0", "size": "1MiB", "fill": 0, "seed": i + 1}],
                                   nics=[{"mac": f"00:50:56:cc:{i >> 8:02x}:{i & 255:02x}",
                                          "network": "VM Network"}],
                                   writer_kib_per_s=0) for i, name in enumerate(names)))
    spec = engine.spec(*names)
    began = time.monotonic()
    found, status = findings(engine, spec)
    seconds = time.monotonic() - began
    calls = sum(n for call, n in lab.calls().items() if not call.endswith(".after"))
    print(f"{count} VMs: {seconds:.2f} s, {calls} calls")
    assert status == 0 and sorted(found) == names
    assert calls < 60, lab.calls()  # none of them once a VM
    text = check(engine, spec).stdout
    assert "pass " not in text and "vm099: 0 failed" in text
    assert "pass " in check(engine, spec, "--all").stdout


def on_shared(lab, address):
    return {"4000": {"source_label": "Network adapter 1", "source_index": 0, "ip": address,
                     "networkid": lab.info["cloudstack"]["networks"]["lab-shared"]}}


def test_an_address_that_no_range_of_a_shared_network_has(make):
    lab, engine = make(synthetic(), importvm_macaddress=True)
    found, status = findings(engine, engine.spec("web01", nics=on_shared(lab, "192.168.77.40")))
    assert status == 0 and "192.168.77.40" in said(found["web01"], "target.ip", "pass")
    outside = engine.spec("web01", nics=on_shared(lab, "192.168.77.251"))
    found, status = findings(engine, outside)
    assert status == 1 and "none of the address ranges" in said(found["web01"], "target.ip", "failure")
    assert "none of the address ranges" in engine.run(outside).fail()
    assert_untouched(lab)


def test_ranges_that_the_account_may_not_list_are_not_known(make):
    lab, engine = make(synthetic(), importvm_macaddress=True,
                       forbid=["listVlanIpRanges", "listHypervisorCapabilities"])
    found, status = findings(engine, engine.spec("web01", nics=on_shared(lab, "192.168.77.251")))
    assert status == 0 and "cannot be told" in said(found["web01"], "target.ip", "warning")
    assert "cannot be told" in said(found["web01"], "target.volumes", "warning")


def test_two_vms_that_are_to_have_one_address(make):
    lab, engine = make(synthetic(), synthetic("twin"), importvm_macaddress=True)
    found, status = findings(engine, engine.spec("web01", "twin", nics=on_shared(lab, "192.168.77.40")))
    assert status == 1 and "web01 is to have 192.168.77.40" in said(found["twin"], "target.ip", "failure")
    assert not said(found["web01"], "target.ip", "failure")


def test_more_disks_than_cloudstack_attaches(make):
    disks = [{"address": f"scsi0:{i}", "size": "1MiB", "seed": i + 1} for i in range(4)]
    lab, engine = make(synthetic(disks=disks), changes=[change("hypervisorcapability", "kvm", maxdatavolumeslimit=2)])
    found, status = findings(engine, engine.spec("web01"))
    assert status == 1 and "3 data disks, CloudStack attaches 2" in said(found["web01"], "target.volumes", "failure")


def test_as_many_disks_as_cloudstack_attaches(make):
    """With importVm the root has a data disk's device id; the lab refuses the last one as the real one does."""
    disks = [{"address": f"scsi0:{i}", "size": "1MiB", "seed": i + 1} for i in range(4)]
    lab, engine = make(synthetic(disks=disks), changes=[change("hypervisorcapability", "kvm", maxdatavolumeslimit=3)])
    spec = engine.spec("web01")
    found, status = findings(engine, spec)
    assert status == 0 and "the last is refused" in said(found["web01"], "target.volumes", "warning")
    run = engine.run(spec)
    engine.until_rounds("web01", 1, run)
    engine.finalize(spec, "--now")
    assert "deviceId should be 0,1,2,4-4" in run.fail()
    lab.call("POST", "/cloudstack/change", change("hypervisorcapability", "kvm", maxdatavolumeslimit=4))
    engine.run(spec).succeed()
    engine.assert_migrated("web01")


def test_the_shell_way_attaches_as_many_disks_as_cloudstack_says(make):
    disks = [{"address": f"scsi0:{i}", "size": "1MiB", "seed": i + 1} for i in range(4)]
    lab, engine = make(synthetic(disks=disks), changes=[change("hypervisorcapability", "kvm", maxdatavolumeslimit=3)])
    spec = engine.spec("web01", import_method="shell")
    found, status = findings(engine, spec)
    assert status == 0 and "3 data disks, 3" in said(found["web01"], "target.volumes", "pass"), found
    run = engine.run(spec)
    engine.until_rounds("web01", 1, run)
    engine.finalize(spec, "--now")
    run.succeed()
    engine.assert_migrated("web01")
