"""Frames of trajectories of any format, one at a time."""

from allegro_md.io.frames.opening import open_frames
from allegro_md.io.frames.source import FIELDS, FrameSource, StoredFrame, require_times

__all__ = ["FIELDS", "FrameSource", "StoredFrame", "open_frames", "require_times"]
