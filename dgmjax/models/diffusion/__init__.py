"""Models with a time axis: diffusion, flow matching and what else removes noise."""
