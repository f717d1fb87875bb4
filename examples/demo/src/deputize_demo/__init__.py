"""The program behind `deputize demo`."""
