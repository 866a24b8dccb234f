"""The conformance table: rows of any library, and a verdict in words."""

import distrax
import jax
import jax.numpy as jnp
import pytest

from benchmarks.conformance import distrax_rows
from benchmarks.conformance.__main__ import LIBRARIES, table, words
from benchmarks.conformance.row import Row, failed_uses, measured, scrambled
from benchmarks.conformance.worker import verdict
from dgmjax.evaluation.bijector_uses import USES


def shift(wrong=0.0):
    """z + b, with `wrong` added to its log-determinant; the bijector is b itself."""

    def maps(b):
        forward = lambda z: (z + b, wrong + 0.0 * z.sum(-1))
        return forward, lambda x: (x - b, -wrong + 0.0 * x.sum(-1))

    return Row(lambda b: b, lambda key, scale: scale * jax.random.normal(key, (4,)), maps)


def test_a_bijector_that_keeps_the_contract_and_one_that_does_not():
    assert measured(shift()) == {"1": {}, "5": {}}
    broken = measured(shift(0.25))
    for scale in ("1", "5"):
        assert set(broken[scale]) == {"log_det", "log_det_special"}
        assert broken[scale]["log_det"] == pytest.approx(0.25)
    assert words(verdict(shift())) == "keeps it"
    assert verdict(shift())["unusable"] == {}
    assert words(verdict(shift(0.25))).startswith("std 1: log det 0.25, log det special 0.25;")


def test_what_a_library_raises_is_a_verdict():
    def build(b):
        raise NotImplementedError("No inverse.\nSorry.")

    row = Row(build, lambda key, scale: jnp.zeros(4))
    assert words(verdict(row)) == "NotImplementedError: No inverse."
    assert set(verdict(row)["unusable"]) == set(USES)


def test_distrax_bijectors_are_incomplete_pytrees():
    """Why this package has a base class of its own."""
    failed = failed_uses(distrax_rows.rows()["affine"])
    assert {"tree.map", "optax.masked"} <= set(failed)
    assert not {"float64", "empty batch", "shard_map"} & set(failed)


def test_scrambled_keeps_integers_and_divides_by_the_fan_in():
    tree = {"w": jnp.zeros((100, 400)), "n": jnp.arange(3)}
    drawn = scrambled(tree, jax.random.key(0), 3.0, lambda shape: shape[0])
    assert jnp.array_equal(drawn["n"], tree["n"])
    assert float(drawn["w"].std()) == pytest.approx(0.3, rel=0.02)


def test_rows_of_distrax_are_its_own_bijectors():
    row = distrax_rows.rows()["affine"]
    params = row.params(jax.random.key(0), 1.0)
    z = jax.random.normal(jax.random.key(1), (5, 4))
    truth = distrax.Block(distrax.ScalarAffine(params[0][:, 0], log_scale=params[0][:, 1]), 1)
    x, log_det = row.build(params)[0](z)
    assert jnp.array_equal(x, truth.forward(z))
    assert jnp.array_equal(log_det, truth.forward_log_det_jacobian(z))


def test_the_table_counts_rows_that_keep_it():
    good = {"broken": {"1": {}, "5": {}}, "unusable": {}}
    bad = {"broken": {"1": {"finite_values": False}}, "unusable": {"shard_map": "TypeError: x"}}
    record = {"versions": {"distrax": "0.1.9"}, "rows": {"a": good, "b": bad}}
    text = table({"distrax": record})
    assert "| distrax | a | keeps it | none |" in text
    assert "| distrax | b | std 1: values not finite | shard_map |" in text
    assert "| distrax | 2 | 1 | 1 | distrax 0.1.9 |" in text
    assert set(LIBRARIES) >= {"dgmjax", "distrax", "flowjax", "bijx", "numpyro"}
