"""Imitation: environments, policies, and learners whose reward is true, adversarial or both."""
