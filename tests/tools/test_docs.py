"""What the documents say of the code is true: error codes, CloudStack's commands, vSphere's privileges, links."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
COMMAND = re.compile(r'"((?:list|query|import|add|remove|update|attach|detach|start|stop|deploy|delete|destroy'
                     r'|expunge|create|unmanage)[A-Z]\w+)"')


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as f:
        return f.read()


def sources(*rooms):
    for room in rooms:
        folder = os.path.join(ROOT, "src", room)
        for name in sorted(os.listdir(folder)):
            if name.endswith((".c", ".h")):
                yield read("src", room, name)


class DocsTest(unittest.TestCase):
    def check_errors(self, root):
        return subprocess.run([sys.executable, os.path.join(ROOT, "tools/error-page"), "--check", "--root", root],
                              capture_output=True, text=True, check=False)

    def test_every_error_code_has_advice_and_the_page_is_up_to_date(self):
        done = self.check_errors(ROOT)
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_a_code_without_advice_is_found(self):
        with tempfile.TemporaryDirectory() as root:
            for path in ("src/base/errors.def", "docs/error-advice.txt", "docs/troubleshooting.md"):
                os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
                shutil.copy(os.path.join(ROOT, path), os.path.join(root, path))
            with open(os.path.join(root, "src/base/errors.def"), "a", encoding="utf-8") as f:
                f.write('ERR_DEF(E_NEW, ERR_CLASS_RETRY, "something new")\n')
            done = self.check_errors(root)
        self.assertEqual(done.returncode, 1)
        self.assertIn("no advice for E_NEW", done.stdout)

    def test_the_role_has_exactly_the_commands_that_are_called(self):
        called = {name for text in sources("cloudstack", "preflight", "migration", "cli")
                  for name in COMMAND.findall(text)}
        page = read("docs", "permissions.md").split("<!-- commands -->")[1].split("<!-- end")[0]
        named = {name for name in re.findall(r"`(\w+)`", page) if COMMAND.match(f'"{name}"')}
        self.assertEqual(called, named)

    def test_the_privileges_that_check_asks_for_are_named(self):
        asked = set(re.findall(r'"(VirtualMachine\.[\w.]+)"', read("src", "preflight", "source.c")))
        page = read("docs", "permissions.md")
        self.assertTrue(asked)
        self.assertEqual([name for name in asked if f"`{name}`" not in page], [])

    def test_links_lead_somewhere(self):
        pages = ["README.md", "ARCHITECTURE.md"] + [
            os.path.join(folder, name) for folder in ("docs", "docs/internals", "docs/decisions")
            for name in sorted(os.listdir(os.path.join(ROOT, folder))) if name.endswith(".md")]
        broken = []
        for page in pages:
            for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", read(page)):
                if not re.match(r"[a-z]+:", link) and not os.path.exists(
                        os.path.join(ROOT, os.path.dirname(page), link)):
                    broken.append(f"{page}: {link}")
        self.assertEqual(broken, [])


if __name__ == "__main__":
    unittest.main()
