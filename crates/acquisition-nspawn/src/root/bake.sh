#!/bin/sh
# Runs once inside a new base image, at its root, after the packages are in. Whatever it changes here changes the image's
# key, because this text is part of the recipe. $1: the login user of the nodes.
set -eu
admin=$1

useradd --create-home --shell /bin/bash "$admin"
# A locked password that is no "!" lets sshd accept keys while no password ever fits.
usermod --password '*' "$admin"
printf '%s ALL=(ALL) NOPASSWD:ALL\n' "$admin" > /etc/sudoers.d/90-pressluft
chmod 0440 /etc/sudoers.d/90-pressluft

printf 'UseDNS no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin no\n' \
    > /etc/ssh/sshd_config.d/10-pressluft.conf
chmod 0644 /etc/ssh/sshd_config.d/10-pressluft.conf
# Each node gets a host key of its own, which is pinned before the first login.
rm -f /etc/ssh/ssh_host_*
grep -q '^Include /etc/ssh/sshd_config.d/\*.conf' /etc/ssh/sshd_config

printf 'LANG=C.UTF-8\n' > /etc/default/locale
printf 'LANG=C.UTF-8\n' > /etc/locale.conf

# Right after boot others may hold apt's lock: wait for it. Descriptions in other languages are not needed. dpkg need not
# sync every file: what a crash of the host tears is provisioned again.
printf 'DPkg::Lock::Timeout "300";\nAcquire::Languages "none";\n' > /etc/apt/apt.conf.d/91pressluft-node
printf 'force-unsafe-io\n' > /etc/dpkg/dpkg.cfg.d/pressluft
update-ca-certificates >/dev/null

# These wait for hardware, for a network that is not theirs, or for apt's lock.
for unit in systemd-networkd.service systemd-networkd.socket systemd-networkd-wait-online.service \
    systemd-resolved.service systemd-timesyncd.service systemd-udevd.service systemd-udev-trigger.service \
    console-getty.service getty@tty1.service apt-daily.timer apt-daily-upgrade.timer e2scrub_reap.service; do
    ln -sf /dev/null "/etc/systemd/system/$unit"
done

: > /etc/machine-id
rm -f /var/lib/dbus/machine-id /etc/resolv.conf /etc/hostname
: > /etc/resolv.conf
