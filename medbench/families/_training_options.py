"""Options of every family that is trained by gradient steps."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from medbench.families import FamilyOptions

EXPERT: dict[str, Any] = {"expert": True}
BestBy = Literal["macro_f1", "micro_f1", "loss", "balanced_accuracy", "auc"]
Imbalance = Literal["none", "class_weights", "focal", "sampler", "oversampling"]


class TrainingOptions(FamilyOptions):
    """Options of every family that is trained by gradient steps."""

    epochs: float = Field(4, gt=0, le=1000, description="How often the training texts are gone through, in epochs.")
    max_minutes: float | None = Field(
        None,
        gt=0,
        description="Stop after this many minutes and keep the best so far; empty means no limit.",
        json_schema_extra={"empty": "no limit"},
    )
    batch: int = Field(16, ge=1, le=1024, description="Items that go through the network at once, a count.")
    accumulation: int = Field(
        1,
        ge=1,
        le=1024,
        description="Batches that are added up before the weights move, a count.",
        json_schema_extra=EXPERT,
    )
    learning_rate: float | None = Field(
        None, gt=0, lt=1, description="Largest step of the base's weights, a rate; empty means the usual one."
    )
    head_learning_rate: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Largest step of the new output layer, a rate; empty means the usual one.",
        json_schema_extra=EXPERT,
    )
    weight_decay: float = Field(
        0.01,
        ge=0,
        le=1,
        description="How strongly weights are pulled to zero, per step and rate.",
        json_schema_extra=EXPERT,
    )
    warmup: float = Field(
        0.06,
        ge=0,
        lt=1,
        description="Share of the steps in which the rate rises from zero, 0-1.",
        json_schema_extra=EXPERT,
    )
    schedule: Literal["linear", "cosine", "cosine_with_restarts", "constant"] = Field(
        "linear",
        description="How the rate falls after its rise: a straight line, a cosine, cosine restarts or not at all.",
    )
    restarts: int = Field(
        3, ge=1, le=100, description="Cycles of the schedule cosine_with_restarts, a count.", json_schema_extra=EXPERT
    )
    early_stopping: float = Field(
        2, ge=0, le=1000, description="Stop when this many epochs brought no better validation; 0 switches it off."
    )
    evals_per_epoch: int = Field(
        1, ge=1, le=100, description="Looks at the validation split per epoch, a count.", json_schema_extra=EXPERT
    )
    best_by: BestBy = Field(
        "macro_f1", description="Which validation number says what is best.", json_schema_extra=EXPERT
    )
    average_epochs: float = Field(
        0,
        ge=0,
        le=100,
        description="Keep the running mean of the weights over about so many epochs; 0 keeps those of one step.",
        json_schema_extra=EXPERT,
    )
    imbalance: Imbalance = Field(
        "none",
        description="Help for rare labels: class or positive weights, focal loss, or drawing rare ones more often "
        "(sampler) or all equally often (oversampling).",
    )
    focal_gamma: float = Field(
        2.0, ge=0, le=10, description="How strongly focal loss turns to hard items, a power.", json_schema_extra=EXPERT
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto",
        description="Number format while training, bits; auto means fp32 on a CPU and bf16 or fp16 on a GPU.",
        json_schema_extra=EXPERT,
    )
    gradient_checkpointing: bool = Field(
        False,
        description="Compute activations twice to need less memory; about a third slower.",
        json_schema_extra=EXPERT,
    )


class AdapterOptions(TrainingOptions):
    """Options of the families whose base may be tuned by low-rank adapters."""

    lora_rank: int = Field(8, ge=1, le=256, description="Rank of the adapters, a count.", json_schema_extra=EXPERT)
    lora_alpha: int = Field(
        16,
        ge=1,
        le=1024,
        description="Scale of the adapters, a number that is divided by the rank.",
        json_schema_extra=EXPERT,
    )
    lora_dropout: float = Field(
        0.0, ge=0, lt=1, description="Share of adapter inputs silenced while training, 0-1.", json_schema_extra=EXPERT
    )
    lora_targets: str = Field(
        "auto",
        description="Where adapters go: auto or all (every linear layer), attention, or module names with commas.",
        json_schema_extra=EXPERT,
    )

    @field_validator("lora_targets")
    @classmethod
    def _names(cls, value: str) -> str:
        if not any(part.strip() for part in value.split(",")):
            raise ValueError("name at least one module, or write auto")
        return value
