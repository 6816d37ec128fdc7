"""Environments that other packages bring."""
