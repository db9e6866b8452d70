"""Signatures without a key of one's own: a certificate of a moment says who signed, a log says when. Blocking.

The bundle beside the artifact holds all that is needed, and is verified offline: certificate, its timestamp of the
certificates' log, the entry of the signatures' log. What those are checked against is a Sigstore instance's trusted
root, given by the project or, for the public instance, brought by the library. Loaded only where somebody asks for it:
https://github.com/sigstore/cosign/blob/main/specs/BUNDLE_SPEC.md, https://docs.sigstore.dev/about/security/.
"""

from __future__ import annotations

import logging
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from sigstore.errors import Error
from sigstore.models import Bundle, ClientTrustConfig, TrustedRoot
from sigstore.verify import Verifier, policy

from hub.core.globs import glob_matches
from hub.sources.cosign import IN_TOTO, says
from hub.sources.errors import SigningKeysInvalid, VerifierMissing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hub.sources.signing import Identity

_SHOWN = 200
_logger = logging.getLogger(__name__)


def signed_by(data: bytes, digest: str, identities: Sequence[Identity]) -> str:
    """Why none of them signed the manifest of this digest (`sha256:` and hex) by that bundle; empty where one did.

    Raises `SigningKeysInvalid`, `VerifierMissing`.
    """
    verifiers = {one.root: _verifier(one.root) for one in identities}
    try:
        bundle = Bundle.from_json(data)
        names = _names(bundle.signing_certificate)
    except Exception as error:  # noqa: BLE001 - anybody may put a bundle there: whatever it breaks, it is no signature
        _logger.info("a bundle does not read: %r", error)
        return f"its bundle does not read: {_said(error)}"
    told = f"signed by {', '.join(sorted(names)) or 'nobody'}, who is not trusted"
    for one in identities:
        for name in sorted(names):
            if not glob_matches(one.subject, name):
                continue
            try:
                kind, payload = verifiers[one.root].verify_dsse(bundle, _Named(name, one.issuer))
            except Exception as error:  # noqa: BLE001 - as above
                _logger.info("a bundle does not hold: %r", error)
                told = f"signed by {name}, which does not hold: {_said(error)}"
                continue
            if kind == IN_TOTO and says(payload, digest):
                return ""
            told = f"signed by {name}, for another manifest or another use"
    return told


class _Named:
    """The certificate is this person's, and this issuer says so, in the older or the newer form."""

    def __init__(self, name: str, issuer: str) -> None:
        issuers: list[policy.VerificationPolicy] = [policy.OIDCIssuer(issuer), policy.OIDCIssuerV2(issuer)]
        self._policy = policy.AllOf([policy.Identity(identity=name), policy.AnyOf(issuers)])

    def verify(self, cert: x509.Certificate) -> None:
        self._policy.verify(cert)


@lru_cache(maxsize=16)
def _verifier(root: str) -> Verifier:
    try:
        if not root:
            return Verifier(trusted_root=ClientTrustConfig.production(offline=True).trusted_root)
        with tempfile.TemporaryDirectory(prefix="axletree-root-") as folder:
            path = Path(folder, "trusted_root.json")
            path.write_text(root, encoding="utf-8")
            return Verifier(trusted_root=TrustedRoot.from_file(str(path)))
    except OSError as error:
        raise VerifierMissing(
            f"the trusted root of signatures cannot be kept here: {_said(error)}"
        ) from error
    except (Error, ValueError, TypeError, KeyError) as error:
        raise SigningKeysInvalid(f"the trusted root of signatures does not read: {_said(error)}") from error


def _names(certificate: x509.Certificate) -> set[str]:
    """Mail addresses and URIs: a person's, and a workflow's."""
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    mails = found.get_values_for_type(x509.RFC822Name)
    return {*mails, *found.get_values_for_type(x509.UniformResourceIdentifier)}


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:_SHOWN] or type(error).__name__
