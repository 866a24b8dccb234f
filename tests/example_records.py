"""Records of no run, for tests of what is done with records."""

from dgmjax.runs.record import Record


def a_record(**changes):
    """A record in which `changes` differ from those of others."""
    fields = dict.fromkeys(("experiment", "model", "dataset", "split", "estimator"), "x")
    fields |= {"binarisation": None, "num_examples": 10, "metric": "nll_nats", "value": 1.0}
    fields |= {"standard_error": 0.1, "unit": "nats", "published": None, "seed": 0, "step": 5}
    return Record(**(fields | {"device": "cpu x 1", "versions": {}, "seconds": 1.0} | changes))
