#!/usr/bin/env bash
# build-debian.sh [--cache DIR] plain|lvm|tree
#
# Makes the disk of a real Debian, once, and prints the file (raw, 3 GiB, sparse).  Its initramfs has drivers
# for IDE, SATA and pvscsi but none for virtio, so that it does not boot from virtio; its configuration names
# them, so that an initramfs that is made again has them.
#
#   plain  MBR, one ext4 partition, boots from BIOS
#   tree   only the file tree that both are made of (its kernel is good for libguestfs too)
#   lvm    GPT, EFI system partition, /boot, root in LVM: laid out like Enterprise Linux; boots by UEFI
#
# Needs root (debootstrap, chroot), and nothing of the running system is changed.
set -euo pipefail
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/v2c-convert
suite=bookworm
mib=3072
root_uuid=5d0c9a3e-7c1b-4f0e-9a55-0b1d2c3e4f50

die() {
    printf 'build-debian: %s\n' "$*" >&2
    exit 1
}

if [ "${1:-}" = --cache ]; then
    cache=$2
    shift 2
fi
layout=${1:-}
case $layout in plain | lvm | tree) ;; *) die "say plain, lvm or tree" ;; esac
[ "$(id -u)" = 0 ] || die "this needs root"

mkdir -p "$cache"
key=$(cat "$here/build-debian.sh" "$here/lvm-pv.py" | sha256sum | cut -c 1-16)
out=$cache/debian-$layout-$key.raw
if [ -f "$out" ]; then
    echo "$out"
    exit 0
fi
exec 9>"$cache/lock"
flock -w 1800 9 || die "another build holds $cache/lock"
if [ -f "$out" ]; then
    echo "$out"
    exit 0
fi
work=$(mktemp -d "$cache/building.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
trap 'exit 1' HUP INT TERM

mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 2>/dev/null | grep -m 1 /debian$) || true
: "${mirror:=http://deb.debian.org/debian}"

# The file tree, for both layouts.
make_tree() {
    tree=$cache/tree-$key
    [ ! -f "$tree.complete" ] || return 0
    rm -rf "$tree"
    INITRD=No debootstrap --variant=minbase \
        --include=systemd-sysv,udev,linux-image-amd64,initramfs-tools,kmod,login,passwd,util-linux,lvm2,grub-common \
        "$suite" "$tree" "$mirror" >"$work/debootstrap.log" 2>&1 ||
        die "debootstrap: $(tail -n 3 "$work/debootstrap.log")"
    rm -f "$tree"/var/cache/apt/archives/*.deb
    echo v2c-debian >"$tree/etc/hostname"
    echo root:v2c | chroot "$tree" chpasswd
    # Long names would do no harm, but a converter may ask for them.
    ln -sf /lib/systemd/system/getty@.service "$tree/etc/systemd/system/getty.target.wants/getty@tty1.service"
    rm -f "$tree/etc/systemd/system/timers.target.wants/"*
    sed -i 's/^MODULES=.*/MODULES=list/; s/^COMPRESS=.*/COMPRESS=gzip/' "$tree/etc/initramfs-tools/initramfs.conf"
    printf '%s\n' ata_piix ahci vmw_pvscsi sd_mod ext4 crc32c_generic dm_mod vfat nls_cp437 nls_ascii >"$tree/etc/initramfs-tools/modules"
    version=$(ls "$tree/lib/modules")
    chroot "$tree" update-initramfs -c -k "$version" >"$work/initramfs.log" 2>&1 ||
        die "update-initramfs: $(tail -n 3 "$work/initramfs.log")"
    printf '%s\n' virtio_pci virtio_blk virtio_scsi virtio_net >>"$tree/etc/initramfs-tools/modules"
    touch "$tree.complete"
}

kernel_line() { # ROOT PREFIX
    cat <<CFG
set timeout=0
menuentry 'Debian' {
    linux $2/vmlinuz-$version root=$1 ro console=ttyS0,115200 net.ifnames=0 no_timer_check mitigations=off
    initrd $2/initrd.img-$version
}
CFG
}

