"""The pretend vCenter as pyVmomi, the vendor's own client, sees it.  pyVmomi refuses what its API
version does not know, so passing here is more than our own client can show."""
import http.client
import re
import ssl
import time
import urllib.error
import urllib.request
import xml.etree.ElementTree as ET

import pytest

from v2clab import DEADLINE_S, Lab, wait_for

pytest.importorskip("pyVmomi", reason="python3-pyvmomi is not installed")
from pyVim.connect import Disconnect, SmartConnect  # noqa: E402
from pyVim.task import WaitForTask  # noqa: E402
from pyVmomi import VmomiSupport, vim, vmodl  # noqa: E402

MIB = 1 << 20
SCENARIO = """
vcenter: {page_objects: 2, areas_per_answer: 5, bytes_per_answer: 4MiB, task_keep_seconds: 2}
vms:
  - name: web01
    writer_kib_per_s: 4000
    disks:
      - {address: "scsi0:0", size: 24MiB, fill: 30, seed: 1}
      - {address: "scsi1:0", size: 1049088, fill: 50, seed: 2}
    nics:
      - {mac: "00:50:56:00:00:01", network: "VM Network"}
      - {mac: "00:50:56:00:00:02", network: "Backup", type: e1000}
  - {name: still01, disks: [{address: "sata0:0", size: 20MiB, fill: 40, seed: 3}]}
  - {name: app01, disks: [{address: "nvme0:0", size: 1MiB}]}
  - {name: app01, datacenter: DC2, power: "off", disks: [{address: "ide0:0", size: 1MiB}]}
  - {name: "a/b%c", datacenter: DC2, tools: false, firmware: efi,
     disks: [{address: "scsi0:0", size: 1MiB}]}
"""


@pytest.fixture(scope="module")
def lab():
    lab = Lab(SCENARIO)
    yield lab
    lab.close()


def connect(lab, password=None):
    return SmartConnect(host=lab.vcenter["host"], port=lab.vcenter["port"],
                        user=lab.vcenter["user"], pwd=password or lab.vcenter["password"],
                        sslContext=ssl._create_unverified_context())


@pytest.fixture
def si(lab):
    lab.control("DELETE", "/faults")
    si = connect(lab)
    yield si
    try:
        Disconnect(si)
    except (vim.fault.NotAuthenticated, vmodl.RuntimeFault):
        pass  # the test itself has ended the session
    lab.control("DELETE", "/faults")


def find(si, path):
    vm = si.content.searchIndex.FindByInventoryPath(path)
    assert vm is not None
    return vm


@pytest.fixture
def web(lab, si):
    vm = find(si, "DC1/vm/web01")
    if vm.runtime.powerState != "poweredOn":
        WaitForTask(vm.PowerOn())
    if vm.snapshot:
        WaitForTask(vm.RemoveAllSnapshots())
    return vm


def disks(of):
    return {d.key: d for d in of.config.hardware.device
            if isinstance(d, vim.vm.device.VirtualDisk)}


def snapshot(vm, name="s", quiesce=False):
    task = vm.CreateSnapshot(name, "by a test", False, quiesce)
    WaitForTask(task)
    return task.info.result


def areas(vm, snap, key, change_id):
    """All pages, as the API's documentation reads them; also how many there were, and how many of
    them told nothing."""
    found, offset, pages, empty = [], 0, 0, 0
    capacity = disks(snap or vm)[key].capacityInBytes
    while offset < capacity:
        page = vm.QueryChangedDiskAreas(snap, key, offset, change_id)
        assert page.startOffset == offset and page.length > 0
        assert len(page.changedArea) <= 5 and page.length <= 4 * MIB
        for area in page.changedArea:
            assert offset <= area.start and area.start + area.length <= offset + page.length
            found.append((area.start, area.length))
        offset += page.length
        pages += 1
        empty += not page.changedArea
    assert offset == capacity
    return found, pages, empty


def covers(found, start, length):
    return all(any(a <= at < a + n for a, n in found) for at in range(start, start + length, 512))


def fails(task, kind):
    with pytest.raises(kind) as info:
        WaitForTask(task)
    return info.value


# ---- session


def test_wrong_password_is_refused(lab):
    with pytest.raises(vim.fault.InvalidLogin):
        connect(lab, "wrong")


def test_after_logout_nothing_is_told(lab):
    si = connect(lab)
    vm = find(si, "DC1/vm/web01")
    Disconnect(si)
    with pytest.raises(vim.fault.NotAuthenticated):
        vm.name
    assert si.content.about.apiType == "VirtualCenter"  # anybody may ask that


