"""A notebook on a compute node: the job that runs it, and how its page is reached.

The program on the node is ``jobs/jupyter_lab.py``.
"""
