"""What tests ask of timelines from a few words (`tmtrain.testing.make_timeline`)."""

from tmtrain.testing.timelines import make_timeline, next_use, touched_needs

__all__ = ["make_timeline", "next_use", "touched_needs"]
