"""What is asked over HTTP and what is answered: the shapes of requests and replies, with a sentence for each field."""

from __future__ import annotations

import re

from pydantic import BaseModel, ConfigDict, Field

from medbench.api_guard import RefusedError
from medbench.records import Faithfulness, Item, Prediction, Span

ITEMS_LIMIT = 1000
EVIDENCE_LIMIT = 50  # items; explaining one asks the model some hundred times
TEXT_LIMIT = 1_000_000  # bytes of UTF-8, title and text together
_HALVES = re.compile("[\ud800-\udfff]")  # JSON can say them, UTF-8 cannot


class Problem(BaseModel):
    """Why a request was refused."""

    expected: str = Field(description="What was expected.")
    found: str = Field(description="What was found instead.")
    todo: str = Field(description="What to do.")


class ItemIn(BaseModel):
    """One abstract or note."""

    model_config = ConfigDict(extra="forbid")

    id: str | None = Field(
        default=None, max_length=500, description="Your own id; the position (from 1) when left out."
    )
    title: str = Field(default="", description="Title; may be empty.")
    text: str = Field(default="", description="Abstract or full text.")

    def item(self, position: int) -> Item:
        """Return the record, its text checked for size."""
        for part in (self.title, self.text):
            if _HALVES.search(part):
                raise RefusedError(422, "text in Unicode", "half a surrogate pair", "Send whole characters.")
        size = len(self.title.encode()) + len(self.text.encode())
        if size > TEXT_LIMIT:
            raise RefusedError(
                413, f"at most {TEXT_LIMIT:,} bytes of text per item", f"{size:,} bytes", "Shorten the text."
            )
        return Item(self.id or str(position), self.title, self.text)


class PredictIn(BaseModel):
    """A question about up to 1,000 items."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field(description="Model id, as GET /models lists it, or @job, as GET /aliases lists it.")
    items: list[ItemIn] = Field(min_length=1, description=f"1 to {ITEMS_LIMIT:,} items.")
    evidence: bool = Field(
        default=False,
        description=f"Also say which words drove each decided label; at most {EVIDENCE_LIMIT} items then.",
    )


class ExplainIn(BaseModel):
    """A question about the reasons for one label."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field(description="Model id, as GET /models lists it.")
    item: ItemIn = Field(description="The item.")
    label: str | None = Field(default=None, description="A label of the model; the most probable one when left out.")
    method: str = Field(default="", description="How, see GET /models/{id}/methods; the quick way when left out.")


class CompareIn(ExplainIn):
    """A question about the reasons for one label, by several methods."""

    method: str = Field(default="", description="Names with commas between; all that are quick when left out.")


class PredictOut(BaseModel):
    """Answers in the order of the items. Labels are ordered: decided ones first, then by probability."""

    model: str
    predictions: list[Prediction] = Field(
        description='Each also carries "chosen" (the decided labels), and "evidence" (see /explain) when asked for.'
    )


class ExplainOut(BaseModel):
    """The evidence for one label. Spans are [start, end) in characters of `text`."""

    label: str
    method: str
    spans: list[Span]
    heat: list[list[float]] | None = Field(description="For images only: rows of weights, 0-1.")
    faithfulness: float | None = Field(description="How much more the score falls without the marks than at random.")
    measured: Faithfulness | None = Field(description="What leaving out, and keeping, the marks does to the score.")
    text: str = Field(description="What the model read: the title, a line feed and the text.")
