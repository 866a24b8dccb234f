"""Linear inverse problems: operators, restoration by a model, posterior samples, baselines."""
