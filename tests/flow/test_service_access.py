"""Who may do what with the service, and what a request may not reach."""

import http.client
import json
import socket
import ssl
import stat
import urllib.parse

import pytest

import harness
from test_service import serve  # noqa: F401  a fixture

PASSWORD = "correct horse battery"


def login(service, user, password, **more):
    return service.request("POST", "/api/v1/login", {"user": user, "password": password}, role=None,
                           **more)


def cookie_of(answer):
    return answer.headers["Set-Cookie"].split(";")[0]


@pytest.fixture
def person(serve):  # noqa: F811
    """(service, cookie, csrf) of an operator who has logged in."""
    _, _, service = serve(harness.synthetic())
    service.call("POST", "/api/v1/users", {"name": "ann", "role": "operator", "password": PASSWORD},
                 role="admin")
    answer = login(service, "ann", PASSWORD)
    assert answer.status == 200, answer.body
    return service, cookie_of(answer), answer.json()["csrf"]


def test_a_session_needs_its_csrf_token_to_change_anything(person):
    service, cookie, csrf = person
    me = service.request("GET", "/api/v1/me", role=None, headers={"Cookie": cookie})
    assert me.json() == {"user": "ann", "role": "operator", "csrf": csrf}
    wave = ("PUT", "/api/v1/waves/one", {})
    assert service.request(*wave, role=None, headers={"Cookie": cookie}).status == 401
    wrong = {"Cookie": cookie, "X-CSRF-Token": csrf[:-1] + "x"}
    assert service.request(*wave, role=None, headers=wrong).status == 401
    right = {"Cookie": cookie, "X-CSRF-Token": csrf}
    assert service.request(*wave, role=None, headers=right).status == 200


def test_the_cookie_is_not_for_scripts_or_other_sites(person):
    service, _, _ = person
    attributes = login(service, "ann", PASSWORD).headers["Set-Cookie"]
    assert "HttpOnly" in attributes and "SameSite=Strict" in attributes


def test_a_logout_ends_the_session(person):
    service, cookie, csrf = person
    headers = {"Cookie": cookie, "X-CSRF-Token": csrf}
    assert service.request("POST", "/api/v1/logout", role=None, headers=headers).status == 204
    assert service.request("GET", "/api/v1/me", role=None, headers=headers).status == 401


def test_a_new_password_ends_all_sessions(person):
    service, cookie, csrf = person
    headers = {"Cookie": cookie, "X-CSRF-Token": csrf}
    body = {"old": PASSWORD, "new": "another long password"}
    assert service.request("PUT", "/api/v1/me/password", {**body, "old": "wrong wrong"}, role=None,
                           headers=headers).status == 400
    assert service.request("PUT", "/api/v1/me/password", body, role=None, headers=headers).status == 204
    assert service.request("GET", "/api/v1/me", role=None, headers=headers).status == 401
    assert login(service, "ann", "another long password").status == 200


def test_wrong_passwords_are_slowed_down(person):
    service, _, _ = person
    answers = [login(service, "ann", "wrong password") for _ in range(6)]
    assert [a.status for a in answers] == [401] * 5 + [429]
    assert login(service, "ann", PASSWORD).status == 429, "not even the right one now"
    assert answers[-1].headers["Retry-After"]


def test_nobody_is_locked_out_by_others(person):
    service, _, _ = person
    service.stop()
    service.engine.config["serve"] = {"trusted_proxies": ["127.0.0.0/8"]}
    service.engine.write_config()
    service.start()
    def seen_from(address, password="wrong password"):
        return login(service, "ann", password, headers={"X-Forwarded-For": f"198.51.100.9, {address}"}).status
    assert [seen_from("203.0.113.5") for _ in range(6)] == [401] * 5 + [429]
    assert seen_from("203.0.113.6", PASSWORD) == 200, "the attack came from elsewhere"
    connection = http.client.HTTPConnection("127.0.0.1", urllib.parse.urlsplit(service.url).port, timeout=30)
    connection.putrequest("POST", "/api/v1/login")
    body = json.dumps({"user": "ann", "password": PASSWORD})
    for name, value in [("X-Forwarded-For", "203.0.113.77"), *[(f"X-{i}", "x") for i in range(150)],
                        ("Content-Length", str(len(body))), ("X-Forwarded-For", "203.0.113.5")]:
        connection.putheader(name, value)
    connection.endheaders(body.encode())
    assert connection.getresponse().status == 429, "what the proxy has added counts, behind whatever else is sent"
    entries = service.call("GET", "/api/v1/audit", role="admin")["items"]
    assert ("login", "ok", "203.0.113.6") in [(e["action"], e["outcome"], e["address"]) for e in entries]


