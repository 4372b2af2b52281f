"""What the base copy reads: what is in use, asked of who can know it; everything where nobody does."""

from harness import synthetic

DISKS = [{"address": "scsi0:0", "size": "24MiB", "fill": 60, "seed": 1},
         {"address": "scsi0:1", "size": "64MiB", "fill": 5, "seed": 2}]


def migrate(engine, **migration):
    """Base copy, cutover, and the whole promise."""
    spec = engine.spec("web01", **migration)
    run = engine.run(spec)
    engine.until_stage(spec, "delta", run)
    engine.finalize(spec, "--now")
    run.succeed()
    engine.assert_migrated("web01")
    return engine.log("web01")


def was_vddk_asked(lab):
    """Besides the one question of each open, whether it can answer at all."""
    return lab.count("nfc.extents") > lab.count("nfc.open")


def test_changed_block_tracking_is_asked_where_this_migration_turned_it_on(make):
    lab, engine = make(synthetic(disks=DISKS))
    log = migrate(engine)
    assert log.count("in use by changed-block tracking: extents=") == 2
    assert lab.count("vsphere.QueryChangedDiskAreas.in_use") == 2
    assert not was_vddk_asked(lab)


def test_tracking_that_was_on_before_is_not_asked(make):
    lab, engine = make(synthetic(disks=DISKS, cbt=True))
    lab.fault("vsphere.QueryChangedDiskAreas.in_use", "lie", "short", count=-1)
    log = migrate(engine)
    assert "was not turned on by this migration" in log
    assert log.count("in use by the source: extents=") == 2
    assert lab.count("vsphere.QueryChangedDiskAreas.in_use") == 0
    assert was_vddk_asked(lab)


def test_on_other_datastores_than_vmfs_vddk_is_asked(make):
    lab, engine = make(synthetic(disks=DISKS), vcenter={"datastore_type": "NFS"})
    assert "its datastore is NFS, not VMFS" in migrate(engine)
    assert lab.count("vsphere.QueryChangedDiskAreas.in_use") == 0
    assert was_vddk_asked(lab)


def test_the_spec_may_trust_tracking_and_the_whole_disk_is_still_no_answer(make):
    lab, engine = make(synthetic(disks=DISKS, cbt=True), vcenter={"datastore_type": "NFS"})
    assert migrate(engine, extents="cbt").count("says that everything is in use") == 2
    assert lab.count("vsphere.QueryChangedDiskAreas.in_use") == 2
    assert was_vddk_asked(lab)


def test_the_spec_may_have_everything_read(make):
    lab, engine = make(synthetic(disks=DISKS))
    assert migrate(engine, extents="none").count("everything is read") == 2
    assert lab.count("vsphere.QueryChangedDiskAreas.in_use") == 0
    assert not was_vddk_asked(lab)
    assert engine.state_json("web01")["disks"]["1"]["base_bytes"] == 64 << 20


def test_an_answer_that_makes_no_sense_is_dropped(make):
    lab, engine = make(synthetic(disks=DISKS))
    lab.fault("vsphere.QueryChangedDiskAreas.in_use", "lie", "whole")
    lab.fault("vsphere.QueryChangedDiskAreas.in_use", "lie", "beyond")
    log = migrate(engine)
    assert "[disk0] VDDK is asked what is in use: changed-block tracking says that everything" in log
    assert "[disk1] VDDK is asked what is in use: changes of disk 2001" in log
    assert was_vddk_asked(lab)


def test_an_answer_in_disorder_and_in_pages_of_which_some_are_empty_is_put_right(make):
    lab, engine = make(synthetic(disks=DISKS),
                       vcenter={"bytes_per_answer": "512KiB", "areas_per_answer": 3})
    lab.fault("vsphere.QueryChangedDiskAreas.in_use", "lie", "tangled", count=-1)
    log = migrate(engine)
    assert log.count("in use by changed-block tracking: extents=") == 2
    assert lab.count("vsphere.QueryChangedDiskAreas.in_use") > 48 + 128 - 2
    assert not was_vddk_asked(lab)


def test_tracking_that_somebody_began_anew_is_not_asked_any_more(make):
    lab, engine = make(synthetic(disks=DISKS))
    lab.fault("nfc.read", "fail", skip=8, count=-1)  # ends in the middle of the base copy
    spec = engine.spec("web01")
    engine.run(spec).fail()
    assert lab.count("vsphere.QueryChangedDiskAreas.in_use") > 0
    lab.clear_faults()
    lab.call("POST", f"/vms/{lab.moref('web01')}/cbt-reset")
    lab.fault("vsphere.QueryChangedDiskAreas.in_use", "lie", "short", count=-1)
    assert "was not turned on by this migration" in migrate(engine)
