from .affine import (
    RandomAffine as RandomAffine,
)
from .audio import (
    MuLaw as MuLaw,
    SixteenBit as SixteenBit,
    built_in_tones as built_in_tones,
    mu_law_decode as mu_law_decode,
    mu_law_encode as mu_law_encode,
    read_wav as read_wav,
    write_wav as write_wav,
)
from .batches import (
    Batches as Batches,
    evaluation_batches as evaluation_batches,
)
from .checks import (
    validate as validate,
)
from .dataset import (
    Dataset as Dataset,
    split_rows as split_rows,
)
from .labels import (
    few_labels as few_labels,
)
from .missing import (
    AtRandom as AtRandom,
    Blocks as Blocks,
    FillMissing as FillMissing,
    check_observed as check_observed,
    mark_missing as mark_missing,
    remove_entries as remove_entries,
)
from .reading.folders import (
    data_dir as data_dir,
)
from .sources.documents import (
    load_documents as load_documents,
)
from .sources.registry import (
    load as load,
    names as names,
)
from .sources.rolls import (
    built_in_rolls as built_in_rolls,
)
from .sources.sprites import (
    factor_grid as factor_grid,
    factor_values as factor_values,
    render_sprites as render_sprites,
)
from .stream import (
    streamed as streamed,
)
from .text import (
    Vocabulary as Vocabulary,
    bag_of_words as bag_of_words,
    blocks as blocks,
    built_in_text as built_in_text,
    lines_dataset as lines_dataset,
    text_dataset as text_dataset,
    vocabulary as vocabulary,
)
from .transforms import (
    Binarise as Binarise,
    Compose as Compose,
    Dequantise as Dequantise,
    Identity as Identity,
    Logit as Logit,
    Scale as Scale,
    Standardise as Standardise,
    Together as Together,
    Transform as Transform,
    apply_once as apply_once,
)
