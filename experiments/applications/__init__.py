"""What models of densities are for: repair, detection, imitation, sensing."""
