#!/bin/sh
# The boot of hello by hand: QEMU, dnsmasq and a plain HTTP server, as a person would set it up.
#
# Run it in namespaces of its own, as root of them: unshare -Urnpf --mount-proc --kill-child.
# It ends at the guest's first request to the registry's port, and prints the seconds from the
# start of QEMU to it. Everything it needs comes by environment:
#
#   WORK      an empty folder for its files          KERNEL INITRAMFS   Hook's files
#   CMDLINE   the kernel's arguments                 IPXE               Tinkerbell's ipxe.efi
#   MAC       the machine's address                  CODE VARIABLES     the UEFI flash files
#   ACCEL CPU CPUS MEMORY_MIB                        SECONDS_AT_MOST    when to give up
set -eu

cd "$WORK"
ip link set lo up
ip link add hook0 type bridge stp_state 0 forward_delay 0
ip addr add 192.168.77.1/24 dev hook0
ip tuntap add tap0 mode tap
ip link set tap0 master hook0 up
ip link set hook0 up

mkdir tftp http
cp "$IPXE" tftp/ipxe.efi
ln -s "$KERNEL" http/vmlinuz
ln -s "$INITRAMFS" http/initramfs
cat >http/auto.ipxe <<EOF
#!ipxe
kernel http://192.168.77.1:8080/vmlinuz $CMDLINE initrd=initramfs
initrd --name initramfs http://192.168.77.1:8080/initramfs
boot
EOF

dnsmasq --keep-in-foreground --conf-file=/dev/null --user=root --group=root --log-facility=- \
    --interface=hook0 --bind-interfaces --no-resolv --no-hosts \
    --address=/tinkerbell.lab/pool.ntp.org/192.168.77.1 \
    --dhcp-range=192.168.77.10,192.168.77.10,1h --dhcp-host="$MAC",192.168.77.10 \
    --dhcp-authoritative --no-ping --dhcp-leasefile="$WORK/leases" \
    --dhcp-option=option:ntp-server,192.168.77.1 \
    --enable-tftp --tftp-root="$WORK/tftp" \
    --dhcp-userclass=set:ours,Tinkerbell \
    --dhcp-boot=tag:!ours,ipxe.efi \
    --dhcp-boot=tag:ours,http://192.168.77.1:8080/auto.ipxe >dnsmasq.log 2>&1 &
python3 -m http.server --directory http 8080 >http.log 2>&1 &
# Time, so that the guest's one-shot NTP does not wait: version 4, mode 4, stratum 1 (RFC 5905).
python3 -c '
import socket, struct, time
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("192.168.77.1", 123))
while True:
    question, peer = server.recvfrom(512)
    now = struct.pack("!Q", int((time.time() + 2208988800) * 2**32))
    head = b"\x24\x01\x06\xec" + bytes(8) + b"LOCL"
    server.sendto(head + now + question[40:48] + now + now, peer)' >ntp.log 2>&1 &

cp "$VARIABLES" variables.fd
chmod 600 variables.fd
truncate -s 64M disk
[ "$ACCEL" != tcg ] || ACCEL=tcg,tb-size=512

now() {
    read -r uptime _ </proc/uptime
}
now
started=$uptime
qemu-system-x86_64 -machine q35,usb=off,vmport=off,graphics=off -accel "$ACCEL" -cpu "$CPU" \
    -smp "$CPUS" -m "$MEMORY_MIB" -nodefaults -no-user-config -display none -device virtio-rng-pci \
    -drive "if=pflash,unit=0,format=raw,readonly=on,file=$CODE" \
    -drive if=pflash,unit=1,format=raw,file=variables.fd \
    -netdev tap,id=net0,ifname=tap0,script=no,downscript=no \
    -device "virtio-net-pci,netdev=net0,mac=$MAC,bootindex=1,romfile=" \
    -drive if=none,id=disk0,format=raw,cache=unsafe,file=disk -device virtio-blk-pci,drive=disk0 \
    -serial file:serial-ttyS0.log -serial file:serial-ttyS1.log >qemu.log 2>&1 &
qemu=$!

# Ends when the guest's docker has sent the first octet of its first request.
timeout "$SECONDS_AT_MOST" python3 -c '
import socket
listener = socket.create_server(("192.168.77.1", 5000))
listener.accept()[0].recv(1)' || {
    echo "no request to the registry within $SECONDS_AT_MOST s" >&2
    exit 1
}
now
kill "$qemu"
echo "$started $uptime" | awk '{ printf "%.2f\n", $2 - $1 }'
