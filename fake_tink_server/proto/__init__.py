"""Tinkerbell's gRPC messages, generated from the ``.proto`` files here.

Regenerate with ``python -m fake_tink_server.proto.generate`` (needs grpcio-tools); the outputs
are committed, so that running needs protobuf only.
"""
