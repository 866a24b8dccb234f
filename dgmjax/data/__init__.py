"""Data: sources by name, transforms, and batches that are a pure function of (seed, step)."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "audio": [
            "MuLaw",
            "SixteenBit",
            "built_in_tones",
            "mu_law_decode",
            "mu_law_encode",
            "read_wav",
            "write_wav",
        ],
        "batches": ["Batches", "evaluation_batches"],
        "checks": ["validate"],
        "dataset": ["Dataset", "split_rows"],
        "folders": ["data_dir"],
        "missing": [
            "AtRandom",
            "Blocks",
            "FillMissing",
            "check_observed",
            "mark_missing",
            "remove_entries",
        ],
        "rolls": ["built_in_rolls"],
        "sources": ["load", "names"],
        "sprites": ["factor_grid", "factor_values", "render_sprites"],
        "stream": ["streamed"],
        "text": ["Vocabulary", "blocks", "built_in_text", "text_dataset", "vocabulary"],
        "transforms": [
            "Binarise",
            "Compose",
            "Dequantise",
            "Identity",
            "Logit",
            "Scale",
            "Standardise",
            "Transform",
            "apply_once",
        ],
    },
)
