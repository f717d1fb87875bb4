"""The command line. Exit status: 0 done, 1 negative answer, 2 usage, 3 unreachable, 4 not permitted."""
