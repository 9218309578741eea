"""Everything a scenario file can say: pydantic models only, no logic beyond one value's form.

``harness.scenario.schema`` exports them as JSON Schema; ``harness.scenario.loader`` puts file,
line and column in front of what they refuse; ``harness.scenario.resolve`` fills in the rest.
One module a noun: ``scenario`` holds the keys at the top of the file.
"""

from harness.scenario.models.expect import EXPECTATIONS as EXPECTATIONS
from harness.scenario.models.expect import ActionState as ActionState
from harness.scenario.models.expect import DiskExpectation as DiskExpectation
from harness.scenario.models.expect import EventExpectation as EventExpectation
from harness.scenario.models.expect import Expect as Expect
from harness.scenario.models.expect import Verdict as Verdict
from harness.scenario.models.machine import Disk as Disk
from harness.scenario.models.machine import Firmware as Firmware
from harness.scenario.models.machine import Machine as Machine
from harness.scenario.models.machine import Nic as Nic
from harness.scenario.models.network import Iso as Iso
from harness.scenario.models.network import Network as Network
from harness.scenario.models.network import Ntp as Ntp
from harness.scenario.models.network import Proxy as Proxy
from harness.scenario.models.network import Tftp as Tftp
from harness.scenario.models.network import Tink as Tink
from harness.scenario.models.registry import OtherRegistry as OtherRegistry
from harness.scenario.models.registry import Registry as Registry
from harness.scenario.models.scenario import Scenario as Scenario
