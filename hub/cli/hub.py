"""`axle hub run`, `axle agent run`: the processes, for those who have one program only."""

from __future__ import annotations

import sys

import typer

from hub.cli.output import err

app = typer.Typer()
hub_app = typer.Typer(no_args_is_help=True, help="Run the hub.")
agent_app = typer.Typer(no_args_is_help=True, help="Run agents.")
app.add_typer(hub_app, name="hub")
app.add_typer(agent_app, name="agent")

# Their own parsers say what they take, --help included.
_THROUGH = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}


@hub_app.callback()
def hub() -> None:
    """Run the hub."""


@agent_app.callback()
def agent() -> None:
    """Run agents."""


@hub_app.command("run", context_settings=_THROUGH)
def run_hub(ctx: typer.Context) -> None:
    """Run gateway and controller until SIGTERM. Options are those of `axle hub run --help`."""
    from hub import main as program  # noqa: PLC0415 - kopf, GitPython and more, for this command alone

    sys.argv = ["axle hub run", *ctx.args]
    raise typer.Exit(program.main())


@agent_app.command("run", context_settings=_THROUGH)
def run_agent(ctx: typer.Context) -> None:
    """Run one agent or, with --config repeated, many, until SIGTERM."""
    from agent import main as program  # noqa: PLC0415 - for this command alone

    if not ctx.args:
        err.print("axle: name at least one --config FILE")
        raise typer.Exit(2)
    raise typer.Exit(program.main(["run", *ctx.args]))
