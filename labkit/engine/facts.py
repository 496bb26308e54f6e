"""What an engine says of itself, in one typed value."""

from docker import DockerClient

from .base import Engine, EngineFacts
from .client import quick_runtime
from .faults import explained


def read_facts(client: DockerClient, engine: Engine) -> EngineFacts:
    """Ask ``/version`` and ``/info``.

    Raises:
        labkit.errors.LabError: the engine does not answer.
    """
    with explained(engine.endpoint):
        version, info = client.version(), client.info()
    components = {part["Name"] for part in version.get("Components") or []}
    status = {row[0]: row[1] for row in info.get("DriverStatus") or [] if len(row) == 2}
    snapshotter = "io.containerd.snapshotter" in str(status.get("driver-type", ""))
    security = info.get("SecurityOptions") or []
    return EngineFacts(
        kind=engine.kind,
        endpoint=engine.endpoint,
        version=version.get("Version", "?"),
        api_version=client.api._version,
        minimum_api_version=version.get("MinAPIVersion", "?"),
        operating_system=info.get("OperatingSystem", "?"),
        kernel=info.get("KernelVersion", "?"),
        architecture=info.get("Architecture", "?"),
        cpus=int(info.get("NCPU") or 0),
        memory=int(info.get("MemTotal") or 0),
        cgroup_version=int(info.get("CgroupVersion") or 1),
        cgroup_driver=info.get("CgroupDriver", "?"),
        image_store="containerd" if snapshotter else info.get("Driver", "?"),
        rootless=any("rootless" in option for option in security) or bool(info.get("Rootless")),
        compatible_api="Podman" if any("Podman" in name for name in components) else "",
        owned=engine.owned,
        emulated=engine.emulated,
        runtime=quick_runtime(info) if engine.emulated else info.get("DefaultRuntime") or "runc",
        remapped=any("name=userns" in option for option in security),
        limits_memory=bool(info.get("MemoryLimit", True)),
    )
