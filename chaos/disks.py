"""Small disks that can be filled: file systems in memory, in a mount namespace that ends with its processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

FILLER = "filler"
OWN_NAMESPACE = "CHAOS_NAMESPACE"  # environment variable of a process that has its own mounts


def enter_mount_namespace(module: str, arguments: list[str]) -> None:
    """Start the module again in a mount namespace of its own, in the place of this process, unless it has one.

    Its mounts are seen by its children only, and go with them. Users other than root get the right to mount there from
    a user namespace.
    """
    if os.environ.get(OWN_NAMESPACE):
        return
    unshare = shutil.which("unshare")
    if unshare is None:
        sys.exit("error: unshare is missing: install util-linux")
    as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
    command = [unshare, "--mount", *as_root, sys.executable, "-m", module, *arguments]
    os.execve(unshare, command, {**os.environ, OWN_NAMESPACE: "true"})  # noqa: S606 - this program again


class SmallDisk:
    """A file system of a few hundred megabytes at a folder; needs a mount namespace of its own."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
        subprocess.run(mount, check=True)

    def fill(self) -> None:
        """Take all space that is left."""
        with (self.folder / FILLER).open("ab") as file:
            while free := shutil.disk_usage(self.folder).free:
                os.posix_fallocate(file.fileno(), file.tell(), free)
                file.seek(0, os.SEEK_END)

    def make_room(self) -> None:
        """Give the space back."""
        (self.folder / FILLER).unlink(missing_ok=True)

    def unmount(self) -> None:
        """Take the file system away, with all that is in it."""
        subprocess.run(["umount", "-l", str(self.folder)], check=True)
