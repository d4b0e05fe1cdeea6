"""The files here are cases, not test modules: test_errors.py runs them."""

collect_ignore_glob = ["[!t]*.py", "t[!e]*.py"]
