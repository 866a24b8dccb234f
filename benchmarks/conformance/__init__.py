"""The contracts of `bijector_conformance` and `bijector_uses`, for five libraries."""
