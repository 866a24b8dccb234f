"""Captions of figures, in sentences for a reader who has not seen the code."""

from collections.abc import Mapping

CAPTIONS: Mapping[str, str] = {
    "samples": "Draws from the trained model, none of which it has seen.",
    "means": "Expected images of draws from the prior: samples without the noise of each pixel.",
    "text": "Text that the model wrote, character by character.",
    "waveforms": "Sounds that the model generated.",
    "temperatures": "Samples at several temperatures: below 1 sharper and less varied.",
    "completions": "The upper half was given; the model drew the lower half several times.",
    "imputations": "Missing pixels filled in: their expectation, several draws, and the truth.",
    "reconstructions": "Test images, each above what the model makes of its code.",
    "interpolations": "From one test image to another along a path of codes; the ends of each row "
    "are reconstructions.",
    "traversals": "One code dimension moved at a time, the others held: what each one stands for.",
    "manifold": "The decoder over a grid of the two code dimensions.",
    "codes": "Codes of test data, coloured by class: what the model groups without labels.",
    "components": "Each row is one component of the mixture prior.",
    "kl_per_dimension": "Nats that each code dimension carries; those near 0 are unused.",
    "density": "The learned density, with test points on it, in the units of the data.",
    "layers": "A grid carried through the layers of the flow, from base to data.",
    "canvas": "The canvas of samples over the steps of drawing, one sample a row.",
    "episodes": "Episodes of the learned policy over those that were demonstrated.",
    "returns": "The return over training, between those of random actions and of the expert.",
    "circles": "Demonstrations, and episodes of the policy in the colour of their latent code.",
    "data": "Test data, for comparison.",
}
FIRST = ("samples", "means", "text", "waveforms", "density")
LAST = ("data",)


def caption(name: str) -> str:
    """The sentence below a figure; empty for one that the table does not have.

    >>> caption("canvas")
    'The canvas of samples over the steps of drawing, one sample a row.'
    """
    return CAPTIONS.get(name, "")


def place(name: str) -> tuple[int, str]:
    """A key to sort figures by: samples first, data last, the others by name."""
    order = {**{name: index for index, name in enumerate(FIRST)}, **dict.fromkeys(LAST, 99)}
    return order.get(name, len(FIRST)), name