def test_nobody_says_of_themselves_where_they_come_from(person):
    service, _, _ = person
    answers = [login(service, "ann", "wrong password", headers={"X-Forwarded-For": f"203.0.113.{i}"})
               for i in range(6)]
    assert [a.status for a in answers] == [401] * 5 + [429]
    entries = service.call("GET", "/api/v1/audit", role="admin")["items"]
    assert {e["address"] for e in entries} == {"127.0.0.1"}


def test_an_old_password_cannot_be_guessed_with_a_stolen_session(person):
    service, cookie, csrf = person
    headers = {"Cookie": cookie, "X-CSRF-Token": csrf}
    def change(old):
        return service.request("PUT", "/api/v1/me/password", {"old": old, "new": "another long password"},
                               role=None, headers=headers)
    assert [change(f"wrong password {i}").status for i in range(5)] == [400] * 5
    refused = change(PASSWORD)
    assert refused.status == 429 and int(refused.headers["Retry-After"]) > 0
    entries = service.call("GET", "/api/v1/audit", role="admin")["items"]
    told = [(e["user"], e["action"], e["outcome"]) for e in entries]
    assert told.count(("ann", "password.change", "400")) == 5 and ("ann", "password.change", "429") in told


def test_only_an_admin_changes_the_password_of_another(person):
    service, cookie, csrf = person
    ann = {"Cookie": cookie, "X-CSRF-Token": csrf}
    body = {"password": "a password of the admin's"}
    assert service.request("PATCH", "/api/v1/users/ann", body, role=None, headers=ann).status == 403
    assert service.request("PATCH", "/api/v1/users/admin", body, role=None, headers=ann).status == 403
    assert service.request("PATCH", "/api/v1/users/ann", body, role="admin").status == 200
    assert service.request("GET", "/api/v1/me", role=None, headers=ann).status == 401, "her session has ended"
    assert login(service, "ann", body["password"]).status == 200
    entries = service.call("GET", "/api/v1/audit", role="admin")["items"]
    assert ("admin", "user.change", "ann", "200") in [
        (e["user"], e["action"], e["subject"], e["outcome"]) for e in entries]


def test_roles(serve):  # noqa: F811
    _, _, service = serve(harness.synthetic())
    assert service.request("PUT", "/api/v1/waves/one", {}, role="viewer").status == 403
    assert service.request("GET", "/api/v1/users", role="operator").status == 403
    assert service.request("PUT", "/api/v1/settings", {"max_workers": 5}, role="operator").status == 403
    assert service.call("PUT", "/api/v1/settings", {"max_workers": 5}, role="admin")["max_workers"] == 5
    token = service.request("POST", "/api/v1/tokens", {"name": "up", "role": "admin"}, role="operator")
    assert token.status == 400, "nobody makes a token above their own role"
    last = service.request("PATCH", "/api/v1/users/admin", {"role": "viewer"}, role="admin")
    assert last.status == 409 and last.json()["code"] == "E_ACCOUNT_LAST_ADMIN"


def test_a_lowered_role_counts_for_tokens_at_once(serve):  # noqa: F811
    _, engine, service = serve(harness.synthetic())
    assert service.request("PUT", "/api/v1/waves/one", {}, role="operator").status == 200
    engine.command("user", "role", "operator", "--role", "viewer", "--config", service.config)
    assert service.request("PUT", "/api/v1/waves/one", {}, role="operator").status == 403
    engine.command("user", "remove", "operator", "--config", service.config)
    assert service.request("GET", "/api/v1/me", role="operator").status == 401


