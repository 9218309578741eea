"""Tinkerbell's Hardware, Template and Workflow (``tinkerbell.org/v1alpha1``) as users write them.

Keys and types are the CRDs' (v0.12 and what v0.25 added): a key they do not have is refused, as
``kubectl apply`` refuses it, and so is a number where they want text.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from harness.documents import Mistake

API_VERSION: Final = "tinkerbell.org/v1alpha1"

_MAC: Final = re.compile(
    r"([0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}|([0-9a-fA-F]{4}\.){2}[0-9a-fA-F]{4}"
)
NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
"""What Kubernetes allows as the name of an object."""


def _mac(value: str) -> str:
    if value and not _MAC.fullmatch(value):
        raise Mistake(f"{value!r} is no MAC address", hint="like 52:54:00:00:00:01")
    return value


def _address(value: str) -> str:
    try:
        if value:
            ipaddress.ip_address(value)
    except ValueError:
        raise Mistake(f"{value!r} is no IP address", hint="like 192.168.77.10") from None
    return value


def _object_name(value: str) -> str:
    if not NAME.fullmatch(value):
        raise Mistake(
            f"{value!r} is no Kubernetes name",
            hint="lower-case letters, digits, '-' and '.', beginning and ending with one of the "
            "first two, 253 at most",
        )
    return value


Mac = Annotated[str, AfterValidator(_mac)]
Address = Annotated[str, AfterValidator(_address)]
Name = Annotated[str, AfterValidator(_object_name)]


class _Part(BaseModel):
    """Anything inside a ``spec``."""

    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True)

    go_type: ClassVar[str] = ""
    """The Go struct's name, for what is visible in templates."""


class Metadata(BaseModel):
    """``metadata``: what matters of Kubernetes' ObjectMeta; the rest is let through."""

    model_config = ConfigDict(extra="allow", strict=True)

    name: Name
    namespace: Name = "default"
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class _Object(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True)

    api_version: Annotated[Literal["tinkerbell.org/v1alpha1"], Field(alias="apiVersion")]
    metadata: Metadata
    status: Any = None
    """Not read: a state that a cluster wrote is no state of this server."""

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.metadata.namespace, self.metadata.name


class Ip(_Part):
    """``dhcp.ip``"""

    go_type: ClassVar[str] = "v1alpha1.IP"
    address: Address = ""
    netmask: Address = ""
    gateway: Address = ""
    family: int = 0


class ClasslessStaticRoute(_Part):
    """``dhcp.classless_static_routes[]`` (RFC 3442)."""

    go_type: ClassVar[str] = "v1alpha1.ClasslessStaticRoute"
    destination_descriptor: str
    router: str


class Dhcp(_Part):
    """``interfaces[].dhcp``"""

    go_type: ClassVar[str] = "v1alpha1.DHCP"
    mac: Mac = ""
    hostname: str = ""
    domain_name: str = ""
    lease_time: int = 0
    """Seconds."""
    name_servers: list[Address] = []
    time_servers: list[str] = []
    arch: str = ""
    uefi: bool = False
    iface_name: str = ""
    ip: Ip | None = None
    vlan_id: str = ""
    """A number, but as text."""
    classless_static_routes: list[ClasslessStaticRoute] = []
    tftp_server_name: str = ""
    boot_file_name: str = ""


class Ipxe(_Part):
    """``netboot.ipxe``"""

    go_type: ClassVar[str] = "v1alpha1.IPXE"
    url: str = ""
    contents: str = ""
    binary: str = ""


class Osie(_Part):
    """``netboot.osie``"""

    go_type: ClassVar[str] = "v1alpha1.OSIE"
    base_url: Annotated[str, Field(alias="baseURL")] = ""
    kernel: str = ""
    initrd: str = ""
    kernel_params: Annotated[list[str], Field(alias="kernelParams")] = []


class Pxelinux(_Part):
    """``netboot.pxelinux``"""

    go_type: ClassVar[str] = "v1alpha1.PXELINUX"
    config: str = ""


class Rpi(_Part):
    """``netboot.rpi``"""

    go_type: ClassVar[str] = "v1alpha1.RPI"
    config_txt: Annotated[str, Field(alias="configTxt")] = ""
    firmware_path: Annotated[str, Field(alias="firmwarePath")] = ""
    serial_num: Annotated[str, Field(alias="serialNum")]


