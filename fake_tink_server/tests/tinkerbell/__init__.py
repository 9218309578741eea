"""The same conversations with Tinkerbell's own tink-server and with this one."""
