"""The command `h2d`: one file per verb; each parses, calls one function and prints."""

import sys

import typer

from h2d.cli import doctor, evaluate, manifest, models, pose, prepare, sample, status, synth, train
from h2d.cli.console import errors
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


def main() -> None:
    """Run the command line: a user's mistake is one line and exit code 2, an interruption 130."""
    try:
        app()
    except UserError as error:
        errors.print(f"h2d: {error}", style="red", soft_wrap=True, markup=False, highlight=False)
        sys.exit(2)
    except JobError as error:
        errors.print(f"h2d: {error}", style="red", soft_wrap=True, markup=False, highlight=False)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
