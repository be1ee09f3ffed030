"""Voicedrop's speech package: texts become jobs, jobs become verified audio."""

__version__ = "0.1.0"
