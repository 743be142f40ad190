"""Ablation: what each stream costs under each coder, and what each technique of the engine gives."""

from typing import TYPE_CHECKING

from deltaseal._lazy import homes_in, names_from

if TYPE_CHECKING:
    from deltaseal.lab.ablation.entropy import Coded, code_streams
    from deltaseal.lab.ablation.techniques import LEFT_OUT, Technique, measure

__all__ = ["LEFT_OUT", "Coded", "Technique", "code_streams", "measure"]

__getattr__ = names_from(
    __name__,
    homes_in(
        __name__,
        {"entropy": ("Coded", "code_streams"), "techniques": ("LEFT_OUT", "Technique", "measure")},
    ),
)
