"""The endpoints of the existing tool, as its UI and people's scripts call them."""

import harness
from test_service import serve  # noqa: F811,F401  a fixture


def form(engine, name, **more):
    cs = engine.lab.info["cloudstack"]
    return {"vm_name": name, "vm_moref": engine.lab.moref(name), "zoneid": cs["zoneid"],
            "clusterid": cs["clusterid"], "networkid": cs["networkid"],
            "serviceofferingid": cs["serviceofferingid"], "boot_storageid": cs["storageid"],
            "ostypeid": cs["ostypeid"], "boottype": "", "bootmode": "", "rootdiskcontroller": "virtio",
            "nicadapter": "virtio",
            "disks": {"1": {"storageid": cs["storageid"], "diskofferingid": cs["diskofferingid"]}},
            "nic_mappings": {},
            "migration": {"delta_interval": 1, "finalize_delta_interval": 1,
                          "finalize_settle_seconds": 1, "start_vm_after_import": True}, **more}


def status(service, vm):
    return service.call("GET", f"/migration/status/{vm}")


def test_its_whole_way(serve):  # noqa: F811
    lab, engine, service = serve(harness.synthetic())
    saved = service.call("POST", "/migration/spec", form(engine, "web01"))
    assert saved["spec_file"].endswith(f"web01_{lab.moref('web01')}/spec.yaml")
    started = service.call("POST", "/migration/start", {"vm_name": "web01",
                                                        "spec_file": saved["spec_file"]})
    assert started["status"] == "queued" and started["vm_name"] == "web01"
    again = service.request("POST", "/migration/start", {"vm_name": "web01"})
    assert again.status == 409
    harness.until(lambda: status(service, "web01")["stage"] == "delta", "deltas", 60)
    now = status(service, "web01")
    assert now["job_id"] == started["job_id"] and now["job_status"] == "running"
    assert {d["disk_type"] for d in now["disk_progress"]} == {"os", "data"}
    assert set(now["disks"]) == {"0", "1"} and now["required_action"] is None
    asked = service.call("POST", "/migration/finalize/web01?now=false")
    assert not asked["already_requested"]
    assert service.call("POST", "/migration/finalize/web01?now=true")["already_requested"]
    harness.until(lambda: status(service, "web01")["job_status"] != "running", "the end", 90)
    done = status(service, "web01")
    assert (done["job_status"], done["stage"], done["return_code"]) == ("completed", "done", 0), done
    engine.assert_migrated("web01")
    logs = service.call("GET", "/migration/logs/web01?lines=50")
    assert "Stage: done" in logs["stdout"]
    listed = service.call("GET", "/migration/jobs?vm=web01")
    assert [j["job_id"] for j in listed] == [started["job_id"]] and listed[0]["stage"] == "done"
    assert service.call("POST", "/migration/jobs/clear")["removed"] == 1
    assert service.call("GET", "/migration/jobs") == []


def test_a_vm_with_a_blank_in_its_name_is_found(serve):  # noqa: F811
    lab, engine, service = serve(harness.synthetic("Web Server 01"))
    service.call("POST", "/migration/spec", form(engine, "Web Server 01"))
    service.call("POST", "/migration/start", {"vm_name": "Web Server 01"})
    harness.until(lambda: status(service, "Web%20Server%2001")["stage"] == "delta", "deltas", 60)
    assert service.call("POST", "/migration/finalize/Web%20Server%2001")["vm_name"] == "Web Server 01"


def test_a_spec_of_another_vm_is_not_started(serve):  # noqa: F811
    lab, engine, service = serve(harness.synthetic())
    saved = service.call("POST", "/migration/spec", form(engine, "web01"))
    answer = service.request("POST", "/migration/start", {"vm_name": "db01", "spec_file": saved["spec_file"]})
    assert answer.status == 400 and "other VMs" in answer.json()["detail"]
    assert service.call("GET", "/migration/jobs") == []


def test_a_name_is_not_the_beginning_of_another(serve):  # noqa: F811
    lab, engine, service = serve(harness.synthetic("web_db"))
    service.call("POST", "/migration/spec", form(engine, "web_db"))
    service.call("POST", "/migration/start", {"vm_name": "web_db"})
    harness.until(lambda: status(service, "web_db")["stage"] == "delta", "deltas", 60)
    assert service.request("POST", "/migration/finalize/web").status == 404
    assert service.request("POST", "/migration/start", {"vm_name": "web"}).status == 404
    assert not status(service, "web_db")["finalize_requested"]


def test_two_vms_of_one_name_are_told_apart_by_moref(serve):  # noqa: F811
    lab, engine, service = serve(
        harness.synthetic("twin"),
        harness.synthetic("twin", datacenter="DC2",
                          nics=[{"mac": "00:50:56:aa:00:02", "network": "VM Network"}]))
    morefs = [vm["moref"] for vm in lab.info["vms"]]
    assert service.request("POST", "/migration/spec",
                           {**form(engine, "twin"), "vm_moref": ""}).status == 400
    for moref in morefs:
        service.call("POST", "/migration/spec", {**form(engine, "twin"), "vm_moref": moref})
        service.call("POST", "/migration/start", {
            "vm_name": "twin", "spec_file": str(engine.control / f"twin_{moref}" / "spec.yaml")})
    for moref in morefs:
        harness.until(lambda m=moref: status(service, m)["stage"] == "delta", "deltas", 60)
    assert service.request("POST", "/migration/finalize/twin").status == 409
    service.call("POST", f"/migration/finalize/{morefs[0]}")
    assert not status(service, morefs[1])["finalize_requested"]


