"""World models: a simulator learnt from pixels, and controllers that evolve inside of it."""
