#!/bin/bash
# systemd-sandbox.sh [--bind DIR]... UNITS COMMAND [ARGUMENT...]
#
# Boots the systemd of this machine as process 1 of namespaces of its own, with the unit files of the
# directory UNITS, runs COMMAND in it as root, and ends all of it. For tests: nothing of the machine is
# changed. Directories below /tmp, /run and other mounts are seen in it if they are named with --bind,
# and can be written to. What else is written goes to memory and is gone afterwards; there is no network but a loopback.
#
# Exits with COMMAND's code, or with 77 and a reason on stderr where such a thing cannot be had.
set -eu

cannot() { echo "systemd-sandbox: $*" >&2; exit 77; }

# The file systems that a systemd expects, over a view of the machine's own. $1: scratch, $2: units.
make_root() {
	scratch=$1 root=$1/root
	mkdir "$scratch/changes" "$scratch/work" "$root"
	mount -t overlay -o "lowerdir=/,upperdir=$scratch/changes,workdir=$scratch/work" overlay "$root"
	mount -t proc proc "$root/proc"
	mount -t sysfs -o ro sysfs "$root/sys"
	mount -t tmpfs -o mode=755 cgroups "$root/sys/fs" 2>/dev/null && mkdir "$root/sys/fs/cgroup"
	mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
	mount -t tmpfs -o mode=755 run "$root/run"
	mount -t tmpfs -o mode=1777 tmp "$root/tmp"
	mount -t tmpfs -o mode=755 dev "$root/dev"
	mkdir -p "$root/dev/shm" "$root/dev/pts"
	mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
	mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
	for device in null zero full random urandom tty; do
		: >"$root/dev/$device"
		mount --bind "/dev/$device" "$root/dev/$device"
	done
	for link in ptmx:pts/ptmx fd:/proc/self/fd stdin:fd/0 stdout:fd/1 stderr:fd/2; do
		ln -s "${link#*:}" "$root/dev/${link%%:*}"
	done

	while IFS= read -r directory; do
		[ -n "$directory" ] || continue
		mkdir -p "$root$directory"
		mount --bind "$directory" "$root$directory"
	done <<<"${SANDBOX_BINDS-}"

	# Of the machine's own units none is started but the journal: what it wants at boot is not looked at.
	rm -rf "$root/etc/systemd/system" "$root/usr/lib/systemd/system-generators" "$root/var/log/journal"
	find "$root/usr/lib/systemd/system" -maxdepth 1 -name '*.wants' -exec rm -rf {} +
	mkdir -p "$root/etc/systemd/system"
	cp "$2"/* "$root/etc/systemd/system/"
	cat >"$root/etc/systemd/system/sandbox.target" <<-END
		[Unit]
		Requires=sysinit.target sockets.target
		Wants=systemd-journald.service
		After=sysinit.target sockets.target systemd-journald.service
	END
	mkdir -p "$root/etc/systemd/system.conf.d"
	printf '[Manager]\nDefaultTimeoutStopSec=60s\n' >"$root/etc/systemd/system.conf.d/sandbox.conf"
}

case ${1-} in
--namespaces) # process 1 of the new process namespace, still in the machine's mounts and control group
	scratch=$2 units=$3
	mount --make-rprivate /
	mount -t tmpfs -o mode=755 scratch "$scratch"
	mkdir "$scratch/groups"
	mount -t cgroup2 cgroup2 "$scratch/groups"
	mkdir "$scratch/groups/${scratch##*/}"
	echo 0 >"$scratch/groups/${scratch##*/}/cgroup.procs"
	exec unshare --cgroup "$BASH" "$0" --boot "$scratch" "$units"
	;;
--boot) # the same process, at the root of its own control groups
	ip link set lo up
	make_root "$2" "$3"
	cd "$2/root"
	mkdir -p run/machine
	pivot_root . run/machine
	exec chroot . /bin/sh -c 'umount -l /run/machine; exec env -i container=sandbox PATH="$0" /lib/systemd/systemd --system --unit=sandbox.target --log-target=journal --show-status=no' "$PATH"
	;;
esac

SANDBOX_BINDS=''
while [ "${1-}" = --bind ]; do
	SANDBOX_BINDS+=$(realpath "$2")$'\n'
	shift 2
done
export SANDBOX_BINDS
[ $# -ge 2 ] || { echo "usage: $0 UNITS COMMAND [ARGUMENT...]" >&2; exit 2; }
[ "$(id -u)" = 0 ] || cannot 'only root can make the namespaces'
for program in unshare nsenter ip pivot_root; do command -v "$program" >/dev/null || cannot "there is no $program"; done
[ -x /lib/systemd/systemd ] || cannot 'there is no systemd'
units=$(realpath "$1"); shift

scratch=$(mktemp -d /tmp/grace-systemd.XXXXXX)
outer='' init=''
finish() {
	trap '' INT TERM HUP
	[ -z "$init" ] || kill -KILL "$init" 2>/dev/null || :
	[ -z "$outer" ] || { kill -KILL "$outer" 2>/dev/null || :; wait "$outer" 2>/dev/null || :; }
	# The empty control group is left by its last process; it is found through a mount of our own.
	unshare --mount "$BASH" -c '
		mount -t cgroup2 cgroup2 "$1"
		for attempt in 1 2 3 4 5 6 7 8 9 10; do
			find "$1/${1##*/}" -depth -type d -exec rmdir {} + 2>/dev/null
			[ -d "$1/${1##*/}" ] || exit 0
			sleep 0.1
		done' bash "$scratch" || :
	rm -rf --one-file-system "$scratch"
}
trap finish EXIT
trap 'exit 143' INT TERM HUP

unshare --fork --kill-child --pid --mount --net --uts --ipc -- "$BASH" "$(realpath "$0")" --namespaces "$scratch" "$units" </dev/null >"$scratch/boot.log" 2>&1 &
outer=$!

inside() {
	nsenter --target "$init" --mount --pid --net --uts --ipc --cgroup --root --wd -- env -i PATH="$PATH" HOME=/root LANG=C.UTF-8 SYSTEMD_PAGER= SYSTEMD_COLORS=0 "$@"
}

for attempt in $(seq 200); do
	[ -d "/proc/$outer" ] || cannot "it did not boot: $(cat "$scratch/boot.log")"
	# Before it becomes unshare, that process may have had another child.
	read -r init _ <"/proc/$outer/task/$outer/children" || :
	if [ -n "$init" ] && [ -S "/proc/$init/root/run/systemd/private" ]; then
		[ "$(inside systemctl is-active sandbox.target 2>/dev/null)" != active ] || break
	fi
	[ "$attempt" != 200 ] || cannot "it was not up after 20 s: $(inside systemctl list-jobs 2>&1 || :; inside systemctl --failed 2>&1 || :; inside journalctl -n 60 --no-pager 2>&1 || :)"
	sleep 0.1
done

# In a group of its own: one whose processes are in the root cannot have children that are controlled.
code=0
inside systemd-run --scope --quiet --unit=command "$@" || code=$?
exit "$code"
