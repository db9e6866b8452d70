"""Whether a signature is by one of the trusted keys: the programs `gpg` and `ssh-keygen` say. Blocking.

They run with a home of their own, made for one question, which holds the trusted keys and nothing else: no key of the
machine counts, nothing is fetched, no agent is started. Where a program is missing nothing is trusted.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hub.sources.errors import SignatureUntrusted, SigningKeysInvalid, VerifierMissing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hub.sources.signing import Signed, TrustedKeys

SECONDS = 20.0
_WHO = "axletree"
_GPG = (
    "gpg",
    "--batch",
    "--no-options",
    "--no-autostart",
    "--no-auto-key-retrieve",
    "--no-tty",
    "--quiet",
    "--trust-model",
    "always",
    "--weak-digest",
    "SHA1",
)
_STATUS = re.compile(r"^\[GNUPG:\] ([A-Z0-9_]+)(?: (.*))?$", re.MULTILINE)
_BAD = {"BADSIG", "ERRSIG", "EXPSIG", "EXPKEYSIG", "REVKEYSIG", "NO_PUBKEY", "NODATA"}


def check_signed(signed: Sequence[Signed], keys: TrustedKeys, *, what: str) -> None:
    """Return where one of the signatures is good and by a trusted key. Raises `SignatureUntrusted` and others.

    `what` names what is signed, for the message.
    """
    told: list[str] = []
    for one in signed:
        usable = keys.ssh if one.is_ssh else keys.pgp
        if not usable:
            told.append(f"signed with {'an SSH' if one.is_ssh else 'an OpenPGP'} key; no such key is trusted")
            continue
        said = _ssh(one, usable) if one.is_ssh else openpgp(one.signature, one.payload, usable)
        if not said:
            return
        told.append(said)
    raise SignatureUntrusted(f"{what}: {'; '.join(told)}")


def openpgp(signature: bytes, payload: bytes, keys: Sequence[str]) -> str:
    """Why the detached signature is not good; empty where it is."""
    with tempfile.TemporaryDirectory(prefix="axletree-gpg-") as folder:
        gpg = _with_keys(Path(folder), keys)
        Path(folder, "signature").write_bytes(signature)
        Path(folder, "payload").write_bytes(payload)
        return _judged(*_run([*gpg, "--verify", f"{folder}/signature", f"{folder}/payload"], Path(folder)))


def clear_text(data: bytes, keys: Sequence[str]) -> tuple[str, str]:
    """What a clear-signed text says, and nothing around it; then why it is not good, empty where it is."""
    with tempfile.TemporaryDirectory(prefix="axletree-gpg-") as folder:
        gpg = _with_keys(Path(folder), keys)
        text = Path(folder, "text")
        Path(folder, "signed").write_bytes(data)
        said = _run([*gpg, "--output", str(text), "--decrypt", f"{folder}/signed"], Path(folder))
        problem = _judged(*said)
        return ("" if problem else text.read_text(encoding="utf-8", errors="replace")), problem


def _with_keys(home: Path, keys: Sequence[str]) -> list[str]:
    """The beginning of a command that knows these keys alone."""
    gpg = [*_GPG, "--homedir", str(home), "--status-fd", "1"]
    (home / "keys").write_text("\n".join(keys), encoding="ascii", errors="replace")
    code, _ = _run([*gpg, "--import", str(home / "keys")], home)
    if code != 0:
        raise SigningKeysInvalid("an OpenPGP block among the trusted keys does not read")
    return gpg


def _judged(code: int, said: bytes) -> str:
    """What gpg's status lines come to: exactly one signature, good in every respect."""
    words = [match[1] for match in _STATUS.finditer(said.decode(errors="replace"))]
    bad = sorted(_BAD.intersection(words))
    if bad:
        return _WHY.get(bad[0], "its signature is not good")
    good = words.count("GOODSIG") == 1 and words.count("VALIDSIG") == 1
    return "" if code == 0 and good else "its signature is not good"


_WHY = {
    "BADSIG": "its signature is not of this content",
    "ERRSIG": "signed by a key that is not trusted",
    "NO_PUBKEY": "signed by a key that is not trusted",
    "EXPSIG": "its signature has expired",
    "EXPKEYSIG": "the key that signed it has expired",
    "REVKEYSIG": "the key that signed it is revoked",
}


def _ssh(signed: Signed, keys: Sequence[str]) -> str:
    """As `openpgp`, for the SSH signatures of Git (their namespace is `git`)."""
    with tempfile.TemporaryDirectory(prefix="axletree-ssh-") as folder:
        home = Path(folder)
        lines = [f'{_WHO} namespaces="git" {key}\n' for key in keys]
        (home / "allowed").write_text("".join(lines), encoding="ascii")
        (home / "signature").write_bytes(signed.signature)
        files = ("-f", f"{folder}/allowed", "-s", f"{folder}/signature")
        code, _ = _run(
            ("ssh-keygen", "-Y", "verify", "-n", "git", *files, "-I", _WHO),
            home,
            stdin=signed.payload,
        )
    return "" if code == 0 else "signed by a key that is not trusted, or not of this content"


def _run(command: Sequence[str], home: Path, *, stdin: bytes = b"") -> tuple[int, bytes]:
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home), "LC_ALL": "C"}
    try:
        done = subprocess.run(  # noqa: S603 - fixed programs, files of our own making
            list(command), input=stdin, capture_output=True, timeout=SECONDS, env=environment, check=False
        )
    except FileNotFoundError as error:
        raise VerifierMissing(
            f"{command[0]} is not installed on the hub: no signature can be verified"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise VerifierMissing(f"{command[0]} gave no answer within {SECONDS:g} s") from error
    return done.returncode, done.stdout
