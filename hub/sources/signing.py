"""Which keys a project trusts, by what they are for, and what is signed in a Git object. Pure.

- OpenPGP blocks: commits, tags, the provenance of charts.
- SSH keys: commits and tags.
- PEM keys: artifacts and charts of a registry, as cosign signs them.
- Identities that a certificate names, for what cosign signs without a key of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from hub.sources.errors import SigningKeysInvalid

if TYPE_CHECKING:
    from collections.abc import Iterable

_PGP = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
_PEM = "-----BEGIN PUBLIC KEY-----"
_SSH = re.compile(
    r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521)|sk-ssh-ed25519@openssh\.com"
    r"|sk-ecdsa-sha2-nistp256@openssh\.com) ([A-Za-z0-9+/]+={0,2})(?: .*)?",
    re.ASCII,
)
_HEADERS = (b"gpgsig", b"gpgsig-sha256")
_PGP_SIGNATURE, _SSH_SIGNATURE = b"-----BEGIN PGP SIGNATURE-----", b"-----BEGIN SSH SIGNATURE-----"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who may sign with a certificate of a moment: the issuer that knows them, exactly, and a glob of their names.

    `root` is the JSON of the Sigstore instance that is trusted; empty for the public one.
    """

    issuer: str
    subject: str
    root: str = ""


Trusted: TypeAlias = str | Identity
"""A public key's text, or somebody's name."""


@dataclass(frozen=True, slots=True)
class TrustedKeys:
    """Public keys by kind, and identities. `ssh` holds type and key without the comment."""

    pgp: tuple[str, ...] = ()
    ssh: tuple[str, ...] = ()
    pem: tuple[str, ...] = ()
    identities: tuple[Identity, ...] = ()

    @classmethod
    def of(cls, texts: Iterable[Trusted]) -> TrustedKeys:
        """Reads each text by its form.

        Raises `SigningKeysInvalid`: with a key left out it would say of good signatures that nobody is trusted.
        """
        found: dict[str, list[str]] = {"pgp": [], "ssh": [], "pem": []}
        identities: list[Identity] = []
        for text in texts:
            if isinstance(text, Identity):
                identities.append(text)
                continue
            plain = text.strip()
            if plain.startswith(_PGP):
                found["pgp"].append(plain)
            elif plain.startswith(_PEM):
                found["pem"].append(plain)
            elif (match := _SSH.fullmatch(plain)) is not None:
                found["ssh"].append(f"{match[1]} {match[2]}")
            else:
                raise SigningKeysInvalid(
                    f"{plain[:40]!a} is no public key: OpenPGP block, SSH key or PEM are known"
                )
        return cls(tuple(found["pgp"]), tuple(found["ssh"]), tuple(found["pem"]), tuple(identities))


@dataclass(frozen=True, slots=True)
class Signed:
    """What was signed, and the signature."""

    payload: bytes
    signature: bytes

    @property
    def is_ssh(self) -> bool:
        return self.signature.startswith(_SSH_SIGNATURE)


def commit_signature(body: bytes) -> Signed | None:
    """Of a commit object, as https://git-scm.com/docs/signature-format has it; None where there is none.

    One with two signatures is taken for unsigned: nobody makes such, and readers differ about what it means.
    """
    head, blank, message = body.partition(b"\n\n")
    kept: list[bytes] = []
    signatures: list[list[bytes]] = []
    inside = False
    for line in head.split(b"\n"):
        name, _, value = line.partition(b" ")
        if inside and line.startswith(b" "):
            signatures[-1].append(line[1:])
        elif name in _HEADERS:
            inside = True
            signatures.append([value])
        else:
            inside = False
            kept.append(line)
    if len(signatures) != 1:
        return None
    return Signed(b"\n".join(kept) + blank + message, b"\n".join(signatures[0]) + b"\n")


def tag_signature(body: bytes, *, name: str, commit: str) -> Signed | None:
    """Of a tag object, if it is the tag of that name for that commit; a signed tag says nothing under another name."""
    head, _, _ = body.partition(b"\n\n")
    said = dict(line.partition(b" ")[::2] for line in reversed(head.split(b"\n")))
    wanted = {b"object": commit.encode(), b"type": b"commit", b"tag": name.encode()}
    if any(said.get(key) != value for key, value in wanted.items()):
        return None
    found = max(_line_start(body, mark) for mark in (_PGP_SIGNATURE, _SSH_SIGNATURE))
    return Signed(body[:found], body[found:]) if found > 0 else None


def _line_start(body: bytes, mark: bytes) -> int:
    """Where the last line that begins with the mark is; -1 where none is."""
    at = body.rfind(b"\n" + mark)
    return at + 1 if at >= 0 else -1
