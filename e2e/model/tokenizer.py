"""A tokenizer with one word per token, in the format that engines load. Needs tokenizers and transformers; called by
``train``.
"""

from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from e2e.model import world


def save(folder: Path) -> None:
    words = Tokenizer(models.WordLevel(world.ids(), unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    PreTrainedTokenizerFast(tokenizer_object=words, model_max_length=2048, **special).save_pretrained(folder)
