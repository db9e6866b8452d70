"""The join token's text form: what a spoke needs to trust its hub at first contact, and to be trusted once.

`axlt1.` + base64url(JSON {"id", "secret", "hub", "ca"}) without padding. The hash of the CA is what makes the
first contact safe without a certificate on the spoke: who cannot show a chain to that CA, the hub or anyone
between, never sees the secret.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from agent.contract.errors import TerminalError

PREFIX = "axlt1."
_MAX_TEXT = 512


class TokenInvalid(TerminalError):
    """Never carries the token's text: it holds a secret."""

    reason = "TokenInvalid"


class JoinToken(BaseModel):
    """One token: `id` finds it on the hub, `secret` proves it, `hub` and `ca` say whom to trust."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]{0,62}[a-z0-9])?$")]
    secret: Annotated[str, StringConstraints(min_length=16, max_length=128)] = Field(repr=False)
    hub: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    ca: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    """Hex sha256 of the hub's CA certificate in DER."""
    cluster: Annotated[str, StringConstraints(pattern=r"^([a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?)?$")] = ""
    """Which cluster it is for, for whoever installs the agent; what counts is the hub's own record."""

    def encode(self) -> str:
        """Write the text that a person copies from the hub to the spoke."""
        content = {"id": self.id, "secret": self.secret, "hub": self.hub, "ca": self.ca}
        plain = json.dumps(content | ({"cluster": self.cluster} if self.cluster else {}))
        return PREFIX + base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> JoinToken:
        """Read the text form. Raises `TokenInvalid` for anything else, without repeating what it read."""
        text = text.strip()
        if not text.startswith(PREFIX) or len(text) > _MAX_TEXT:
            raise TokenInvalid(f"a join token starts with {PREFIX} and is at most {_MAX_TEXT} characters")
        body = text.removeprefix(PREFIX)
        try:
            plain = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
            return cls.model_validate(json.loads(plain))
        except ValidationError as error:
            fields = ", ".join(str(each["loc"][0]) for each in error.errors() if each["loc"])
            raise TokenInvalid(f"the join token has a bad or no field: {fields}") from None
        except (binascii.Error, ValueError):
            raise TokenInvalid("the join token does not read: was it copied in full?") from None
