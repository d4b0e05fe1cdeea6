"""The commands of `python -m ourjit`: modules with `add_arguments(parser)` and `run(arguments)`, the exit code."""
