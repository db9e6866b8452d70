"""`axle`: finds the command's module and loads that one alone.

A command that prints three lines must not wait for the imports of one that renders templates: what `axle --help`
needs is in the table below, and nothing else is imported for it.
"""

from __future__ import annotations

import importlib
import logging
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.exceptions import TyperException

from hub.cli.failure import EXIT_NEGATIVE, complain, plainly
from hub.cli.output import err, hang_up
from hub.cli.usage import is_help, told

if TYPE_CHECKING:
    from collections.abc import Mapping

_LOCAL, _FLEET, _FILES, _RUN = "A fleet on this machine", "The fleet", "Files, no cluster needed", "Processes"

COMMANDS: Mapping[str, tuple[str, str, str]] = {
    "up": ("hub.cli.up", _LOCAL, "Start a hub and real spokes here, with the sample deployed."),
    "down": ("hub.cli.up", _LOCAL, "Stop and delete what `up` started, a crashed start included."),
    "status": ("hub.cli.status", _LOCAL, "What runs, who is connected, how the apps are."),
    "kubeconfig": ("hub.cli.up", _LOCAL, "Print a kubeconfig that works."),
    "get": ("hub.cli.get", _FLEET, "List clusters, clustersets, apps, appsets or projects."),
    "tree": ("hub.cli.tree", _FLEET, "Roots, their sets and children: sync, health, age."),
    "wait": ("hub.cli.wait", _FLEET, "Wait until an app or set is Healthy, Synced, Degraded or Deleted."),
    "rollout": ("hub.cli.rollout", _FLEET, "Wait until a commit is everywhere, over the hub's API."),
    "events": ("hub.cli.rollout", _FLEET, "Print what happens, over the hub's API."),
    "refresh": ("hub.cli.act", _FLEET, "Fetch Git now for a set or an app."),
    "approve": ("hub.cli.act", _FLEET, "Let deletions go that are Held, or a wave that waits."),
    "pause": ("hub.cli.pause", _FLEET, "Let nothing new go to a set, an app or a cluster."),
    "resume": ("hub.cli.pause", _FLEET, "End a pause."),
    "why": ("hub.cli.why", _FLEET, "What an app waits for, and the root cause."),
    "history": ("hub.cli.history", _FLEET, "The last releases of an app."),
    "outputs": ("hub.cli.history", _FLEET, "What an app exports: the last good values."),
    "diff": ("hub.cli.history", _FLEET, "Where an app is not what its plan wants."),
    "rollback": ("hub.cli.rollback", _FLEET, "Pin an app or a set at its last good release."),
    "release": ("hub.cli.release", _FLEET, "What holds an app; with --force, let it go past that."),
    "sync": ("hub.cli.sync", _FLEET, "Let an app of mode Manual go to its target."),
    "adopt": ("hub.cli.adopt", _FLEET, "Take over what Argo CD, Flux, Helm or kubectl manage now."),
    "orphans": ("hub.cli.orphans", _FLEET, "Apps on a cluster that the hub does not know."),
    "token": ("hub.cli.tokens", _FLEET, "Join tokens."),
    "cluster": ("hub.cli.clusters", _FLEET, "How clusters come, stay and go."),
    "import": ("hub.cli.import_argocd", _FILES, "What Argo CD has, as ours."),
    "plan": ("hub.cli.plan", _FILES, "What a change would do, before it is merged."),
    "expand": ("hub.cli.offline", _FILES, "Print the children of an ApplicationSet."),
    "render": ("hub.cli.render", _FILES, "Print the manifests of an Application, or every stage of them."),
    "explain": ("hub.cli.explain", _FILES, "Which layer made a field of an object what it is."),
    "graph": ("hub.cli.graph", _FILES, "Draw the dependency graph of files or of a hub, or name its cycles."),
    "health": ("hub.cli.health", _FILES, "Print how healthy objects in files are, by rules of your own too."),
    "bootstrap": ("hub.cli.bootstrap", _RUN, "Install a hub from Git, which then keeps itself as Git says."),
    "hub": ("hub.cli.hub", _RUN, "Run the hub, back it up, bring it back."),
    "agent": ("hub.cli.agent", _RUN, "Install an agent on a spoke; run agents."),
}


class LazyGroup(TyperGroup):
    """Holds a stand-in for each command, which is enough for help, until one is asked for by name."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, (_, panel, text) in COMMANDS.items():
            self.add_command(TyperCommand(name=name, help=text, rich_help_panel=panel))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name = args[0]
        if name in COMMANDS:
            module = importlib.import_module(COMMANDS[name][0])
            self.add_command(typer.main.get_group(module.app).commands[name])
        return super().resolve_command(ctx, args)

    def main(self, *args: Any, **settings: Any) -> Any:
        """As ever; but wrong usage is one line, as every other failure is."""
        standalone_mode = settings.pop("standalone_mode", True)
        if args:
            settings["args"] = args[0]
        try:
            code = super().main(**settings, standalone_mode=False)
        except TyperException as error:
            if not standalone_mode:
                raise
            if not is_help(error):
                complain(told(error))
            sys.exit(error.exit_code)
        except typer.Abort:
            if not sys.stdin.isatty():
                err.print()  # nobody ended the line of the question
            complain("nothing was done; --yes is an answer, too")
            sys.exit(EXIT_NEGATIVE)
        if standalone_mode:
            sys.exit(code if isinstance(code, int) else 0)
        return code

    def invoke(self, ctx: Any) -> Any:
        """As ever; but a reader that has gone away is no failure, which exit code 1 would say."""
        try:
            try:
                return super().invoke(ctx)
            finally:
                sys.stdout.flush()
        except BrokenPipeError:
            hang_up()


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib import metadata  # noqa: PLC0415 - 36 ms that only this option needs

        try:
            print(f"axle {metadata.version('axletree')}")
        except metadata.PackageNotFoundError:
            print("axle (not installed)")
        raise typer.Exit


@app.callback()
def axle(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Axletree: one plan, a real graph, thin pull agents.

    Exit codes: 0 yes, 1 the answer is no, 2 it could not be asked.
    """


def main() -> None:
    """The entry point. What was foreseen ends in one line and an exit code.

    What is logged on the way is for processes, which set up where it goes: here it would say the same once more.
    """
    logging.lastResort = logging.NullHandler()
    try:
        with plainly():
            app(prog_name="axle")
    except typer.Exit as stopped:
        sys.exit(stopped.exit_code)


if __name__ == "__main__":
    main()
