"""The command, to which each verb's file adds its own."""

from cyclopts import App, Parameter

from .. import __version__

app = App(
    name="bertvision",
    help="Small Keras heads on every hidden state of a BERT.",
    version=f"bertvision-tf {__version__}",
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
    default_parameter=Parameter(negative_iterable=(), allow_repeating=True),
)
app.register_install_completion_command(
    help="Install completion of verbs and options for the shell, bash, zsh or fish."
)
