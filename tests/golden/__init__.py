"""Golden figures: every merge method times every measure on tiny data, so that nothing moves by accident.

`python -m tests.golden` writes the files beside this one anew. It refuses where figures moved and neither the version
of the method nor that of the measure did: then raise the one whose doing it is.
"""
