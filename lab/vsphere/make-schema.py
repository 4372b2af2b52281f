#!/usr/bin/python3
"""Writes schema.def: the field order of the vSphere API types that the pretend vCenter speaks.

The order comes from pyVmomi's type registry (Debian package python3-pyvmomi), so that what the lab
sends is what a client of the vendor expects.  Run it again when a type is added to TYPES:

    /usr/bin/python3 lab/vsphere/make-schema.py > lab/vsphere/schema.def
"""
from pyVmomi import VmomiSupport

# Managed objects first, then data objects.
MANAGED = """
ServiceInstance Folder Datacenter ClusterComputeResource HostSystem ResourcePool Datastore Network
VirtualMachine VirtualMachineSnapshot Task TaskManager ContainerView ViewManager SessionManager
PropertyCollector PropertyFilter SearchIndex AuthorizationManager
""".split()
DATA = """
AboutInfo ServiceContent Capability UserSession
VirtualMachineCapability VirtualMachineConfigInfo VirtualMachineFileInfo VirtualHardware
VirtualMachineBootOptions VirtualMachineFlagInfo VirtualMachineDefaultPowerOpInfo ToolsConfigInfo
VirtualMachineBootOptionsBootableDiskDevice OptionValue
VirtualMachineConfigSummary VirtualMachineRuntimeInfo VirtualMachineSummary
VirtualMachineGuestSummary VirtualMachineStorageSummary VirtualMachineQuickStats GuestInfo
GuestNicInfo ResourceAllocationInfo SharesInfo
VirtualMachineSnapshotInfo VirtualMachineSnapshotTree
VirtualMachineFileLayoutEx VirtualMachineFileLayoutExFileInfo VirtualMachineFileLayoutExDiskLayout
VirtualMachineFileLayoutExDiskUnit VirtualMachineFileLayoutExSnapshotLayout
Description VirtualDeviceConnectInfo
ParaVirtualSCSIController VirtualAHCIController VirtualIDEController VirtualNVMEController
VirtualPCIController VirtualDisk VirtualDiskFlatVer2BackingInfo VirtualVmxnet3 VirtualE1000
VirtualE1000e VirtualEthernetCardNetworkBackingInfo VirtualTPM
VirtualDiskRawDiskMappingVer1BackingInfo CryptoKeyId KeyProviderId
VirtualMachineQuestionInfo ChoiceOption EntityPrivilege PrivilegeAvailability
TaskInfo LocalizedMethodFault TaskReasonUser
DatastoreSummary DatastoreInfo DatastoreCapability NetworkSummary
HostListSummary HostHardwareSummary HostConfigSummary HostListSummaryQuickStats HostRuntimeInfo
ClusterComputeResourceSummary DynamicProperty ObjectContent MissingProperty RetrieveResult
PropertyFilterUpdate ObjectUpdate PropertyChange UpdateSet
DiskChangeInfo DiskChangeExtent
InvalidLogin NotAuthenticated NoPermission ManagedObjectNotFound MethodNotFound InvalidArgument
InvalidRequest InvalidProperty InvalidPowerState InvalidState FileFault FileNotFound FileLocked
CannotAccessFile NotFound TaskInProgress ToolsUnavailable SnapshotFault ApplicationQuiesceFault
FilesystemQuiesceFault TooManySnapshotLevels SnapshotLocked SnapshotDisabled InvalidSnapshotFormat
DuplicateName InvalidName InvalidDeviceSpec GenericVmConfigFault SystemError NotSupported MethodDisabled ConcurrentAccess HostNotConnected
HostNotReachable Timedout RequestCanceled InvalidCollectorVersion SnapshotIncompatibleDeviceInVm
RuntimeFault HostCommunication MissingController NoDiskSpace InsufficientResourcesFault
""".split()


def type_name(kind):
    """The name of a type on the wire, with [] for a list."""
    if issubclass(kind, list):
        return type_name(kind.Item) + "[]"
    if issubclass(kind, VmomiSupport.ManagedObject):
        return "ManagedObjectReference"
    name = VmomiSupport.GetWsdlName(kind)
    return name


def fields(kind):
    """Every field, base classes first."""
    names = []
    for base in reversed(kind.__mro__):
        for prop in base.__dict__.get("_propList", []) or []:
            if prop.name in ("dynamicType", "dynamicProperty", "msg", "faultCause", "faultMessage"):
                continue
            wire = type_name(prop.type)
            if wire == "MethodFault" and kind.__name__ != "LocalizedMethodFault" and not (
                    kind.__name__.endswith("LocalizedMethodFault")):
                wire = "LocalizedMethodFault"  # pyVmomi unwraps it; the wire has it
            optional = "?" if prop.flags & VmomiSupport.F_OPTIONAL else ""
            entry = prop.name + optional + ":" + wire
            if entry not in names:
                names.append(entry)
    return names


def main():
    print("/* Written by make-schema.py; do not edit.  SCHEMA(type, \"field[?]:type[[]] ...\"), in the")
    print(" * order of the wire; '?' may be left out, '[]' repeats. */")
    for name in MANAGED + DATA:
        kind = VmomiSupport.GuessWsdlType(name)
        print('SCHEMA("%s",' % name)
        words = fields(kind)
        line = "      "
        lines = []
        for word in words:
            if len(line) + len(word) > 86:
                lines.append(line)
                line = "      "
            line += (" " if line.strip() else "") + word
        lines.append(line)
        for i, text in enumerate(lines):
            text = text.strip()
            print('       "%s%s"' % (text, " " if i + 1 < len(lines) else ""))
        print(")")


main()
