"""Turns what was compiled and files of text into a trained language model and the folder of its run, and goes on with such a folder.

It knows of a memory only the names, sizes and ranges of its inputs, and of a model only that it turns tokens into logits, so that all can
be trained; of the compiler it sees no stage.
"""

from __future__ import annotations

from nlc.train.interface import MemoryInput, MemoryInterface, MemoryOutput, memory_interface
from nlc.train.loop import Status
from nlc.train.parallel import Processes, processes
from nlc.train.progress import Watcher, show_progress, silent
from nlc.train.recipe import FastLevel, Network, Recipe, fast_levels, memory_recipe, model_recipe
from nlc.train.report import ReportSection, write_report
from nlc.train.run import read_settings
from nlc.train.session import TrainResult, resume, train
from nlc.train.settings import Setting, TrainSettings, memory_settings, model_settings, settings_from_pairs

__all__ = [
    "FastLevel",
    "MemoryInput",
    "MemoryInterface",
    "MemoryOutput",
    "Network",
    "Processes",
    "Recipe",
    "ReportSection",
    "Setting",
    "Status",
    "TrainResult",
    "TrainSettings",
    "Watcher",
    "fast_levels",
    "memory_interface",
    "memory_recipe",
    "memory_settings",
    "model_recipe",
    "model_settings",
    "processes",
    "read_settings",
    "resume",
    "settings_from_pairs",
    "show_progress",
    "silent",
    "train",
    "write_report",
]
