"""The commands of `python -m ourjit`, a module each: add_arguments(parser) and run(arguments) -> exit code."""
