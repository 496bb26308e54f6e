"""How QEMU is called: one command line for the first boot, the snapshot and each resume."""

from dataclasses import dataclass
from pathlib import Path

from .host import MIB, machine_type

#: Ports of the agent in the machine; the first is kept for setting the clock.
CLOCK_PORT = "labkit.clock"
SHELL_PORTS = ("labkit.1", "labkit.2", "labkit.3")

#: The kernel's command line. ``norandmaps``: QEMU translates code by the address it runs at, so each
#: program placed at a new random address would be translated anew (measured: a `docker run` takes 2.1 s
#: with it and 5.5 s without). Mitigations and hardening guard tenants from each other; this machine has one.
#: ``rcu_expedited``: namespaces and network cards are made and unmade without waiting for timer ticks.
KERNEL_ARGUMENTS = (
    "root=/dev/vda rw norandmaps mitigations=off random.trust_cpu=on"
    " panic=-1 nowatchdog audit=0 page_alloc.shuffle=0"
    " init_on_alloc=0 hardened_usercopy=off randomize_kstack_offset=off rcupdate.rcu_expedited=1"
)


#: The emulated x86 processor: all that an emulator does well, without what it does badly. Wide vectors
#: are computed one helper call at a time, and fast string moves byte by byte; without both, programs
#: choose plain code, which is translated once (measured: a quarter less processor time per `docker run`).
#: Without five-level page tables and the guards of memory access, an address is looked up in fewer steps
#: (measured with the kernel's hardening switched off as above: 2.51 s became 2.33 s, 8 pairs of 8 faster).
EMULATED_PROCESSOR = "max,-avx2,-avx,-f16c,-fma,-erms,-fsrm,-la57,-smap,-pku,-mpx"

#: How an emulated x86 machine tells the time. Its time-stamp counter is the host's own: the rate is learnt at
#: boot, wrong on another host and badly learnt on a busy one (seen: 43 MHz instead of 2.3 GHz, which the
#: scheduler took for 50 seconds of processor time a second, and quotas with it). The power-management timer
#: is QEMU's clock itself.
EMULATED_CLOCK = "clocksource=acpi_pm tsc=unstable no_timer_check"

#: By this word the machine knows that its processor is emulated: see ``guest/boot.sh`` and ``guest/service.sh``.
EMULATED = "labkit.emulated"


@dataclass(frozen=True)
class Shape:
    """What the machine looks like to its kernel; a snapshot is only good for the same shape.

    ``memory`` in bytes; ``accelerator`` is ``tcg``, ``kvm`` or ``hvf``; ``arch`` is Debian's name of the
    processor's architecture, ``""`` where it is this machine's.
    """

    memory: int
    cpus: int
    accelerator: str
    arch: str = ""

    @property
    def emulated(self) -> bool:
        return self.accelerator == "tcg"


def _machine(shape: Shape) -> tuple[list[str], str, str]:
    # (arguments for machine and processor, the serial console's device, more kernel arguments)
    if machine_type(shape.arch) == "aarch64":
        cpu = "max,pauth-impdef=on" if shape.emulated else "host"
        return ["-machine", "virt,memory-backend=ram,highmem=off", "-cpu", cpu], "ttyAMA0", EMULATED * shape.emulated
    # Every device left out is one less to save, restore and poll.
    kind = "q35,memory-backend=ram,sata=off,smbus=off,vmport=off,hpet=off,i8042=off,graphics=off"
    clock = f"{EMULATED_CLOCK} {EMULATED}" if shape.emulated else ""
    return ["-machine", kind, "-cpu", EMULATED_PROCESSOR if shape.emulated else "host"], "ttyS0", clock


def _accelerator(shape: Shape, translated: int) -> str:
    return f"tcg,thread=multi,tb-size={translated}" if shape.emulated else shape.accelerator


