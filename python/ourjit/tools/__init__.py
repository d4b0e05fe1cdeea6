"""The commands of `python -m ourjit`: each module has add_arguments(parser) and run(arguments) -> exit code."""
