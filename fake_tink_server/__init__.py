"""A stand-in for Tinkerbell's gRPC server, usable without the harness.

Tinkerbell YAML (``objects``) → workflow (``gotemplate``, ``workflow``) → engine (sans-IO) → server
(grpc.aio) → events.
"""
