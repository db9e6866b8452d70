"""Files that are encrypted with SOPS, opened where they are rendered and nowhere else. Workers run it.

The program gets its keys by its environment and a folder of its own: age identities, and PGP keys as a keyring that
it reads itself, since a worker may start no agent that it would have to talk to.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agent.kube.yaml import YamlError, load_all
from hub.render.plain import ManifestError
from hub.render.programs import folder, output_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hub.render.confidential import Confidential
    from hub.render.content import Content
    from hub.render.programs import Programs

_MARK = "ENC["
_TREE = re.compile(r'^sops:\s*$|"sops"\s*:\s*\{', re.MULTILINE)
_LINES = re.compile(r"^sops_(version|mac)=", re.MULTILINE)
_SECTION = re.compile(r"^\[sops\]\s*$", re.MULTILINE)
_ARMOR = re.compile(
    r"-----BEGIN PGP [A-Z ]+-----\r?\n(?:[^\n]+: [^\n]*\n)*\r?\n?(.*?)-----END PGP ", re.DOTALL
)
_KEYRING = "keys/secring.gpg"
_OPENED = 64


@dataclass(frozen=True, slots=True)
class DecryptionKeys:
    """age identities as text, PGP secret keys in the armor that `gpg --export-secret-keys --armor` prints."""

    age: tuple[str, ...] = field(default=(), repr=False)
    pgp: tuple[str, ...] = field(default=(), repr=False)

    def to_wire(self) -> dict[str, Any]:
        return {"age": self.age, "pgp": self.pgp}

    @staticmethod
    def from_wire(data: Mapping[str, Any]) -> DecryptionKeys:
        return DecryptionKeys(tuple(data["age"]), tuple(data["pgp"]))


class Opener:
    """Opens what is encrypted, and remembers what came out: an overlay's files are opened once for its clusters."""

    def __init__(self, programs: Programs) -> None:
        self._programs = programs
        self._opened: OrderedDict[str, str] = OrderedDict()

    def files(
        self, files: Mapping[str, Any], keys: DecryptionKeys, secret: Confidential, *, where: str
    ) -> Content:
        """The files with what was encrypted in the clear. Raises `ManifestError`."""
        return {
            path: self.text(path, content, keys, secret, where=where)
            if isinstance(content, str) and is_encrypted(content)
            else content
            for path, content in files.items()
        }

    def text(self, path: str, text: str, keys: DecryptionKeys, secret: Confidential, *, where: str) -> str:
        """One encrypted file in the clear; `secret` learns what was encrypted in it. Raises `ManifestError`."""
        key = hashlib.sha256(repr((path, text, keys.age, keys.pgp)).encode()).hexdigest()
        plain = self._opened.get(key)
        if plain is None:
            plain = self._opened[key] = self._decrypt(path, text, keys, where=where)
            if len(self._opened) > _OPENED:
                self._opened.popitem(last=False)
        for value in _encrypted_values(path, text, plain):
            secret.add(value)
        return plain

    def _decrypt(self, path: str, text: str, keys: DecryptionKeys, *, where: str) -> str:
        if not self._programs.sops:
            raise ManifestError(
                "it is encrypted with SOPS, and there is no sops here: install it, or run "
                "`python -m hub.fleet.tools sops`",
                where=where,
                file=path,
                reason="ToolMissing",
            )
        if not keys.age and not keys.pgp:
            raise ManifestError(
                "it is encrypted with SOPS, and the project has no key: a Secret beside the Application, labelled "
                "axletree.dev/credentials: sops, with keys named *.agekey or *.asc",
                where=where,
                file=path,
                reason="DecryptionFailed",
            )
        kind = _format(path)
        files: Content = {"file": text}
        if keys.pgp:
            ring = b"".join(map(_dearmored, keys.pgp))
            files[_KEYRING] = {"base64": base64.b64encode(ring).decode()}
        with folder(files, scratch=self._programs.scratch) as top:
            try:
                return output_of(
                    [self._programs.sops, "decrypt", "--input-type", kind, "--output-type", kind, "file"],
                    cwd=top,
                    where=where,
                    reason="DecryptionFailed",
                    environment={"SOPS_AGE_KEY": "\n".join(keys.age), "GNUPGHOME": str(top / "keys")},
                )
            except ManifestError as error:
                raise error.but(file=path) from error


def is_encrypted(text: str) -> bool:
    """Whether SOPS wrote it: cheap, since every file is asked."""
    if _MARK not in text:
        return False
    return any(pattern.search(text) for pattern in (_TREE, _LINES, _SECTION))


def _format(path: str) -> str:
    suffix = path.rpartition(".")[2].lower()
    return {"yaml": "yaml", "yml": "yaml", "json": "json", "env": "dotenv", "ini": "ini"}.get(
        suffix, "binary"
    )


def _encrypted_values(path: str, text: str, plain: str) -> Iterator[Any]:
    """What stood encrypted in it; the rest of the file is no secret."""
    if _format(path) in ("yaml", "json"):
        try:
            pairs = list(zip(load_all(text, source=path), load_all(plain, source=path), strict=False))
        except YamlError:
            pairs = []
        for sealed, opened in pairs:
            yield from _same_place(sealed, _without_identity(opened))
        if pairs:
            return
    yield plain
    for line in plain.splitlines():
        yield line
        yield line.partition("=")[2]


def _without_identity(opened: Any) -> Any:
    """Less what names an object: somebody who encrypted all of a manifest did not mean to hide that it is there."""
    if not isinstance(opened, dict) or not {"apiVersion", "kind", "metadata"} <= opened.keys():
        return opened
    kept = {key: value for key, value in opened.items() if key not in ("apiVersion", "kind")}
    if isinstance(kept["metadata"], dict):
        kept["metadata"] = {
            key: value for key, value in kept["metadata"].items() if key not in ("name", "namespace")
        }
    return kept


def _same_place(sealed: Any, opened: Any) -> Iterator[Any]:
    match sealed, opened:
        case dict(), dict():
            for key in opened:
                yield from _same_place(sealed.get(key), opened[key])
        case list(), list():
            for one, other in zip(sealed, opened, strict=False):
                yield from _same_place(one, other)
        case str(), str() | int() | float() if sealed.startswith(_MARK) and not isinstance(opened, bool):
            yield opened


def _dearmored(text: str) -> bytes:
    """The binary form: the program reads a keyring, and no armor."""
    found = _ARMOR.search(text)
    if found is None:
        raise ManifestError("a PGP key of the project is not armored text", reason="DecryptionFailed")
    lines = [line.strip() for line in found[1].splitlines()]
    body = "".join(line for line in lines if line and not line.startswith("="))
    try:
        return base64.b64decode(body, validate=True)
    except ValueError:
        raise ManifestError(
            "a PGP key of the project is not armored text", reason="DecryptionFailed"
        ) from None
