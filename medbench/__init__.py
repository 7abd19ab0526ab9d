"""medbench: an analyst workbench for medical literature, ICD coding and skin lesions."""

__version__ = "0.1.0"