def test_expired_session_is_not_authenticated(lab, si):
    vm = find(si, "DC1/vm/web01")
    lab.control("POST", "/sessions/expire")
    with pytest.raises(vim.fault.NotAuthenticated):
        vm.QueryChangedDiskAreas(None, 2000, 0, "*")


def test_expiry_can_be_injected_at_one_call(lab, si):
    lab.fault("vsphere.CurrentTime", "expire", skip=1)
    assert abs(si.CurrentTime().timestamp() - time.time()) < 5
    with pytest.raises(vim.fault.NotAuthenticated):
        si.CurrentTime()


def test_session_is_active_by_its_key(si):
    session = si.content.sessionManager.currentSession
    manager = si.content.sessionManager
    assert manager.SessionIsActive(session.key, session.userName)
    assert not manager.SessionIsActive("52other", session.userName)


# ---- inventory


def test_views_list_every_vm_of_every_datacenter(si):
    content = si.content
    view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
    assert sorted(vm.name for vm in view.view) == ["a%2fb%25c", "app01", "app01", "still01", "web01"]
    view.Destroy()
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        view.view


def filter_spec(view, paths):
    spec = vmodl.query.PropertyCollector
    return spec.FilterSpec(
        propSet=[spec.PropertySpec(type=vim.VirtualMachine, pathSet=paths)],
        objectSet=[spec.ObjectSpec(obj=view, skip=True, selectSet=[spec.TraversalSpec(
            name="v", type=vim.view.ContainerView, path="view", skip=False)])])


def test_answers_come_in_pages(si):
    content = si.content
    view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
    collector = content.propertyCollector
    names, pages = [], 0
    answer = collector.RetrievePropertiesEx([filter_spec(view, ["name"])],
                                            vmodl.query.PropertyCollector.RetrieveOptions())
    while True:
        pages += 1
        assert len(answer.objects) <= 2
        names += [o.propSet[0].val for o in answer.objects]
        if not answer.token:
            break
        token = answer.token
        answer = collector.ContinueRetrievePropertiesEx(token)
    assert (pages, len(names)) == (3, 5)
    with pytest.raises(vmodl.fault.InvalidArgument):
        collector.ContinueRetrievePropertiesEx(token)


def test_unknown_property_is_a_fault(si):
    content = si.content
    view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
    with pytest.raises(vmodl.query.InvalidProperty):
        content.propertyCollector.RetrieveContents([filter_spec(view, ["config.nonsense"])])


def test_vm_is_found_by_path_and_uuid(si, lab):
    index = si.content.searchIndex
    told = lab.vm("app01", "DC2")
    one, other = find(si, "DC1/vm/app01"), find(si, "DC2/vm/app01")
    assert one._moId != other._moId == told["moref"]
    assert index.FindByUuid(None, told["uuid"], True, True) == other
    assert index.FindByUuid(None, told["bios_uuid"].upper(), True, False) == other
    assert index.FindByUuid(None, told["uuid"], True, False) is None
    assert index.FindByInventoryPath("DC1/vm/none") is None
    assert find(si, "DC2/vm/a%2fb%25c").config.firmware == "efi"


def test_devices_are_what_the_scenario_says(web):
    assert {k: (d.controllerKey, d.unitNumber, d.capacityInBytes) for k, d in disks(web).items()} \
        == {2000: (1000, 0, 24 * MIB), 2016: (1001, 0, 1049088)}
    nics = [d for d in web.config.hardware.device
            if isinstance(d, vim.vm.device.VirtualEthernetCard)]
    assert [(type(n).__name__.rsplit(".", 1)[-1], n.macAddress, n.backing.network.name)
            for n in nics] == [("VirtualVmxnet3", "00:50:56:00:00:01", "VM Network"),
                               ("VirtualE1000", "00:50:56:00:00:02", "Backup")]
    assert web.runtime.host.parent.name == "cluster1"
    assert web.datastore[0].summary.type == "VMFS"


# ---- snapshots and changed areas


def enable_cbt(vm):
    WaitForTask(vm.ReconfigVM_Task(vim.vm.ConfigSpec(changeTrackingEnabled=True)))
    assert vm.config.changeTrackingEnabled


