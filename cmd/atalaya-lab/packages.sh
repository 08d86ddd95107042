#!/bin/sh
# Installs from the system's package registry what the demo, the tests or the benchmarks need and this machine lacks.
# Says first what it is about to do, never asks for more than is missing, and does nothing when all is there.
#   packages.sh demo|test|bench
set -eu

case "${1:-}" in
demo)  want="lxc busybox-static iproute2" ;;
test)  want="lxc rsync lxd squashfs-tools acl attr systemd-container busybox-static iproute2 gcc libc6-dev e2fsprogs procps debootstrap unzip nginx-light dnsmasq-base openssl ca-certificates python3 systemd mount docker.io podman runc netavark iptables openssh-client openssh-server libvirt-daemon libvirt-daemon-driver-lxc libvirt-daemon-driver-qemu libvirt-clients qemu-system-x86" ;;
bench) want="lxc lxd squashfs-tools acl attr busybox-static iproute2 procps debootstrap docker.io podman runc netavark iptables libvirt-daemon libvirt-daemon-driver-lxc libvirt-clients" ;;
*) echo "usage: packages.sh demo|test|bench" >&2; exit 2 ;;
esac

missing=
for p in $want; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null || true)" = installed ] || missing="$missing $p"
done
# VMs boot Debian's cloud kernel. It is unpacked and not installed, so nothing of this machine's own booting is touched.
kernels=/var/cache/atalaya-lab/kernel
kernel=
if [ "$1" = test ] && [ "$(dpkg --print-architecture 2>/dev/null || true)" = amd64 ] && ! [ -d "$kernels/boot" ]; then
  kernel=linux-image-cloud-amd64
fi
[ -n "$missing$kernel" ] || exit 0

if ! command -v apt-get >/dev/null; then
  echo "atalaya-lab: this machine has no apt-get; please install by hand:$missing $kernel" >&2
  exit 1
fi
sudo=
if [ "$(id -u)" != 0 ]; then
  sudo=$(command -v sudo) || { echo "atalaya-lab: not root and no sudo; please install by hand:$missing" >&2; exit 1; }
fi
echo "atalaya-lab: installing from this system's packages (for 'make $1'):$missing ${kernel:+and unpacking $kernel into $kernels}"
export DEBIAN_FRONTEND=noninteractive
# lxc-net brings up a bridge of its own, and nginx a web server: the rigs bring what they need, nothing may start by itself.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" >/dev/null
  $sudo chmod +x "$policy"
  trap '$sudo rm -f "$policy"' EXIT
fi
unpack() { # fetches what the package depends on, which is the kernel itself
  tmp=$(mktemp -d)
  real=$(apt-cache depends "$kernel" | sed -n 's/^ *Depends: //p' | head -n 1)
  (cd "$tmp" && apt-get download "$real") && $sudo rm -rf "$kernels.new" && $sudo mkdir -p "$kernels.new" &&
    $sudo dpkg-deb -x "$tmp"/*.deb "$kernels.new" && $sudo rm -rf "$kernels" && $sudo mv "$kernels.new" "$kernels" && rm -rf "$tmp"
}
log=$(mktemp)
{
  $sudo apt-get update &&
    { [ -z "$missing" ] || $sudo apt-get install -y --no-install-recommends $missing; } &&
    { [ -z "$kernel" ] || unpack; }
} >"$log" 2>&1 || {
  echo "atalaya-lab: apt-get failed; its last words:" >&2; tail -n 20 "$log" >&2; exit 1; }
rm -f "$log"
