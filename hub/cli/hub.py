"""`axle hub`: the hub as this program, and what becomes of its identity."""

from __future__ import annotations

import sys

import typer

from hub.cli.backup import backup, recover
from hub.cli.hubkeys import rotate

app = typer.Typer()
hub_app = typer.Typer(no_args_is_help=True, help="Run the hub, back it up, bring it back.")
app.add_typer(hub_app, name="hub")

# Its own parser says what it takes, --help included.
_THROUGH = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}


@hub_app.callback()
def hub() -> None:
    """Run the hub, back it up, bring it back."""


for command in (backup, recover, rotate):
    hub_app.command()(command)


@hub_app.command("run", context_settings=_THROUGH)
def run_hub(ctx: typer.Context) -> None:
    """Run gateway and controller until SIGTERM. Options are those of `axle hub run --help`."""
    from hub import main as program  # noqa: PLC0415 - kopf, GitPython and more, for this command alone

    sys.argv = ["axle hub run", *ctx.args]
    raise typer.Exit(program.main())
