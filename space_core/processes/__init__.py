"""Processes of the operating system: children with limits, workers of this package, a program's memory."""
