"""Tests of what is under ansible/ without a node. Run: .venv/bin/python -m unittest discover -s ansible/tests -t ansible"""
