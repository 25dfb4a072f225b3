"""Measurements and data access that training and evaluation share; not imported by the rest of the package."""