def test_name_annotation_and_cards_can_be_changed_and_nothing_else(lab, si, web):
    before, files = web.config.changeVersion, web.config.files.vmPathName
    card = next(d for d in web.config.hardware.device if d.key == 4001)
    card.connectable.startConnected = False
    WaitForTask(web.ReconfigVM_Task(vim.vm.ConfigSpec(
        name="web01-50%25", annotation="a line\nand <another>",
        deviceChange=[vim.vm.device.VirtualDeviceSpec(operation="edit", device=card)])))
    try:
        assert web.name == web.config.name == web.summary.config.name == "web01-50%25"
        assert web.config.annotation == web.summary.config.annotation == "a line\nand <another>"
        starts = {d.key: d.connectable.startConnected for d in web.config.hardware.device if 4000 <= d.key < 5000}
        assert starts == {4000: True, 4001: False}
        assert web.config.changeVersion != before and web.config.files.vmPathName == files
        for spec in (vim.vm.ConfigSpec(numCPUs=4), vim.vm.ConfigSpec(name="50%"),
                     vim.vm.ConfigSpec(deviceChange=[vim.vm.device.VirtualDeviceSpec(
                         operation="remove", device=card)])):
            with pytest.raises(vmodl.fault.InvalidArgument):
                web.ReconfigVM_Task(spec)
        fails(web.ReconfigVM_Task(vim.vm.ConfigSpec(name="still01")), vim.fault.DuplicateName)
    finally:
        card.connectable.startConnected = True
        WaitForTask(web.ReconfigVM_Task(vim.vm.ConfigSpec(
            name="web01", annotation="",
            deviceChange=[vim.vm.device.VirtualDeviceSpec(operation="edit", device=card)])))


def test_snapshot_has_the_frozen_file_and_the_vm_a_new_one(web):
    before = disks(web)[2000].backing.fileName
    snap = snapshot(web, "mine", quiesce=True)
    frozen, running = disks(snap)[2000].backing, disks(web)[2000].backing
    assert frozen.fileName == before == running.parent.fileName
    assert re.fullmatch(r"\[ds1\] web01/web01-0000\d\d\.vmdk", running.fileName)
    tree = web.snapshot.rootSnapshotList[0]
    assert (tree.name, tree.description, tree.quiesced) == ("mine", "by a test", True)
    assert web.snapshot.currentSnapshot == snap == tree.snapshot
    WaitForTask(snap.RemoveSnapshot_Task(False, True))
    assert web.snapshot is None
    assert disks(web)[2000].backing.fileName == before
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        snap.config


def test_change_ids_come_with_the_first_snapshot_after_tracking_was_enabled(si):
    vm = find(si, "DC1/vm/app01")
    assert not vm.config.changeTrackingEnabled
    enable_cbt(vm)
    assert not disks(vm)[32000].backing.changeId
    snap = snapshot(vm)
    assert re.fullmatch(r"52( [0-9a-f]{2}){7}-([0-9a-f]{2} ){7}[0-9a-f]{2}/\d+",
                        disks(snap)[32000].backing.changeId)
    WaitForTask(snap.RemoveSnapshot_Task(False))


def test_pages_of_changed_areas_hold_every_write(lab, si):
    vm = find(si, "DC1/vm/still01")
    enable_cbt(vm)
    snap = snapshot(vm)
    change_id = disks(snap)[16000].backing.changeId
    WaitForTask(snap.RemoveSnapshot_Task(False))
    writes = [(i * 192 * 1024, 512) for i in range(12)] + [(20 * MIB - 700, 700), (9 * MIB, MIB)]
    for offset, length in writes:
        lab.control("POST", f"/vms/{vm._moId}/write",
                    dict(disk=0, offset=offset, length=length, seed=9))
    snap = snapshot(vm)
    # this comes after the snapshot and is none of its business
    lab.control("POST", f"/vms/{vm._moId}/write", dict(disk=0, offset=13 * MIB, length=MIB, seed=9))
    found, pages, _ = areas(vm, snap, 16000, change_id)
    assert pages > 5  # by bytes alone it would be five
    assert all(covers(found, *write) for write in writes)
    assert sum(n for _, n in found) < 6 * MIB
    assert not covers(found, 13 * MIB, MIB)
    _, _, empty = areas(vm, snap, 16000, disks(snap)[16000].backing.changeId)
    assert empty > 0
    WaitForTask(snap.RemoveSnapshot_Task(False))


def test_used_areas_are_told_for_a_star(lab, web):
    enable_cbt(web)
    snap = snapshot(web)
    found, _, _ = areas(web, snap, 2000, "*")
    assert 0 < sum(n for _, n in found) < 24 * MIB
    WaitForTask(snap.RemoveSnapshot_Task(False))