class Netboot(_Part):
    """``interfaces[].netboot``"""

    go_type: ClassVar[str] = "v1alpha1.Netboot"
    allow_pxe: Annotated[bool | None, Field(alias="allowPXE")] = None
    allow_workflow: Annotated[bool | None, Field(alias="allowWorkflow")] = None
    ipxe: Ipxe | None = None
    osie: Osie | None = None
    pxelinux: Pxelinux | None = None
    rpi: Rpi | None = None


class Isoboot(_Part):
    """``interfaces[].isoboot``"""

    go_type: ClassVar[str] = "v1alpha1.Isoboot"
    source_iso: Annotated[str, Field(alias="sourceISO")] = ""


class Interface(_Part):
    """``interfaces[]``"""

    go_type: ClassVar[str] = "v1alpha1.Interface"
    netboot: Netboot | None = None
    isoboot: Isoboot | None = None
    dhcp: Dhcp | None = None
    disable_dhcp: Annotated[bool, Field(alias="disableDhcp")] = False


class Disk(_Part):
    """``disks[]``"""

    device: str = ""


class Manufacturer(_Part):
    """``metadata.manufacturer``"""

    go_type: ClassVar[str] = "v1alpha1.MetadataManufacturer"
    id: str = ""
    slug: str = ""


class OperatingSystem(_Part):
    """``metadata.instance.operating_system``"""

    go_type: ClassVar[str] = "v1alpha1.MetadataInstanceOperatingSystem"
    slug: str = ""
    distro: str = ""
    version: str = ""
    image_tag: str = ""
    os_slug: str = ""


class InstanceIp(_Part):
    """``metadata.instance.ips[]``"""

    go_type: ClassVar[str] = "v1alpha1.MetadataInstanceIP"
    address: str = ""
    netmask: str = ""
    gateway: str = ""
    family: int = 0
    public: bool = False
    management: bool = False


class Partition(_Part):
    """``storage.disks[].partitions[]``"""

    go_type: ClassVar[str] = "v1alpha1.MetadataInstanceStorageDiskPartition"
    label: str = ""
    number: int = 0
    size: int = 0
    start: int = 0
    type_guid: str = ""


class StorageDisk(_Part):
    """``storage.disks[]``"""

    go_type: ClassVar[str] = "v1alpha1.MetadataInstanceStorageDisk"
    device: str = ""
    wipe_table: bool = False
    partitions: list[Partition] = []


class Raid(_Part):
    """``storage.raid[]``"""

    go_type: ClassVar[str] = "v1alpha1.MetadataInstanceStorageRAID"
    name: str = ""
    level: str = ""
    devices: list[str] = []
    spare: int = 0


class StorageFile(_Part):
    """``storage.filesystems[].mount.files[]``"""

    go_type: ClassVar[str] = "v1alpha1.MetadataInstanceStorageFile"
    path: str = ""
    contents: str = ""
    mode: int = 0
    uid: int = 0
    gid: int = 0


class FilesystemOptions(_Part):
    """``storage.filesystems[].mount.create``"""

    go_type: ClassVar[str] = "v1alpha1.MetadataInstanceStorageMountFilesystemOptions"
    force: bool = False
    options: list[str] = []


class Mount(_Part):
    """``storage.filesystems[].mount``"""

    go_type: ClassVar[str] = "v1alpha1.MetadataInstanceStorageMount"
    device: str = ""
    format: str = ""
    files: list[StorageFile] = []
    create: FilesystemOptions | None = None
    point: str = ""


class Filesystem(_Part):
    """``storage.filesystems[]``"""

    go_type: ClassVar[str] = "v1alpha1.MetadataInstanceStorageFilesystem"
    mount: Mount | None = None


class Storage(_Part):
    """``metadata.instance.storage``"""

    go_type: ClassVar[str] = "v1alpha1.MetadataInstanceStorage"
    disks: list[StorageDisk] = []
    raid: list[Raid] = []
    filesystems: list[Filesystem] = []


class Instance(_Part):
    """``metadata.instance``"""

    go_type: ClassVar[str] = "v1alpha1.MetadataInstance"
    id: str = ""
    state: str = ""
    hostname: str = ""
    allow_pxe: bool = False
    rescue: bool = False
    operating_system: OperatingSystem | None = None
    always_pxe: bool = False
    ipxe_script_url: str = ""
    ips: list[InstanceIp] = []
    userdata: str = ""
    crypted_root_password: str = ""
    tags: list[str] = []
    storage: Storage | None = None
    ssh_keys: list[str] = []
    network_ready: bool = False


class Custom(_Part):
    """``metadata.custom``"""

    go_type: ClassVar[str] = "v1alpha1.MetadataCustom"
    preinstalled_operating_system_version: OperatingSystem | None = None
    private_subnets: list[str] = []


