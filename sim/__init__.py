"""Describe a GPU data centre and its workloads in a file, simulate it, and read what capacity you need."""

__version__ = "0.1.0"
