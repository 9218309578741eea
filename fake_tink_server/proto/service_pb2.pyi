from . import agent_pb2 as _agent_pb2
from . import workflow_pb2 as _workflow_pb2
from google.protobuf import descriptor as _descriptor
from typing import ClassVar as _ClassVar

DESCRIPTOR: _descriptor.FileDescriptor
