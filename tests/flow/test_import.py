"""What the imported VM looks like, by both ways of importing, on servers old and new."""

import pytest

from harness import synthetic, until

DISKS = [{"address": "scsi0:0", "size": "8MiB", "fill": 50, "seed": 1},
         {"address": "scsi0:1", "size": "4MiB", "fill": 50, "seed": 2},
         {"address": "scsi1:0", "size": "4MiB", "fill": 50, "seed": 3},
         {"address": "sata0:0", "size": "4MiB", "fill": 50, "seed": 4}]
MACS = ["00:50:56:aa:00:01", "00:50:56:aa:00:02"]
NICS = [{"mac": MACS[0], "network": "A", "ip": "192.168.77.50"},
        {"mac": MACS[1], "network": "B", "ip": "10.1.1.60"}]
OLD = {"version": "4.19.1", "shared_mount_point": True}


def source(**more):
    return synthetic(**{"disks": DISKS, "nics": NICS, "writer_kib_per_s": 0, **more})


def mappings(lab, **first):
    """The shared network first, the isolated one second: not in the order of the server's list."""
    networks = lab.info["cloudstack"]["networks"]
    return {"4001": {"source_label": "Network adapter 2", "source_index": 1,
                     "networkid": networks["lab-isolated"], "ip": "keep"},
            "4000": {"source_label": "Network adapter 1", "source_index": 0,
                     "networkid": networks["lab-shared"], "ip": "keep", **first}}


def migrate(engine, spec):
    run = engine.run(spec)
    engine.until_stage(spec, "delta", run)
    engine.finalize(spec, "--now")
    text = run.succeed()
    return engine.assert_migrated("web01"), text


def assert_disks_in_order(vm, engine):
    """Device ids follow the source's controllers and units, without the CD's."""
    volumes = sorted(vm["volumes"], key=lambda v: v["deviceid"])
    assert [v["type"] for v in volumes] == ["ROOT"] + ["DATADISK"] * 3
    assert 3 not in [v["deviceid"] for v in volumes]
    disks = engine.state_json("web01")["disks"]
    assert [v["file"] for v in volumes] == [disks[k]["target_qcow2"]
                                            for k in ("0", "1", "scsi1:0", "sata0:0")]


def assert_tagged(vm, lab):
    moref = lab.moref("web01")
    for thing in (vm, *vm["volumes"]):
        tags = {tag["key"]: tag["value"] for tag in thing.get("tags", [])}
        assert tags["v2c-migration"].startswith("web01_") and tags["v2c-source-moref"] == moref
        assert tags["v2c-source-uuid"] and tags["v2c-source-vcenter"]


@pytest.mark.parametrize("method,server", [("importvm", {"version": "4.23"}),
                                           ("importvm", {"version": "4.22.1"}), ("importvm", OLD),
                                           ("shell", {"version": "4.20.2", "shared_mount_point": True}),
                                           ("shell", OLD)],
                         ids=lambda v: v if isinstance(v, str) else v["version"])
def test_imported_vm_is_what_the_source_was(make, method, server):
    lab, engine = make(source(firmware="efi", secure_boot=True), **server)
    spec = engine.spec("web01", nics=mappings(lab), import_method=method,
                       target={"ostypeid": None, "serviceofferingid":
                               lab.info["cloudstack"]["serviceofferings"]["custom-unconstrained"]})
    vm, text = migrate(engine, spec)
    networks = lab.info["cloudstack"]["networks"]
    assert [n["networkid"] for n in vm["nic"]] == [networks["lab-shared"], networks["lab-isolated"]]
    assert [n["isdefault"] for n in vm["nic"]] == [True, False]
    assert [n["ipaddress"] for n in vm["nic"]] == ["192.168.77.50", "10.1.1.60"]
    is_mac_kept = method == "shell" or server["version"] == "4.23"
    assert (vm["nic"][0]["macaddress"] == MACS[0]) == is_mac_kept
    assert vm["nic"][1]["macaddress"] == MACS[1]
    if not is_mac_kept:
        assert "target.mac" in text or "new MAC" in text
    assert vm["details"]["UEFI"] == "SECURE" and vm["details"]["rootDiskController"] == "virtio"
    assert vm["osdisplayname"] == "Debian GNU/Linux 12 (64-bit)"
    assert (vm["cpunumber"], vm["memory"], vm["cpuspeed"]) == (2, 2048, 1000)
    assert vm["state"] == "Running"
    assert_disks_in_order(vm, engine)
    assert_tagged(vm, lab)
    assert len(lab.state()["cloudstack"]["volumes"]) == 4
    if method == "shell":
        assert [v["deviceid"] for v in sorted(vm["volumes"], key=lambda v: v["deviceid"])] == [0, 1, 2, 4]
        assert lab.count("cloudstack.importVm") == 0


def test_placeholder_network_keeps_the_first_mac_on_an_old_server(make):
    lab, engine = make(source(), **OLD)
    networks = lab.info["cloudstack"]["networks"]
    spec = engine.spec("web01", nics=mappings(lab),
                       target={"placeholder_networkid": networks["lab-l2-empty"]})
    vm, _ = migrate(engine, spec)
    assert [n["networkid"] for n in vm["nic"]] == [networks["lab-shared"], networks["lab-isolated"]]
    assert [n["macaddress"] for n in vm["nic"]] == MACS
    assert [n["isdefault"] for n in vm["nic"]] == [True, False]
    assert [n["ipaddress"] for n in vm["nic"]] == ["192.168.77.50", "10.1.1.60"]


