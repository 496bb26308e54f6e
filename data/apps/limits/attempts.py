"""Tries everything that root on a whole machine may do, and says how each attempt ended.

One line an attempt, as JSON: its key, and "yes" or the reason for the refusal. Before them, one line with what the
kernel says of this process. Nothing is changed that anybody else could notice, whatever succeeds: what is asked of the
machine is asked with values that do nothing.
"""

import ctypes
import errno
import json
import os
import shutil
import socket
import stat
import struct
import sys

libc = ctypes.CDLL(None, use_errno=True)
# By number, for not all of these have a function in the C library.
CALLS = {
    "x86_64": {"keyctl": 250, "get_mempolicy": 239, "delete_module": 176, "reboot": 169},
    "aarch64": {"keyctl": 219, "get_mempolicy": 236, "delete_module": 106, "reboot": 142},
}[os.uname().machine]
SCRATCH = f"/dev/shm/attempts-{os.getpid()}"  # a writable place, also where the root file system is not


def system(name, *arguments, fine=()):
    """One system call; an error that comes only after the question of rights is as good as success."""
    if libc.syscall(CALLS[name], *arguments) < 0 and ctypes.get_errno() not in fine:
        raise OSError(ctypes.get_errno(), name)


def child(work):
    """Work in a child process, for what changes the process itself; what it raises is raised here."""
    reads, writes = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            work()
            code = 0
        except OSError as fault:
            code = fault.errno
        os.write(writes, bytes([code]))
        os._exit(0)
    os.close(writes)
    code = (os.read(reads, 1) or b"\x01")[0]
    os.close(reads)
    os.waitpid(pid, 0)
    if code:
        raise OSError(code, "in a child")


def own_file(mode=0o600):
    path = f"{SCRATCH}/file"
    with open(path, "w"):
        pass
    os.chmod(path, mode)
    return path


def chown():
    os.chown(own_file(), 1001, 1001)


def override():
    os.close(os.open(own_file(0), os.O_RDWR))


def setuid():
    child(lambda: os.setuid(1001))


def raw():
    socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()


def mknod():
    os.mknod(f"{SCRATCH}/null", 0o600 | stat.S_IFCHR, os.makedev(1, 3))


def chroot():
    child(lambda: os.chroot(SCRATCH))


def write():
    path = "/etc/attempt"
    with open(path, "w"):
        pass
    os.unlink(path)


def setuid_program():
    """A copy of Python that belongs to root and has the setuid bit, run by an ordinary user: is that one root then?"""
    path = f"/var/attempt-{os.getpid()}"
    shutil.copyfile(os.path.realpath(sys.executable), path)
    os.chmod(path, 0o4755)

    def become():
        os.setuid(1001)
        asks = os.spawnv(os.P_WAIT, path, [path, "-I", "-S", "-c", "import os; os._exit(os.geteuid() and 7)"])
        if asks:
            raise OSError(errno.ENOEXEC if asks != 7 else errno.EKEYREJECTED, "stays an ordinary user")

    try:
        child(become)
    finally:
        os.unlink(path)


def hostname():
    name = socket.gethostname()
    socket.sethostname(name)


def interface():
    """Sets the loopback's MTU to what it is (SIOCGIFMTU, SIOCSIFMTU)."""
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = fcntl.ioctl(sock, 0x8921, struct.pack("16si12x", b"lo", 0))
        fcntl.ioctl(sock, 0x8922, request)


def nice():
    child(lambda: os.nice(-1))


def keyring():
    """Asks for its own key ring, without making one (KEYCTL_GET_KEYRING_ID): there need not be one."""
    system("keyctl", 0, -2, 0, fine=(errno.ENOKEY,))


def policy():
    """Asks for its own memory policy, which takes no right at all; a kernel without NUMA has none."""
    system("get_mempolicy", None, None, 0, None, 0, fine=(errno.ENOSYS,))


def setting():
    os.close(os.open("/proc/sys/kernel/printk_ratelimit", os.O_WRONLY))


def disk():
    """Opens the disk that holds this container's files, by its number."""
    path = f"/var/attempt-disk-{os.getpid()}"
    os.mknod(path, 0o600 | stat.S_IFBLK, os.stat("/etc/hosts").st_dev)
    try:
        os.close(os.open(path, os.O_RDONLY))
    finally:
        os.unlink(path)


def module():
    system("delete_module", b"labkit_has_none", 0, fine=(errno.ENOENT,))


def restart():
    system("reboot", 0, 0, 0, None, fine=(errno.EINVAL,))  # none of the numbers that would do it


ATTEMPTS = [
    chown, override, setuid, raw, mknod, chroot, write, setuid_program, hostname, interface, nice, keyring, policy,
    setting, disk, module, restart,
]  # fmt: skip


def standing():
    """What ``/proc`` says of this process: its capabilities, its marks, and its AppArmor profile where there is one."""
    with open("/proc/self/status") as lines:
        rows = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    try:
        with open("/proc/self/attr/current") as label:
            profile = label.read().strip(" \n\0")
    except OSError:
        profile = ""
    return {**{key: rows[key] for key in ("CapEff", "NoNewPrivs", "Seccomp")}, "profile": profile}


def main():
    print(json.dumps(standing()))
    os.mkdir(SCRATCH)
    for attempt in ATTEMPTS:
        try:
            attempt()
            ended = "yes"
        except OSError as fault:
            # no-new-privileges refuses nothing: the program runs, as the user that started it
            ended = "no effect" if fault.errno == errno.EKEYREJECTED else errno.errorcode.get(fault.errno, "?")
        print(json.dumps([attempt.__name__, ended]))
        for name in os.listdir(SCRATCH):
            os.unlink(f"{SCRATCH}/{name}")
    os.rmdir(SCRATCH)


if __name__ == "__main__":
    main()
