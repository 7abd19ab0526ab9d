"""What can be chosen for a picture network."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from medbench.families._training_options import EXPERT, BestBy, TrainingOptions

LITE0 = "tf_efficientnet_lite0"
SUGGESTIONS = {
    LITE0: "EfficientNet-Lite0, small and fast; its ImageNet weights are installed with medbench (3.4 M parameters)",
    "efficientnet_b0": "EfficientNet-B0 (4 M, weights from the model hub)",
    "efficientnet_b1": "EfficientNet-B1 (6.5 M, weights from the model hub)",
    "resnet50": "ResNet-50 (23.5 M, weights from the model hub)",
    "resnet101": "ResNet-101 (42.5 M, weights from the model hub)",
    "vit_small_patch16_224": "ViT-S/16 (21.7 M, weights from the model hub)",
    "swin_tiny_patch4_window7_224": "Swin-T (27.5 M, weights from the model hub)",
}


class VisionOptions(TrainingOptions):
    """Options of the picture network."""

    base: str = Field(
        LITE0,
        min_length=1,
        description="The network to start from, by timm's name.",
        json_schema_extra={"suggestions": {**SUGGESTIONS}},
    )
    weights: Literal["imagenet", "random"] = Field(
        "imagenet", description="Start from weights learnt on ImageNet, or from random ones (needs far more pictures)."
    )
    start_from: str = Field(
        "",
        description="A trained picture network of this dataset with the same base and parts, by its id, whose weights "
        "to start from instead; empty for none.",
        json_schema_extra={"models": "vision"},
    )
    average_with: list[str] = Field(
        default_factory=list,
        max_length=20,
        description="More such networks, by their ids, whose weights are averaged with those to start from (a model "
        "soup); with no epochs the mean is judged as it is.",
        json_schema_extra={"models": "vision", "expert": True},
    )
    teacher: str = Field(
        "",
        description="A trained model of this dataset, or an ensemble, by its id, whose scores are learnt from beside "
        "the labels (distillation); empty for none.",
        json_schema_extra={"models": "any"},
    )
    teacher_weight: float = Field(
        0.5, ge=0, le=1, description="Share of the teacher's scores in the loss, 0-1; the rest is the labels'."
    )
    temperature: float = Field(
        2.0,
        ge=1,
        le=20,
        description="How much the teacher's scores are softened, a divisor of log-odds; 1 leaves them as they are.",
        json_schema_extra=EXPERT,
    )
    size: int = Field(128, ge=32, le=1024, description="Side of the square that is trained on, pixels.")
    read_size: int | None = Field(
        None,
        ge=32,
        le=1024,
        description="Side of the square that is read when answering, pixels; empty means a quarter more than trained "
        "on for convolutional networks.",
        json_schema_extra=EXPERT,
    )
    epochs: float = Field(
        12,
        ge=0,
        le=1000,
        description="How often the training pictures are gone through, in epochs; 0 judges the weights to start from "
        "once more, with these options.",
    )
    batch: int = Field(32, ge=1, le=1024, description="Pictures that go through the network at once, a count.")
    schedule: Literal["linear", "cosine", "cosine_with_restarts", "constant"] = Field(
        "cosine",
        description="How the rate falls after its rise: a straight line, a cosine, cosine restarts or not at all.",
    )
    imbalance: Literal["none", "class_weights", "focal", "sampler", "oversampling"] = Field(
        "sampler",
        description="Help for rare diagnoses: weighted loss, focal loss, drawing rare ones more often (sampler), or "
        "drawing all equally often (oversampling).",
    )
    best_by: BestBy = Field(
        "auc",
        description="Which validation number says what is best; the area under the curve is the least noisy.",
        json_schema_extra=EXPERT,
    )
    average_epochs: float = Field(
        1,
        ge=0,
        le=100,
        description="Keep the running mean of the weights over about so many epochs; 0 keeps those of one step.",
        json_schema_extra=EXPERT,
    )
    early_stopping: float = Field(
        4, ge=0, le=1000, description="Stop when this many epochs brought no better validation; 0 switches it off."
    )
    frozen_epochs: float = Field(
        0, ge=0, le=1000, description="Train only the head for so many epochs, then the whole network."
    )
    attention: Literal["none", "se", "cbam"] = Field(
        "none", description="Attention on the last feature map: none, squeeze-and-excitation or CBAM."
    )
    pooling: Literal["average", "attention"] = Field(
        "average", description="How the map becomes one vector: its mean, or also a mean weighted by attention."
    )
    multi_scale: bool = Field(False, description="Look at two finer feature maps as well.")
    metadata: bool = Field(
        False, description="Read age, sex and site beside the picture; missing ones are told to the network as missing."
    )
    dropout: float = Field(
        0.3, ge=0, lt=1, description="Share of the head's inputs silenced, 0-1; also measures uncertainty."
    )
    batch_norm: bool = Field(True, description="Normalise the head's inputs over the batch.", json_schema_extra=EXPERT)
    smoothing: float = Field(
        0.05, ge=0, lt=1, description="Share of belief spread over the other labels, 0-1.", json_schema_extra=EXPERT
    )
    rotation: float = Field(180, ge=0, le=180, description="Training pictures are turned by up to so many degrees.")
    zoom: float = Field(0.3, ge=0, lt=1, description="Training pictures are enlarged by up to this share, 0-1.")
    stretch: float = Field(
        0.25, ge=0, le=1, description="Training pictures are stretched in one direction by up to this share, 0-1."
    )
    flips: bool = Field(True, description="Mirror training pictures at random, across and upside down.")
    colour: float = Field(
        0.15, ge=0, le=1, description="Brightness, contrast and saturation vary by up to this share, 0-1."
    )
    views: Literal[1, 2, 4] = Field(
        2, description="Views averaged when answering: the picture, its mirror image, both upside down; a count."
    )
    keep: Literal["int8", "fp16", "fp32"] = Field(
        "int8",
        description="Number format of the saved weights, bits; int8 is a quarter of fp32.",
        json_schema_extra=EXPERT,
    )