def test_without_a_snapshot_changes_are_told_only_when_off(web):
    enable_cbt(web)
    snap = snapshot(web)
    change_id = disks(snap)[2016].backing.changeId
    WaitForTask(snap.RemoveSnapshot_Task(False))
    with pytest.raises(vim.fault.FileFault):
        web.QueryChangedDiskAreas(None, 2016, 0, change_id)
    WaitForTask(web.PowerOff())
    found, _, _ = areas(web, None, 2016, change_id)
    assert found
    WaitForTask(web.PowerOn())


def test_lost_history_and_nonsense_are_faults(lab, web):
    enable_cbt(web)
    snap = snapshot(web)
    change_id = disks(snap)[2000].backing.changeId
    for bad in ("nonsense", change_id.split("/")[0] + "/x", change_id.split("/")[0] + "/99999"):
        with pytest.raises(vmodl.fault.InvalidArgument):
            web.QueryChangedDiskAreas(snap, 2000, 0, bad)
    for key, offset in ((2001, 0), (2000, 24 * MIB), (2000, -1)):
        with pytest.raises(vmodl.fault.InvalidArgument):
            web.QueryChangedDiskAreas(snap, key, offset, change_id)
    WaitForTask(snap.RemoveSnapshot_Task(False))
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        web.QueryChangedDiskAreas(snap, 2000, 0, change_id)
    lab.control("POST", f"/vms/{web._moId}/cbt-reset")
    snap = snapshot(web)
    with pytest.raises(vim.fault.FileFault):
        web.QueryChangedDiskAreas(snap, 2000, 0, change_id)
    WaitForTask(snap.RemoveSnapshot_Task(False))


@pytest.mark.parametrize("lie", ["stuck", "beyond", "ahead"])
def test_lies_about_changed_areas_can_be_injected(lab, web, lie):
    enable_cbt(web)
    snap = snapshot(web)
    lab.fault("vsphere.QueryChangedDiskAreas", "lie", detail=lie)
    page = web.QueryChangedDiskAreas(snap, 2000, 0, "*")
    assert {"stuck": page.length == 0, "ahead": page.startOffset > 0,
            "beyond": any(a.start >= 24 * MIB for a in page.changedArea)}[lie]
    WaitForTask(snap.RemoveSnapshot_Task(False))


def test_failed_consolidation_is_told_and_can_be_made_good(lab, web):
    snap = snapshot(web)
    lab.fault("vm.consolidate", "fail")
    WaitForTask(snap.RemoveSnapshot_Task(False))
    assert web.runtime.consolidationNeeded and web.snapshot is None
    assert web.config.hardware.device and disks(web)[2000].backing.parent
    WaitForTask(web.ConsolidateVMDisks_Task())
    assert not web.runtime.consolidationNeeded and not disks(web)[2000].backing.parent


def test_snapshots_of_others_stay_when_ours_goes(lab, web):
    lab.control("POST", f"/vms/{web._moId}/snapshot", {"name": "backup"})
    snap = snapshot(web, "ours")
    assert [t.name for t in web.snapshot.rootSnapshotList[0].childSnapshotList] == ["ours"]
    WaitForTask(snap.RemoveSnapshot_Task(False))
    assert [t.name for t in web.snapshot.rootSnapshotList] == ["backup"]
    assert not web.snapshot.rootSnapshotList[0].childSnapshotList


# ---- power


def test_power_goes_on_and_off_once(web):
    error = fails(web.PowerOn(), vim.fault.InvalidPowerState)
    assert (error.existingState, error.requestedState) == ("poweredOn", "poweredOn")
    WaitForTask(web.PowerOff())
    fails(web.PowerOff(), vim.fault.InvalidPowerState)
    with pytest.raises(vim.fault.InvalidPowerState):
        web.ShutdownGuest()
    WaitForTask(web.PowerOn())


def test_guest_shuts_down_by_itself(lab, web):
    started = time.time() * 1000
    web.ShutdownGuest()
    wait_for(lambda: web.runtime.powerState == "poweredOff")
    assert started < lab.vm("web01")["powered_off_at_ms"] <= time.time() * 1000


def test_guest_without_tools_cannot_be_asked(si):
    vm = find(si, "DC2/vm/a%2fb%25c")
    assert vm.guest.toolsRunningStatus == "guestToolsNotRunning"
    with pytest.raises(vim.fault.ToolsUnavailable):
        vm.ShutdownGuest()


