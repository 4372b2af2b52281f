"""The report of a migration: as JSON, as a page that tells the same, and on the command line."""

import base64
import hashlib
import html.parser
import json
import re

import harness
from test_service import serve  # noqa: F401  a fixture

HOSTILE = "<img src=x onerror=alert(1)>&\"'</title>"


class Page(html.parser.HTMLParser):
    """Tables by their class, facts by theirs, and everything that could act or fetch."""

    VOID = {"meta", "br", "img", "link", "input"}

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tables, self.facts, self.values = [], {}, {}, {}
        self.tags, self.attributes, self.text = [], [], ""
        self.title = self.style = ""
        self.feed(text)
        self.close()
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag, attributes):
        a = dict(attributes)
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attributes]
        if tag in self.VOID:
            return
        self.open.append((tag, a))
        if tag == "table":
            self.table = self.tables.setdefault(a["class"], [])
        elif tag == "tr":
            self.table.append([])
        elif tag in ("td", "th"):
            self.cell = {"text": "", "value": None}
            self.table[-1].append(self.cell)
            if tag == "td" and "-" in a.get("class", ""):
                self.facts[a["class"]] = self.cell
        elif tag in ("data", "time") and any(t == "td" for t, _ in self.open):
            self.cell["value"] = a.get("value") or a.get("datetime")

    def handle_endtag(self, tag):
        assert self.open and self.open[-1][0] == tag, f"</{tag}> ends {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data):
        self.text += data
        inside = [tag for tag, _ in self.open]
        if "td" in inside or "th" in inside:
            self.cell["text"] += data
        if "title" in inside:
            self.title += data
        if "style" in inside:
            self.style += data

    def value(self, section, member):
        cell = self.facts.get(f"{section}-{member}")
        return cell and (cell["value"] or cell["text"])

    def rows(self, name):
        return [[c["value"] or c["text"] for c in row] for row in self.tables.get(name, [])[1:]]


def page_of(service, job):
    answer = service.request("GET", f"/api/v1/jobs/{job}/report.html", role="viewer")
    assert answer.status == 200 and answer.headers["Content-Type"] == "text/html; charset=utf-8"
    page = Page(answer.body.decode())
    page.answer = answer
    return page


def migrated(service, name="web01"):
    [job] = service.begin(name)
    service.until_job(job, lambda j: j["state"] == "waiting" and j["delta_rounds"] >= 2, "deltas")
    service.act(job, "finalize", role="admin")
    done = service.until_state(job, "completed", "failed")
    assert done["state"] == "completed", done
    return job


def check_page(page, report):
    """What the page says is what the JSON says."""
    for section, members in (("vm", ("name", "moref", "instance_uuid", "directory")),
                             ("source", ("vcenter", "datacenter", "host")),
                             ("target", ("vm_id", "zone_id", "cluster_id", "storage_id", "network_id"))):
        for member in members:
            assert page.value(section, member) == report[section][member], (section, member)
    for member in ("powered_off_at", "imported_at", "downtime_ms", "copied_bytes", "delta_rounds", "verified_bytes",
                   "mismatched_blocks"):
        assert page.value("summary", member) == str(report["summary"][member]), member
    assert [(r[0], r[3], r[4], r[5], r[6], r[7]) for r in page.rows("disks")] == [
        (d["name"], *(str(d[m]) for m in ("bytes", "base_bytes", "base_ms", "verified_bytes", "mismatched_blocks")))
        for d in report["disks"]]
    assert [r[1:] for r in page.rows("files")] == [
        [d["source_path"], d["path"], d["storage_id"], d["volume_id"] or "–"] for d in report["disks"]]
    assert page.rows("stages") == [
        [s["stage"], s["at"], "–" if s["ms"] is None else str(s["ms"])] for s in report["stages"]]
    assert page.rows("rounds") == [
        [str(r[m]) for m in ("number", "began_at", "changed_bytes", "copy_ms", "total_ms")] for r in report["rounds"]]
    assert page.rows("people") == [[p["at"], p["user"], p["action"], p["job_id"]] for p in report["people"]]
    assert page.rows("notes") == [[n["at"], n["kind"], n["text"]] for n in report["notes"]]


def check_harmless(page):
    allowed = {"html", "head", "meta", "title", "style", "body", "article", "h1", "h2", "p", "span", "table", "thead",
               "tbody", "tr", "th", "td", "bdi", "data", "time"}
    assert set(page.tags) <= allowed, set(page.tags) - allowed
    names = {name for _, name, _ in page.attributes}
    assert names <= {"lang", "charset", "name", "content", "class", "scope", "value", "datetime"}, names
    assert "url(" not in page.style and "@import" not in page.style