def test_a_moref_is_no_path(serve):  # noqa: F811
    lab, engine, service = serve(harness.synthetic())
    for moref in ("../../escape", "vm/../../x", "..", ""):
        answer = service.request("POST", "/migration/settings",
                                 form(engine, "web01", vm_moref=moref))
        assert answer.status == (200 if moref == "" else 400), (moref, answer.body)
    assert not (engine.dir / "escape").exists()
    read = service.call("GET", f"/migration/settings?vm_name=web01&vm_moref={lab.moref('web01')}")
    assert read["settings"]["zoneid"] == lab.info["cloudstack"]["zoneid"]


def test_a_shutdown_decision(serve):  # noqa: F811
    lab, engine, service = serve(harness.synthetic(tools=False))
    body = form(engine, "web01")
    body["migration"]["shutdown_mode"] = "manual"
    service.call("POST", "/migration/spec", body)
    service.call("POST", "/migration/start", {"vm_name": "web01"})
    harness.until(lambda: status(service, "web01")["stage"] == "delta", "deltas", 60)
    assert service.request("POST", "/migration/shutdown/web01?action=force").status == 409
    service.call("POST", "/migration/finalize/web01?now=1")
    harness.until(lambda: status(service, "web01")["awaiting_user_action"], "it asks", 60)
    waiting = status(service, "web01")
    assert waiting["available_actions"] == ["force_poweroff", "manual_shutdown_done"]
    [needs] = service.call("GET", "/api/v1/overview")["needs_person"]
    assert needs["required_action"] == "shutdown_choice" and "shutdown" in needs["actions"]
    assert service.request("POST", "/migration/shutdown/web01?action=manual").status == 409
    lab.power("web01", "off")
    assert service.call("POST", "/migration/shutdown/web01?action=manual")["powered_off"]
    harness.until(lambda: status(service, "web01")["job_status"] != "running", "the end", 90)
    assert status(service, "web01")["job_status"] == "completed"


def test_credentials_of_headers(serve):  # noqa: F811
    lab, engine, service = serve(harness.synthetic())
    headers = {"X-VCenter-Host": lab.info["vcenter"]["address"]}
    assert service.request("GET", "/vmware/vms", headers=headers).status == 400, "user and password, too"
    headers |= {"X-VCenter-User": lab.info["vcenter"]["user"], "X-VCenter-Password": "wrong",
                "X-VCenter-Verify-SSL": "false"}
    assert service.request("GET", "/vmware/vms", headers=headers).status == 502
    headers["X-VCenter-Password"] = lab.info["vcenter"]["password"]
    [vm] = service.call("GET", "/vmware/vms", headers=headers)
    assert (vm["name"], vm["moref"], len(vm["disks"])) == ("web01", lab.moref("web01"), 2)
    assert vm["disks"][0]["disk_type"] == "os" and vm["nics"][0]["mac_address"]


def test_cloudstack_lists(serve):  # noqa: F811
    lab, engine, service = serve(harness.synthetic())
    cs = lab.info["cloudstack"]
    for what, wanted in (("zones", "zoneid"), ("clusters", "clusterid"), ("storage", "storageid"),
                         ("networks", "networkid"), ("diskofferings", "diskofferingid"),
                         ("serviceofferings", "serviceofferingid"), ("ostypes", "ostypeid")):
        items = service.call("GET", f"/cloudstack/{what}?zoneid={cs['zoneid']}")
        assert cs[wanted] in [item["id"] for item in items], what
    assert {"type", "path"} <= service.call("GET", "/cloudstack/storage")[0].keys()
    assert service.request("GET", "/cloudstack/nonsense").status == 404


def test_environments_never_give_a_secret_back(serve):  # noqa: F811
    lab, engine, service = serve(harness.synthetic())
    store = {"version": 1, "selectedVcenterId": "a", "selectedCloudstackId": "b",
             "vcenters": [{"id": "a", "name": "A", "host": "vc.example", "username": "u",
                           "password": "secret-one"},
                          {"id": "broken", "name": "", "host": "x", "username": "", "password": ""},
                          {"id": "config-default-vcenter", "source": "config", "name": "c",
                           "host": "h", "username": "u", "password": "p"}],
             "cloudstacks": [{"id": "b", "name": "B", "apiUrl": "http://cs.example", "apiKey": "k",
                              "secretKey": "secret-two"}]}
    put = service.request("PUT", "/environments", store)
    assert put.status == 200 and b"secret-" not in put.body
    kept = put.json()
    assert [v["id"] for v in kept["vcenters"]] == ["a"] and kept["selectedVcenterId"] == "a"
    # Its UI sends back what it was given: secrets that are not there stay.
    again = service.call("PUT", "/environments", kept)
    assert [c["id"] for c in again["cloudstacks"]] == ["b"]
    assert service.call("GET", "/environments/defaults")["vcenter"]["source"] == "config"


def test_wrong_methods_and_fields(serve):  # noqa: F811
    lab, engine, service = serve(harness.synthetic())
    answer = service.request("GET", "/migration/start")
    assert answer.status == 405 and answer.json()["detail"] == "method not allowed"
    assert service.request("POST", "/migration/start", {"vm_name": "x", "more": 1}).status == 400
    assert service.request("POST", "/migration/spec", {"vm_name": "web01"}).status == 400
