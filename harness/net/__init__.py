"""The lab's network: one Ethernet segment, who is on it, and a capture of every frame.

``segment`` makes the bridge and the port a machine's NIC is plugged into, through ``netlink``;
``capture`` runs ``recorder`` in a small child process, which writes ``pcapng``; ``neighbours``
tells the MAC address behind an IP address.
"""
