#!/usr/bin/env python3
"""Writes a file as a C array, so that the program needs no data file beside it."""

import sys

source, target = sys.argv[1:]
with open(source, "rb") as file:
    data = file.read()
with open(target, "w", encoding="ascii") as out:
    out.write("#include <stddef.h>\n")
    out.write("extern const unsigned char cs_listapis[];\n")
    out.write("extern const size_t cs_listapis_length;\n")
    out.write("const unsigned char cs_listapis[] = {\n")
    for start in range(0, len(data), 24):
        out.write(",".join(str(byte) for byte in data[start:start + 24]) + ",\n")
    out.write("};\n")
    out.write("const size_t cs_listapis_length = sizeof(cs_listapis);\n")