# As in lab/guest/build-guest.sh: no loop device, no mount.
make_plain() {
    local grub=/usr/lib/grub/i386-pc
    echo "UUID=$root_uuid / ext4 errors=remount-ro 0 1" >"$tree/etc/fstab"
    mkdir -p "$tree/boot/grub"
    kernel_line "UUID=$root_uuid" /boot >"$tree/boot/grub/grub.cfg"
    truncate -s "${mib}M" "$work/disk.raw"
    printf '2048,,83,*\n' | sfdisk -q --no-tell-kernel --no-reread "$work/disk.raw"
    mke2fs -q -F -t ext4 -L root -U "$root_uuid" -d "$tree" \
        -E "offset=1048576,lazy_itable_init=1,lazy_journal_init=1" "$work/disk.raw" "$(((mib - 1) * 1024))k"
    grub-mkimage -d "$grub" -O i386-pc -p '(hd0,msdos1)/boot/grub' -o "$work/core.img" \
        biosdisk part_msdos ext2 normal linux echo test configfile
    dd if="$grub/boot.img" of="$work/disk.raw" conv=notrunc bs=440 count=1 status=none
    dd if="$work/core.img" of="$work/disk.raw" conv=notrunc bs=512 seek=1 status=none
}

partition() { # NUMBER: its first byte and its length
    sfdisk -J "$work/disk.raw" | jq -r ".partitiontable.partitions[$1 - 1] | \"\(.start * 512) \(.size * 512)\""
}

# The parts are made as files, so that no partition nodes are needed, and put in their places.
make_lvm() {
    local efi start length
    truncate -s "${mib}M" "$work/disk.raw"
    printf 'label: gpt\nsize=100MiB, type=uefi\nsize=256MiB, type=linux\ntype=lvm\n' |
        sfdisk -q --no-tell-kernel --no-reread "$work/disk.raw"
    efi=$work/efi
    mkdir -p "$efi/EFI/BOOT" "$efi/EFI/debian" "$work/boot"
    cp -a "$tree/boot/." "$work/boot/"
    rm -rf "$work/boot/grub" && mkdir -p "$work/boot/grub" "$work/boot/efi"
    kernel_line "/dev/mapper/vg_v2c-root" "" >"$work/boot/grub/grub.cfg"
    grub-mkimage -d /usr/lib/grub/x86_64-efi -O x86_64-efi -p '(hd0,gpt2)/grub' -o "$efi/EFI/BOOT/BOOTX64.EFI" \
        part_gpt fat ext2 normal linux echo test configfile
    cp "$efi/EFI/BOOT/BOOTX64.EFI" "$efi/EFI/debian/grubx64.efi"
    cp "$work/boot/grub/grub.cfg" "$efi/EFI/debian/grub.cfg" # what a converter looks for
    read -r start length <<<"$(partition 1)"
    truncate -s "$length" "$work/esp.img"
    mkfs.vfat -F 32 -i 56324331 -n EFI "$work/esp.img" >/dev/null
    mcopy -s -i "$work/esp.img" "$efi/EFI" ::/
    dd if="$work/esp.img" of="$work/disk.raw" conv=notrunc,sparse bs=1M seek="$start" oflag=seek_bytes status=none
    read -r start length <<<"$(partition 2)"
    mke2fs -q -F -t ext4 -L boot -d "$work/boot" -E "offset=$start" "$work/disk.raw" $((length / 1024))k
    read -r start length <<<"$(partition 3)"
    read -r start length <<<"$("$here/lvm-pv.py" "$work/disk.raw" "$start" "$length")"
    cp -a "$tree" "$work/root"
    find "$work/root/boot" -mindepth 1 -delete
    cat >"$work/root/etc/fstab" <<TAB
/dev/mapper/vg_v2c-root / ext4 errors=remount-ro 0 1
LABEL=boot /boot ext4 defaults 0 2
LABEL=EFI /boot/efi vfat umask=0077 0 1
TAB
    mke2fs -q -F -t ext4 -L root -U "$root_uuid" -d "$work/root" \
        -E "offset=$start,lazy_itable_init=1,lazy_journal_init=1" "$work/disk.raw" $((length / 1024))k
}

make_tree
if [ "$layout" = tree ]; then
    echo "$tree"
    exit 0
fi
version=$(ls "$tree/lib/modules")
"make_$layout"
mv "$work/disk.raw" "$out"
# What an earlier version of this script made goes.
find "$cache" -maxdepth 1 \( -name "debian-*.raw" -o -name 'tree-*' \) ! -name "*$key*" -exec rm -rf --one-file-system {} +
echo "$out"
