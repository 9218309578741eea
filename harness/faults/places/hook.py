"""Faults of Hook itself: its kernel arguments, its files, its services. It need not be rebuilt."""

from __future__ import annotations

from typing import Final

from harness.faults.deeds import Arguments, File, Missing, Service
from harness.faults.vocabulary import Fact, Occasion, Place, Takes

SCRIPT: Final = "script"
INITRAMFS: Final = "initramfs"

PLACE: Final = Place(
    name="hook",
    rank=48,
    meaning="Hook: its kernel's arguments, its files, its services",
    occasions=(
        Occasion(name=SCRIPT, meaning="the boot script with the kernel's arguments is served"),
        Occasion(
            name=INITRAMFS,
            meaning="the initramfs is made, which each boot is served then",
            early=True,
        ),
    ),
    facts=(Fact(name="path", meaning="the script that is asked for", occasions=(SCRIPT,)),),
    deeds=(
        Takes(
            deed=Arguments,
            meaning="the kernel gets other arguments than the script's author meant; the last "
            "of two alike wins in Hook",
            example="{at: hook, do: {arguments: {remove: [syslog_host], add: [vlan_id=5]}}}",
            occasions=(SCRIPT,),
        ),
        Takes(
            deed=File,
            meaning="a file says something else, or is there that was not",
            example="{at: hook, do: {file: {path: '*/hook-docker/*/etc/hosts', text: ''}}}",
            occasions=(INITRAMFS,),
        ),
        Takes(
            deed=Missing,
            meaning="files are not there: each is a link to nowhere",
            example="{at: hook, do: {missing: ['*/usr/sbin/dockerd', '*/virtio_net.ko*']}}",
            occasions=(INITRAMFS,),
        ),
        Takes(
            deed=Service,
            meaning="a service or one-shot container ends: at once, or after it ran for a while",
            example="{at: hook, do: {service: {name: hook-bootkit, code: 1}}}",
            occasions=(INITRAMFS,),
        ),
    ),
)
