#!/usr/bin/env bash
# build-guest.sh [--cache DIR] [--size small|full | --kernel] [--kernel-deb FILE]...
#
# Makes the disks of the little Linux that the lab's live VMs run, once, and prints the folder they are
# in: root.raw (boots, from BIOS) and data.raw.  full: 512 MiB and 1 GiB with 200 and 680 MiB of content;
# small: 96 and 160 MiB with 16 and 24.  The folder's name is a hash of everything that goes in, so that a
# change is followed by a new build and a second run only prints.
#
# --kernel: only the kernel, for a guest of one's own: prints a folder with vmlinuz and, in nfs/, the modules
# that a guest needs which is a client of NFS, and `list`, which names them in the order of loading.
#
# The kernel is the distribution's package, unpacked and not installed.  Nothing here needs root, loop
# devices or a mount: mke2fs fills the file systems, GRUB is put into the gap before the first partition.
set -euo pipefail
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/v2c-lab
size=full
debs=()
grub=/usr/lib/grub/i386-pc
modules=(vmw_pvscsi vmxnet3 virtio_pci virtio_net virtio_blk virtio_scsi ata_piix ahci e1000 e1000e
    sd_mod ext4 evdev button)
nfs_modules=(virtio_pci virtio_net virtio_blk nfsv3 nfsv4)

die() {
    printf 'build-guest: %s\n' "$*" >&2
    exit 1
}

while [ $# -gt 0 ]; do
    [ "$1" = --help ] || [ "$1" = --kernel ] || [ $# -gt 1 ] || die "$1 needs a value"
    case $1 in
    --cache) cache=$2 ;;
    --size) size=$2 ;;
    --kernel-deb) debs+=("$(readlink -f "$2")") ;;
    --kernel)
        size=kernel
        shift
        continue
        ;;
    --help)
        sed -n '2,14s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    *) die "unknown argument $1; try --help" ;;
    esac
    shift 2
done
case $size in
full) root_mib=512 root_fill=200 data_mib=1024 data_fill=680 ;;
small) root_mib=96 root_fill=16 data_mib=160 data_fill=24 ;;
kernel) ;;
*) die "--size takes small or full" ;;
esac

# The kernel package of this distribution, as "package version" lines; an Ubuntu kernel has its modules
# in a package of its own.
kernel_packages() {
    local meta image
    for meta in linux-image-amd64 linux-image-generic; do
        image=$(apt-cache depends --important "$meta" 2>/dev/null |
            sed -n 's/^ *|*Depends: \(linux-image-[0-9][^ ]*\)$/\1/p' | head -n 1) || true
        [ -z "$image" ] || break
    done
    [ -n "$image" ] || return 0
    apt-cache show --no-all-versions "$image" "${image/linux-image/linux-modules}" 2>/dev/null |
        awk '/^Package:/ {p = $2} /^Version:/ {print p "=" $2}' || true
}

mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
if [ ${#debs[@]} -gt 0 ]; then
    kernel=$(sha256sum "${debs[@]}" | cut -c 1-64)
else
    # Asking apt takes seconds, so its answer is kept until the package lists change.  Without lists (a
    # new container, before apt-get update) the kernel that was used last will do.
    kernel=$(cat "$cache/last-kernel" 2>/dev/null) || true
    if [ -z "$kernel" ] || [ /var/lib/apt/lists -nt "$cache/last-kernel" ]; then
        found=$(kernel_packages)
        kernel=${found:-$kernel}
        [ -z "$found" ] || echo "$found" >"$cache/last-kernel"
    fi
fi
key=$({
    cat "$here/build-guest.sh" "$here"/inside/*.[ch] "$here"/loader/*
    echo "$size $kernel"
} | sha256sum | cut -c 1-16)
out=$cache/guest-$size-$key
# What guests need of a kernel, once for each.
tree=$cache/kernel-$({
    cat "$here"/loader/*
    echo "$kernel ${modules[*]} ${nfs_modules[*]}"
} | sha256sum | cut -c 1-16)
[ "$size" != kernel ] || out=$tree
if [ -f "$out/complete" ]; then
    touch "$out/complete"
    echo "$out"
    exit 0
fi
[ -n "$kernel" ] || die "no kernel package is known: run apt-get update, or give --kernel-deb"
for tool in apt-get dpkg-deb lz4 python3 ld depmod modprobe cpio gzip grub-mkimage mke2fs sfdisk flock; do
    command -v "$tool" >/dev/null || die "$tool is missing: run scripts/install-packages.sh lab"
done
[ -f "$grub/boot.img" ] || die "$grub is missing: install grub-pc-bin"

exec 9>"$cache/lock"
flock -w 900 9 || die "another build holds $cache/lock"
if [ -f "$out/complete" ]; then
    echo "$out"
    exit 0
fi
work=$(mktemp -d "$cache/building.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# The guest's module loader passes files as they are, so compressed ones are unpacked here.
copy_module() { # FILE DIR: prints the name it got
    local name
    name=$(basename "$1")
    case $name in
    *.xz) name=${name%.xz} && xz -dc "$1" >"$2/$name" ;;
    *.zst) name=${name%.zst} && zstd -qdc "$1" >"$2/$name" ;;
    *.gz) name=${name%.gz} && gzip -dc "$1" >"$2/$name" ;;
    *) cp "$1" "$2/$name" ;;
    esac
    echo "$name"
}

download_kernel() {
    local package
    [ ${#debs[@]} -eq 0 ] || return 0
    mkdir "$work/debs"
    for package in $kernel; do
        (cd "$work/debs" && apt-get -q -o APT::Sandbox::User=root -o Acquire::Retries=3 \
            download "$package" >"$work/log" 2>&1) || die "$package: $(tail -n 3 "$work/log")"
    done
    debs=("$work"/debs/*.deb)
}

# See loader/repack-kernel; a kernel that it cannot do boots as it came, only slower.
repack_kernel() { # VMLINUZ OUT
    local flags='-m32 -march=i686 -O2 -ffreestanding -nostdlib -fno-pic -fno-pie -mgeneral-regs-only
        -fno-stack-protector -fno-asynchronous-unwind-tables -fcf-protection=none'
    # shellcheck disable=SC2086 # a list of words
    if "${CC:-cc}" $flags -c -o "$work/enter.o" "$here/loader/enter.S" &&
        "${CC:-cc}" $flags -c -o "$work/unpack.o" "$here/loader/unpack.c" &&
        ld -m elf_i386 -T "$here/loader/loader.ld" -o "$work/loader" "$work/enter.o" "$work/unpack.o" &&
        "$here/loader/repack-kernel" "$1" "$work/loader" "$2"; then
        return 0
    fi
    echo "build-guest: the kernel is left as it is packed: guests will boot some ten seconds slower" >&2
    cp "$1" "$2"
}

copy_modules() { # VERSION DIR NAME...: their files; prints a list of them in the order of loading
    local version=$1 dir=$2 module needed file
    shift 2
    for module; do
        needed=$(modprobe -d "$work/unpacked" -S "$version" --show-depends "$module") ||
            die "the kernel has no module $module"
        while read -r file; do
            copy_module "$file" "$dir"
        done < <(awk '$1 == "insmod" {print $2}' <<<"$needed")
    done
}

# $tree/vmlinuz; in mods/, for each module of the list, its files and NAME.list, which names them in the
# order of loading; nfs/ with one list.
unpack_kernel() {
    local deb version module
    [ ! -f "$tree/complete" ] || return 0
    download_kernel
    mkdir -p "$work/unpacked/lib" "$work/kernel/mods" "$work/kernel/nfs"
    for deb in "${debs[@]}"; do
        dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$work/unpacked" --no-same-owner \
            --exclude='*/drivers/gpu' --exclude='*/drivers/media' --exclude='*/sound' --exclude='*/doc'
    done
    [ ! -d "$work/unpacked/usr/lib/modules" ] ||
        mv "$work/unpacked/usr/lib/modules" "$work/unpacked/lib/"
    version=$(ls "$work/unpacked/lib/modules")
    depmod -b "$work/unpacked" "$version"
    for module in "${modules[@]}"; do
        copy_modules "$version" "$work/kernel/mods" "$module" >"$work/kernel/mods/$module.list"
    done
    copy_modules "$version" "$work/kernel/nfs" "${nfs_modules[@]}" | awk '!seen[$0]++' >"$work/kernel/nfs/list"
    repack_kernel "$work/unpacked/boot/vmlinuz-$version" "$work/kernel/vmlinuz"
    touch "$work/kernel/complete"
    rm -rf "$tree" "$work/debs" "$work/unpacked"
    mv "$work/kernel" "$tree"
}

make_initramfs() { # FILE
    mkdir "$work/ir"
    cp "$work/v2c-guest-agent" "$work/ir/init"
    cp -r "$tree/mods" "$work/ir/"
    (cd "$work/ir" && find . | sort | cpio -o -H newc -R 0:0 --quiet) | gzip -1 >"$1"
}

# Only features that every GRUB and kernel we may meet can read, whatever this mke2fs has as defaults.
make_ext4() { # LABEL DIR OFFSET_BYTES SIZE_KIB FILE
    mke2fs -q -F -t ext4 -L "$1" -d "$2" -m 1 -N 2048 -b 4096 -J size=8 -O \
        none,has_journal,ext_attr,dir_index,filetype,extent,flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize,64bit \
        -E "offset=$3,root_owner=0:0,lazy_itable_init=1,lazy_journal_init=1" "$5" "$4k"
}

# GRUB's core goes into the sectors after the MBR.  boot.img and diskboot.img say as they come that it
# begins at sector 1 and goes on at sector 2; all they need is room before the partition at 1 MiB.
make_root() {
    mkdir -p "$work/root/boot"
    cp "$tree/vmlinuz" "$work/root/boot/vmlinuz"
    make_initramfs "$work/root/boot/initrd.gz"
    "$work/v2c-guest-fill" "$work/root/base" "$root_fill" 11
    truncate -s "${root_mib}M" "$work/root.raw"
    printf '2048,,83,*\n' | sfdisk -q --no-tell-kernel --no-reread "$work/root.raw"
    make_ext4 v2c-root "$work/root" 1048576 $(((root_mib - 1) * 1024)) "$work/root.raw"
    rm -rf "$work/root"
    # no_timer_check: the check waits for ticks that come late when the host is busy, and then hangs.
    cat >"$work/grub.cfg" <<'CFG'
linux (hd0,msdos1)/boot/vmlinuz console=ttyS0,115200 quiet random.trust_cpu=on mitigations=off cryptomgr.notests no_timer_check
initrd (hd0,msdos1)/boot/initrd.gz
boot
CFG
    grub-mkimage -d "$grub" -O i386-pc -p '(hd0,msdos1)/boot' -c "$work/grub.cfg" -o "$work/core.img" \
        biosdisk part_msdos ext2 linux boot
    [ "$(stat -c %s "$work/core.img")" -lt 1000000 ] || die "GRUB's core does not fit"
    dd if="$grub/boot.img" of="$work/root.raw" conv=notrunc bs=440 count=1 status=none
    dd if="$work/core.img" of="$work/root.raw" conv=notrunc bs=512 seek=1 status=none
}

make_data() {
    mkdir "$work/data"
    "$work/v2c-guest-fill" "$work/data/base" "$data_fill" 22
    truncate -s "${data_mib}M" "$work/data.raw"
    make_ext4 v2c-data "$work/data" 0 $((data_mib * 1024)) "$work/data.raw"
    rm -rf "$work/data"
}

unpack_kernel
if [ "$size" = kernel ]; then
    echo "$tree"
    exit 0
fi
for program in agent fill; do
    "${CC:-cc}" -std=gnu11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -O2 -static -s -I"$here/.." \
        -o "$work/v2c-guest-$program" "$here/inside/$program.c" "$here/inside/content.c"
done
make_root
make_data
mkdir "$work/out"
mv "$work/root.raw" "$work/data.raw" "$work/out/"
touch "$work/out/complete"
mv "$work/out" "$out"
# What nobody has used for a month goes.
find "$cache" -mindepth 2 -maxdepth 2 -name complete -path '*/guest-*' -mtime +30 -printf '%h\0' |
    xargs -0 -r rm -rf
echo "$out"
