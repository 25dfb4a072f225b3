"""Processes of the operating system: children with limits, workers of this package, and a program's memory."""
