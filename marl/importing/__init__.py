"""Policies that other libraries have trained."""
