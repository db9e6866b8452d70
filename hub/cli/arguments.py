"""Names on the command line, as several commands take them."""

from __future__ import annotations

from typing import Annotated

import typer

NameArgument = Annotated[str, typer.Argument(help="NAME, NAMESPACE/NAME, appset/NAME or app/NAME.")]
AppArgument = Annotated[str, typer.Argument(help="NAME or NAMESPACE/NAME of an app.", metavar="APP")]
