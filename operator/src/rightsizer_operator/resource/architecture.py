"""``spec.model.architecture``: the size and shape of a model, for estimates. The operator cannot read the model volume,
so what ``config.json`` says about layers and heads is stated here; ``rightsizer plan --print-architecture`` writes it.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from rightsizer_operator.resource.base import Flag, Resource, Whole
from rightsizer_operator.resource.rules import Rule

Width = Annotated[Whole, Field(ge=1, le=1_000_000)]
Count = Annotated[Whole, Field(ge=1, le=4096)]


class Experts(Resource):
    """Routed experts of a mixture-of-experts layer."""

    count: Count = Field(description="Routed experts of one layer.")
    per_token: Count = Field(description="Routed experts that one token passes.")
    intermediate_size: Width = Field(description="Width of one routed expert.")
    shared_size: Annotated[Whole, Field(ge=0, le=1_000_000)] = Field(
        default=0, description="Width of all shared experts together, which every token passes."
    )
    dense_layers: Annotated[Whole, Field(ge=0, le=4096)] = Field(
        default=0, description="Layers without routed experts; their width is intermediateSize of the model."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="self.perToken <= self.count",
            field=".perToken",
            message="must not exceed count: a token passes some of the experts",
            holds=lambda experts: experts.per_token <= experts.count,
        ),
    )


class Latent(Resource):
    """Multi-head latent attention (MLA): one compressed cache for all heads."""

    kv_rank: Width = Field(description="kv_lora_rank of config.json.")
    query_rank: Annotated[Whole, Field(ge=0, le=1_000_000)] = Field(
        default=0, description="q_lora_rank of config.json; 0: queries are not compressed."
    )
    nope_dim: Width = Field(description="qk_nope_head_dim of config.json.")
    rope_dim: Width = Field(description="qk_rope_head_dim of config.json.")
    value_dim: Width = Field(description="v_head_dim of config.json.")


class SlidingWindow(Resource):
    tokens: Annotated[Whole, Field(ge=1, le=10_000_000)] = Field(description="Tokens that such a layer looks back.")
    layers: Count = Field(description="Layers with the window; the others attend to everything.")


class Architecture(Resource):
    layers: Count = Field(description="num_hidden_layers of config.json.")
    hidden_size: Width = Field(description="hidden_size of config.json.")
    heads: Count = Field(description="num_attention_heads of config.json.")
    kv_heads: Count | None = Field(
        default=None, description="num_key_value_heads of config.json. Default: as many as heads."
    )
    head_dim: Width | None = Field(default=None, description="head_dim of config.json. Default: hiddenSize over heads.")
    intermediate_size: Width = Field(description="intermediate_size of config.json, of layers without experts.")
    vocabulary: Annotated[Whole, Field(ge=1, le=10_000_000)] = Field(description="vocab_size of config.json.")
    gated: Flag = Field(
        default=True, description="Whether feed-forward layers have three matrices (silu), not two (relu, gelu)."
    )
    tied_embeddings: Flag = Field(default=False, description="tie_word_embeddings of config.json.")
    weights: Literal["BF16", "FP8", "INT8", "INT4", "FP4"] = Field(
        default="BF16", description="Format of the weights as they lie at spec.model.path."
    )
    block_scaled: Flag = Field(
        default=False, description="Whether 8-bit weights have one scale a block (weight_block_size of config.json)."
    )
    kv_format: Literal["BF16", "FP8"] = Field(
        default="BF16", description="FP8 where the weights bring scales of an FP8 cache and ask for it."
    )
    longest: Annotated[Whole, Field(ge=0, le=100_000_000)] = Field(
        default=0, description="max_position_embeddings of config.json, tokens; 0: not stated."
    )
    experts: Experts | None = Field(default=None, description="Mixture of experts. Default: a dense model.")
    latent: Latent | None = Field(default=None, description="Latent attention. Default: heads with a cache each.")
    sliding_window: SlidingWindow | None = Field(default=None, description="Default: every layer sees all tokens.")

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.kvHeads) || has(self.latent) || "
            "(self.kvHeads <= self.heads && self.heads % self.kvHeads == 0)",
            field=".kvHeads",
            message="must divide heads: each KV head serves as many query heads",
            holds=lambda facts: facts.kv_heads is None or facts.latent is not None or not facts.heads % facts.kv_heads,
        ),
        Rule(
            cel="!has(self.experts) || self.experts.denseLayers <= self.layers",
            field=".experts",
            message="denseLayers must not exceed layers: they are some of them",
            holds=lambda facts: facts.experts is None or facts.experts.dense_layers <= facts.layers,
        ),
        Rule(
            cel="!has(self.slidingWindow) || self.slidingWindow.layers <= self.layers",
            field=".slidingWindow",
            message="its layers must not exceed layers of the model",
            holds=lambda facts: facts.sliding_window is None or facts.sliding_window.layers <= facts.layers,
        ),
    )