def test_what_was_done_stands_in_the_audit_log(serve):  # noqa: F811
    _, _, service = serve(harness.synthetic())
    service.call("PUT", "/api/v1/waves/one", {})
    service.request("DELETE", "/api/v1/users/nobody", role="admin")
    entries = service.call("GET", "/api/v1/audit", role="admin")["items"]
    told = [(e["user"], e["action"], e["subject"], e["outcome"]) for e in entries]
    assert ("operator", "wave.change", "one", "200") in told
    assert ("admin", "user.delete", "nobody", "404") in told


def test_other_addresses_are_served_with_tls_only(serve):  # noqa: F811
    _, engine, service = serve(harness.synthetic())
    service.stop()
    service.listen = "0.0.0.0:0"
    service.start()
    assert service.url.startswith("https://")
    service.url = service.url.replace("localhost", "127.0.0.1")
    assert service.call("GET", "/health", role=None) == {"status": "ok"}
    key = engine.control / "tls" / "key.pem"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    port = int(service.url.rsplit(":", 1)[1])
    plain = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with pytest.raises((http.client.HTTPException, OSError)):
        plain.request("GET", "/health")
        plain.getresponse()
    context = ssl.create_default_context(cafile=engine.control / "tls" / "cert.pem")
    with_name = http.client.HTTPSConnection("localhost", port, timeout=10, context=context)
    with_name.request("GET", "/health")
    assert with_name.getresponse().status == 200, "the certificate is good for whoever trusts it"


def test_origins_are_refused_unless_they_are_named(serve):  # noqa: F811
    _, _, service = serve(harness.synthetic(), arguments=("--allow-origins", "https://one.example"))
    def allowed(origin):
        answer = service.request("GET", "/health", role=None, headers={"Origin": origin})
        return answer.headers.get("Access-Control-Allow-Origin")
    assert allowed("https://one.example") == "https://one.example"
    assert allowed("https://two.example") is None
    assert service.request("OPTIONS", "/api/v1/jobs", role=None,
                           headers={"Origin": "https://one.example"}).status == 204


def test_every_answer_has_the_headers_that_keep_browsers_safe(serve):  # noqa: F811
    _, _, service = serve(harness.synthetic())
    headers = service.request("GET", "/health", role=None).headers
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2fetc/passwd",
                                  "/assets/../../../etc/passwd", "//etc/passwd", "/etc/passwd",
                                  "/%00", "/api/v1/jobs/%2e%2e%2f%2e%2e%2fv2c.db/log",
                                  "/migration/logs/..%2F..%2Fetc?job_id=../../x"])
def test_no_path_reaches_the_file_system(serve, path):  # noqa: F811
    _, _, service = serve(harness.synthetic())
    connection = http.client.HTTPConnection("127.0.0.1", urllib.parse.urlsplit(service.url).port, timeout=30)
    connection.request("GET", path, headers={"Authorization": "Bearer " + service.tokens["admin"]})
    answer = connection.getresponse()
    assert answer.status in (400, 404), answer.status
    assert b"root:" not in answer.read()


def test_specs_outside_the_control_directory_cannot_be_started(serve, tmp_path):  # noqa: F811
    _, engine, service = serve(harness.synthetic())
    outside = tmp_path / "outside.yaml"
    outside.write_text(engine.spec("web01").read_text())
    (engine.control / "specs").mkdir(exist_ok=True)
    (engine.control / "specs" / "link.yaml").symlink_to(outside)
    for name in (str(outside), "../outside.yaml", "link.yaml", "../../etc/passwd", "v2c.db"):
        answer = service.request("POST", "/migration/start", {"vm_name": "web01", "spec_file": name})
        assert answer.status == 404, (name, answer.status, answer.body)


def test_a_body_that_is_too_large_is_refused(serve):  # noqa: F811
    _, _, service = serve(harness.synthetic())
    answer = service.request("POST", "/api/v1/jobs", raw=b'{"yaml": "' + b"x" * (3 << 20) + b'"}')
    assert answer.status == 413
    assert service.call("GET", "/health", role=None) == {"status": "ok"}


