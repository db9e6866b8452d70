"""What one agent is told when it starts: its cluster, where its hub is, how to reach the API server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel

from agent.contract.errors import TerminalError
from agent.contract.token import JoinToken
from agent.contract.wire import HEARTBEAT_SECONDS, Name
from agent.kube.document import read_document


class ConfigInvalid(TerminalError):
    reason = "ConfigInvalid"


class AgentConfig(BaseModel):
    """One agent's settings, from a YAML or JSON file with camelCase or snake_case names.

    The token is needed until the first join only: afterwards the identity is kept on the spoke.
    """

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)

    cluster: Name
    hub_url: Annotated[str, StringConstraints(pattern=r"^https://[^/?#@\s]+/?$")]
    token: SecretStr | None = None
    token_file: Path | None = None
    ca_file: Path | None = None
    """The hub's CA in PEM, where it came with the token: then not even the first contact is made untrusting."""
    kubeconfig: Path | None = None
    """None: the ServiceAccount of the Pod that the agent runs in."""
    context: str | None = None
    labels: dict[str, str] = Field(default_factory=dict, max_length=64)
    """Asked for at the join; the hub's administrator or the token's rule decides."""
    heartbeat_seconds: float = Field(default=HEARTBEAT_SECONDS, ge=0.2, le=600)
    resync_seconds: float = Field(default=600.0, ge=1.0)
    """About how often each app is compared in full even though nothing was seen to change."""
    concurrency: int = Field(default=8, ge=1, le=64)
    """How many apps are worked on at once."""

    @model_validator(mode="after")
    def _one_token(self) -> Self:
        if self.token is not None and self.token_file is not None:
            raise ValueError("give token or tokenFile, not both")
        return self

    @property
    def hub(self) -> str:
        """The hub's URL without a trailing slash."""
        return self.hub_url.rstrip("/")

    @property
    def hub_host(self) -> str:
        return urlsplit(self.hub_url).hostname or ""

    def join_token(self) -> JoinToken | None:
        """Read the token, afresh each time: a file may be mounted later. Raises `TokenInvalid`."""
        if self.token is not None:
            return JoinToken.parse(self.token.get_secret_value())
        if self.token_file is None:
            return None
        try:
            return JoinToken.parse(self.token_file.read_text())
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigInvalid(f"the token file {self.token_file} cannot be read: {error}") from error

    def hub_ca(self) -> str:
        """The CA that was given, in PEM; empty where none was, or not yet: the token's hash has to do then."""
        try:
            return self.ca_file.read_text() if self.ca_file is not None else ""
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigInvalid(f"the CA file {self.ca_file} cannot be read: {error}") from error


def load_config(path: Path) -> AgentConfig:
    """Read one file. Raises `ConfigInvalid`, which names fields and never values: one is a secret."""
    try:
        return AgentConfig.model_validate(read_document(path.read_bytes(), source=str(path)))
    except OSError as error:
        raise ConfigInvalid(f"{path}: {error.strerror or error}") from error
    except TerminalError as error:
        raise ConfigInvalid(str(error)) from error
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, each['loc'])) or 'file'}: {each['msg']}" for each in error.errors()
        )
        raise ConfigInvalid(f"{path}: {problems}") from None
