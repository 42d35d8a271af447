"""The command `h2d`: one file per verb; each parses, calls one function and prints."""

import sys
from typing import Annotated, NoReturn

import typer
from typer.exceptions import TyperException

from h2d import __version__
from h2d.cli import doctor, evaluate, manifest, models, pose, prepare, sample, status, synth, train
from h2d.cli.console import errors
from h2d.cli.output import say
from h2d.cli.usage import usage_line
from h2d.errors import JobError, UserError

app = typer.Typer(
    name="h2d",
    help="Diffusion models that draw hands right: prepare data, train, sample, evaluate.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(prepare.app, name="prepare")
app.command(name="status")(status.status)
app.command(name="synth")(synth.synth)
app.add_typer(manifest.app, name="manifest")
app.add_typer(models.app, name="models")
app.command(name="train")(train.train)
app.add_typer(pose.app, name="pose")
app.command(name="sample")(sample.sample)
app.add_typer(evaluate.app, name="evaluate")
app.command(name="doctor")(doctor.doctor)


def _tell_version(asked: bool) -> bool:
    if asked:
        say(f"h2d {__version__}")
        raise typer.Exit
    return asked


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Take what comes before a command."""


def main() -> None:
    """Run the command line: a user's mistake is one line and exit code 2, an interruption 130."""
    try:
        sys.exit(app(prog_name="h2d", standalone_mode=False))
    except TyperException as error:
        _fail(usage_line(error), error.exit_code)
    except UserError as error:
        _fail(str(error), 2)
    except JobError as error:
        _fail(str(error), 1)
    except KeyboardInterrupt:
        errors.print("Stopped.")
        sys.exit(130)


def _fail(said: str, exit_code: int) -> NoReturn:
    if said:
        errors.print(f"h2d: {said}", style="red", soft_wrap=True, markup=False, highlight=False)
    sys.exit(exit_code)