class Upload:
    """A POST whose body comes in parts."""

    def __init__(self, service, path, length, token=None, chunked=False):
        address = urllib.parse.urlsplit(service.url)
        self.socket = socket.create_connection((address.hostname, address.port), timeout=30)
        how = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {length}"
        who = f"Authorization: Bearer {token}\r\n" if token else ""
        self.chunked = chunked
        self.socket.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\n{who}{how}\r\n\r\n".encode())

    def send(self, data):
        if self.chunked:
            data = b"%x\r\n%s\r\n" % (len(data), data)
        self.socket.sendall(data)

    def status(self):
        answer = http.client.HTTPResponse(self.socket)
        answer.begin()
        answer.read()
        self.socket.close()
        return answer.status


def memory_mib(service):
    status = harness.Path(f"/proc/{service.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


@pytest.mark.parametrize("chunked", [False, True])
def test_nothing_is_kept_of_what_strangers_send(serve, chunked):  # noqa: F811
    _, _, service = serve(harness.synthetic())
    before = memory_mib(service)
    uploads = [Upload(service, "/api/v1/jobs", 1 << 20, chunked=chunked) for _ in range(200)]
    for upload in uploads:
        upload.send(b"x" * ((1 << 20) - 1000))
    service.call("GET", "/health", role=None)
    assert memory_mib(service) - before < 60, "200 MiB have come"
    uploads[0].send(b"x" * 1000)
    if chunked:
        uploads[0].socket.sendall(b"0\r\n\r\n")
    assert uploads[0].status() == 401
    for upload in uploads[1:]:
        upload.socket.close()


def test_anybody_may_send_a_name_and_a_password_and_no_more(serve):  # noqa: F811
    _, _, service = serve(harness.synthetic())
    large = b'{"user": "ann", "password": "' + b"x" * 5000 + b'"}'
    assert service.request("POST", "/api/v1/login", raw=large, role=None).status == 413
    chunked = Upload(service, "/api/v1/login", 0, chunked=True)
    chunked.send(large)
    chunked.socket.sendall(b"0\r\n\r\n")
    assert chunked.status() == 413
    assert login(service, "ann", "x" * 1000).status == 401


def test_all_bodies_together_have_a_bound(serve):  # noqa: F811
    _, _, service = serve(harness.synthetic())
    size = (2 << 20) - 4096
    uploads = [Upload(service, "/api/v1/jobs", size, service.tokens["operator"]) for _ in range(60)]
    for upload in uploads:
        upload.send(b"x" * (size - 1))
    service.call("GET", "/health", role=None)
    for upload in uploads:
        upload.send(b"x")
    answers = [upload.status() for upload in uploads]
    assert set(answers) == {400, 503} and 24 <= answers.count(400) <= 32, answers
    assert service.request("POST", "/api/v1/jobs", raw=b"x" * size).status == 400, "there is room again"


def test_who_may_not_is_told_before_a_body_is_looked_at(serve):  # noqa: F811
    _, _, service = serve(harness.synthetic())
    nonsense = b"x" * 300000
    assert service.request("POST", "/api/v1/jobs", raw=nonsense, role=None).status == 401
    assert service.request("POST", "/api/v1/jobs", raw=nonsense, role="viewer").status == 403
    assert service.request("POST", "/api/v1/jobs", raw=nonsense).status == 400
    assert service.request("POST", "/nothing/here", raw=nonsense).status == 404
    assert service.request("POST", "/health", raw=nonsense).status == 405
    entries = service.call("GET", "/api/v1/audit", role="admin")["items"]
    assert [(e["user"], e["action"], e["outcome"]) for e in reversed(entries)] == [
        ("", "job.create", "401"), ("viewer", "job.create", "403"), ("operator", "job.create", "400")]


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"a":1,"a":2}', b"\xff\xfe", b"vms: yaml",
                                  b'{"vms": []}', b'{"vms": 3}', b'{"nonsense": true}', b'{"vms": [{}]}'])
def test_a_body_that_makes_no_sense_is_refused(serve, body):  # noqa: F811
    _, _, service = serve(harness.synthetic())
    answer = service.request("POST", "/api/v1/jobs", raw=body)
    assert answer.status == 400, (answer.status, answer.body)
    assert answer.json()["detail"]


