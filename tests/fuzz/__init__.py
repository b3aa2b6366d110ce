"""Random calls of the whole public surface: none may crash, hang, or raise an error of a wrong kind.

``python -m tests.fuzz --calls 100000 --seed 1`` runs as many as wanted; ``test_fuzz.py`` runs 20,000.

A call is a short program in text, made from (seed, batch, index) alone (`programs.py`, with arguments from `guess.py` and
`names.py`).
Batches run in child processes with a limit on memory and on the time of a call (`child.py`); `judge.py` says which
outcomes are right, and `run.py` narrows a batch that died down to the call.
"""
