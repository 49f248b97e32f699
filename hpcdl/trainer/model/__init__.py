"""Builds, compiles and saves models."""
