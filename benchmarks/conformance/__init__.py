"""The numerics contract of `dgmjax.evaluation.bijector_conformance`, for five libraries."""
