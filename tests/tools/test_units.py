"""The systemd units: systemd finds nothing to say of them, and they give away no more than they must.

systemd-analyze verify ends with 0 for keys and values that it ignores, so whatever it prints is a failure."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
UNITS = os.path.join(ROOT, "packaging", "systemd")
SERVICES = ("v2c-engine.service", "v2c-ui.service")
# Exposure by systemd-analyze security, in tenths.
MOST = {"v2c-engine.service": 43, "v2c-ui.service": 12}
MOST_AS_OWN_USER = 17


def read(name):
    with open(os.path.join(UNITS, name), encoding="utf-8") as f:
        return f.read()


def values(text, key):
    return re.findall(rf"^{key}=(.*)$", text, re.MULTILINE)


class UnitsTest(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.dir = place.name
        for name in SERVICES:
            self.put(name, read(name))

    def put(self, name, text):
        path = os.path.join(self.dir, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            # Not installed here; that the program exists is looked at too.
            f.write(text.replace("/usr/bin/v2c-engine", "/bin/true"))

    def run_own_user(self):
        self.put("v2c-engine.service.d/userspace-nfs.conf", read("userspace-nfs.conf"))

    def analyze(self, *arguments):
        done = subprocess.run(["systemd-analyze", "--no-pager", *arguments], capture_output=True, text=True,
                              timeout=60, check=False, cwd=self.dir,
                              env={**os.environ, "LC_ALL": "C", "SYSTEMD_LOG_LEVEL": "info"})
        return done.returncode, done.stdout + done.stderr

    def verify(self, name):
        status, text = self.analyze("--man=no", "verify", f"./{name}")
        return text or ("" if status == 0 else f"exit status {status}")

    def is_exposed(self, name, most):
        """Whether systemd rates its exposure above @most: tenths, 100 is the worst."""
        status, text = self.analyze("--offline=true", f"--threshold={most}", "security", f"./{name}")
        self.assertIn("Overall exposure level", text)
        return status != 0

    def test_systemd_has_nothing_to_say_of_them(self):
        for name in SERVICES:
            self.assertEqual(self.verify(name), "")
        self.run_own_user()
        self.assertEqual(self.verify("v2c-engine.service"), "")

    def test_a_wrong_key_a_wrong_value_and_a_missing_program_are_found(self):
        good = read("v2c-engine.service")
        for wrong in ("WatchdogSecs=1", "KillMode=gently", "SystemCallFilter=@sytem-service"):
            self.put("v2c-engine.service", good.replace("[Service]", f"[Service]\n{wrong}"))
            self.assertIn(wrong.split("=", 1)[0 if "Secs" in wrong else 1], self.verify("v2c-engine.service"))
        self.put("v2c-engine.service", good.replace("/usr/bin/v2c-engine", "/nowhere/v2c-engine"))
        self.assertIn("/nowhere/v2c-engine", self.verify("v2c-engine.service"))
        self.put("v2c-engine.service", good)
        self.put("v2c-engine.service.d/userspace-nfs.conf", read("userspace-nfs.conf") + "Usr=x\n")
        self.assertIn("Usr", self.verify("v2c-engine.service"))

    def test_exposure_is_bounded(self):
        for name, most in MOST.items():
            self.assertFalse(self.is_exposed(name, most), name)
        self.run_own_user()
        self.assertFalse(self.is_exposed("v2c-engine.service", MOST_AS_OWN_USER))

    def test_one_protection_less_is_noticed(self):
        for name, line in (("v2c-ui.service", "DynamicUser=yes"), ("v2c-engine.service", "ProtectSystem=strict")):
            self.put(name, read(name).replace(line + "\n", ""))
            self.assertTrue(self.is_exposed(name, MOST[name]), f"{name} without {line}")
        self.put("v2c-engine.service", read("v2c-engine.service"))
        self.assertTrue(self.is_exposed("v2c-engine.service", MOST_AS_OWN_USER))

    def test_no_library_path_gets_in(self):
        for name in (*SERVICES, "userspace-nfs.conf"):
            for key in ("Environment", "PassEnvironment"):
                self.assertEqual([v for v in values(read(name), key) if "LD_" in v], [], name)
        for name in SERVICES:
            self.assertIn("LD_LIBRARY_PATH", values(read(name), "UnsetEnvironment")[0].split())

    def test_variables_of_the_command_line_have_defaults_and_are_in_the_examples(self):
        for name, example in zip(SERVICES, ("v2c-engine.default", "v2c-ui.env")):
            used = set(re.findall(r"\$\{?(\w+)", values(read(name), "ExecStart")[0]))
            given = {value.split("=")[0] for value in values(read(name), "Environment")}
            with open(os.path.join(ROOT, "examples", example), encoding="utf-8") as f:
                text = f.read()
            self.assertTrue(used)
            self.assertEqual(used - given, set())
            self.assertEqual([v for v in used if f"#{v}=" not in text], [])


if __name__ == "__main__":
    if not shutil.which("systemd-analyze"):
        print("there is no systemd-analyze (package systemd)")
        sys.exit(77)
    unittest.main()
