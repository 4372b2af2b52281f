"""Shell scripts: shellcheck finds nothing that it calls an error or a warning."""

import glob
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def shellcheck(*paths):
    done = subprocess.run(["shellcheck", "-x", "-P", os.path.join(ROOT, "scripts"), "-S", "warning", *paths],
                          capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)
    return done.returncode, done.stdout + done.stderr


class ShellTest(unittest.TestCase):
    def test_scripts_are_clean(self):
        scripts = [".ci/run"] + [path for folder in ("scripts", "tests", "lab", "packaging")
                                 for path in sorted(glob.glob(f"{folder}/**/*.sh", root_dir=ROOT, recursive=True))]
        scripts += sorted(glob.glob("packaging/debian/*.p[or]*", root_dir=ROOT))
        self.assertIn("scripts/bootstrap.sh", scripts)
        self.assertIn("packaging/debian/v2c-engine.postinst", scripts)
        self.assertEqual(shellcheck(*scripts), (0, ""))

    def test_a_bad_one_is_found(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "bad.sh")
            with open(path, "w", encoding="utf-8") as f:
                f.write("#!/bin/sh\ncd $nowhere\nrm -rf \"$1/\"*\nunused=1\n")
            status, text = shellcheck(path)
        self.assertEqual(status, 1)
        self.assertIn("SC2164", text)


if __name__ == "__main__":
    if not shutil.which("shellcheck"):
        print("there is no shellcheck")
        sys.exit(77)
    unittest.main()
