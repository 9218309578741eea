"""Where a Hook comes from: built here, or a folder of the user's.

==============  ================================================================================
``files``       a kernel and an initramfs, found in a folder by Tinkerbell's and Hook's names
``build``       builds the embedded Hook: everything below, in order, and the manifest
``recipe``      what the embedded Hook is made of: packages, files, modules, programs
``debian``      Debian packages, resolved and downloaded without touching the host's apt
``deb``         reads one ``.deb``
``kernel``      the module subset with its closure, and its indexes
``initramfs``   reads LinuxKit's tree, writes one compressed segment a component
``golang``      content-addressed ``go build``
``tools``       the pinned Go tools, and Tinkerbell's iPXE binaries
``store``       digests, locks, atomic writes: what makes a cache trustworthy
==============  ================================================================================
"""