def test_the_page_tells_what_the_json_tells(serve):  # noqa: F811
    lab, engine, service = serve(harness.synthetic())
    job = migrated(service)
    report = service.call("GET", f"/api/v1/jobs/{job}/report", role="viewer")
    assert report["vm"]["moref"] == lab.moref("web01") and report["stage"] == "done"
    assert report["target"]["vm_id"] == engine.state_json("web01")["cloudstack_vm_id"]
    assert report["target"]["zone_id"] == lab.info["cloudstack"]["zoneid"]
    assert report["summary"]["downtime_ms"] > 0 and report["summary"]["copied_bytes"] > 0
    assert [d["bytes"] for d in report["disks"]] == [24 << 20, 16 << 20]
    assert all(d["base_bytes"] > 0 and (d["volume_id"] or d["boot"]) for d in report["disks"])
    assert len(report["rounds"]) >= 2 and report["rounds"][0]["number"] == 1
    names = [s["stage"] for s in report["stages"]]
    assert names[-1] == "done" and {"base_copy", "delta", "final_sync"} <= set(names)
    assert [(p["user"], p["action"]) for p in report["people"]] == [
        ("operator", "job.create: migrate"), ("admin", "job.finalize")]
    page = page_of(service, job)
    check_page(page, report)
    check_harmless(page)
    assert page.value("job", "created_by") == "operator" and "completed" in page.text
    policy = page.answer.headers.get_all("Content-Security-Policy")
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    assert policy == [f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; "
                      "frame-ancestors 'none'"]
    told = engine.command("report", "--config", engine.write_config(), "--vm", "web01")
    [on_host] = json.loads(told.stdout)
    for member in ("vm", "source", "target", "summary", "stages", "rounds", "people", "notes", "disks", "stage"):
        assert on_host[member] == report[member], member
    printed = Page(engine.command("report", "--config", engine.write_config(), "--vm", "web01", "--html").stdout)
    check_page(printed, report)
    check_harmless(printed)


def test_names_are_only_ever_text(serve):  # noqa: F811
    lab, engine, service = serve(harness.synthetic(HOSTILE))
    moref = lab.moref(HOSTILE)
    [job] = service.begin(HOSTILE)
    service.until_job(job, lambda j: j["state"] == "waiting" and j["delta_rounds"] >= 1, "deltas")
    page = page_of(service, job)
    check_harmless(page)
    assert page.value("vm", "name") == HOSTILE and page.value("vm", "moref") == moref
    assert page.title == "Migration of " + HOSTILE
    assert HOSTILE not in page.answer.body.decode()
    assert "waiting" in page.text


def test_a_failed_migration_says_why(serve):  # noqa: F811
    lab, engine, service = serve(harness.synthetic())
    lab.fault("vsphere.CreateSnapshot_Task", "fail", count=100)
    [job] = service.begin("web01")
    failed = service.until_state(job, "failed")
    page = page_of(service, job)
    check_harmless(page)
    assert "failed" in page.text and failed["error"]["detail"] in page.text and failed["error"]["code"] in page.text
    report = service.call("GET", f"/api/v1/jobs/{job}/report")
    assert any(n["kind"] == "error" for n in report["notes"])
    assert page.rows("notes") == [[n["at"], n["kind"], n["text"]] for n in report["notes"]]


def test_who_used_the_existing_tools_paths_is_told_too(serve):  # noqa: F811
    _, _, service = serve(harness.synthetic())
    [job] = service.begin("web01")
    service.until_job(job, lambda j: j["state"] == "waiting" and j["delta_rounds"] >= 1, "deltas")
    service.call("POST", "/migration/finalize/web01", {}, role="admin")
    service.until_state(job, "completed")
    report = service.call("GET", f"/api/v1/jobs/{job}/report")
    assert [(p["user"], p["action"]) for p in report["people"]] == [
        ("operator", "job.create: migrate"), ("admin", "job.finalize")]


def test_the_page_of_a_check_shows_its_findings(serve):  # noqa: F811
    _, _, service = serve(harness.synthetic())
    [check] = service.call("POST", "/api/v1/jobs", {"vms": [service.spec("web01")], "kind": "check"})
    service.until_state(check["id"], "completed")
    report = service.call("GET", f"/api/v1/jobs/{check['id']}/report")
    page = page_of(service, check["id"])
    check_harmless(page)
    assert [r[3] for r in page.rows("findings")] == [f["text"] for f in report["findings"]] != []
    assert re.search(r"Check of\s*web01", page.text)


def test_the_page_needs_somebody_and_a_job(serve):  # noqa: F811
    _, _, service = serve(harness.synthetic())
    assert service.request("GET", "/api/v1/jobs/none/report.html", role=None).status == 401
    assert service.request("GET", "/api/v1/jobs/none/report.html").status == 404
