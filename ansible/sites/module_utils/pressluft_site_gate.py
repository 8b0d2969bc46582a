"""The gate of an environment's folder: root, nginx and the environment's own user pass, nobody else.

WordPress gives new folders of uploads the permissions of the folder above, with its own group: what nginx is to read has to be
readable by all. So nobody else may come that far. Two users of different groups pass, which permissions alone cannot say; an
access control list can, and every file system that nodes use has them. Written as the kernel reads it (linux/posix_acl_xattr.h):
a version, then a tag, permissions and an id for each entry, in the order of the tags.
"""

from __future__ import annotations

import os
import pwd
import struct

ACL = "system.posix_acl_access"
VERSION = 2
OWNER, USER, GROUP, MASK, OTHERS = 0x01, 0x02, 0x04, 0x10, 0x20
NOBODY = 0xFFFFFFFF
ALL, PASS, NOTHING = 7, 1, 0


def gate(uid: int) -> bytes:
    """The list: root may do all, its group (nginx's) and the user of this id may pass."""
    entries = [(OWNER, ALL, NOBODY), (USER, PASS, uid), (GROUP, PASS, NOBODY), (MASK, PASS, NOBODY), (OTHERS, NOTHING, NOBODY)]
    return struct.pack("<I", VERSION) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def close_to_others(path: str, user: str) -> None:
    """Puts the gate on a folder that belongs to root and nginx's group."""
    os.setxattr(path, ACL, gate(pwd.getpwnam(user).pw_uid), follow_symlinks=False)
