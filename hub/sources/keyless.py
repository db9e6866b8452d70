"""Signatures without a key of one's own: a certificate of a moment says who signed, a log says when. Blocking.

The bundle beside the artifact holds all that is needed, and is verified offline: certificate, its timestamp of the
certificates' log, the entry of the signatures' log (in the older form the log's signed promise alone). What those are
checked against is a Sigstore instance's trusted root, given by the project or, for the public instance, brought by the
library. Loaded only where somebody asks for it:
https://github.com/sigstore/cosign/blob/main/specs/BUNDLE_SPEC.md, https://docs.sigstore.dev/about/security/.
"""

from __future__ import annotations

import logging
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from sigstore.errors import Error, VerificationError
from sigstore.models import Bundle, ClientTrustConfig, TransparencyLogEntry, TrustedRoot
from sigstore.verify import Verifier, policy

from hub.core.globs import glob_matches
from hub.sources.cosign import IN_TOTO, as_bundle, says, simple_says
from hub.sources.errors import SigningKeysInvalid, VerifierMissing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sigstore._internal.trust import RekorKeyring

    from hub.sources.cosign import Simple
    from hub.sources.signing import Identity

_SHOWN = 200
_logger = logging.getLogger(__name__)


def signed_by(data: bytes, digest: str, identities: Sequence[Identity]) -> str:
    """Why none of them signed the manifest of this digest (`sha256:` and hex) by that bundle; empty where one did.

    Raises `SigningKeysInvalid`, `VerifierMissing`.
    """

    def holds(verifier: Verifier, bundle: Bundle, person: _Named) -> bool:
        kind, payload = verifier.verify_dsse(bundle, person)
        return kind == IN_TOTO and says(payload, digest)

    return _judged(lambda: Bundle.from_json(data), identities, holds)


def signed_text_by(one: Simple, digest: str, identities: Sequence[Identity]) -> str:
    """As `signed_by`, for the older form: annotations beside a text, and the log's promise instead of a proof."""

    def read() -> Bundle:
        bundle = Bundle.from_json(as_bundle(one) or b"")
        bundle._log_entry = _Promised(bundle.log_entry._inner)  # noqa: SLF001 - see there
        return bundle

    def holds(verifier: Verifier, bundle: Bundle, person: _Named) -> bool:
        verifier.verify_artifact(one.text, bundle, person)
        return simple_says(one.text, digest)

    return _judged(read, identities, holds)


def _judged(
    read: Callable[[], Bundle],
    identities: Sequence[Identity],
    holds: Callable[[Verifier, Bundle, _Named], bool],
) -> str:
    verifiers = {one.root: _verifier(one.root) for one in identities}
    try:
        bundle = read()
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
                good = holds(verifiers[one.root], bundle, _Named(name, one.issuer))
            except Exception as error:  # noqa: BLE001 - as above
                _logger.info("a bundle does not hold: %r", error)
                told = f"signed by {name}, which does not hold: {_said(error)}"
                continue
            if good:
                return ""
            told = f"signed by {name}, for another manifest or another use"
    return told


class _Promised(TransparencyLogEntry):
    """An entry that the log signed that it will take in, as cosign takes it: the library asks for a proof as well.

    Its own methods are what is overruled: where a version of it calls them no more, it finds the empty proof bad.
    """

    def _verify(self, keyring: RekorKeyring) -> None:
        if not self._inner.integrated_time:
            raise VerificationError("the log does not say when it took the signature in")
        self._verify_set(keyring)


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