# ---- tasks


def test_second_operation_finds_the_first_in_progress(lab, web):
    lab.fault("vsphere.CreateSnapshot_Task.task", "delay", delay_ms=700)
    task = web.CreateSnapshot("slow", "", False, False)
    assert task.info.state in ("queued", "running")
    assert task in web.recentTask
    with pytest.raises(vim.fault.TaskInProgress) as info:
        web.PowerOff()
    assert info.value.task == task
    WaitForTask(task)
    assert task.info.completeTime >= task.info.startTime >= task.info.queueTime


def test_finished_task_is_forgotten_after_a_while(web):
    task = web.CreateSnapshot("s", "", False, False)
    WaitForTask(task)
    assert task.info.state == "success"

    def is_gone():
        try:
            task.info
        except vmodl.fault.ManagedObjectNotFound:
            return True
        return False

    wait_for(is_gone)


def test_updates_are_told_as_they_come(si, web):
    spec = vmodl.query.PropertyCollector
    collector = si.content.propertyCollector.CreatePropertyCollector()
    collector.CreateFilter(spec.FilterSpec(
        propSet=[spec.PropertySpec(type=vim.VirtualMachine, pathSet=["runtime.powerState"])],
        objectSet=[spec.ObjectSpec(obj=web)]), True)
    first = collector.WaitForUpdatesEx("", spec.WaitOptions(maxWaitSeconds=10))
    assert first.filterSet[0].objectSet[0].kind == "enter"
    assert collector.WaitForUpdatesEx(first.version, spec.WaitOptions(maxWaitSeconds=0)) is None
    web.ShutdownGuest()
    second = collector.WaitForUpdatesEx(first.version, spec.WaitOptions(maxWaitSeconds=20))
    change = second.filterSet[0].objectSet[0]
    assert (change.kind, change.changeSet[0].val) == ("modify", "poweredOff")
    again = collector.WaitForUpdatesEx("", spec.WaitOptions(maxWaitSeconds=0))
    assert again.filterSet[0].objectSet[0].kind == "enter"
    collector.Destroy()
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        collector.WaitForUpdatesEx("", spec.WaitOptions(maxWaitSeconds=0))


# ---- faults


@pytest.mark.parametrize("name", ["ApplicationQuiesceFault", "FilesystemQuiesceFault"])
def test_quiesce_fails_only_where_it_is_asked_for(lab, web, name):
    lab.fault("vsphere.CreateSnapshot_Task", "fail", detail=name, count=2)
    fails(web.CreateSnapshot("q", "", False, True), getattr(vim.fault, name))
    assert web.snapshot is None
    snapshot(web, "plain")
    assert [t.name for t in web.snapshot.rootSnapshotList] == ["plain"]


@pytest.mark.parametrize("name, kind", [
    ("NoPermission", vim.fault.NoPermission), ("HostNotConnected", vmodl.fault.HostNotConnected)])
def test_some_faults_come_from_the_call_itself(lab, web, name, kind):
    lab.fault("vsphere.CreateSnapshot_Task", "fail", detail=name)
    with pytest.raises(kind):
        web.CreateSnapshot("s", "", False, False)
    assert web.snapshot is None


def test_call_can_be_dropped_before_and_after_it_was_done(lab, web):
    broken = (http.client.HTTPException, OSError)
    lab.fault("vsphere.CreateSnapshot_Task", "drop", count=-1)
    with pytest.raises(broken):
        web.CreateSnapshot("never", "", False, False)
    lab.control("DELETE", "/faults")
    assert web.snapshot is None
    lab.fault("vsphere.CreateSnapshot_Task", "drop_after")
    with pytest.raises((*broken, vim.fault.TaskInProgress)):  # pyVmomi may try once more by itself
        web.CreateSnapshot("done", "", False, False)
    wait_for(lambda: web.snapshot)
    assert web.snapshot.rootSnapshotList[0].name == "done"


def test_unknown_method_is_method_not_found(si, web):
    with pytest.raises(vmodl.fault.MethodNotFound):
        web.ResetVM_Task()


def test_calls_are_counted(lab, si):
    before = lab.control("GET", "/calls").get("vsphere.CurrentTime", 0)
    si.CurrentTime()
    assert lab.control("GET", "/calls")["vsphere.CurrentTime"] == before + 1


# ---- the wire itself