def test_placeholder_is_not_used_where_importvm_keeps_the_mac(make):
    lab, engine = make(source(), version="4.23")
    networks = lab.info["cloudstack"]["networks"]
    spec = engine.spec("web01", nics=mappings(lab),
                       target={"placeholder_networkid": networks["lab-l2-empty"]})
    vm, _ = migrate(engine, spec)
    assert [n["macaddress"] for n in vm["nic"]] == MACS
    assert lab.count("cloudstack.removeNicFromVirtualMachine") == 0


def test_constrained_offering_gets_at_least_what_it_wants(make):
    lab, engine = make(source(nics=NICS[:1]), changes=[
        {"kind": "serviceoffering", "name": "custom", "set": {"serviceofferingdetails": {
            "mincpunumber": "4", "maxcpunumber": "8", "minmemory": "1024", "maxmemory": "4096"}}}])
    spec = engine.spec("web01", import_method="shell", target={
        "serviceofferingid": lab.info["cloudstack"]["serviceofferings"]["custom"]})
    vm, text = migrate(engine, spec)
    assert (vm["cpunumber"], vm["memory"]) == (4, 2048)
    assert "allows 4 to 8 CPUs" in text


def test_vm_of_a_project_with_pools_and_offerings_of_its_own(make):
    project = "5a6f6e65-0000-4000-8000-000000000008"
    lab, engine = make(source(nics=NICS[:1]))
    cs = lab.info["cloudstack"]
    spec = engine.spec("web01", import_method="shell",
                       target={"projectid": project, "networkid": cs["networks"]["lab-l2"]},
                       disks={"scsi1:0": {"storageid": cs["storageid2"]},
                              "1": {"diskofferingid": cs["diskofferings"]["20G"]}})
    vm, _ = migrate(engine, spec)
    volumes = sorted(vm["volumes"], key=lambda v: v["deviceid"])
    assert vm["projectid"] == project and all(v["projectid"] == project for v in volumes)
    assert [v["storageid"] == cs["storageid2"] for v in volumes] == [False, False, True, False]
    assert volumes[1]["diskofferingname"] == "20G"


def test_os_type_comes_from_our_table_where_the_server_has_no_mapping(make):
    lab, engine = make(source(guest_id="windows2022srv_64Guest"), forbid=["listGuestOsMapping"])
    spec = engine.spec("web01", nics=mappings(lab), target={"ostypeid": None})
    vm, text = migrate(engine, spec)
    assert vm["osdisplayname"] == "Windows Server 2022 (64-bit)"
    assert "becomes the OS type" in text


def test_unknown_guest_gets_a_generic_type_and_a_warning(make):
    lab, engine = make(source(guest_id="vmkernel7Guest"))
    spec = engine.spec("web01", nics=mappings(lab), target={"ostypeid": None})
    vm, text = migrate(engine, spec)
    assert vm["osdisplayname"] == "Other Linux (64-bit)" and "is a guess" in text


def test_shell_is_made_before_the_source_goes_off(make):
    lab, engine = make(source())
    lab.fault("cloudstack.deployVirtualMachine", "fail", "no more addresses today", count=-1)
    spec = engine.spec("web01", nics=mappings(lab), import_method="shell")
    run = engine.run(spec)
    engine.until_stage(spec, "delta", run)
    engine.finalize(spec, "--now")
    text = run.fail()
    assert "the source stays on" in text and "no more addresses today" in text
    assert lab.vm("web01")["power"] in ("on", "poweredOn")
    lab.clear_faults()
    migrate(engine, spec)


def test_shell_that_somebody_removed_is_made_again(make):
    lab, engine = make(source(nics=NICS[:1]))
    lab.fault("vsphere.ShutdownGuest", "fail", "NoPermission", count=1)
    spec = engine.spec("web01", import_method="shell")
    run = engine.run(spec)
    engine.until_stage(spec, "delta", run)
    engine.finalize(spec, "--now")
    engine.until_stage(spec, "awaiting_shutdown_action", run)
    shell = lab.state()["cloudstack"]["vms"]
    assert len(shell) == 1 and not shell[0]["volumes"]
    lab.call("POST", "/cloudstack/change", {"kind": "vm", "name": "web01", "remove": True})
    lab.power("web01", "off")
    run.succeed()
    vm = engine.assert_migrated("web01")
    assert vm["id"] != shell[0]["id"]


@pytest.mark.parametrize("methods", [("shell", "importvm"), ("importvm", "shell")], ids="-then-".join)
def test_method_may_change_until_the_vm_is_there(make, methods):
    lab, engine = make(source(nics=NICS[:1]), importvm_macaddress=True)
    spec = engine.spec("web01", import_method=methods[0], shutdown_mode="manual")
    run = engine.run(spec)
    engine.until_stage(spec, "delta", run)
    engine.finalize(spec, "--now")
    engine.until_stage(spec, "awaiting_shutdown_action", run)
    run.kill_all()
    lab.power("web01", "off")
    run = engine.run(engine.spec("web01", import_method=methods[1], shutdown_mode="manual"))
    run.succeed()
    vm = engine.assert_migrated("web01")
    assert vm["nic"][0]["macaddress"] == MACS[0]
    assert len(lab.state()["cloudstack"]["vms"]) == 1 and len(vm["volumes"]) == 4


def test_tags_that_are_refused_hold_up_nobody(make):
    lab, engine = make(source(nics=NICS[:1]))
    lab.fault("cloudstack.createTags", "fail", "no tags today", count=-1)
    spec = engine.spec("web01")
    vm, text = migrate(engine, spec)
    assert "tag_vm is left out" in text and vm["state"] == "Running"
    until(lambda: lab.count("cloudstack.createTags") == 2, "both were tried once")
