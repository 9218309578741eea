"""How each datagram protocol is read and bent: one module a protocol, over ``harness.wire``."""