#: Room for translated code, in MiB. The first holds all that dockerd, containerd, runc and the kernel run;
#: with less, QEMU throws everything away now and then and translates anew. The second is for small containers:
#: a machine of 512 MiB whose memory was filled once takes 770 MiB with the first (measured), and a notebook
#: must live beside it in 1 GiB.
TRANSLATED, TRANSLATED_SMALL = 256, 128


def room_for_code(limit: int) -> int:
    """MiB of translated code that a machine may keep in a container of ``limit`` bytes."""
    return TRANSLATED if limit >= 1536 * MIB else TRANSLATED_SMALL


def escape(path: Path | str) -> str:
    """A path inside a QEMU option, where a comma is written twice."""
    return str(path).replace(",", ",,")


def bare_command(qemu: str, shape: Shape, kernel: Path, initrd: Path, words: str) -> list[str]:
    """A machine without disk and network, whose console is QEMU's own input and output.

    Args:
        words: for the kernel's command line, beside what every machine gets.
    """
    machine, console, more = _machine(shape)
    size = f"{shape.memory // MIB}M"
    return [
        qemu, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-name", "labkit-small",
        *machine, "-accel", shape.accelerator, "-smp", str(shape.cpus), "-m", size,
        "-object", f"memory-backend-ram,id=ram,size={size}",
        "-kernel", str(kernel), "-initrd", str(initrd),
        "-append", f"console={console} {words} {more}".strip(), "-serial", "stdio",
    ]  # fmt: skip


def command(
    qemu: str,
    shape: Shape,
    build: Path,
    folder: Path,
    *,
    disk: str,
    ram: str,
    private: bool,
    port: int,
    incoming: bool = False,
    translated: int = TRANSLATED,
) -> list[str]:
    """The command line of one machine, to be run in the folder that holds its disk and memory files.

    Args:
        qemu: QEMU's path.
        shape: memory, processors and accelerator.
        build: the folder with ``kernel`` and ``initrd``.
        folder: this machine's own folder, for sockets, pipes and the console's log.
        disk: the disk's file, relative to the working directory.
        ram: the memory's file, likewise.
        private: leave both files as they are: memory is mapped copy-on-write (so machines share what
            none has changed, and nothing is read before it is used), the disk gets a nameless overlay.
        port: loopback port that leads to dockerd.
        incoming: wait for a saved state instead of booting.
        translated: room for translated code, in MiB; any will do for a snapshot.
    """
    machine, console, more = _machine(shape)
    size = f"{shape.memory // MIB}M"
    name = escape(folder)
    arguments = [
        qemu, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-name", "labkit", *machine, "-accel", _accelerator(shape, translated), "-smp", str(shape.cpus), "-m", size,
        "-object", f"memory-backend-file,id=ram,size={size},mem-path={ram},share={'off' if private else 'on'}",
        "-kernel", str(build / "kernel"), "-initrd", str(build / "initrd"),
        "-append", f"console={console} {KERNEL_ARGUMENTS} {more}".strip(),
        "-chardev", f"file,id=console,path={name}/console,append=on", "-serial", "chardev:console",
        "-drive", f"if=none,id=disk,file={disk},cache=unsafe,discard=unmap,snapshot={'on' if private else 'off'}",
        "-device", "virtio-blk-pci,drive=disk",
        "-netdev", f"user,id=net,restrict=on,ipv6=off,hostfwd=tcp:127.0.0.1:{port}-:2376",
        "-device", "virtio-net-pci,netdev=net,romfile=",
        "-device", "virtio-rng-pci", "-device", "virtio-serial-pci",
    ]  # fmt: skip
    for number, label in enumerate((CLOCK_PORT, *SHELL_PORTS), start=1):
        arguments += ["-chardev", f"pipe,id=c{number},path={name}/{label}"]
        arguments += ["-device", f"virtserialport,chardev=c{number},name={label},nr={number}"]
    arguments += ["-qmp", f"unix:{name}/qmp,server=on,wait=off"]
    if incoming:
        arguments += ["-incoming", "defer"]
    return arguments