def test_saved_secrets_are_encrypted_and_never_told(serve):  # noqa: F811
    lab, engine, service = serve(harness.synthetic())
    secret = lab.info["vcenter"]["password"]
    made = service.call("POST", "/api/v1/environments", {
        "kind": "vcenter", "name": "other", "address": lab.info["vcenter"]["address"],
        "user": lab.info["vcenter"]["user"], "password": secret,
        "thumbprint": lab.info["vcenter"]["sha256"]})
    listed = service.request("GET", "/api/v1/environments")
    assert secret.encode() not in listed.body and made["id"].encode() in listed.body
    assert secret.encode() not in service.request("GET", "/environments").body
    for file in engine.control.glob("v2c.db*"):
        assert secret.encode() not in file.read_bytes(), file
    assert stat.S_IMODE((engine.control / "service.key").stat().st_mode) == 0o600
    assert service.call("GET", f"/api/v1/environments/{made['id']}/vms")[0]["name"] == "web01"
    elsewhere = service.request("PUT", f"/api/v1/environments/{made['id']}", {
        "kind": "vcenter", "name": "other", "address": "192.0.2.1", "user": "x"})
    assert elsewhere.status == 400, "a saved password never goes to another server"
    nowhere = service.request("PUT", f"/api/v1/environments/{made['id']}", {"kind": "vcenter", "name": "x"})
    assert nowhere.status == 400
    assert service.request("PUT", "/environments", {}).status == 400, "nothing is removed by leaving it out"
    assert made["id"] in [e["id"] for e in service.call("GET", "/api/v1/environments")]


def test_an_environment_is_tested_and_shows_its_certificate(serve):  # noqa: F811
    lab, _, service = serve(harness.synthetic())
    vcenter = {"kind": "vcenter", "name": "n", "address": lab.info["vcenter"]["address"],
               "user": lab.info["vcenter"]["user"], "password": lab.info["vcenter"]["password"]}
    untrusted = service.call("POST", "/api/v1/environments/test", vcenter)
    assert not untrusted["ok"] and untrusted["error"]["code"] == "E_TLS_UNTRUSTED"
    seen = untrusted["thumbprint"]
    assert seen.replace(":", "").lower() == lab.info["vcenter"]["sha256"].replace(":", "").lower()
    trusted = service.call("POST", "/api/v1/environments/test", {**vcenter, "thumbprint": seen})
    assert trusted["ok"] and "vCenter" in trusted["server"]
    wrong = service.call("POST", "/api/v1/environments/test",
                         {**vcenter, "thumbprint": seen, "password": "wrong"})
    assert wrong["error"]["code"] == "E_VSPHERE_LOGIN"


def test_a_job_of_a_saved_environment_survives_a_restart(serve):  # noqa: F811
    lab, engine, service = serve(harness.synthetic())
    vcenter = service.call("POST", "/api/v1/environments", {
        "kind": "vcenter", "name": "v", "address": lab.info["vcenter"]["address"],
        "user": lab.info["vcenter"]["user"], "password": lab.info["vcenter"]["password"],
        "thumbprint": lab.info["vcenter"]["sha256"]})["id"]
    service.stop()
    engine.config["vcenter"] = {"host": "192.0.2.1", "user": "nobody", "password": "nothing"}
    engine.write_config()
    service.start()
    [job] = service.begin("web01", vcenter=vcenter)
    service.until_job(job, lambda j: j["state"] == "waiting", "deltas", 60)
    assert service.request("DELETE", f"/api/v1/environments/{vcenter}").status == 409
    moved = service.request("PUT", f"/api/v1/environments/{vcenter}", {
        "kind": "vcenter", "name": "v", "address": "192.0.2.9", "user": "u", "password": "p"})
    assert moved.status == 409, "a job that goes on finds the server it began with"
    service.kill_all()
    service.start()
    service.until_job(job, lambda j: j["state"] == "waiting", "it goes on", 60)
    secret = lab.info["vcenter"]["password"].encode()
    for pid in service.descendants():
        try:
            assert secret not in harness.Path(f"/proc/{pid}/environ").read_bytes()
            assert secret not in harness.Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            pass
    assert secret not in json.dumps(service.job(job)).encode()