XSI = "{http://www.w3.org/2001/XMLSchema-instance}type"
VIM = "{urn:vim25}"
ENVELOPE = ('<Envelope xmlns="http://schemas.xmlsoap.org/soap/envelope/" '
            'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><Body>%s</Body></Envelope>')


def post(lab, body, cookie=""):
    request = urllib.request.Request(
        f"https://{lab.vcenter['address']}/sdk", data=(ENVELOPE % body).encode(),
        headers={"Content-Type": "text/xml", "SOAPAction": '"urn:vim25/6.7"', "Cookie": cookie})
    context = ssl._create_unverified_context()
    with urllib.request.urlopen(request, timeout=DEADLINE_S, context=context) as answer:
        return ET.fromstring(answer.read())


def schema(kind):
    """Fields of a data type in the order of the wire, and which of them must be there."""
    order, needed = [], set()
    for base in reversed(kind.__mro__):
        for prop in base.__dict__.get("_propList", []) or []:
            order.append(prop.name)
            is_list = issubclass(prop.type, list)
            if not prop.flags & VmomiSupport.F_OPTIONAL and not is_list:
                needed.add(prop.name)
    return order, needed


def check_order(element, declared, where):
    """Walks an object: its children must be known, in order, and none that must be there missing.
    Returns how many objects were looked at."""
    name = element.get(XSI, "").rsplit(":", 1)[-1]
    if name.endswith("ManagedObjectReference"):
        return 0
    kind = VmomiSupport.GuessWsdlType(name) if name else declared
    if not name and isinstance(kind, type) and issubclass(kind, Exception):
        kind = VmomiSupport.GuessWsdlType("LocalizedMethodFault")  # what such a field is on the wire
    if kind is None or not isinstance(kind, type):
        return 0
    if issubclass(kind, list):
        return sum(check_order(child, kind.Item, where) for child in element)
    if not issubclass(kind, vmodl.DynamicData) and not issubclass(kind, Exception):
        return 0
    order, needed = schema(kind)
    names = [child.tag.replace(VIM, "") for child in element]
    places = [order.index(n) for n in names]
    assert places == sorted(places), f"{where}: {kind.__name__}: {names}"
    missing = needed - set(names)
    assert not missing, f"{where}: {kind.__name__} lacks {missing}"
    types = {p.name: p.type for b in kind.__mro__ for p in b.__dict__.get("_propList", []) or []}
    checked = 1
    for child, field in zip(element, names):
        item = types[field]
        checked += check_order(child, item.Item if issubclass(item, list) else item,
                               f"{where}.{field}")
    return checked


def test_every_object_has_its_fields_in_the_order_of_the_schema(lab, si, web):
    snap = snapshot(web, "a")
    task = web.CreateSnapshot("b", "", False, False)
    WaitForTask(task)
    failed = web.PowerOn()
    fails(failed, vim.fault.InvalidPowerState)
    cookie = si._stub.cookie.split(";")[0]
    things = [("VirtualMachine", web._moId), ("VirtualMachineSnapshot", snap._moId),
              ("Task", task._moId), ("Task", failed._moId), ("HostSystem", web.runtime.host._moId),
              ("Datastore", web.datastore[0]._moId), ("ServiceInstance", "ServiceInstance")]
    checked = 0
    for kind, moref in things:
        answer = post(lab, f'<RetrieveProperties xmlns="urn:vim25"><_this type="PropertyCollector">'
                      f"propertyCollector</_this><specSet><propSet><type>{kind}</type>"
                      f'<all>true</all></propSet><objectSet><obj type="{kind}">{moref}</obj>'
                      f"</objectSet></specSet></RetrieveProperties>", cookie)
        values = answer.findall(f".//{VIM}propSet")
        assert values
        for prop in values:
            checked += check_order(prop.find(VIM + "val"), None, f"{kind}.{prop[0].text}")
    assert checked > 100  # it did find objects to look at


def test_document_types_are_refused(lab):
    request = urllib.request.Request(
        f"https://{lab.vcenter['address']}/sdk", headers={"Content-Type": "text/xml"},
        data=b'<!DOCTYPE x [<!ENTITY e "v">]>' + (ENVELOPE % (
            '<RetrieveServiceContent xmlns="urn:vim25"><_this type="ServiceInstance">'
            "ServiceInstance</_this></RetrieveServiceContent>")).encode())
    with pytest.raises(urllib.error.HTTPError) as info:
        urllib.request.urlopen(request, timeout=DEADLINE_S,
                               context=ssl._create_unverified_context())
    assert info.value.code == 500
