"""The three programs that supervisord runs.

Each wires plain objects together and works until stopped.
"""
