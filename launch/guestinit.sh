#!/bin/busybox sh
# SPDX-License-Identifier: MIT
# PID 1 of Xylem's Linux guests: says that userspace is up and what it sees,
# runs the workload named by xylem.task= on the kernel command line, and
# powers off.
/bin/busybox mount -t proc proc /proc
read -r up rest </proc/uptime
echo "xylem-userspace $up"

export PATH=/bin:/usr/bin:/sbin:/usr/sbin HOME=/root TERM=linux
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/shm /dev/pts
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /tmp
[ -c /dev/hvc0 ] || [ -c /dev/ttyS0 ] || echo "xylem-warning: no console device"

task=none
script=
for word in $(cat /proc/cmdline); do
	case $word in
	xylem.task=*) task=${word#xylem.task=} ;;
	esac
done

echo "/sys/hypervisor/type: $(cat /sys/hypervisor/type 2>/dev/null || echo none)"
echo "kernel: $(uname -r), $(nproc) CPUs, $(sed -n 's/^MemTotal: *//p' /proc/meminfo)"

# Kernel messages that mean something broke.
bad='Oops|BUG|WARNING:|Call Trace|general protection|protection fault|soft lockup|hung_task'
bad="$bad|rcu.*stall|Bad page|Bad rss|segfault|traps:|unable to handle|Kernel panic"
bad="$bad|clocksource.*unstable|mce: .Hardware Error|Machine check"

check_log() {
	# Neither what we asked for on the command line nor that it was heard.
	dmesg | grep -Ev 'ommand line: |stall warnings suppressed' >/tmp/log
	if grep -E "$bad" /tmp/log >/tmp/bad; then
		echo "xylem-dmesg-dirty: $(wc -l </tmp/bad) lines"
		# With what came before and after.
		grep -E -B 8 -A 16 "$bad" /tmp/log | sed 's/^/xylem-dmesg: /'
	else
		echo "xylem-dmesg-clean: $(wc -l </tmp/log) lines"
	fi
}

# As an ordinary user, because the exec stressor refuses to run as root. A
# stressor that skips itself would prove nothing, so that is a failure too. The
# few execs that the end of the run cuts short are counted as failed, though
# stress-ng calls such a run successful (status 0); more of them are not that.
# $1: seconds, the rest: stressors
run_stress() {
	secs=$1
	shift
	chmod 1777 /tmp /dev/shm
	{
		su -s /bin/sh nobody -c "stress-ng $* --verify --temp-path /tmp --timeout ${secs}s" 2>&1
		echo "status $?"
	} | tee /tmp/stress
	if grep -q '^status 0$' /tmp/stress && ! grep -Ei 'skipp|fail' /tmp/stress |
		grep -Evq 'exec: [1-4] execs failed'; then
		echo xylem-stress-ok
	else
		echo xylem-stress-failed
	fi
}

cpus=$(nproc)
stress() {
	run_stress "$1" --fork "$cpus" --exec 1 --mmap 1 --mremap 1 --mprotect 1 --vm 1 --pipe 1 \
		--futex "$cpus" --signal 1 --pthread 1 --fp 1 --matrix 1 --vecmath 1 --cpu 1 \
		--vm-bytes 16m --mmap-bytes 16m --mremap-bytes 8m --pthread-max 64
}

# What allocates, fills and verifies memory, two fifths of it with four vCPUs, and forks to share it. What
# stress-ng itself and its temporary files take comes on top, and the OOM killer is no business of this
# test: so malloc, which by default keeps up to 65536 blocks at once, keeps 32, of a fortieth at most each.
memstress() {
	mib=$(($(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo) / 1024 / 20))
	run_stress "$1" --vm "$cpus" --vm-method all --vm-bytes "${mib}m" --vm-rw 1 \
		--vm-rw-bytes "${mib}m" --mmap 1 --mmap-bytes "${mib}m" --mremap 1 \
		--mremap-bytes "${mib}m" --malloc 1 --malloc-bytes "$((mib * 512))k" --malloc-max 32 --fork 1
}

# Answers what is typed at the console until that is "end": each time with a
# check of a file shared by all guests of its kind, and of one of its own.
answer() {
	awk -v "seed=$(cut -c 1-8 /proc/sys/kernel/random/uuid)" \
		'BEGIN { srand("0x" seed); for (i = 0; i < 20000; i++) print int(rand() * 10000) }' >/tmp/part
	for i in 1 2 3 4 5 6 7 8; do
		echo "$i"
		cat /tmp/part
	done >/tmp/own
	sum=$(cat /bin/busybox /tmp/own | md5sum)
	stty -echo
	echo "xylem-answering $(wc -c </tmp/own) bytes of its own"
	while read -r word && [ "$word" != end ]; do
		if [ "$(cat /bin/busybox /tmp/own | md5sum)" = "$sum" ]; then
			echo "xylem-answer $word ok"
		else
			echo "xylem-answer $word wrong"
		fi
	done
}

case $task in
none) ;;
answer) answer ;;
idle=*) sleep "${task#idle=}" ;;
shell)
	echo "An interactive shell; exit ends this guest."
	setsid cttyhack sh
	;;
stress=*) stress "${task#stress=}" ;;
memstress=*) memstress "${task#memstress=}" ;;
script)
	if sh /xylem-task; then
		echo xylem-script-ok
	else
		echo "xylem-script-failed: status $?"
	fi
	;;
*) echo "xylem-unknown-task $task" ;;
esac

check_log
echo "xylem-done $(cut -d' ' -f1 /proc/uptime)"
poweroff -f