class Facility(_Part):
    """``metadata.facility``"""

    go_type: ClassVar[str] = "v1alpha1.MetadataFacility"
    plan_slug: str = ""
    plan_version_slug: str = ""
    facility_code: str = ""


class HardwareMetadata(_Part):
    """``Hardware.spec.metadata``"""

    go_type: ClassVar[str] = "v1alpha1.HardwareMetadata"
    state: str = ""
    bonding_mode: int = 0
    manufacturer: Manufacturer | None = None
    instance: Instance | None = None
    custom: Custom | None = None
    facility: Facility | None = None


class AutoCapabilities(_Part):
    """``Hardware.spec.auto``"""

    go_type: ClassVar[str] = "v1alpha1.AutoCapabilities"
    enrollment_enabled: Annotated[bool, Field(alias="enrollmentEnabled")] = False


class HardwareSpec(_Part):
    """``Hardware.spec``"""

    agent_id: Annotated[str, Field(alias="agentID")] = ""
    auto: AutoCapabilities = AutoCapabilities()
    bmc_ref: Annotated[dict[str, Any] | None, Field(alias="bmcRef")] = None
    interfaces: list[Interface] = []
    references: dict[str, dict[str, str]] = {}
    metadata: HardwareMetadata | None = None
    tink_version: Annotated[int, Field(alias="tinkVersion")] = 0
    disks: list[Disk] = []
    resources: dict[str, str | int] = {}
    user_data: Annotated[str | None, Field(alias="userData")] = None
    vendor_data: Annotated[str | None, Field(alias="vendorData")] = None


class Hardware(_Object):
    """A machine: what DHCP gives it, whether it may netboot, which disks it has."""

    kind: Literal["Hardware"]
    spec: HardwareSpec = HardwareSpec()


class TemplateSpec(_Part):
    """``Template.spec``"""

    data: str
    """YAML text with Go template actions."""


class Template(_Object):
    """What to do: tasks and actions as YAML text."""

    kind: Literal["Template"]
    spec: TemplateSpec


class BootOptions(_Part):
    """``Workflow.spec.bootOptions``"""

    toggle_allow_netboot: Annotated[bool, Field(alias="toggleAllowNetboot")] = False
    iso_url: Annotated[str, Field(alias="isoURL")] = ""
    boot_mode: Annotated[
        Literal["", "netboot", "iso", "isoboot", "customboot"], Field(alias="bootMode")
    ] = ""
    customboot_config: Annotated[dict[str, Any], Field(alias="custombootConfig")] = {}


class WorkflowSpec(_Part):
    """``Workflow.spec``"""

    disabled: bool | None = None
    template_ref: Annotated[str, Field(alias="templateRef", min_length=1)]
    hardware_ref: Annotated[str, Field(alias="hardwareRef")] = ""
    hardware_map: Annotated[dict[str, str], Field(alias="hardwareMap")] = {}
    boot_options: Annotated[BootOptions, Field(alias="bootOptions")] = BootOptions()


class Workflow(_Object):
    """Which Template runs on which Hardware."""

    kind: Literal["Workflow"]
    spec: WorkflowSpec


class TemplateConfig(_Part):
    """``WorkflowRuleSet.spec.workflow.template``"""

    agent_value: Annotated[str, Field(alias="agentValue")] = ""
    """The name by which the template knows the agent's id: ``device_1``, ``worker_id``."""
    kvs: dict[str, str] = {}
    ref: Annotated[str, Field(min_length=1)]


class RuleSetWorkflow(_Part):
    """``WorkflowRuleSet.spec.workflow``"""

    disabled: bool | None = None
    namespace: Annotated[Name, Field(min_length=1)]
    add_attributes: Annotated[bool, Field(alias="addAttributes")] = False
    template: TemplateConfig


class WorkflowRuleSetSpec(_Part):
    """``WorkflowRuleSet.spec``"""

    rules: list[str] = []
    """Patterns, as JSON text: an agent that one of them matches gets a Workflow."""
    workflow: RuleSetWorkflow


class WorkflowRuleSet(_Object):
    """Which agents get a Workflow on their own, and which (v0.25)."""

    kind: Literal["WorkflowRuleSet"]
    spec: WorkflowRuleSetSpec


KINDS: Final[dict[str, type[BaseModel]]] = {
    "Hardware": Hardware,
    "Template": Template,
    "Workflow": Workflow,
    "WorkflowRuleSet": WorkflowRuleSet,
}
