"""tools/count-tests adds up right and calls nothing a success that is none."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def meson(*results):
    rows = [{"name": f"unit / {name}", "result": result, "stdout": "why\n"} for name, result in results]
    return "".join(json.dumps(row) + "\n" for row in rows)


class CountTests(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="v2c-count-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.write("allowed.txt", "")

    def write(self, name, text):
        with open(os.path.join(self.folder, name), "w", encoding="utf-8") as f:
            f.write(text)

    def count(self):
        run = subprocess.run(
            [sys.executable, os.path.join(ROOT, "tools/count-tests"), "--allowed",
             os.path.join(self.folder, "allowed.txt"), self.folder],
            capture_output=True, text=True, check=False, timeout=60,
        )
        return run.returncode, run.stdout.splitlines()[-1], run.stdout

    def test_adds_meson_and_pytest(self):
        self.write("unit.json", meson(("a", "OK"), ("b", "OK")))
        self.write("flow.xml", '<testsuites><testsuite><testcase classname="t" name="c"/></testsuite></testsuites>')
        self.assertEqual(self.count()[:2], (0, "3 passed, 0 failed"))

    def test_fails_for_each_result_that_is_no_success(self):
        for result in ("FAIL", "TIMEOUT", "ERROR", "INTERRUPT", "UNEXPECTEDPASS", "NEWKIND"):
            with self.subTest(result=result):
                self.write("unit.json", meson(("a", "OK"), ("b", result)))
                self.assertEqual(self.count()[:2], (1, "1 passed, 1 failed"))

    def test_fails_for_pytest_failures_and_errors(self):
        self.write("flow.xml", '<testsuite><testcase classname="t" name="a"><failure message="m"/></testcase>'
                   '<testcase classname="t" name="b"><error message="n"/></testcase></testsuite>')
        self.assertEqual(self.count()[:2], (1, "0 passed, 2 failed"))

    def test_fails_for_a_suite_that_left_no_result(self):
        self.write("unit.json", meson(("a", "OK")))
        self.write("flow.xml", "")
        self.assertEqual(self.count()[:2], (1, "1 passed, 1 failed"))

    def test_fails_for_a_suite_without_tests(self):
        self.write("unit.json", "")
        self.assertEqual(self.count()[:2], (1, "0 passed, 1 failed"))

    def test_fails_when_nothing_ran(self):
        self.assertEqual(self.count()[:2], (1, "0 passed, 0 failed"))

    def test_fails_for_a_skip_that_is_not_allowed(self):
        self.write("unit.json", meson(("a", "OK"), ("b", "SKIP")))
        self.assertEqual(self.count()[:2], (1, "1 passed, 0 failed, 1 skipped"))

    def test_passes_with_an_allowed_skip(self):
        self.write("unit.json", meson(("a", "OK"), ("b", "SKIP")))
        self.write("allowed.txt", "unit: b  # this machine has none\n")
        self.assertEqual(self.count()[:2], (0, "1 passed, 0 failed, 1 skipped"))


if __name__ == "__main__":
    unittest.main()
