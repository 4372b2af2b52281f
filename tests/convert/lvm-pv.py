#!/usr/bin/env python3
"""lvm-pv.py FILE OFFSET LENGTH: makes that part of a file an LVM2 physical volume with one volume group
vg_v2c and one linear volume root, and prints where the volume begins in the file and how long it is.

Written by hand because it must work where the kernel has no device mapper.  The format is that of LVM2's
lib/format_text/layout.h and lib/label/label.h; vgck inside the guest, and its boot, judge it."""

import struct
import sys
import zlib

EXTENT = 4 << 20
PE_START = 1 << 20
MDA_START = 4096
PV, VG, LV = ("v2cPv1" + c * 26 for c in "pvl")


def crc(data):
    return zlib.crc32(data, 0xF597A6CF ^ 0xFFFFFFFF) ^ 0xFFFFFFFF


def dashed(uuid):
    ends = (0, 6, 10, 14, 18, 22, 26, 32)
    return "-".join(uuid[a:b] for a, b in zip(ends, ends[1:]))


def metadata(length, extents):
    return f"""vg_v2c {{
id = "{dashed(VG)}"
seqno = 2
format = "lvm2"
status = ["RESIZEABLE", "READ", "WRITE"]
flags = []
extent_size = {EXTENT // 512}
max_lv = 0
max_pv = 0
metadata_copies = 0
physical_volumes {{
pv0 {{
id = "{dashed(PV)}"
device = "/dev/sda3"
status = ["ALLOCATABLE"]
flags = []
dev_size = {length // 512}
pe_start = {PE_START // 512}
pe_count = {extents}
}}
}}
logical_volumes {{
root {{
id = "{dashed(LV)}"
status = ["READ", "WRITE", "VISIBLE"]
flags = []
creation_time = 1700000000
creation_host = "v2c-debian"
segment_count = 1
segment1 {{
start_extent = 0
extent_count = {extents}
type = "striped"
stripe_count = 1
stripes = ["pv0", 0]
}}
}}
}}
}}
contents = "Text Format Volume Group"
version = 1
description = ""
creation_host = "v2c-debian"
creation_time = 1700000000
""".encode() + b"\0"


def header(length, extents):
    text = metadata(length, extents)
    mda_size = PE_START - MDA_START
    area = struct.Struct("<QQ").pack
    pv = (PV.encode() + struct.pack("<Q", length) + area(PE_START, 0) + area(0, 0)
          + area(MDA_START, mda_size) + area(0, 0) + struct.pack("<II", 2, 1) + area(0, 0))
    label = (struct.pack("<I", 32) + b"LVM2 001" + pv).ljust(512 - 20, b"\0")
    label = b"LABELONE" + struct.pack("<QI", 1, crc(label)) + label
    mda = (b"\x20LVM2\x20x[5A%r0N*>" + struct.pack("<IQQ", 1, MDA_START, mda_size)
           + struct.pack("<QQII", 512, len(text), crc(text), 0)).ljust(508, b"\0")
    mda = struct.pack("<I", crc(mda)) + mda
    return (b"\0" * 512 + label).ljust(MDA_START, b"\0") + mda + text


def main():
    path, offset, length = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    extents = (length - PE_START) // EXTENT
    with open(path, "r+b") as disk:
        disk.seek(offset)
        disk.write(header(length, extents))
    print(offset + PE_START, extents * EXTENT)


main()
