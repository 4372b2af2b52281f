"""Each gate of tools/ passes a clean tree and refuses each thing that it is there to refuse."""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SKIP = 77


class GateTest(unittest.TestCase):
    def setUp(self):
        self.tree = tempfile.mkdtemp(prefix="v2c-gates-")
        self.addCleanup(shutil.rmtree, self.tree)
        os.mkdir(os.path.join(self.tree, "tools"))
        shutil.copy(os.path.join(ROOT, "tools/layers.txt"), os.path.join(self.tree, "tools"))
        shutil.copy(os.path.join(ROOT, ".clang-format"), self.tree)
        self.write("src/base/err.h", "struct err;\n")
        self.write("src/net/net.h", '#include "base/err.h"\n')

    def write(self, path, text):
        full = os.path.join(self.tree, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as f:
            f.write(text)

    def run_gate(self, name):
        run = subprocess.run(
            [sys.executable, os.path.join(ROOT, "tools", name), "--root", self.tree],
            capture_output=True, text=True, check=False, timeout=60,
        )
        if run.returncode == SKIP:
            self.skipTest(run.stdout.strip())
        return run.returncode, run.stdout + run.stderr

    def assert_passes(self, gate):
        status, said = self.run_gate(gate)
        self.assertEqual(status, 0, said)

    def assert_refuses(self, gate, finding):
        status, said = self.run_gate(gate)
        self.assertEqual(status, 1, said)
        self.assertIn(finding, said)


class Layers(GateTest):
    gate = "check-layers"

    def test_passes_a_clean_tree(self):
        self.assert_passes(self.gate)

    def test_refuses_an_empty_tree(self):
        shutil.rmtree(os.path.join(self.tree, "src"))
        self.assert_refuses(self.gate, "nothing to check")

    def test_refuses_a_room_below(self):
        self.write("src/vsphere/vsphere.h", "")
        self.write("src/cloudstack/a.c", '#include "base/err.h"\n#include "vsphere/vsphere.h"\n')
        self.assert_refuses(self.gate, "src/cloudstack/a.c:2: cloudstack may not use vsphere")

    def test_refuses_an_internal_header(self):
        self.write("src/net/inner.h", "")
        self.write("src/vsphere/a.c", '#include "net/inner.h"\n')
        self.assert_refuses(self.gate, '"net/inner.h" is internal to net')

    def test_refuses_an_include_without_room(self):
        self.write("src/net/a.c", '#include "net.h"\n')
        self.assert_refuses(self.gate, "does not name its room")

    def test_refuses_src_that_reaches_into_the_lab(self):
        self.write("lab/core/lab.h", "")
        self.write("src/cli/a.c", '#include "lab/core/lab.h"\n')
        self.assert_refuses(self.gate, "is no room of src/")

    def test_refuses_a_lab_that_shares_what_it_judges(self):
        self.write("src/qcow2/qcow2.h", "")
        self.write("lab/core/a.c", '#include "qcow2/qcow2.h"\n')
        self.assert_refuses(self.gate, "lab may not use qcow2")

    def test_refuses_ours_in_angle_brackets(self):
        self.write("src/vsphere/vsphere.h", "")
        self.write("src/cloudstack/a.c", "#include <vsphere/vsphere.h>\n")
        self.assert_refuses(self.gate, "include it with quotes")

    def test_refuses_a_folder_that_is_no_room(self):
        self.write("src/shared/a.c", "")
        self.assert_refuses(self.gate, "stands in no room")

    def test_sees_no_include_in_a_comment(self):
        self.write("src/net/a.c", '/*\n#include "cli/cli.h"\n*/\n')
        self.assert_passes(self.gate)

    def test_refuses_a_table_that_points_down(self):
        self.write("tools/layers.txt", "base: net\nnet:\n")
        self.assert_refuses(self.gate, "may only use rooms above it")


def c_function(name, body_lines, decisions=0):
    lines = ["    x++;"] * body_lines + [f"    if (x == {n})\n        x++;" for n in range(decisions)]
    return f"int\n{name}(int x)\n{{\n" + "\n".join(lines) + "\n    return x;\n}\n"


class Length(GateTest):
    gate = "check-length"

    def test_passes_a_function_at_the_limit(self):
        self.write("src/net/a.c", c_function("fits", 95, 0))
        self.assert_passes(self.gate)

    def test_refuses_a_long_function(self):
        self.write("src/net/a.c", c_function("endless", 100))
        self.assert_refuses(self.gate, "src/net/a.c:1: endless has 105 lines")

    def test_refuses_a_complex_function(self):
        self.write("lab/core/a.c", c_function("maze", 0, 25))
        self.assert_refuses(self.gate, "maze has complexity 26")

    def test_refuses_a_function_that_pmccabe_cannot_read(self):
        self.write("src/net/a.c", "struct x {\n    ODD(, int)\n    y;\n};\n" + c_function("hidden", 1))
        self.assert_refuses(self.gate, "pmccabe cannot read hidden")

    def test_reads_past_the_macros_of_the_house(self):
        self.write("src/net/a.c", "struct x {\n    VEC_DECLARE(, struct y) z;\n};\n" + c_function("endless", 100))
        self.assert_refuses(self.gate, "endless has 105 lines")

    def test_refuses_a_long_file(self):
        self.write("src/net/a.c", "int x;\n" * 901)
        self.assert_refuses(self.gate, "src/net/a.c:1: 901 lines")

    def test_refuses_a_long_public_header(self):
        self.write("src/net/net.h", "int x;\n" * 201)
        self.assert_refuses(self.gate, "public header of 201 lines")

    def test_lets_an_internal_header_be_longer(self):
        self.write("src/net/inner.h", "int x;\n" * 201)
        self.assert_passes(self.gate)

    def test_lets_a_listed_one_pass(self):
        self.write("src/net/a.c", c_function("endless", 100))
        self.write("tools/length-exceptions.txt", "src/net/a.c:endless  # a table of the format\n")
        self.assert_passes(self.gate)

    def test_refuses_an_exception_without_reason(self):
        self.write("src/net/a.c", c_function("endless", 100))
        self.write("tools/length-exceptions.txt", "src/net/a.c:endless\n")
        self.assert_refuses(self.gate, "needs its reason")

    def test_refuses_an_exception_nobody_needs(self):
        self.write("tools/length-exceptions.txt", "src/net/a.c:gone  # was long\n")
        self.assert_refuses(self.gate, "needs no exception any more")


class Format(GateTest):
    gate = "check-format"

    def test_passes_what_is_formatted(self):
        self.write("src/net/a.c", "int\none(void)\n{\n    return 1;\n}\n")
        self.assert_passes(self.gate)

    def test_refuses_what_is_not(self):
        self.write("src/net/a.c", "int one(void) { return 1; }\n")
        self.assert_refuses(self.gate, "src/net/a.c:1: not as clang-format writes it")


class Banned(GateTest):
    gate = "check-banned"

    def test_refuses_each_banned_function(self):
        for call in ("strcpy(a, b)", "strcat(a, b)", "sprintf(a, b)", "atoi(a)", "strtok(a, b)",
                     "gets(a)", "system(a)", "popen(a, b)"):
            with self.subTest(call=call):
                self.write("lab/core/a.c", f"void f(void)\n{{\n    {call};\n}}\n")
                self.assert_refuses(self.gate, "lab/core/a.c:3: " + call.split("(")[0])

    def test_lets_similar_names_pass(self):
        self.write("src/net/a.c", "x = vsnprintf(a) + snprintf(b) + strtok_r(c) + lab_system(d);\n")
        self.assert_passes(self.gate)

    def test_lets_comments_and_strings_speak_of_them(self):
        self.write("src/net/a.c", '/* not strcpy(a, b) */\nchar *x = "system(1)";\n')
        self.assert_passes(self.gate)

    def test_refuses_unfinished_marks(self):
        for mark in ("TODO", "FIXME", "XXX"):
            with self.subTest(mark=mark):
                self.write("src/net/a.c", f"/* {mark}: later */\n")
                self.assert_refuses(self.gate, f"src/net/a.c:1: {mark}")

    def test_refuses_paths_of_one_machine(self):
        for path in ("/work/main/x", "/root/.ssh", "/home/jo/x"):
            with self.subTest(path=path):
                self.write("docs/a.md", f"see {path}\n")
                self.assert_refuses(self.gate, "docs/a.md:1: ")

    def test_lets_other_paths_pass(self):
        self.write("docs/a.md", "see /var/lib/vm-migrator/work/ and $HOME/root/x and a/root/b\n")
        self.assert_passes(self.gate)


if __name__ == "__main__":
    unittest.main()
